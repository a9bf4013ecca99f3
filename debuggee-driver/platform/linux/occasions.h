/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What the kernel comes to, told to the hypervisor, which may halt the machine at it. */
#ifndef STANDSTILL_OCCASIONS_H
#define STANDSTILL_OCCASIONS_H

#define SS_OCCASION_TEXT 120

/* In the order of wire-protocol's `Occasion`. */
enum ss_occasions {
	SS_PANIC,
	SS_OOPS,
	SS_WARNING,
	SS_DOUBLE_FAULT,
	SS_TRIPLE_FAULT, /* told by the hypervisor itself */
	SS_RESTART,
	SS_POWER_OFF,
	SS_HUNG_TASK,
	SS_MODULE_LOAD,
	SS_MODULE_UNLOAD,
	SS_TASK_CREATE,
	SS_TASK_EXIT,
	SS_SIGNAL_DEATH,
	SS_PROGRAM,
	SS_INT3,
	SS_GENERAL_PROTECTION,
};

struct ss_occasion {
	u64 occasion;
	u64 place; /* the instruction that it is about, or the first one of what begins; or 0 */
	u64 number; /* error code, signal, task, exit code */
	char text[SS_OCCASION_TEXT];
};

/* Begins and ends to tell. `tell` may be called in any context, NMIs included. What this kernel does not tell is in the log. */
void occasions_begin(void (*tell)(const struct ss_occasion *occasion));
void occasions_end(void);

#endif
