// SPDX-License-Identifier: GPL-2.0
// A small disk in the debuggee's memory, /dev/lab_disk, for what the kernel wants to put out of memory.
#include <linux/blkdev.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#define DISK_BYTES (4 << 20)

static int major;
static u8 *content;
static struct gendisk *disk;

static void disk_submit(struct bio *bio)
{
	struct bio_vec part;
	struct bvec_iter iter;

	bio_for_each_segment(part, bio, iter) {
		u8 *at = content + (iter.bi_sector << SECTOR_SHIFT);

		if (op_is_write(bio_op(bio)))
			memcpy_from_bvec(at, &part);
		else
			memcpy_to_bvec(&part, at);
	}
	bio_endio(bio);
}

static const struct block_device_operations disk_ops = { .owner = THIS_MODULE, .submit_bio = disk_submit };

static int __init disk_init(void)
{
	int error = -ENOMEM;

	content = vzalloc(DISK_BYTES);
	disk = blk_alloc_disk(NUMA_NO_NODE);
	major = register_blkdev(0, "lab_disk");
	if (!content || !disk || major < 0)
		goto failed;
	disk->major = major;
	disk->minors = 1;
	disk->fops = &disk_ops;
	strscpy(disk->disk_name, "lab_disk", sizeof(disk->disk_name));
	set_capacity(disk, DISK_BYTES >> SECTOR_SHIFT);
	error = add_disk(disk);
	if (!error)
		return 0;
failed:
	if (major > 0)
		unregister_blkdev(major, "lab_disk");
	if (disk)
		put_disk(disk);
	vfree(content);
	return error;
}

static void __exit disk_exit(void)
{
	del_gendisk(disk);
	put_disk(disk);
	unregister_blkdev(major, "lab_disk");
	vfree(content);
}

module_init(disk_init);
module_exit(disk_exit);
MODULE_DESCRIPTION("A disk in memory, for the lab's tests");
MODULE_LICENSE("GPL");
