/* What the shim tells the Rust part at load; src/facts.rs repeats it field by field. */
#ifndef STANDSTILL_FACTS_H
#define STANDSTILL_FACTS_H

#define SS_CHUNKS 256
#define SS_CORES 64
#define SS_RAM_RANGES 32
#define SS_BANNER 192
#define SS_CONSTANTS 23
#define SS_REASON 256
#define SS_KEY 128

struct ss_image_page {
	u64 linear;
	u64 physical;
	u64 kind; /* 0 data, 1 code, 2 read-only data */
};

struct ss_ram {
	u64 start;
	u64 len_bytes;
};

#define SS_LINE_NAME 48

/* Which UART the loader wants; 0 for what he did not say. */
struct ss_line_wish {
	u64 com, io, mmio, stride, acpi;
	const void *dbg2; /* the firmware's tables, or NULL */
	u64 dbg2_bytes;
	const void *spcr;
	u64 spcr_bytes;
	const void *madt;
	u64 madt_bytes;
	const void *dmar;
	u64 dmar_bytes;
};

/* Which it is. */
struct ss_line {
	u64 base; /* the first port, or the physical address of the first register */
	u64 len_bytes; /* ports or bytes */
	u64 stride; /* bytes between registers in memory; 0: ports */
	u64 clock_hz; /* 0 if the firmware does not say */
	u64 io_apic; /* where its interrupt goes in: physical address of the controller's registers; 0 if nobody knows */
	u64 pin;
};

#define SS_WINDOWS 2
#define SS_NO_BAR 0xff

/* Registers of a network card. */
struct ss_window {
	u64 bar; /* the base address register that leads there; SS_NO_BAR if there is no such window */
	u64 physical, bytes;
	u64 linear; /* where they are mapped, uncached */
};

#define SS_BARS 6

/* What a base address register of a card leads to. */
struct ss_bar {
	u64 start, bytes; /* 0 if there is no place for it, and if there is nothing */
	u64 is_memory;
};

/* A network card that was taken. */
struct ss_card {
	struct ss_bar bars[SS_BARS];
	struct ss_window windows[SS_WINDOWS];
	u64 memory, memory_bytes; /* that the card reads and writes; physical */
	u64 memory_address; /* as the card has to name it */
	u64 tsc_khz;
	u8 own_mac[8]; /* the address that it had when it was taken, and two bytes of nothing */
	u8 config[256]; /* its configuration space */
};

struct ss_text {
	const char *bytes;
	u64 len_bytes;
};

/* The network, as the loader wrote it; none if `net` is empty. */
struct ss_net {
	struct ss_text net, key, ip, gateway, mac;
	struct ss_card card;
	u8 seed[32];
	u64 epoch_us; /* since 1970 when the time-stamp counter was at 0 */
	u64 has_rtc; /* a real-time clock at ports 70h and 71h */
	u64 rtc_century; /* where the firmware says that the century is in it, or 0 */
	u64 panic_every; /* frames; 0: never */
};

struct ss_facts {
	u64 size_bytes; /* of this structure: both sides must agree */
	u64 chunk_count;
	u64 chunks[SS_CHUNKS];
	u64 image_page_count;
	const struct ss_image_page *image_pages;
	u64 image_base;
	u64 image_bytes;
	u64 direct_map_base;
	u64 physical_limit;
	u64 kernel_base;
	u64 kernel_bytes; /* of the kernel itself, without modules */
	u64 kernel_cr3;
	u64 kernel_cr4;
	u64 core_count;
	u64 tsc_khz;
	struct ss_line line; /* none if it has no bytes */
	u64 line_linear; /* where registers in memory are mapped, uncached */
	u64 clock_hz, baud_hz, baud_fixed;
	u64 session;
	u64 token; /* that every call of this load has to know */
	u64 entry_base, entry_bytes; /* code in which stack and tables may be the user's */
	u64 core_selector; /* of the segment whose limit holds the core's number */
	u64 constants[SS_CONSTANTS];
	u64 current_task_slot[SS_CORES];
	u64 init_task;
	u64 task_tasks, task_tgid, task_pid, task_mm, task_active_mm, task_leader, task_comm, mm_pgd;
	u64 modules_head, module_list, module_name, module_base, module_size;
	u64 module_kallsyms, kallsyms_symtab, kallsyms_count, kallsyms_strtab;
	u64 bpf_head, bpf_list, bpf_start, bpf_end, bpf_name; /* head 0: the kernel has no such list */
	struct ss_ram ram[SS_RAM_RANGES];
	u64 banner_bytes;
	char banner[SS_BANNER];
	/* What lists of tasks tell; 0 if this kernel is not known to have it. */
	u64 task_state, task_exit_state, task_core, task_parent, task_signal, signal_threads, task_thread_node, task_stack;
	u64 mm_command_start, mm_command_end;
};

/* Chooses the UART. 0 if there is none, with a reason; else its name for the log is in the reason's place. */
u64 standstill_choose_line(const struct ss_line_wish *wish, struct ss_line *line, char *reason, size_t reason_bytes);
/*
 * How it stands with the number-th thing that this core's processor must have: an `enum verdict` of doctor.h and what there is
 * to say, in zeroed bytes; 0 behind the last one.
 */
u64 standstill_examine(u64 number, char *said, size_t said_bytes);
/* Whether there is a UART, which is left as it was; 0 with a reason. Its registers are the caller's. */
u64 standstill_look_for_uart(const struct ss_line *line, u64 linear, char *reason, size_t reason_bytes);
/* 1 if the network can be used as the loader wrote it; 0 with a reason if not. */
u64 standstill_check_net(const struct ss_net *net, char *reason, size_t reason_bytes);
/* 1 if there is a driver for such a card. */
u64 standstill_knows_card(u64 vendor, u64 device);
/*
 * Says by the card's configuration space in which windows it has registers, and how many bytes it reads and writes by itself.
 * 0 with a reason if it cannot be driven as it is, or not with another address than its own, or if its base address registers
 * do not lead to its registers.
 */
u64 standstill_look_at_card(struct ss_card *card, u64 has_other_mac, char *reason, size_t reason_bytes);
/* Reads the own address of a card whose registers are mapped. 0 with a reason if it is none that a card can have, and has to do. */
u64 standstill_read_mac(struct ss_card *card, u64 has_other_mac, char *reason, size_t reason_bytes);
/* Puts a card at rest that was taken, and that nobody drives any more; its memory is mapped from `direct_map` on. */
void standstill_end_card(const struct ss_card *card, u64 direct_map);
/* Builds the hypervisor on the given stack; NULL with a reason if it cannot. */
void *standstill_build(const struct ss_facts *facts, const struct ss_net *net, unsigned long stack_top, char *reason, size_t reason_bytes);
/* On the core, interrupts off. 0, or the code of a failed launch. */
u64 standstill_start_core(void *hypervisor, u64 core);
/* On a core that was started, each with the token of this load. */
u64 standstill_stop_core(u64 token); /* interrupts off; 0 until all cores ask for it */
void standstill_arm(u64 token);
u64 standstill_wanted_chunks(u64 token);
u64 standstill_take_chunk(u64 token, u64 base); /* zeroed but for the token, its first word */
u64 standstill_stir(u64 token, u64 bits); /* random ones, for the network */
struct ss_occasion;
void standstill_occasion(u64 token, const struct ss_occasion *occasion); /* in any context; the machine may halt there */
u64 standstill_wants_crash(u64 token); /* 1 if the kernel is to panic */
u64 standstill_exits(u64 token);
u64 standstill_clear(u64 token);

#endif
