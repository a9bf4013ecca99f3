// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * doctor=1: says in the log all that the driver would stumble over, each with what to change, and loads nothing. The checks are
 * those of loading: the core's own list of what a processor must have, and what the shim and line.c ask there.
 */
#define pr_fmt(fmt) "standstill: doctor: " fmt

#include <linux/cpumask.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/string.h>

#include "doctor.h"
#include "facts.h"

static unsigned int changes;

void doctor_say(enum verdict verdict, const char *about, const char *said)
{
	static const char *const words[] = { [FINE] = "fine", [NOTE] = "note", [CHANGE] = "change" };

	changes += verdict == CHANGE;
	pr_info("%s: %s: %s\n", words[verdict], about, said);
}

/* The first thing that is missing on each core, from 1 on. */
static u64 missing[SS_CORES];

static void examine_here(void *unused)
{
	char said[SS_REASON];
	u64 number, verdict;

	for (number = 0;; number++) {
		memset(said, 0, sizeof(said));
		verdict = standstill_examine(number, said, sizeof(said));
		if (!verdict || verdict == CHANGE)
			break;
	}
	missing[smp_processor_id()] = verdict ? number + 1 : 0;
}

void doctor_processor(void)
{
	char said[SS_REASON], about[16];
	unsigned int core, own;
	u64 number, verdict;

	changes = 0;
	if (nr_cpu_ids > SS_CORES)
		return;
	on_each_cpu(examine_here, NULL, 1);
	/* One core's list in full, and of the others what is different. */
	own = get_cpu();
	for (number = 0;; number++) {
		memset(said, 0, sizeof(said));
		verdict = standstill_examine(number, said, sizeof(said));
		if (!verdict)
			break;
		doctor_say(verdict, "processor", said);
	}
	put_cpu();
	for_each_online_cpu(core) {
		if (missing[core] == missing[own])
			continue;
		scnprintf(about, sizeof(about), "core %u", core);
		doctor_say(CHANGE, about,
			   missing[core] ? "lacks what another core has, or another hypervisor is on there; switch it off" :
					   "has what another core lacks");
	}
}

void doctor_signature(void)
{
#ifdef CONFIG_MODULE_SIG
	if (THIS_MODULE->sig_ok)
		doctor_say(FINE, "signature", "this module is signed with a key that the kernel knows");
	else
		doctor_say(NOTE, "signature",
			   "this module is not signed, which this kernel lets pass; one under Secure Boot needs standstill-sign");
#else
	doctor_say(FINE, "signature", "this kernel looks at none");
#endif
}

unsigned int doctor_end(void)
{
	if (changes)
		pr_info("%u to change; nothing was loaded\n", changes);
	else
		pr_info("nothing to change; nothing was loaded\n");
	return changes;
}
