// SPDX-License-Identifier: GPL-2.0
// Executes, in the debuggee's kernel, what a hypervisor must get right. Driven through /sys/module/lab_probe/parameters:
//
//   spin_ms   write N: every online core spins with interrupts off for N ms, all at once
//   vmx       read: "core N vmxe=0|1" per core, from CR4. With a hypervisor below, this is what it lets the kernel see.
//   run       write what it does (cr0 cr3 cr4 cr8 xsetbv wbinvd invd rdmsr wrmsr vmcall dr rdpmc rdtsc port ud2 ipi nmi
//             df): every core does it. df is a double fault, which no kernel survives: whoever is below must let the core
//             go on at RCX with the RSP that RBX holds
//   here      the same, but only the core that the writing process runs on
//   result    read: what the last run found, one line per core
//   count     write SYMBOL or SYMBOL+OFFSET (hex): counts by a kprobe how often that instruction is executed;
//             read: "SYMBOL+OFFSET N"; write "-": stop
//   target    write N: calls lab_probe_target N times; read: "calls N address A crossing C", C that of a function whose
//             first instruction ends three bytes into the next page
//   crossing  write N: calls that function N times; read: "gave V", what the last call gave, 5 if it gave nothing
//   pushes    write N: calls lab_probe_pushes N times, which begins with short instructions, and fails if it ever gave
//             another value than it should; read: "wrong N", how often
//   keyed     write "on" or "off": turns a static key; write N: calls lab_probe_keyed N times, which begins with a jump that
//             the key makes or not, and fails if it gives another value than it should
//   send      write "nmi N" or "ipi N": sends core 1 so many NMIs or interrupts, each when the one before was handled;
//             read: "sent N handled M"
//   vmxe      write 1 or 0: sets or clears CR4.VMXE on every core, as another hypervisor does first; 2: sets it on core 1
//             alone
//   x2apic    write N: every core puts its local APIC into x2APIC mode and spins with interrupts off for N ms. The kernel
//             knows nothing of it and is of no use afterwards
//   touch     read: "virtual V physical P word W" of four pages of the module's own, one behind the other in memory, and
//             what the last load found; write an access of one instruction: "load ADDR", "store ADDR [WORD]",
//             "add ADDR [WORD]" (8 bytes each, 1 if not said), "compare ADDR ADDR",
//             "move FROM TO COUNT" (bytes, REP MOVSB), "out PORT FROM COUNT" and "in PORT TO COUNT" (REP OUTSB, REP INSB),
//             "outb PORT VALUE" and "inb PORT" (what is read is the word)
//   claim     write PORT (hex): claims eight I/O ports from there, as a driver does; write 0: gives them up
//   card      what the kernel has for the first base address register of the network card: write 1: no place, 2: I/O ports,
//             3: one page, 4: a place in the middle of a page, 0: as it was
//   cost      write "cpuid LEAF", "target", "load ADDR" or "nothing" (numbers in hex): measures it a thousand times, with
//             interrupts off; read: "median N", in ticks of the time-stamp counter, those of reading it not counted
//   page      read: "virtual V physical P" of a page of the module's own; write N: stores N in its first word
#include <linux/jump_label.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/sort.h>
#include <linux/timekeeping.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <asm/apic.h>
#include <asm/hardirq.h>
#include <asm/nmi.h>

#define MAX_CORES 64
static u64 found[MAX_CORES][2];
static char last_run[16];

static void spin_one(void *info)
{
	u64 end = ktime_get_mono_fast_ns() + *(u64 *)info * NSEC_PER_MSEC;

	while (ktime_get_mono_fast_ns() < end)
		cpu_relax();
}

static int spin_set(const char *value, const struct kernel_param *kp)
{
	u64 ms;
	int error = kstrtou64(value, 0, &ms);

	if (error)
		return error;
	on_each_cpu(spin_one, &ms, 1);
	return 0;
}
static const struct kernel_param_ops spin_ops = { .set = spin_set };
module_param_cb(spin_ms, &spin_ops, NULL, 0200);

static u64 read_cr4_now(void)
{
	u64 value;

	asm volatile("mov %%cr4, %0" : "=r"(value) : : "memory");
	return value;
}

static void write_cr4_now(u64 value)
{
	// The kernel's own helper would restore the bits it has pinned; the instruction itself is what is wanted.
	asm volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

static u64 read_cr0_now(void)
{
	u64 value;

	asm volatile("mov %%cr0, %0" : "=r"(value) : : "memory");
	return value;
}

static void write_cr0_now(u64 value)
{
	asm volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

static void note(u64 first, u64 second)
{
	unsigned int core = smp_processor_id();

	if (core < MAX_CORES) {
		found[core][0] = first;
		found[core][1] = second;
	}
}

static int print_cores(char *buffer, int (*line)(char *, size_t, unsigned int))
{
	unsigned int core;
	int used = 0;

	for_each_online_cpu(core)
		if (core < MAX_CORES)
			used += line(buffer + used, PAGE_SIZE - used, core);
	return used;
}

static void vmx_one(void *info)
{
	note(!!(read_cr4_now() & X86_CR4_VMXE), 0);
}

static int vmx_line(char *buffer, size_t size, unsigned int core)
{
	return scnprintf(buffer, size, "core %u vmxe=%llu\n", core, found[core][0]);
}

static int vmx_get(char *buffer, const struct kernel_param *kp)
{
	on_each_cpu(vmx_one, NULL, 1);
	return print_cores(buffer, vmx_line);
}
static const struct kernel_param_ops vmx_ops = { .get = vmx_get };
module_param_cb(vmx, &vmx_ops, NULL, 0400);

static void vmxe_one(void *info)
{
	u64 value = read_cr4_now() & ~(u64)X86_CR4_VMXE;

	write_cr4_now(*(u64 *)info ? value | X86_CR4_VMXE : value);
}

static int vmxe_set(const char *value, const struct kernel_param *kp)
{
	u64 on;
	int error = kstrtou64(value, 0, &on);

	if (!error && on == 2)
		error = smp_call_function_single(1, vmxe_one, &on, 1);
	else if (!error)
		on_each_cpu(vmxe_one, &on, 1);
	return error;
}
static const struct kernel_param_ops vmxe_ops = { .set = vmxe_set };
module_param_cb(vmxe, &vmxe_ops, NULL, 0200);

static void x2apic_one(void *info)
{
	u64 base;

	rdmsrl(MSR_IA32_APICBASE, base);
	wrmsrl(MSR_IA32_APICBASE, base | X2APIC_ENABLE);
	spin_one(info);
}

static int x2apic_set(const char *value, const struct kernel_param *kp)
{
	u64 ms;
	int error = kstrtou64(value, 0, &ms);

	if (!error)
		on_each_cpu(x2apic_one, &ms, 1);
	return error;
}
static const struct kernel_param_ops x2apic_ops = { .set = x2apic_set };
module_param_cb(x2apic, &x2apic_ops, NULL, 0200);

// Each of these leaves the core as it was. They run with interrupts off, so nobody sees the state in between.
static void cr0_one(void *info)
{
	u64 before = read_cr0_now(), during;

	write_cr0_now(before | X86_CR0_TS);
	during = read_cr0_now();
	write_cr0_now(before);
	note(during ^ before, read_cr0_now() ^ before);
}

static void cr3_one(void *info)
{
	u64 before, after;

	asm volatile("mov %%cr3, %0" : "=r"(before) : : "memory");
	asm volatile("mov %0, %%cr3" : : "r"(before) : "memory");
	asm volatile("mov %%cr3, %0" : "=r"(after) : : "memory");
	note(0, before ^ after);
}

static void cr4_one(void *info)
{
	u64 before = read_cr4_now(), during;

	write_cr4_now(before ^ X86_CR4_PCE);
	during = read_cr4_now();
	write_cr4_now(before);
	note(during ^ before, read_cr4_now() ^ before);
}

static void cr8_one(void *info)
{
	u64 before, during, after;

	asm volatile("mov %%cr8, %0" : "=r"(before));
	asm volatile("mov %0, %%cr8" : : "r"(before ^ 1));
	asm volatile("mov %%cr8, %0" : "=r"(during));
	asm volatile("mov %0, %%cr8" : : "r"(before));
	asm volatile("mov %%cr8, %0" : "=r"(after));
	note(during ^ before, after ^ before);
}

static void xsetbv_one(void *info)
{
	u32 low, high, during, low_after, high_after;

	if (!(read_cr4_now() & X86_CR4_OSXSAVE)) {
		note(0, 0);
		return;
	}
	asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	// Without all but x87 and SSE, and back.
	asm volatile("xsetbv" : : "a"(low & 3), "d"(0), "c"(0));
	asm volatile("xgetbv" : "=a"(during), "=d"(high_after) : "c"(0));
	asm volatile("xsetbv" : : "a"(low), "d"(high), "c"(0));
	asm volatile("xgetbv" : "=a"(low_after), "=d"(high_after) : "c"(0));
	note(low ^ during, (low ^ low_after) | (u64)(high ^ high_after) << 32);
}

static void wbinvd_one(void *info)
{
	asm volatile("wbinvd" : : : "memory");
	note(0, 0);
}

// INVD throws modified lines away. The WBINVD before it leaves none that matter, and a hypervisor makes it a WBINVD.
static void invd_one(void *info)
{
	asm volatile("wbinvd\n\tinvd" : : : "memory");
	note(0, 0);
}

static void rdmsr_one(void *info)
{
	u64 value = 0;

	int fault = rdmsrl_safe(MSR_EFER, &value);

	note(fault, value);
}

static void wrmsr_one(void *info)
{
	u64 before = 0, during = 0, after = 0;

	rdmsrl(MSR_KERNEL_GS_BASE, before);
	wrmsrl(MSR_KERNEL_GS_BASE, before ^ 0x1000);
	rdmsrl(MSR_KERNEL_GS_BASE, during);
	wrmsrl(MSR_KERNEL_GS_BASE, before);
	rdmsrl(MSR_KERNEL_GS_BASE, after);
	note(before ^ during, before ^ after);
}

// A fault is fixed up, as the kernel does for its own.
#define FIXED_UP(instruction, fault, ...) \
	asm volatile("1: " instruction "\n2:\n\t.pushsection .fixup, \"ax\"\n3: movq $1, %0\n\tjmp 2b\n\t.popsection\n" \
		     _ASM_EXTABLE(1b, 3b) : "+r"(fault) : __VA_ARGS__)

static void vmcall_one(void *info)
{
	u64 fault = 0;

	FIXED_UP("vmcall", fault, "a"(0), "c"(0));
	note(fault, 0);
}

static void dr_one(void *info)
{
	u64 before = 0, during = 0, after = 0;

	asm volatile("mov %%dr3, %0" : "+r"(before));
	asm volatile("mov %0, %%dr3" : : "r"(before ^ 0x1000));
	asm volatile("mov %%dr3, %0" : "+r"(during));
	asm volatile("mov %0, %%dr3" : : "r"(before));
	asm volatile("mov %%dr3, %0" : "+r"(after));
	note(before ^ during, before ^ after);
}

static void rdpmc_one(void *info)
{
	u32 low, high;

	asm volatile("rdpmc" : "=a"(low), "=d"(high) : "c"(0));
	note(0, low);
}

// Tells the reads below from the kernel's own.
#define OURS 0x57ad5711

static void rdtsc_one(void *info)
{
	u32 low, high;
	u64 first, second;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : "b"(OURS));
	first = (u64)high << 32 | low;
	asm volatile("rdtsc" : "=a"(low), "=d"(high) : "b"(OURS));
	second = (u64)high << 32 | low;
	note(second < first, second);
}

// A register of the DMA controller that nothing uses and that keeps what it is given: one for all cores, so that each
// waits for the others to be done with it.
static DEFINE_RAW_SPINLOCK(port_lock);

static void port_one(void *info)
{
	u8 before, during;

	raw_spin_lock(&port_lock);
	before = inb(0x84);
	outb(before ^ 0x55, 0x84);
	during = inb(0x84);
	outb(before, 0x84);
	raw_spin_unlock(&port_lock);
	note(before ^ during, during);
}

// An interrupt that the kernel counts and does nothing for. Only for processes: it comes while interrupts are let in.
static void ipi_one(void *info)
{
	unsigned int before = this_cpu_read(irq_stat.x86_platform_ipis), i;

	apic->send_IPI_self(X86_PLATFORM_IPI_VECTOR);
	local_irq_enable();
	for (i = 0; i < 1000; i++)
		cpu_relax();
	local_irq_disable();
	note(this_cpu_read(irq_stat.x86_platform_ipis) - before, 0);
}

static void ud2_one(void *info)
{
	u64 fault = 0;

	FIXED_UP("ud2", fault, "a"(0));
	note(fault, 0);
}

// NMIs that a core has sent itself and not seen yet, and those that it has seen.
static DEFINE_PER_CPU(u32, own_nmis_sent);
static DEFINE_PER_CPU(u32, own_nmis_seen);

static void nmi_one(void *info)
{
	u32 before = this_cpu_read(own_nmis_seen), i;

	this_cpu_write(own_nmis_sent, 1);
	apic->send_IPI(smp_processor_id(), NMI_VECTOR);
	for (i = 0; i < 1000; i++)
		cpu_relax();
	this_cpu_write(own_nmis_sent, 0);
	note(this_cpu_read(own_nmis_seen) - before, 0);
}

// A page fault, for whose frame there is no stack.
static void df_one(void *info)
{
	u64 gave = 0;

	asm volatile("movq %%rsp, %%rbx\n\tleaq 1f(%%rip), %%rcx\n\tmovq $0x1000, %%rsp\n\tpushq %%rbx\n1:"
		     : "+a"(gave) : : "rbx", "rcx", "memory");
	note(gave, 0);
}

static const struct {
	const char *name;
	void (*one)(void *info);
} runs[] = {
	{ "vmcall", vmcall_one }, { "dr", dr_one }, { "rdpmc", rdpmc_one }, { "rdtsc", rdtsc_one },
	{ "port", port_one }, { "ud2", ud2_one }, { "ipi", ipi_one }, { "nmi", nmi_one }, { "df", df_one },
	{ "cr0", cr0_one }, { "cr3", cr3_one }, { "cr4", cr4_one }, { "cr8", cr8_one },
	{ "xsetbv", xsetbv_one }, { "wbinvd", wbinvd_one }, { "invd", invd_one },
	{ "rdmsr", rdmsr_one }, { "wrmsr", wrmsr_one },
};

static int run_set(const char *value, const struct kernel_param *kp)
{
	unsigned long flags;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(runs); i++) {
		if (!sysfs_streq(value, runs[i].name))
			continue;
		memset(found, 0, sizeof(found));
		strscpy(last_run, runs[i].name, sizeof(last_run));
		if (!strcmp(kp->name, "run")) {
			on_each_cpu(runs[i].one, NULL, 1);
			return 0;
		}
		local_irq_save(flags);
		runs[i].one(NULL);
		local_irq_restore(flags);
		return 0;
	}
	return -EINVAL;
}
static const struct kernel_param_ops run_ops = { .set = run_set };
module_param_cb(run, &run_ops, NULL, 0200);
module_param_cb(here, &run_ops, NULL, 0200);

static int result_line(char *buffer, size_t size, unsigned int core)
{
	return scnprintf(buffer, size, "core %u %s %#llx %#llx\n", core, last_run, found[core][0], found[core][1]);
}

static int result_get(char *buffer, const struct kernel_param *kp)
{
	return print_cores(buffer, result_line);
}
static const struct kernel_param_ops result_ops = { .get = result_get };
module_param_cb(result, &result_ops, NULL, 0400);

static atomic64_t probe_hits;
static char probe_symbol[KSYM_NAME_LEN];
static char probe_function[KSYM_NAME_LEN];
static struct kprobe probe;

static int probe_hit(struct kprobe *p, struct pt_regs *regs)
{
	atomic64_inc(&probe_hits);
	return 0;
}

static void count_stop(void)
{
	if (probe.addr)
		unregister_kprobe(&probe);
	memset(&probe, 0, sizeof(probe));
}

static int count_set(const char *value, const struct kernel_param *kp)
{
	int error;
	char *plus;

	count_stop();
	strscpy(probe_symbol, value, sizeof(probe_symbol));
	strim(probe_symbol);
	atomic64_set(&probe_hits, 0);
	if (!strcmp(probe_symbol, "-"))
		return 0;
	strscpy(probe_function, probe_symbol, sizeof(probe_function));
	plus = strchr(probe_function, '+');
	if (plus) {
		*plus = 0;
		error = kstrtouint(plus + 1, 16, &probe.offset);
		if (error)
			return error;
	}
	probe.symbol_name = probe_function;
	probe.pre_handler = probe_hit;
	error = register_kprobe(&probe);
	if (error)
		memset(&probe, 0, sizeof(probe));
	return error;
}

static int count_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "%s %lld\n", probe_symbol, (s64)atomic64_read(&probe_hits));
}
static const struct kernel_param_ops count_ops = { .set = count_set, .get = count_get };
module_param_cb(count, &count_ops, NULL, 0600);

static u64 target_calls;

noinline u64 lab_probe_target(u64 first, u64 second);
noinline u64 lab_probe_target(u64 first, u64 second)
{
	target_calls++;
	barrier();
	return first + second;
}

static int target_set(const char *value, const struct kernel_param *kp)
{
	u64 count, i;
	int error = kstrtou64(value, 0, &count);

	if (error)
		return error;
	for (i = 0; i < count; i++)
		lab_probe_target(i, count);
	return 0;
}

// Seven bytes of its first instruction stand on one page and three on the next.
void lab_probe_crossing(void);
asm(".pushsection .text\n"
    ".balign 4096\n"
    ".skip 4089, 0x90\n"
    ".type lab_probe_crossing, @function\n"
    "lab_probe_crossing: movabsq $0x1122334455667788, %rax\n"
    "ret\n"
    ".size lab_probe_crossing, . - lab_probe_crossing\n"
    ".popsection\n");

static int target_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "calls %llu address %#lx crossing %#lx\n", target_calls,
			 (unsigned long)lab_probe_target, (unsigned long)lab_probe_crossing);
}
static const struct kernel_param_ops target_ops = { .set = target_set, .get = target_get };
module_param_cb(target, &target_ops, NULL, 0600);

static u64 crossing_gave;

static int crossing_set(const char *value, const struct kernel_param *kp)
{
	u64 count, i, gave = 0;
	int error = kstrtou64(value, 0, &count);

	for (i = 0; !error && i < count; i++) {
		gave = 5;
		asm volatile("call lab_probe_crossing" : "+a"(gave), ASM_CALL_CONSTRAINT : : "memory");
	}
	crossing_gave = gave;
	return error;
}

static int crossing_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "gave %#llx\n", crossing_gave);
}
static const struct kernel_param_ops crossing_ops = { .set = crossing_set, .get = crossing_get };
module_param_cb(crossing, &crossing_ops, NULL, 0600);

// Short instructions one behind the other: a jump is written over several of them. Gives its argument and 5.
u64 lab_probe_pushes(u64 value);
asm(".pushsection .text\n"
    ".balign 64\n"
    ".globl lab_probe_pushes\n"
    ".type lab_probe_pushes, @function\n"
    "lab_probe_pushes: push %rbx\n"
    "push %r12\n"
    "mov %rdi, %rbx\n"
    "mov $5, %r12d\n"
    "lea (%rbx, %r12), %rax\n"
    "pop %r12\n"
    "pop %rbx\n"
    "ret\n"
    "int3\n"
    ".size lab_probe_pushes, . - lab_probe_pushes\n"
    ".popsection\n");

static u64 pushes_wrong;

static int pushes_set(const char *value, const struct kernel_param *kp)
{
	u64 count, i;
	int error = kstrtou64(value, 0, &count);

	for (i = 0; !error && i < count; i++)
		pushes_wrong += lab_probe_pushes(i) != i + 5;
	return error ? error : pushes_wrong ? -EIO : 0;
}

static int pushes_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "wrong %llu\n", pushes_wrong);
}
static const struct kernel_param_ops pushes_ops = { .set = pushes_set, .get = pushes_get };
module_param_cb(pushes, &pushes_ops, NULL, 0600);

static DEFINE_STATIC_KEY_FALSE(key);

noinline u64 lab_probe_keyed(u64 first);
noinline notrace u64 lab_probe_keyed(u64 first)
{
	if (static_branch_unlikely(&key))
		return first + 2;
	// So long that the jump over it takes five bytes.
	asm volatile(".skip 200, 0x90");
	return first + 1;
}

static int keyed_set(const char *value, const struct kernel_param *kp)
{
	u64 count, i, wrong = 0;
	int error;

	if (sysfs_streq(value, "on")) {
		static_branch_enable(&key);
		return 0;
	}
	if (sysfs_streq(value, "off")) {
		static_branch_disable(&key);
		return 0;
	}
	error = kstrtou64(value, 0, &count);
	for (i = 0; !error && i < count; i++)
		wrong += lab_probe_keyed(i) != i + 1 + static_key_enabled(&key);
	return error ? error : wrong ? -EIO : 0;
}
static const struct kernel_param_ops keyed_ops = { .set = keyed_set };
module_param_cb(keyed, &keyed_ops, NULL, 0200);

#define SENT_TO 1
static u32 sent, handled;
static atomic_t nmis_sent, nmis_handled;

static int nmi_seen(unsigned int what, struct pt_regs *regs)
{
	if (this_cpu_read(own_nmis_sent)) {
		this_cpu_write(own_nmis_sent, 0);
		this_cpu_inc(own_nmis_seen);
		return NMI_HANDLED;
	}
	if (smp_processor_id() != SENT_TO || atomic_read(&nmis_handled) >= atomic_read(&nmis_sent))
		return NMI_DONE;
	atomic_inc(&nmis_handled);
	return NMI_HANDLED;
}

static u32 count_handled(bool nmi)
{
	return nmi ? atomic_read(&nmis_handled) : READ_ONCE(per_cpu(irq_stat, SENT_TO).x86_platform_ipis);
}

static int send_set(const char *value, const struct kernel_param *kp)
{
	char what[16];
	u32 count, i;
	bool nmi;

	if (sscanf(value, "%15s %u", what, &count) != 2)
		return -EINVAL;
	nmi = what[0] == 'n';
	sent = handled = 0;
	for (i = 0; i < count; i++) {
		u32 before = count_handled(nmi);
		u64 end = ktime_get_mono_fast_ns() + NSEC_PER_SEC;

		if (nmi)
			atomic_inc(&nmis_sent);
		apic->send_IPI(SENT_TO, nmi ? NMI_VECTOR : X86_PLATFORM_IPI_VECTOR);
		while (count_handled(nmi) == before && ktime_get_mono_fast_ns() < end)
			cpu_relax();
		sent++;
		handled += count_handled(nmi) - before;
	}
	return 0;
}

static int send_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "sent %u handled %u\n", sent, handled);
}
static const struct kernel_param_ops send_ops = { .set = send_set, .get = send_get };
module_param_cb(send, &send_ops, NULL, 0600);

#define COST_ROUNDS 1000
static u32 cost_ticks[COST_ROUNDS];
static u32 cost_median;

static int by_size(const void *a, const void *b)
{
	return *(const u32 *)a < *(const u32 *)b ? -1 : *(const u32 *)a > *(const u32 *)b;
}

static u64 ticks_now(void)
{
	u32 low, high;

	asm volatile("rdtsc" : "=a"(low), "=d"(high) : : "memory");
	return (u64)high << 32 | low;
}

// What is measured stands in the loop itself, so that nothing else is between the two reads.
static u32 median_of(char what, unsigned long argument)
{
	unsigned int i;
	unsigned long flags;

	local_irq_save(flags);
	for (i = 0; i < COST_ROUNDS; i++) {
		u64 start = ticks_now();

		if (what == 'c') {
			u32 a = argument, b, c = 0, d;

			asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory");
		} else if (what == 't') {
			lab_probe_target(i, argument);
		} else if (what == 'l') {
			unsigned long word;

			asm volatile("movq (%1), %0" : "=r"(word) : "r"(argument) : "memory");
		}
		cost_ticks[i] = ticks_now() - start;
	}
	local_irq_restore(flags);
	sort(cost_ticks, COST_ROUNDS, sizeof(*cost_ticks), by_size, NULL);
	return cost_ticks[COST_ROUNDS / 2];
}

static int cost_set(const char *value, const struct kernel_param *kp)
{
	char what[16];
	unsigned long argument = 0;
	u32 nothing;

	if (sscanf(value, "%15s %lx", what, &argument) < 1 || !strchr("ctln", what[0]))
		return -EINVAL;
	nothing = median_of('n', 0);
	cost_median = median_of(what[0], argument);
	cost_median -= min(nothing, cost_median);
	return 0;
}

static int cost_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "median %u\n", cost_median);
}
static const struct kernel_param_ops cost_ops = { .set = cost_set, .get = cost_get };
module_param_cb(cost, &cost_ops, NULL, 0600);

static u64 *page;

static int page_set(const char *value, const struct kernel_param *kp)
{
	u64 word;
	int error = kstrtou64(value, 0, &word);

	if (!error)
		WRITE_ONCE(page[0], word);
	return error;
}

static int page_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "virtual %#lx physical %#llx value %#llx\n", (unsigned long)page,
			 (u64)virt_to_phys(page), READ_ONCE(page[0]));
}
static const struct kernel_param_ops page_ops = { .set = page_set, .get = page_get };
module_param_cb(page, &page_ops, NULL, 0600);

#define AREA_ORDER 2
static u8 *area;
static unsigned long touched_word;

static int touch_set(const char *value, const struct kernel_param *kp)
{
	char what[16];
	unsigned long first = 0, second = 1, count = 0, word = 0, flags;
	int given = sscanf(value, "%15s %lx %lx %lx", what, &first, &second, &count);

	if (given == 2 && !strcmp(what, "load"))
		asm volatile("movq (%1), %0" : "+r"(word) : "r"(first) : "memory");
	else if (given >= 2 && !strcmp(what, "store"))
		asm volatile("movq %1, (%0)" : : "r"(first), "r"(second) : "memory");
	else if (given >= 2 && !strcmp(what, "add"))
		asm volatile("addq %1, (%0)" : : "r"(first), "r"(second) : "memory", "cc");
	else if (given == 3 && !strcmp(what, "compare"))
		asm volatile("cmpsb" : "+S"(first), "+D"(second) : : "memory", "cc");
	else if (given == 4 && !strcmp(what, "move"))
		asm volatile("rep movsb" : "+S"(first), "+D"(second), "+c"(count) : : "memory");
	else if (given == 3 && !strcmp(what, "outb"))
		outb(second, first);
	else if (given == 2 && !strcmp(what, "inb"))
		word = inb(first);
	else if (given == 4 && (!strcmp(what, "out") || !strcmp(what, "in"))) {
		// Nothing comes between the iterations, after which the instruction would begin anew.
		local_irq_save(flags);
		if (what[0] == 'o')
			asm volatile("rep outsb" : "+S"(second), "+c"(count) : "d"((u16)first) : "memory");
		else
			asm volatile("rep insb" : "+D"(second), "+c"(count) : "d"((u16)first) : "memory");
		local_irq_restore(flags);
	} else
		return -EINVAL;
	touched_word = word;
	return 0;
}

static int touch_get(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "virtual %#lx physical %#llx word %#lx\n", (unsigned long)area,
			 (u64)virt_to_phys(area), touched_word);
}
static const struct kernel_param_ops touch_ops = { .set = touch_set, .get = touch_get };
module_param_cb(touch, &touch_ops, NULL, 0600);

static u16 claimed;

static int claim_set(const char *value, const struct kernel_param *kp)
{
	u16 port;
	int error = kstrtou16(value, 16, &port);

	if (error)
		return error;
	if (claimed)
		release_region(claimed, 8);
	claimed = port && request_region(port, 8, "lab_probe") ? port : 0;
	return port == claimed ? 0 : -EBUSY;
}
static int card_set(const char *value, const struct kernel_param *kp)
{
	static resource_size_t start, end;
	static unsigned long flags;
	struct pci_dev *card = pci_get_class(PCI_CLASS_NETWORK_ETHERNET << 8, NULL);
	struct resource *bar;
	int error;
	u8 what;

	if (!card)
		return -ENODEV;
	bar = &card->resource[0];
	if (!end) {
		start = bar->start;
		end = bar->end;
		flags = bar->flags;
	}
	bar->start = start;
	bar->end = end;
	bar->flags = flags;
	error = kstrtou8(value, 0, &what);
	switch (error ? 0 : what) {
	case 1:
		bar->start = 0;
		bar->end = end - start;
		bar->flags |= IORESOURCE_UNSET;
		break;
	case 2:
		bar->flags = (flags & ~IORESOURCE_MEM) | IORESOURCE_IO;
		break;
	case 3:
		bar->end = start + PAGE_SIZE - 1;
		break;
	case 4:
		bar->start += 64;
		bar->end += 64;
		break;
	}
	pci_dev_put(card);
	return error;
}
static const struct kernel_param_ops card_ops = { .set = card_set };
module_param_cb(card, &card_ops, NULL, 0200);

static const struct kernel_param_ops claim_ops = { .set = claim_set };
module_param_cb(claim, &claim_ops, NULL, 0200);

static int __init probe_init(void)
{
	page = (u64 *)get_zeroed_page(GFP_KERNEL);
	area = (u8 *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, AREA_ORDER);
	if (page && area)
		return register_nmi_handler(NMI_LOCAL, nmi_seen, 0, "lab_probe");
	free_pages((unsigned long)area, AREA_ORDER);
	free_page((unsigned long)page);
	return -ENOMEM;
}

static void __exit probe_exit(void)
{
	count_stop();
	if (claimed)
		release_region(claimed, 8);
	unregister_nmi_handler(NMI_LOCAL, "lab_probe");
	free_pages((unsigned long)area, AREA_ORDER);
	free_page((unsigned long)page);
}

module_init(probe_init);
module_exit(probe_exit);
MODULE_DESCRIPTION("Instructions a hypervisor must get right, for the lab's tests");
MODULE_LICENSE("GPL");
