// SPDX-License-Identifier: GPL-2.0
// Ends the debuggee's kernel, or does what it complains of. Driven through /sys/module/lab_ends/parameters:
//
//   end       write what it does:
//             warn                   as the kernel's own code does
//             bug int3 gp            the same, in a thread of the kernel's that dies of it
//             recurse                calls itself until the stack ends, which is a double fault
//             triple                 raises an exception without an interrupt table
//             soft                   its core does nothing else for ten seconds, but takes interrupts
//             hard                   calls the detector's function with interrupts off until it has found a lockup: the
//                                    emulator has no counter that would do it
//             hang                   a thread waits for ten seconds, whatever signal comes
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/perf_event.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <asm/desc.h>

static noinline unsigned long recurse(volatile unsigned long depth)
{
	volatile unsigned long frame[64];

	frame[depth % 64] = depth;
	return recurse(depth + 1) + frame[depth % 64];
}

static int hang(void *unused)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	schedule_timeout(HZ * 10);
	return 0;
}

static void spin(void)
{
	u64 end = ktime_get_mono_fast_ns() + 10 * NSEC_PER_SEC;

	preempt_disable();
	while (ktime_get_mono_fast_ns() < end)
		cpu_relax();
	preempt_enable();
}

static int detect(void)
{
	struct kprobe probe = { .symbol_name = "watchdog_overflow_callback" };
	void (*overflow)(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs);
	struct perf_event *event = kzalloc(sizeof(*event), GFP_KERNEL);
	unsigned long flags;
	int error, calls;

	if (!event)
		return -ENOMEM;
	error = register_kprobe(&probe);
	if (!error) {
		overflow = (void *)probe.addr;
		unregister_kprobe(&probe);
		local_irq_save(flags);
		for (calls = 0; calls < 30; calls++)
			overflow(event, NULL, NULL);
		local_irq_restore(flags);
	}
	kfree(event);
	return error;
}

// In a thread of its own, since whoever writes holds locks of the kernel's.
static int lab_dies(void *what)
{
	static const struct desc_ptr none;

	switch ((long)what) {
	case 'b':
		BUG();
		break;
	case 'i':
		asm volatile("int3");
		break;
	case 'g':
		READ_ONCE(*(u64 *)0x1234567890abcdef);
		break;
	case 'r':
		recurse(0);
		break;
	case 't':
		asm volatile("cli; lidt %0; ud2" : : "m"(none));
		break;
	}
	return 0;
}

static int end_set(const char *value, const struct kernel_param *kp)
{
	static const char *const deaths[] = { "bug", "int3", "gp", "recurse", "triple" };
	int i;

	for (i = 0; i < ARRAY_SIZE(deaths); i++)
		if (sysfs_streq(value, deaths[i]))
			return PTR_ERR_OR_ZERO(kthread_run(lab_dies, (void *)(long)value[0], "lab-dies"));
	if (sysfs_streq(value, "warn"))
		WARN_ON(1);
	else if (sysfs_streq(value, "hang"))
		return PTR_ERR_OR_ZERO(kthread_run(hang, NULL, "lab-hang"));
	else if (sysfs_streq(value, "soft"))
		spin();
	else if (sysfs_streq(value, "hard"))
		return detect();
	else
		return -EINVAL;
	return 0;
}
static const struct kernel_param_ops end_ops = { .set = end_set };
module_param_cb(end, &end_ops, NULL, 0200);

static int __init ends_init(void)
{
	return 0;
}
static void __exit ends_exit(void)
{
}
module_init(ends_init);
module_exit(ends_exit);
MODULE_DESCRIPTION("lab: ends of a kernel");
MODULE_LICENSE("GPL");
