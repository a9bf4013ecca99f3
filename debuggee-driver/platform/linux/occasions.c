// SPDX-License-Identifier: MIT OR GPL-2.0
/* What the kernel comes to: its notifiers and tracepoints say it, and none of its code is changed by hand. */
#define pr_fmt(fmt) "standstill: " fmt

#include <linux/binfmts.h>
#include <linux/kdebug.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/ptrace.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
#include <linux/panic_notifier.h>
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
#define TELLS_WARNINGS
#include <trace/events/error_report.h>
#endif
#include <asm/traps.h>

#include "occasions.h"

static void (*tell_it)(const struct ss_occasion *occasion);

static void tell(u64 which, u64 place, u64 number, const char *text, size_t text_bytes)
{
	struct ss_occasion it = { .occasion = which, .place = place, .number = number };
	size_t len = min_t(size_t, text_bytes, sizeof(it.text));

	if (text)
		memcpy(it.text, text, strnlen(text, len));
	len = strnlen(it.text, len);
	while (len && it.text[len - 1] == '\n')
		it.text[--len] = 0;
	tell_it(&it);
}

static void tell_text(u64 which, u64 place, u64 number, const char *text)
{
	tell(which, place, number, text, SS_OCCASION_TEXT);
}

static void tell_task(u64 which, u64 place, u64 number, const struct task_struct *task)
{
	tell(which, place, number, task->comm, sizeof(task->comm));
}

/* --- notifiers --- */

static int on_panic(struct notifier_block *unused, unsigned long event, void *text)
{
	tell_text(SS_PANIC, 0, 0, text);
	return NOTIFY_DONE;
}

static struct notifier_block panic_block = { .notifier_call = on_panic, .priority = INT_MAX };

static int on_death(struct notifier_block *unused, unsigned long reason, void *data)
{
	const struct die_args *args = data;
	u64 rip = args->regs ? args->regs->ip : 0;

	if (reason == DIE_OOPS)
		tell_text(SS_OOPS, rip, args->err, args->str);
	else if (reason == DIE_TRAP && args->trapnr == X86_TRAP_DF)
		tell_text(SS_DOUBLE_FAULT, rip, args->err, args->str);
	return NOTIFY_DONE;
}

static struct notifier_block death_block = { .notifier_call = on_death, .priority = INT_MAX };

/* Whoever knows what to do with it has stopped the chain before it comes here, or traces the process. */
static int on_trap(struct notifier_block *unused, unsigned long reason, void *data)
{
	const struct die_args *args = data;

	if (!args->regs || (user_mode(args->regs) && current->ptrace))
		return NOTIFY_DONE;
	if (reason == DIE_INT3)
		tell_text(SS_INT3, args->regs->ip - 1, args->err, args->str);
	else if (reason == DIE_GPF)
		tell_text(SS_GENERAL_PROTECTION, args->regs->ip, args->err, args->str);
	return NOTIFY_DONE;
}

static struct notifier_block trap_block = { .notifier_call = on_trap, .priority = INT_MIN };

static int on_reboot(struct notifier_block *unused, unsigned long code, void *command)
{
	tell_text(code == SYS_RESTART ? SS_RESTART : SS_POWER_OFF, 0, code, command);
	return NOTIFY_DONE;
}

static struct notifier_block reboot_block = { .notifier_call = on_reboot, .priority = INT_MAX };

static int on_module(struct notifier_block *unused, unsigned long state, void *data)
{
	const struct module *module = data;
	u64 base;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	base = (u64)module->mem[MOD_TEXT].base;
#else
	base = (u64)module->core_layout.base;
#endif
	if (state == MODULE_STATE_COMING)
		tell(SS_MODULE_LOAD, base, 0, module->name, sizeof(module->name));
	else if (state == MODULE_STATE_GOING)
		tell(SS_MODULE_UNLOAD, base, 0, module->name, sizeof(module->name));
	return NOTIFY_DONE;
}

static struct notifier_block module_block = { .notifier_call = on_module, .priority = INT_MAX };

/* --- tracepoints --- */

static void on_create(void *unused, struct task_struct *parent, struct task_struct *child)
{
	tell_task(SS_TASK_CREATE, 0, child->pid, child);
}

static void on_exit(void *unused, struct task_struct *task)
{
	tell_task(SS_TASK_EXIT, 0, task->exit_code, task);
}

static void on_exec(void *unused, struct task_struct *task, pid_t old_pid, struct linux_binprm *program)
{
	tell_task(SS_PROGRAM, task_pt_regs(task)->ip, task->pid, task);
}

/* What kills is told as SIGKILL to every thread; the signal itself is in the group's exit code. */
static void on_signal(void *unused, int number, struct kernel_siginfo *info, struct k_sigaction *action)
{
	const struct signal_struct *group = current->signal;
	bool exits = group->flags & SIGNAL_GROUP_EXIT;

	if (action->sa.sa_handler != SIG_DFL || sig_kernel_ignore(number) || sig_kernel_stop(number))
		return;
	if (exits && !thread_group_leader(current))
		return;
	if (exits) {
		number = group->group_exit_code & 0x7f;
		/* The thread that it came to has told. */
		if (sig_kernel_coredump(number))
			return;
	} else if (number == SIGKILL || group->flags & SIGNAL_UNKILLABLE) {
		/* One thread of several goes, since another one executes a program; or the process ends by itself. */
		return;
	}
	if (number)
		tell_task(SS_SIGNAL_DEATH, task_pt_regs(current)->ip, number, current);
}

static void on_hang(void *unused, struct task_struct *task)
{
	tell_task(SS_HUNG_TASK, 0, task->pid, task);
}

#ifdef TELLS_WARNINGS
static void on_error(void *unused, enum error_detector detector, unsigned long place)
{
	if (detector == ERROR_DETECTOR_WARN)
		tell_text(SS_WARNING, place, 0, NULL);
}
#endif

static struct {
	const char *name;
	void *probe;
	struct tracepoint *point;
	bool is_on;
} probes[] = {
	{ "sched_process_fork", on_create },
	{ "sched_process_exit", on_exit },
	{ "sched_process_exec", on_exec },
	{ "signal_deliver", on_signal },
	{ "sched_process_hang", on_hang },
#ifdef TELLS_WARNINGS
	{ "error_report_end", on_error },
#endif
};

static void find_point(struct tracepoint *point, void *unused)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(point->name, probes[i].name))
			probes[i].point = point;
}

/* --- */

void occasions_begin(void (*tell)(const struct ss_occasion *occasion))
{
	int i;

	tell_it = tell;
	atomic_notifier_chain_register(&panic_notifier_list, &panic_block);
	register_die_notifier(&death_block);
	register_die_notifier(&trap_block);
	register_reboot_notifier(&reboot_block);
	register_module_notifier(&module_block);
#ifndef TELLS_WARNINGS
	pr_info("this kernel does not tell of warnings\n");
#endif
	for_each_kernel_tracepoint(find_point, NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		int error = probes[i].point ? tracepoint_probe_register(probes[i].point, probes[i].probe, NULL) : -ENOENT;

		probes[i].is_on = !error;
		if (error)
			pr_info("this kernel does not tell of %s (error %d)\n", probes[i].name, error);
	}
}

void occasions_end(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (probes[i].is_on)
			tracepoint_probe_unregister(probes[i].point, probes[i].probe, NULL);
	tracepoint_synchronize_unregister();
	unregister_module_notifier(&module_block);
	unregister_reboot_notifier(&reboot_block);
	unregister_die_notifier(&trap_block);
	unregister_die_notifier(&death_block);
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_block);
}
