// SPDX-License-Identifier: GPL-2.0
// Does, in the debuggee's kernel, what code does that wants the debugger gone. Driven through
// /sys/module/lab_hostile/parameters:
//
//   scribble  write "own ADDR LEN STEP" or "direct ADDR LEN STEP" (hex): inverts a word in every STEP bytes of LEN bytes of a
//             module, through the module's own addresses or through the direct map, with write protection off; read:
//             "tried N changed M", M of them by what can be read back
//   call      write "FUNCTION none|known ADDR|clean|dirty" (hex): calls a function of the driver's that calls the hypervisor,
//             without its token or with it, and with an address or with that of 2 MiB of memory that the driver would give,
//             or of such that is in use; read: "gave N"
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kprobes.h>
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

#define CHUNK_ORDER 9
#define CHUNK_WORDS ((PAGE_SIZE << CHUNK_ORDER) / sizeof(u64))

static unsigned long (*lookup)(const char *name);
static u64 gave;

static int call_set(const char *value, const struct kernel_param *kp)
{
	u64 (*function)(u64 token, u64 argument);
	char name[32], token_word[8], what[20];
	struct page *page = NULL;
	unsigned long flags;
	u64 token = 0, argument;

	if (sscanf(value, "%31s %7s %19s", name, token_word, what) != 3)
		return -EINVAL;
	function = (void *)lookup(name);
	if (!function)
		return -ENOENT;
	if (token_word[0] == 'k')
		token = *(u64 *)lookup("standstill:token");
	if (kstrtou64(what, 16, &argument)) {
		u64 *words;

		page = alloc_pages(GFP_KERNEL | __GFP_ZERO, CHUNK_ORDER);
		if (!page)
			return -ENOMEM;
		words = page_address(page);
		words[0] = *(u64 *)lookup("standstill:token");
		words[CHUNK_WORDS - 1] = what[0] == 'd';
		argument = page_to_phys(page);
	}
	local_irq_save(flags);
	gave = function(token, argument);
	local_irq_restore(flags);
	if (page && !gave)
		__free_pages(page, CHUNK_ORDER);
	return 0;
}

static int call_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "gave %llx\n", gave);
}
static const struct kernel_param_ops call_ops = { .set = call_set, .get = call_get };
module_param_cb(call, &call_ops, NULL, 0600);

static int __init hostile_init(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	int error = register_kprobe(&probe);

	if (error)
		return error;
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
	return 0;
}

static void __exit hostile_exit(void)
{
}

module_init(hostile_init);
module_exit(hostile_exit);
MODULE_DESCRIPTION("What must not hurt a debugger, for the lab's tests");
MODULE_LICENSE("GPL");
