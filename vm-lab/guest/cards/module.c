// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * Drives a network card as the driver does in VMX-root, from a thread of the kernel: with the driver's own code that takes a card
 * from the kernel (card.c) and the driver's own code above that, polled, without interrupts. It calls the host, and sends it
 * datagrams, which come back with every bit turned over. Or it answers the host program: a break-in holds all cores of the
 * machine, with their interrupts off, while the card goes on; then the kernel's memory can be read, until the host lets go.
 *
 *   nic, net, key, mac   as the driver has them
 *   text            where the kernel begins (_text): then it answers the host program
 *   count           so many have to come back
 *   examine         1: says in the log what the driver's doctor says of the card, and loads nothing
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
#include <linux/stop_machine.h>
#include <linux/uaccess.h>
#include <linux/utsname.h>
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

/* As served.rs has them. */
struct served {
	u64 cores, kernel_base, direct_map, tsc_khz, session;
	u64 stands_at; /* code of whoever serves a halt */
	struct ss_text banner;
	size_t (*read)(u64 address, void *to, size_t bytes);
};

enum served_wish { NOTHING, HALT, GO };

u64 standstill_polled_bytes(void);
u64 standstill_polled_seat(u64 block);
u64 standstill_polled_build(u64 block, const struct ss_net *net, u64 direct_map, u64 limit, u64 khz,
			    const struct served *served, char *reason, size_t reason_bytes);
void standstill_polled_begin(u64 block);
void standstill_polled_turn(u64 block, u64 now_us, struct polled_result *result);
u64 standstill_served_turn(u64 block, u64 now_us, u64 is_halted);

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
static ulong text;
module_param(text, ulong, 0444);
static bool examine;
module_param(examine, bool, 0444);

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
	static const char *const words[] = { [FINE] = "fine", [NOTE] = "note", [CHANGE] = "change" };

	pr_info("doctor: %s: %s: %s\n", words[verdict], about, said);
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

/* A host that is gone lets nobody go. */
#define LONGEST_HALT_NS (30 * NSEC_PER_SEC)

static char banner[SS_BANNER];
static struct served served;
static bool halted;
static u64 wish;

static size_t read_kernel(u64 address, void *to, size_t bytes)
{
	size_t done;

	/* Page by page, as far as there is something. */
	for (done = 0; done < bytes;) {
		size_t here = min_t(size_t, bytes - done, PAGE_SIZE - ((address + done) & ~PAGE_MASK));

		if (copy_from_kernel_nofault(to + done, (void *)(unsigned long)(address + done), here))
			break;
		done += here;
	}
	return done;
}

static void serve_turn(void)
{
	wish = standstill_served_turn((u64)block, ktime_get_ns() / NSEC_PER_USEC, halted);
}

/* On one core, while all others wait with their interrupts off, and this one's are, too. */
static int stand_still(void *unused)
{
	u64 since = ktime_get_ns();

	halted = true;
	do
		in_seat(serve_turn);
	while (wish != GO && ktime_get_ns() - since < LONGEST_HALT_NS);
	halted = false;
	return 0;
}

static void serve(void)
{
	in_seat(begin);
	while (!kthread_should_stop()) {
		in_seat(serve_turn);
		turns++;
		if (wish == HALT)
			stop_machine(stand_still, NULL, cpumask_of(0));
		cond_resched();
	}
}

static int drive(void *unused)
{
	u16 status;

	wait_for_completion(&begun);
	if (kthread_should_stop())
		return 0;
	if (text) {
		serve();
		return 0;
	}
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

static struct ss_text as_text(const char *bytes)
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

	if (examine) {
		card_examine(nic, *mac);
		return -ECANCELED;
	}
	network.net = as_text(net);
	network.key = as_text(key);
	network.ip = as_text("");
	network.gateway = as_text("");
	network.mac = as_text(mac);
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
	scnprintf(banner, sizeof(banner), "%s %s %s", init_utsname()->sysname, init_utsname()->release, init_utsname()->version);
	served = (struct served){
		.cores = num_online_cpus(),
		.kernel_base = text,
		.direct_map = PAGE_OFFSET,
		.tsc_khz = tsc_khz,
		.session = get_random_u64(),
		.stands_at = (u64)stand_still,
		.banner = as_text(banner),
		.read = read_kernel,
	};
	/* Of all memory it touches the card's alone. */
	limit = network.card.memory + network.card.memory_bytes;
	if (!standstill_polled_build((u64)block, &network, PAGE_OFFSET, limit, tsc_khz, text ? &served : NULL, reason,
				     sizeof(reason))) {
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
