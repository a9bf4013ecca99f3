// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Drives a network card as the driver does in VMX-root, from a thread of the kernel: with the driver's own code that takes a card
 * from the kernel (card.c) and the driver's own code above that, polled, without interrupts. It calls the host, and sends it
 * datagrams, which come back with every bit turned over.
 *
 *   nic, net, key   as the driver has them
 *   count           so many have to come back
 *   run             write 1: begins
 *   thread          read: the thread's number
 *   result          read: "sent N answered N wrong N turns N interrupts N", and at the end "done"
 */
#define pr_fmt(fmt) "lab_cards: " fmt

#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>
#include <asm/tsc.h>

#include "card.h"
#include "doctor.h"
#include "facts.h"

/* As polled.rs has it. */
struct polled_result {
	u64 sent, answered, wrong;
};

u64 standstill_polled_bytes(void);
u64 standstill_polled_seat(u64 block);
u64 standstill_polled_build(u64 block, const struct ss_net *net, u64 direct_map, u64 limit, u64 khz, char *reason,
			    size_t reason_bytes);
void standstill_polled_begin(u64 block);
void standstill_polled_turn(u64 block, u64 now_us, struct polled_result *result);

static char *nic = "";
module_param(nic, charp, 0444);
static char *net = "";
module_param(net, charp, 0444);
static char *key = "";
module_param(key, charp, 0);
static char *mac = "";
module_param(mac, charp, 0444);
static ulong count = 10000;
module_param(count, ulong, 0444);

static struct ss_net network;
static void *block;
static struct pci_dev *device;
static struct task_struct *thread;
static DECLARE_COMPLETION(begun);
static struct polled_result found;
static u64 turns, interrupts;
static bool done;

/* Called where a driver would say what stands in its way. */
void doctor_say(enum verdict verdict, const char *about, const char *said)
{
	pr_info("%s: %s\n", about, said);
}

/* Does something as in VMX-root: FS leads to memory of a core's own, and the core does nothing else. */
static void in_seat(void (*work)(void))
{
	u64 fs;

	preempt_disable();
	rdmsrl(MSR_FS_BASE, fs);
	wrmsrl(MSR_FS_BASE, standstill_polled_seat((u64)block));
	work();
	wrmsrl(MSR_FS_BASE, fs);
	preempt_enable();
}

static void begin(void)
{
	standstill_polled_begin((u64)block);
}

static void turn(void)
{
	standstill_polled_turn((u64)block, ktime_get_ns() / NSEC_PER_USEC, &found);
}

static int drive(void *unused)
{
	u16 status;

	wait_for_completion(&begun);
	if (kthread_should_stop())
		return 0;
	/* Whoever counts what this thread allocates has to see this one. */
	kfree(kmalloc(1 + get_random_u32() % 64, GFP_KERNEL));
	in_seat(begin);
	while (!kthread_should_stop() && found.answered < count) {
		in_seat(turn);
		turns++;
		pci_read_config_word(device, PCI_STATUS, &status);
		interrupts += !!(status & PCI_STATUS_INTERRUPT);
		cond_resched();
	}
	done = found.answered >= count;
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ / 10);
	return 0;
}

static int set_run(const char *value, const struct kernel_param *unused)
{
	complete(&begun);
	return 0;
}

static const struct kernel_param_ops run_ops = { .set = set_run };
module_param_cb(run, &run_ops, NULL, 0200);

static int get_thread(char *buffer, const struct kernel_param *unused)
{
	return scnprintf(buffer, PAGE_SIZE, "%d\n", thread ? task_pid_nr(thread) : 0);
}

static const struct kernel_param_ops thread_ops = { .get = get_thread };
module_param_cb(thread, &thread_ops, NULL, 0444);

static int get_result(char *buffer, const struct kernel_param *unused)
{
	return scnprintf(buffer, PAGE_SIZE, "sent %llu answered %llu wrong %llu turns %llu interrupts %llu%s\n", found.sent,
			 found.answered, found.wrong, turns, interrupts, done ? " done" : "");
}

static const struct kernel_param_ops result_ops = { .get = get_result };
module_param_cb(result, &result_ops, NULL, 0444);

static struct ss_text text(const char *bytes)
{
	return (struct ss_text){ bytes, strlen(bytes) };
}

/* The card that card.c has taken, by the name of its driver. */
static struct pci_dev *its_device(void)
{
	struct pci_dev *found = NULL;

	for_each_pci_dev(found)
		if (found->dev.driver && !strcmp(found->dev.driver->name, "standstill"))
			break;
	return found;
}

static int __init lab_cards_init(void)
{
	char reason[SS_REASON] = "";
	u64 limit;
	int error;

	network.net = text(net);
	network.key = text(key);
	network.ip = text("");
	network.gateway = text("");
	network.mac = text(mac);
	get_random_bytes(network.seed, sizeof(network.seed));
	network.epoch_us = ktime_get_real_ns() / NSEC_PER_USEC - mul_u64_u64_div_u64(rdtsc_ordered(), USEC_PER_MSEC, tsc_khz);
	if (!standstill_check_net(&network, reason, sizeof(reason))) {
		pr_err("%s\n", reason);
		return -EINVAL;
	}
	block = vzalloc(standstill_polled_bytes());
	if (!block)
		return -ENOMEM;
	error = card_take(nic, *mac, &network.card);
	if (error)
		goto free_block;
	device = its_device();
	error = -ENODEV;
	if (!device)
		goto give_back;
	/* Of all memory it touches the card's alone. */
	limit = network.card.memory + network.card.memory_bytes;
	if (!standstill_polled_build((u64)block, &network, PAGE_OFFSET, limit, tsc_khz, reason, sizeof(reason))) {
		pr_err("%s\n", reason);
		goto give_back;
	}
	thread = kthread_run(drive, NULL, "lab_cards");
	if (!IS_ERR(thread))
		return 0;
	error = PTR_ERR(thread);
give_back:
	pci_dev_put(device);
	card_give_back();
free_block:
	vfree(block);
	return error;
}

static void __exit lab_cards_exit(void)
{
	complete(&begun);
	kthread_stop(thread);
	pci_dev_put(device);
	card_give_back();
	vfree(block);
}

module_init(lab_cards_init);
module_exit(lab_cards_exit);
MODULE_DESCRIPTION("Drives a network card as the debugger's driver does");
MODULE_LICENSE("Dual MIT/GPL");
