// SPDX-License-Identifier: MIT OR GPL-2.0
/* The Linux side of the driver: everything the Rust core needs from the kernel, and nothing else. */
#define pr_fmt(fmt) "standstill: " fmt

#include <linux/acpi.h>
#include <linux/bpf.h>
#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/delay.h>
#include <linux/gfp.h>
#include <linux/ioport.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/mc146818rtc.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nmi.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/stop_machine.h>
#include <linux/utsname.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include <asm/pgtable.h>
#include <asm/segment.h>
#include <asm/processor.h>
#include <asm/tsc.h>

#include "card.h"
#include "doctor.h"
#include "facts.h"
#include "line.h"
#include "occasions.h"

#define CHUNK_ORDER 9 /* 2 MiB */
#define BOOT_STACK_BYTES (16UL << 20)

/* Parameters: the line, and every design constant under the name it has in constants.rs. */
static uint com;
module_param(com, uint, 0444);
MODULE_PARM_DESC(com, "serial port of the debugger's line, 1 to 4; 2 if none is named");
static ulong io;
module_param(io, ulong, 0444);
MODULE_PARM_DESC(io, "or a 16550 at this I/O port, as on a PCI card");
static ulong mmio;
module_param(mmio, ulong, 0444);
MODULE_PARM_DESC(mmio, "or a 16550 whose registers are in memory, at this physical address");
static uint stride;
module_param(stride, uint, 0444);
MODULE_PARM_DESC(stride, "bytes from one register in memory to the next: 1, or 4 with accesses of that size");
static bool acpi;
module_param(acpi, bool, 0444);
MODULE_PARM_DESC(acpi, "or the 16550 that the firmware's table DBG2 names, or else SPCR");
static uint clock;
module_param(clock, uint, 0444);
MODULE_PARM_DESC(clock, "Hz that the port divides its baud rate from; 0: what the kernel or the firmware knows, or 1843200");
static uint baud = 115200;
module_param(baud, uint, 0444);
MODULE_PARM_DESC(baud, "baud rate of the line, until the host finds a higher one that it carries");
static bool baud_fixed;
module_param(baud_fixed, bool, 0444);
MODULE_PARM_DESC(baud_fixed, "1: the line stays at that rate");
static char *net = "";
module_param(net, charp, 0444);
MODULE_PARM_DESC(net, "the host's IPv4 address and port, to reach it over a network card of the driver's own; with com= the serial port stands by");
static char *key = "";
module_param(key, charp, 0);
MODULE_PARM_DESC(key, "key of both ends, from `standstill key new`; or @FILE");
static char *ip = "";
module_param(ip, charp, 0444);
MODULE_PARM_DESC(ip, "the debuggee's IPv4 address and prefix, as in 192.0.2.7/24; else the network gives one (DHCP)");
static char *gateway = "";
module_param(gateway, charp, 0444);
MODULE_PARM_DESC(gateway, "with ip=: who passes datagrams on to other networks");
static char *mac = "";
module_param(mac, charp, 0444);
MODULE_PARM_DESC(mac, "another address for the network card");
static char *nic = "";
module_param(nic, charp, 0444);
MODULE_PARM_DESC(nic, "the network card, as lspci -D names it, where there are several that the driver knows");
static uint net_panics;
module_param(net_panics, uint, 0444);
MODULE_PARM_DESC(net_panics, "for tests: the code of the network panics at each so many-th frame; 0: never");
static bool force;
module_param(force, bool, 0444);
MODULE_PARM_DESC(force, "take the port even if it is the kernel's console");
static bool doctor;
module_param(doctor, bool, 0444);
MODULE_PARM_DESC(doctor, "1: say in the log what stands in the way, and load nothing");

#define CONSTANT_IN(variable, name, value) \
	static ulong variable = value; \
	module_param_named(name, variable, ulong, 0444)
#define CONSTANT(name, value) CONSTANT_IN(name, name, value)
CONSTANT(arena_bytes, 16 << 20);
CONSTANT(prealloc_only_bytes, 8 << 20);
CONSTANT(regular_events, 20);
CONSTANT(big_events, 0);
CONSTANT(ept_hooks, 20);
CONSTANT(ept_hooks2, 20);
CONSTANT(monitors, 20);
CONSTANT(regular_safe_buffers, 0);
CONSTANT(big_safe_buffers, 0);
CONSTANT(regular_condition_bytes, 100);
CONSTANT(big_condition_bytes, 4096);
CONSTANT(regular_action_bytes, 8192);
CONSTANT(big_action_bytes, 81920);
CONSTANT(regular_safe_buffer_bytes, 4096);
CONSTANT(big_safe_buffer_bytes, 81920);
CONSTANT(arena_growth_bytes, 32 << 20);
CONSTANT(replenish_ms, 1000);
CONSTANT(message_ring_bytes, 32 << 10);
CONSTANT(script_operations, 1000000);
CONSTANT(code_instructions, 100000);
CONSTANT(poll_hz, 1000);
CONSTANT(hide_time, 1);
/* The kernel has a function `halt`. */
CONSTANT_IN(halts, halt, 0);

static struct ss_facts *facts;
static struct page *chunks[SS_CHUNKS];
static void *hypervisor;
static enum cpuhp_state hotplug_state;
static u64 launch_errors[SS_CORES];
static bool started[SS_CORES];
static u64 token;

/* kallsyms_lookup_name is not exported; a probe that is never armed tells where it is. */
static unsigned long (*lookup)(const char *name);

static int find_lookup(void)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	int error = register_kprobe(&probe);

	if (error)
		return error;
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
	return 0;
}

/* --- the line --- */

#define CLOCK_HZ 1843200 /* of a PC's port */

/* Its name, or why there is none. */
static char line_name[SS_REASON];

static struct acpi_table_header *table(const char *signature, u64 *len_bytes)
{
	struct acpi_table_header *found = NULL;

	if (acpi_disabled || ACPI_FAILURE(acpi_get_table((char *)signature, 0, &found)))
		return NULL;
	*len_bytes = found->length;
	return found;
}

static int choose_line(void)
{
	struct ss_line_wish wish = { .com = com, .io = io, .mmio = mmio, .stride = stride, .acpi = acpi };
	struct acpi_table_header *dbg2 = table(ACPI_SIG_DBG2, &wish.dbg2_bytes);
	struct acpi_table_header *spcr = table(ACPI_SIG_SPCR, &wish.spcr_bytes);
	struct acpi_table_header *madt = table(ACPI_SIG_MADT, &wish.madt_bytes);
	struct acpi_table_header *dmar = table(ACPI_SIG_DMAR, &wish.dmar_bytes);
	u64 is_chosen;

	wish.dbg2 = dbg2;
	wish.spcr = spcr;
	wish.madt = madt;
	wish.dmar = dmar;
	is_chosen = standstill_choose_line(&wish, &facts->line, line_name, sizeof(line_name));
	if (dbg2)
		acpi_put_table(dbg2);
	if (spcr)
		acpi_put_table(spcr);
	if (madt)
		acpi_put_table(madt);
	if (dmar)
		acpi_put_table(dmar);
	return is_chosen ? 0 : -EINVAL;
}

/* Whoever has a network and names no port wants no serial line. */
static bool wants_line(void)
{
	return !*net || com || io || mmio || acpi;
}

static int take_line(void)
{
	int error;

	if (!facts->line.len_bytes)
		return 0;
	error = line_take(&facts->line, line_name, lookup, force);
	if (error)
		return error;
	facts->line_linear = line_linear();
	facts->clock_hz = clock ?: line_clock_hz() ?: facts->line.clock_hz ?: CLOCK_HZ;
	return 0;
}

/* --- the network --- */

static struct ss_net network;
/* The key, from its file if one is named. */
static char key_text[SS_KEY];

static void forget_key(void)
{
	memzero_explicit(key_text, sizeof(key_text));
	memzero_explicit(network.seed, sizeof(network.seed));
}

static int read_key(char *why, size_t why_bytes)
{
	struct file *file;
	loff_t at = 0;
	ssize_t len;

	if (*key != '@') {
		strscpy(key_text, key, sizeof(key_text));
		memzero_explicit(key, strlen(key));
		return 0;
	}
	file = filp_open(key + 1, O_RDONLY, 0);
	if (IS_ERR(file)) {
		scnprintf(why, why_bytes, "key=%s: the file cannot be opened (error %ld)", key, PTR_ERR(file));
		return PTR_ERR(file);
	}
	len = kernel_read(file, key_text, sizeof(key_text) - 1, &at);
	filp_close(file, NULL);
	if (len < 0)
		scnprintf(why, why_bytes, "key=%s: the file cannot be read (error %zd)", key, len);
	return len < 0 ? len : 0;
}

static struct ss_text text(const char *bytes)
{
	return (struct ss_text){ bytes, strlen(bytes) };
}

static int choose_net(char *why, size_t why_bytes)
{
	int error;

	if (!*net)
		return 0;
	error = read_key(why, why_bytes);
	if (error)
		return error;
	network.net = text(net);
	network.key = text(key_text);
	network.ip = text(ip);
	network.gateway = text(gateway);
	network.mac = text(mac);
	network.panic_every = net_panics;
	get_random_bytes(network.seed, sizeof(network.seed));
	network.epoch_us = ktime_get_real_ns() / NSEC_PER_USEC - mul_u64_u64_div_u64(rdtsc_ordered(), USEC_PER_MSEC, tsc_khz);
	network.has_rtc = x86_platform.legacy.rtc;
	network.rtc_century = acpi_disabled ? 0 : acpi_gbl_FADT.century;
	return standstill_check_net(&network, why, why_bytes) ? 0 : -EINVAL;
}

static int take_card(void)
{
	return *net ? card_take(nic, *mac, &network.card) : 0;
}

/* --- the arena --- */

static void free_chunks(void)
{
	u64 i;

	for (i = 0; i < facts->chunk_count; i++)
		__free_pages(chunks[i], CHUNK_ORDER);
	facts->chunk_count = 0;
}

static int allocate_chunks(char *why, size_t why_bytes)
{
	u64 wanted = arena_bytes >> 21;

	if (!wanted || wanted > SS_CHUNKS || arena_bytes & ((1 << 21) - 1)) {
		scnprintf(why, why_bytes, "arena_bytes=%lu must be a multiple of 2097152, at most %u of them", arena_bytes,
			  SS_CHUNKS);
		return -EINVAL;
	}
	while (facts->chunk_count < wanted) {
		struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN, CHUNK_ORDER);

		if (!page) {
			scnprintf(why, why_bytes,
				  "no contiguous memory for the arena (%llu of %llu MiB found); load earlier after the boot or with a smaller arena_bytes",
				  facts->chunk_count * 2, wanted * 2);
			free_chunks();
			return -ENOMEM;
		}
		chunks[facts->chunk_count] = page;
		facts->chunks[facts->chunk_count++] = page_to_phys(page);
	}
	return 0;
}

/* --- facts --- */

static struct ss_image_page *image_pages;

static void image_range(u64 *count, void *base, unsigned long bytes, u64 kind)
{
	unsigned long at;

	for (at = 0; at < PAGE_ALIGN(bytes); at += PAGE_SIZE) {
		struct ss_image_page *page = &image_pages[(*count)++];

		page->linear = (u64)base + at;
		page->physical = page_to_phys(vmalloc_to_page(base + at));
		page->kind = kind;
	}
}

static int gather_image(void)
{
	struct module *self = THIS_MODULE;
	u64 count = 0;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	static const u64 kinds[] = {
		[MOD_TEXT] = 1, [MOD_DATA] = 0, [MOD_RODATA] = 2, [MOD_RO_AFTER_INIT] = 0,
	};
	unsigned long pages = 0;
	int type;

	for (type = MOD_TEXT; type <= MOD_RO_AFTER_INIT; type++)
		pages += PAGE_ALIGN(self->mem[type].size) >> PAGE_SHIFT;
	image_pages = kcalloc(pages, sizeof(*image_pages), GFP_KERNEL);
	if (!image_pages)
		return -ENOMEM;
	for (type = MOD_TEXT; type <= MOD_RO_AFTER_INIT; type++)
		image_range(&count, self->mem[type].base, self->mem[type].size, kinds[type]);
	facts->image_base = (u64)self->mem[MOD_TEXT].base;
	facts->image_bytes = PAGE_ALIGN(self->mem[MOD_TEXT].size);
#else
	struct module_layout *layout = &self->core_layout;

	image_pages = kcalloc(PAGE_ALIGN(layout->size) >> PAGE_SHIFT, sizeof(*image_pages), GFP_KERNEL);
	if (!image_pages)
		return -ENOMEM;
	image_range(&count, layout->base, layout->text_size, 1);
	image_range(&count, layout->base + layout->text_size, layout->ro_size - layout->text_size, 2);
	image_range(&count, layout->base + layout->ro_size, layout->size - layout->ro_size, 0);
	facts->image_base = (u64)layout->base;
	facts->image_bytes = layout->text_size;
#endif
	facts->image_pages = image_pages;
	facts->image_page_count = count;
	return 0;
}

static void gather_memory(void)
{
	struct resource *resource;
	u64 count = 0;

	for (resource = iomem_resource.child; resource; resource = resource->sibling) {
		u64 end = resource->end + 1;

		if (end > facts->physical_limit)
			facts->physical_limit = end;
		if ((resource->flags & IORESOURCE_SYSTEM_RAM) == IORESOURCE_SYSTEM_RAM && count < SS_RAM_RANGES) {
			/* Whole pages: firmware tables may begin in the middle of one. */
			u64 start = PAGE_ALIGN(resource->start);

			facts->ram[count].start = start;
			facts->ram[count].len_bytes = (end & PAGE_MASK) - start;
			count++;
		}
	}
	/* The local APIC and the flash sit below 4 GiB whatever the list says. */
	facts->physical_limit = ALIGN(max_t(u64, facts->physical_limit, 1ULL << 32), 1ULL << 30);
}

static void gather_tasks(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
	facts->task_state = offsetof(struct task_struct, __state);
#else
	facts->task_state = offsetof(struct task_struct, state);
#endif
	facts->task_exit_state = offsetof(struct task_struct, exit_state);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 16, 0)
	facts->task_core = offsetof(struct task_struct, thread_info.cpu);
#else
	facts->task_core = offsetof(struct task_struct, cpu);
#endif
	facts->task_parent = offsetof(struct task_struct, real_parent);
	facts->task_signal = offsetof(struct task_struct, signal);
	facts->signal_threads = offsetof(struct signal_struct, thread_head);
	facts->task_thread_node = offsetof(struct task_struct, thread_node);
	facts->task_stack = offsetof(struct task_struct, thread.sp);
	facts->mm_command_start = offsetof(struct mm_struct, arg_start);
	facts->mm_command_end = offsetof(struct mm_struct, arg_end);
}

static void gather_layout(void)
{
	unsigned int core;

	facts->init_task = (u64)&init_task;
	facts->task_tasks = offsetof(struct task_struct, tasks);
	facts->task_tgid = offsetof(struct task_struct, tgid);
	facts->task_pid = offsetof(struct task_struct, pid);
	facts->task_mm = offsetof(struct task_struct, mm);
	facts->task_active_mm = offsetof(struct task_struct, active_mm);
	facts->task_leader = offsetof(struct task_struct, group_leader);
	facts->task_comm = offsetof(struct task_struct, comm);
	facts->mm_pgd = offsetof(struct mm_struct, pgd);
	gather_tasks();
	for_each_possible_cpu(core) {
		if (core >= SS_CORES)
			break;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
		facts->current_task_slot[core] = slow_virt_to_phys(per_cpu_ptr((void __percpu *)&current_task, core));
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
		facts->current_task_slot[core] = slow_virt_to_phys(&per_cpu(pcpu_hot, core).current_task);
#else
		facts->current_task_slot[core] = slow_virt_to_phys(&per_cpu(current_task, core));
#endif
	}
	/* A new module stands first in the list, so the head is right before it. */
	facts->modules_head = (u64)THIS_MODULE->list.prev;
	facts->module_list = offsetof(struct module, list);
	facts->module_name = offsetof(struct module, name);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	facts->module_base = offsetof(struct module, mem[MOD_TEXT].base);
	facts->module_size = offsetof(struct module, mem[MOD_TEXT].size);
#else
	facts->module_base = offsetof(struct module, core_layout.base);
	facts->module_size = offsetof(struct module, core_layout.size);
#endif
	facts->module_kallsyms = offsetof(struct module, kallsyms);
	facts->kallsyms_symtab = offsetof(struct mod_kallsyms, symtab);
	facts->kallsyms_count = offsetof(struct mod_kallsyms, num_symtab);
	facts->kallsyms_strtab = offsetof(struct mod_kallsyms, strtab);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 8, 0) && defined(CONFIG_BPF_JIT)
	facts->bpf_head = lookup("bpf_kallsyms");
	facts->bpf_list = offsetof(struct bpf_ksym, lnode);
	facts->bpf_start = offsetof(struct bpf_ksym, start);
	facts->bpf_end = offsetof(struct bpf_ksym, end);
	facts->bpf_name = offsetof(struct bpf_ksym, name);
#endif
}

/* What of the kernel itself stands in the way, in words. */
static int look_at_kernel(char *why, size_t why_bytes)
{
	int error;

	if (nr_cpu_ids > SS_CORES) {
		scnprintf(why, why_bytes, "%u cores are more than the %u this driver supports; boot with nr_cpus=%u", nr_cpu_ids,
			  SS_CORES, SS_CORES);
		return -E2BIG;
	}
	error = find_lookup();
	if (error) {
		scnprintf(why, why_bytes, "the kernel has no kprobes, which finding its symbols needs (error %d)", error);
		return error;
	}
	if (!lookup("init_mm") || !lookup("_text")) {
		scnprintf(why, why_bytes, "the kernel lists no symbols (CONFIG_KALLSYMS_ALL)");
		return -ENOENT;
	}
	return 0;
}

static int gather_facts(char *why, size_t why_bytes)
{
	const ulong constants[SS_CONSTANTS] = {
		arena_bytes, prealloc_only_bytes, regular_events, big_events, ept_hooks, ept_hooks2, monitors,
		regular_safe_buffers, big_safe_buffers, regular_condition_bytes, big_condition_bytes,
		regular_action_bytes, big_action_bytes, regular_safe_buffer_bytes, big_safe_buffer_bytes,
		arena_growth_bytes, replenish_ms, message_ring_bytes, script_operations, code_instructions, poll_hz, hide_time,
		halts,
	};
	struct mm_struct *kernel_mm;
	int i, error;

	error = wants_line() ? choose_line() : 0;
	if (error) {
		strscpy(why, line_name, why_bytes);
		return error;
	}
	error = look_at_kernel(why, why_bytes);
	if (error)
		return error;
	kernel_mm = (struct mm_struct *)lookup("init_mm");
	facts->kernel_base = lookup("_text");
	facts->kernel_bytes = lookup("_end") - facts->kernel_base;
	facts->entry_base = lookup("__entry_text_start");
	facts->entry_bytes = lookup("__entry_text_end") - facts->entry_base;
	facts->core_selector = __CPUNODE_SEG;
	facts->size_bytes = sizeof(*facts);
	facts->kernel_cr3 = __pa(kernel_mm->pgd);
	facts->kernel_cr4 = __read_cr4();
	facts->direct_map_base = PAGE_OFFSET;
	facts->core_count = nr_cpu_ids;
	facts->tsc_khz = tsc_khz;
	facts->baud_hz = baud;
	facts->baud_fixed = baud_fixed;
	facts->session = get_random_u64();
	token = get_random_u64() | 1;
	facts->token = token;
	for (i = 0; i < SS_CONSTANTS; i++)
		facts->constants[i] = constants[i];
	facts->banner_bytes = min_t(int, SS_BANNER, scnprintf(facts->banner, SS_BANNER, "%s %s %s", init_utsname()->sysname,
							      init_utsname()->release, init_utsname()->version));
	gather_memory();
	gather_layout();
	error = choose_net(why, why_bytes);
	return error ?: gather_image();
}

/* --- cores --- */

static void start_this_core(void *unused)
{
	unsigned int core = smp_processor_id();

	if (started[core])
		return;
	launch_errors[core] = standstill_start_core(hypervisor, core);
	started[core] = !launch_errors[core];
}

/* Read-only parameter: VM exits of the core that reads it. */
static int get_exits(char *buffer, const struct kernel_param *unused)
{
	u64 exits = 0;

	preempt_disable();
	if (started[smp_processor_id()])
		exits = standstill_exits(token);
	preempt_enable();
	return scnprintf(buffer, PAGE_SIZE, "%llu\n", exits);
}

static const struct kernel_param_ops exits_ops = { .get = get_exits };
module_param_cb(exits, &exits_ops, NULL, 0444);
MODULE_PARM_DESC(exits, "VM exits of the core that reads this");

/* A core that was offline at load and comes online later. */
static int core_online(unsigned int core)
{
	unsigned long flags;

	local_irq_save(flags);
	start_this_core(NULL);
	local_irq_restore(flags);
	if (launch_errors[core])
		pr_err("core %u: launch failed (%#llx)\n", core, launch_errors[core]);
	return launch_errors[core] ? -EIO : 0;
}

/*
 * All cores leave together, and each tells the kernel's watchdogs that it was away: the time that was hidden from
 * the guest appears at once.
 */
static void (*reset_rcu_stall)(void);

static int leave_here(void *unused)
{
	if (!started[smp_processor_id()])
		return 0;
	/* None leaves before all have come here. */
	while (!standstill_stop_core(token))
		cpu_relax();
	started[smp_processor_id()] = false;
	touch_nmi_watchdog();
	if (reset_rcu_stall)
		reset_rcu_stall();
	return 0;
}

static void stop_all(void)
{
	void (*touch_clocksource)(void) = (void *)lookup("clocksource_touch_watchdog");

	reset_rcu_stall = (void *)lookup("rcu_cpu_stall_reset");
	stop_machine(leave_here, NULL, cpu_online_mask);
	if (touch_clocksource)
		touch_clocksource();
}

/* Which index of the real-time clock is chosen, nobody can read: the hypervisor knows it once it was written. */
static void show_rtc(void)
{
	unsigned long flags;

	if (!network.has_rtc)
		return;
	spin_lock_irqsave(&rtc_lock, flags);
	CMOS_READ(RTC_VALID);
	spin_unlock_irqrestore(&rtc_lock, flags);
}

static int start_all(void)
{
	unsigned int core;
	int error = 0;

	/* Calls `core_online` on every core that is online now, too. */
	error = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "standstill:online", core_online, NULL);
	if (error < 0) {
		for_each_online_cpu(core)
			if (launch_errors[core])
				pr_err("core %u: launch failed (%#llx)\n", core, launch_errors[core]);
		stop_all();
		return error;
	}
	hotplug_state = error;
	show_rtc();
	standstill_arm(token);
	return 0;
}

/* --- occasions --- */

static void tell_occasion(const struct ss_occasion *occasion)
{
	preempt_disable_notrace();
	if (started[raw_smp_processor_id()])
		standstill_occasion(token, occasion);
	preempt_enable_notrace();
}

/* --- the replenisher --- */

static struct task_struct *replenisher;

/* What a core draws itself, and what the kernel gave at load, is all that the network has else. */
static void stir(void)
{
	int words;

	for (words = 0; *net && words < 4; words++)
		standstill_stir(token, get_random_u64());
}

/* Gives the arena what its pools want. Memory that was taken is not touched here until all cores have left. */
static int replenish(void *unused)
{
	unsigned long due = jiffies;

	while (!kthread_should_stop()) {
		bool is_due = replenish_ms && time_after_eq(jiffies, due);
		u64 wanted = is_due ? standstill_wanted_chunks(token) : 0;

		if (is_due)
			due = jiffies + msecs_to_jiffies(replenish_ms);
		if (standstill_wants_crash(token))
			panic("asked for by the debugger");

		while (wanted-- && facts->chunk_count < SS_CHUNKS) {
			struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN, CHUNK_ORDER);

			if (!page)
				break;
			/* The mark of memory that is nobody else's. */
			*(u64 *)page_address(page) = token;
			if (!standstill_take_chunk(token, page_to_phys(page))) {
				__free_pages(page, CHUNK_ORDER);
				break;
			}
			chunks[facts->chunk_count++] = page;
		}
		if (is_due)
			stir();
		schedule_timeout_interruptible(msecs_to_jiffies(min_not_zero(replenish_ms, 1000UL)));
	}
	return 0;
}

static void start_replenisher(void)
{
	replenisher = kthread_run(replenish, NULL, "standstill");
	if (IS_ERR(replenisher)) {
		pr_warn("pools are not refilled by themselves (error %ld)\n", PTR_ERR(replenisher));
		replenisher = NULL;
	}
}

static void stop_replenisher(void)
{
	if (replenisher)
		kthread_stop(replenisher);
}

/* --- load and unload --- */

static int build(void)
{
	char reason[SS_REASON] = "";
	void *stack = vmalloc(BOOT_STACK_BYTES);

	if (!stack)
		return -ENOMEM;
	hypervisor = standstill_build(facts, &network, (unsigned long)stack + BOOT_STACK_BYTES, reason, sizeof(reason));
	/* The key was there. */
	if (*net)
		memzero_explicit(stack, BOOT_STACK_BYTES);
	vfree(stack);
	if (hypervisor)
		return 0;
	pr_err("not loaded: %s\n", reason);
	return -ENODEV;
}

/* All that loading would ask, each answer a line of the log. */
static int examine(void)
{
	char why[SS_REASON] = "";
	bool has_symbols;

	doctor_processor();
	has_symbols = !look_at_kernel(why, sizeof(why));
	if (has_symbols)
		scnprintf(why, sizeof(why), "%u cores of at most %u, and the symbols it takes", nr_cpu_ids, SS_CORES);
	doctor_say(has_symbols ? FINE : CHANGE, "kernel", why);
	doctor_signature();
	if (allocate_chunks(why, sizeof(why))) {
		doctor_say(CHANGE, "memory", why);
	} else {
		scnprintf(why, sizeof(why), "%lu MiB for the arena", arena_bytes >> 20);
		doctor_say(FINE, "memory", why);
		free_chunks();
	}
	if (wants_line() && choose_line())
		doctor_say(CHANGE, "line", line_name);
	else if (wants_line() && has_symbols)
		line_examine(&facts->line, line_name, lookup, force);
	if (*net && choose_net(why, sizeof(why)))
		doctor_say(CHANGE, "network", why);
	else if (*net)
		card_examine(nic, *mac);
	return doctor_end() ? -ENODEV : -ECANCELED;
}

static int __init standstill_init(void)
{
	char why[SS_REASON] = "";
	int error;

	facts = kvzalloc(sizeof(*facts), GFP_KERNEL);
	if (!facts)
		return -ENOMEM;
	if (doctor) {
		error = examine();
		goto free_facts;
	}
	error = gather_facts(why, sizeof(why)) ?: allocate_chunks(why, sizeof(why));
	if (error) {
		if (*why)
			pr_err("%s\n", why);
		goto free_facts;
	}
	error = take_line();
	if (error)
		goto free_arena;
	error = take_card();
	if (error)
		goto give_line_back;
	error = build();
	if (error)
		goto give_card_back;
	error = start_all();
	if (error)
		goto give_card_back;
	forget_key();
	start_replenisher();
	occasions_begin(tell_occasion);
	if (*line_name)
		pr_info("%u cores under the hypervisor, line on %s at %u baud, arena %lu MiB\n", num_online_cpus(),
			line_name, baud, arena_bytes >> 20);
	if (*net)
		pr_info("%u cores under the hypervisor, calling the host at %s, arena %lu MiB\n", num_online_cpus(), net,
			arena_bytes >> 20);
	return 0;

give_card_back:
	card_give_back();
give_line_back:
	line_give_back();
free_arena:
	free_chunks();
free_facts:
	forget_key();
	kfree(image_pages);
	kvfree(facts);
	return error;
}

/* No thread may be left in the code of a detour when that goes: one that was preempted there runs on first. */
static void empty_detours(void)
{
	bool used = false;

	preempt_disable();
	if (started[smp_processor_id()])
		used = standstill_clear(token);
	preempt_enable();
	if (used)
		synchronize_rcu_tasks();
}

/* A core that is offline is under the hypervisor, too, and leaves like the others: it comes online for it. */
static struct cpumask woken;

static void wake_offline(void)
{
	unsigned int core;

	for_each_possible_cpu(core) {
		if (!started[core] || cpu_online(core))
			continue;
		while (add_cpu(core)) {
			pr_warn_once("core %u is offline and does not come online, which it has to before the driver can go\n", core);
			msleep(1000);
		}
		cpumask_set_cpu(core, &woken);
	}
}

static void __exit standstill_exit(void)
{
	unsigned int core;

	occasions_end();
	stop_replenisher();
	empty_detours();
	cpuhp_remove_state_nocalls(hotplug_state);
	wake_offline();
	stop_all();
	for_each_cpu(core, &woken)
		remove_cpu(core);
	card_give_back();
	line_give_back();
	free_chunks();
	kfree(image_pages);
	kvfree(facts);
	pr_info("unloaded\n");
}

module_init(standstill_init);
module_exit(standstill_exit);
MODULE_DESCRIPTION("Standstill: a kernel debugger's hypervisor");
MODULE_LICENSE("Dual MIT/GPL");
