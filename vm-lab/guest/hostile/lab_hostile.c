// SPDX-License-Identifier: GPL-2.0
// Does, in the debuggee's kernel, what code does that wants the debugger gone. Driven through
// /sys/module/lab_hostile/parameters:
//
//   scribble  write "own ADDR LEN STEP" or "direct ADDR LEN STEP" (hex): inverts a word in every STEP bytes of LEN bytes of a
//             module, through the module's own addresses or through the direct map, with write protection off; read:
//             "tried N changed M", M of them by what can be read back
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>
#include <asm/processor-flags.h>

static unsigned long tried, changed;

static void write_cr0_now(unsigned long value)
{
	// The kernel's own helper keeps write protection on.
	asm volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static void invert(u64 *word)
{
	unsigned long flags, cr0;
	u64 before;

	local_irq_save(flags);
	asm volatile("mov %%cr0, %0" : "=r"(cr0) : : "memory");
	write_cr0_now(cr0 & ~X86_CR0_WP);
	before = READ_ONCE(*word);
	WRITE_ONCE(*word, ~before);
	changed += READ_ONCE(*word) != before;
	tried++;
	write_cr0_now(cr0);
	local_irq_restore(flags);
}

static int scribble_set(const char *value, const struct kernel_param *kp)
{
	unsigned long address, len_bytes, step, at;
	char through[8];

	if (sscanf(value, "%7s %lx %lx %lx", through, &address, &len_bytes, &step) != 4 || step < 8 || step % 8)
		return -EINVAL;
	tried = changed = 0;
	for (at = address; at < address + len_bytes; at += step) {
		struct page *page = vmalloc_to_page((void *)at);

		if (!page)
			return -EFAULT;
		if (through[0] == 'd')
			invert(page_address(page) + offset_in_page(at));
		else
			invert((u64 *)at);
	}
	return 0;
}

static int scribble_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "tried %lu changed %lu\n", tried, changed);
}
static const struct kernel_param_ops scribble_ops = { .set = scribble_set, .get = scribble_get };
module_param_cb(scribble, &scribble_ops, NULL, 0600);

static int __init hostile_init(void)
{
	return 0;
}

static void __exit hostile_exit(void)
{
}

module_init(hostile_init);
module_exit(hostile_exit);
MODULE_DESCRIPTION("What must not hurt a debugger, for the lab's tests");
MODULE_LICENSE("GPL");
