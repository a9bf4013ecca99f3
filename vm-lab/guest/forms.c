// Instructions in all their forms, for the debuggee: each runs in a page of its own, and a line tells every signal that
// came of it, with registers and memory. Two runs of the same program print the same, whoever watches.
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define PAGE 4096u
// Three pages of code, two of data, and a stack that 32-bit code can use.
#define CODE 0x20000000u
#define DATA 0x30000000u
#define STACK 0x31000000u
#define STACK_TOP (STACK + PAGE - 512)
// What instructions change of data and stack: few words, as each is looked at by whoever watches.
#define DATA_WORDS 72
#define STACK_WORDS 16
#define STACKED (STACK_TOP - 8 * STACK_WORDS)
// Where an instruction begins if it need not be anywhere.
#define USUAL 0x100u
#define PORT 0x84
#define TRAP_FLAG 0x100u
// HLT, which no program may run: whoever comes to one has gone on.
#define STOP 0xf4
#define LONGEST 15
#define EVENTS_MAX 40
// Leaves of CPUID that no processor has.
#define BEGIN 0x10500
#define END 0x10501

// Kinds of code, as bits.
enum { C64 = 1, C32 = 2, BASED32 = 4, NARROW = C32 | BASED32, ANY = C64 | NARROW };
static const char *const kinds[] = { "64", "32", "based" };
#define KINDS 3
// Its registers differ from run to run.
#define VARIES 8
// The kernel would be entered with the program's single step, which is the processor's secret.
#define UNSTEPPED 16

struct form {
	const char *name;
	unsigned where;
	const char *bytes;
	unsigned len;
	uint64_t rax;
};

#define FORM(name, where, bytes, ...) { name, where, bytes, sizeof(bytes) - 1, ##__VA_ARGS__ }

// Those that are tried with every prefix.
static const struct form prefixed[] = {
	FORM("int3", ANY, "\xcc"),
	FORM("int1", ANY, "\xf1"),
	FORM("ud2", ANY, "\x0f\x0b"),
	FORM("nop", ANY, "\x90"),
	FORM("cpuid", ANY, "\x0f\xa2"),
	FORM("syscall", ANY | UNSTEPPED, "\x0f\x05", 0xffffff),
	FORM("sysret", ANY, "\x0f\x07"),
	FORM("rdtsc", ANY | VARIES, "\x0f\x31"),
	FORM("rdtscp", ANY | VARIES, "\x0f\x01\xf9"),
	FORM("vmcall", ANY, "\x0f\x01\xc1"),
	FORM("vmfunc", ANY, "\x0f\x01\xd4"),
	FORM("xsetbv", ANY, "\x0f\x01\xd1"),
	FORM("out", ANY, "\xe6\x84"),
	FORM("in", ANY, "\xe4\x84"),
};

static const struct form others[] = {
	FORM("int 3", ANY, "\xcd\x03"),
	FORM("int 80", ANY | UNSTEPPED, "\xcd\x80", 0xffffff),
	FORM("int 81", ANY, "\xcd\x81"),
	FORM("into", ANY, "\xce"),
	FORM("hlt", ANY, "\xf4"),
	FORM("cli", ANY, "\xfa"),
	FORM("sti", ANY, "\xfb"),
	FORM("pushf", ANY, "\x9c"),
	FORM("popf", C64, "\x6a\x02\x9d"),
	FORM("popf setting TF", C64, "\x68\x02\x01\x00\x00\x9d\x90\x90"),
	FORM("mov ss null", ANY, "\x31\xc0\x8e\xd0"),
	FORM("pop ss", NARROW, "\x16\x17\x90"),
	FORM("rep movsb", ANY, "\xf3\xa4"),
	FORM("repne movsb", ANY, "\xf2\xa4"),
	FORM("rep stosd", ANY, "\xf3\xab"),
	FORM("rep lodsb", ANY, "\xf3\xac"),
	FORM("repe cmpsb", ANY, "\xf3\xa6"),
	FORM("movsb short address", C64, "\x67\xf3\xa4"),
	FORM("rep outsb", ANY, "\xf3\x6e"),
	FORM("rep insb", ANY, "\xf3\x6c"),
	FORM("out to another port", ANY, "\xe6\x60"),
	FORM("call and return", ANY, "\xe8\x00\x00\x00\x00"),
	FORM("bnd call", ANY, "\xf2\xe8\x00\x00\x00\x00"),
	FORM("jump", ANY, "\xeb\x00"),
	FORM("jump not taken", ANY, "\x75\x05"),
	FORM("loop", ANY, "\xe2\xfe"),
	FORM("enter", ANY, "\xc8\x10\x00\x00"),
	FORM("load", ANY, "\x8b\x03"),
	FORM("store", ANY, "\x89\x03"),
	FORM("add to memory", ANY, "\x01\x03"),
	FORM("lock add", ANY, "\xf0\x01\x03"),
	FORM("lock of a register", ANY, "\xf0\x01\xd8"),
	FORM("exchange", ANY, "\x87\x03"),
	FORM("cmpxchg16b", C64, "\xf0\x48\x0f\xc7\x0b"),
	FORM("load from nowhere", C64, "\x48\xa1\x00\x00\x00\x00\x00\x10\x00\x00"),
	FORM("load from no address", C64, "\x48\xa1\x00\x00\x00\x00\x00\x00\x00\x80"),
	FORM("movaps misaligned", ANY, "\x0f\x28\x43\x01"),
	FORM("movups", ANY, "\x0f\x10\x03"),
	FORM("vmovups", C64, "\xc5\xfc\x10\x03"),
	FORM("divide by zero", ANY, "\x31\xc0\xf6\xf0"),
	FORM("div", ANY, "\xf6\xf5"),
	FORM("ud1", ANY, "\x0f\xb9\xc0"),
	FORM("endbr64", ANY, "\xf3\x0f\x1e\xfa"),
	FORM("nop of 8", ANY, "\x0f\x1f\x84\x00\x00\x00\x00\x00"),
	FORM("nop of 9", ANY, "\x66\x0f\x1f\x84\x00\x00\x00\x00\x00"),
	FORM("pause", ANY, "\xf3\x90"),
	FORM("rdmsr", ANY, "\x0f\x32"),
	FORM("wrmsr", ANY, "\x0f\x30"),
	FORM("rdpmc", ANY, "\x0f\x33"),
	FORM("xgetbv", ANY | VARIES, "\x0f\x01\xd0"),
	FORM("mov cr0", ANY, "\x0f\x22\xc0"),
	FORM("mov from cr4", ANY, "\x0f\x20\xe0"),
	FORM("mov dr7", ANY, "\x0f\x23\xf8"),
	FORM("clts", ANY, "\x0f\x06"),
	FORM("lmsw", ANY, "\x0f\x01\xf0"),
	FORM("smsw", ANY, "\x0f\x01\xe0"),
	FORM("sldt", ANY, "\x0f\x00\xc0"),
	FORM("invd", ANY, "\x0f\x08"),
	FORM("wbinvd", ANY, "\x0f\x09"),
	FORM("invlpg", ANY, "\x0f\x01\x3b"),
	FORM("swapgs", ANY, "\x0f\x01\xf8"),
	FORM("monitor", ANY, "\x0f\x01\xc8"),
	FORM("vmlaunch", ANY, "\x0f\x01\xc2"),
	FORM("vmread", ANY, "\x0f\x78\xc0"),
	FORM("invept", ANY, "\x66\x0f\x38\x80\x03"),
	FORM("getsec", ANY, "\x0f\x37"),
	FORM("rsm", ANY, "\x0f\xaa"),
	FORM("fnop", ANY, "\xd9\xd0"),
	FORM("emms", ANY, "\x0f\x77"),
	FORM("inc or rex", NARROW, "\x40"),
	FORM("pusha", NARROW, "\x60"),
	FORM("aam 0", NARROW, "\xd4\x00"),
	FORM("daa", NARROW, "\x27"),
	FORM("bound", NARROW, "\x62\x03"),
	FORM("les", NARROW, "\xc4\x03"),
	FORM("push cs", NARROW, "\x0e"),
	FORM("add in 16 bits", NARROW, "\x67\x66\x81\x06\x00\x00\x34\x12"),
	FORM("mov of ten bytes", C64, "\x48\xb8\x88\x77\x66\x55\x44\x33\x22\x11"),
	FORM("mov from a segment", C64, "\x65\x48\x8b\x04\x25\x00\x00\x00\x00"),
};

static const struct {
	const char *name;
	const char *bytes;
	unsigned len;
	unsigned where;
} prefixes[] = {
	{ "", "", 0, ANY },
	{ "66", "\x66", 1, ANY },
	{ "f2", "\xf2", 1, ANY },
	{ "f3", "\xf3", 1, ANY },
	{ "2e", "\x2e", 1, ANY },
	{ "64", "\x64", 1, ANY },
	{ "67", "\x67", 1, ANY },
	{ "f0", "\xf0", 1, ANY },
	{ "rex", "\x40", 1, C64 },
	{ "rex.w", "\x48", 1, C64 },
	{ "rex.w 66", "\x48\x66", 2, C64 },
	{ "66 f3 2e 67", "\x66\xf3\x2e\x67", 4, ANY },
	{ "longest", NULL, LONGEST, ANY },
	{ "too long", NULL, LONGEST + 1, ANY },
};

struct event {
	int signal, code;
	uint64_t address, trap, error, flags, ip, state;
};

// Where an instruction is tried.
enum { IN_USUAL_PLACE, TO_THE_END, ACROSS, BEHIND_MOV_SS, STEPPED, BEHIND_MOV_SS_STEPPED };
static const char *const places[] = {
	"", " to the end", " across", " behind mov ss", " stepped", " behind mov ss stepped"
};

// An instruction that has run, and the signals that came of it. They are told when all have run: to tell one takes some
// ten times as many instructions.
struct ran {
	const struct form *form;
	const char *prefix;
	int kind, place;
	uint64_t start;
	unsigned first, count;
};

static struct ran rans[8192];
static unsigned ran_count;
static struct event events[1 << 16];
static unsigned event_count;
// Of the instruction that runs.
static unsigned first_event;
static int hides_registers;
static sigjmp_buf before;

static uint64_t digest(uint64_t so_far, const void *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		so_far = (so_far ^ ((const uint64_t *)words)[i]) * 0x9e3779b97f4a7c15u + (so_far >> 31);
	return so_far;
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct event *event;

	if (event_count == sizeof(events) / sizeof(*events))
		_exit(2);
	event = &events[event_count++];
	event->signal = signal;
	event->code = info->si_code;
	event->address = (uint64_t)info->si_addr;
	event->trap = registers[REG_TRAPNO];
	event->error = registers[REG_ERR];
	event->flags = registers[REG_EFL];
	event->ip = registers[REG_RIP];
	event->state = digest(0, (void *)DATA, DATA_WORDS);
	event->state = digest(event->state, (void *)STACKED, STACK_WORDS);
	if (!hides_registers) {
		// R8 to R15, then RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP.
		event->state = digest(event->state, registers, REG_RSP + 1);
		event->state = digest(event->state, &(uint64_t){ registers[REG_CSGSFS] & 0xffff }, 1);
	}
	if (signal != SIGTRAP || event_count - first_event == EVENTS_MAX)
		siglongjmp(before, 1);
}

// What IRETQ takes off a stack.
struct frame {
	uint64_t ip, cs, flags, sp, ss;
};

__attribute__((noreturn)) static void enter(const struct frame *frame, uint64_t rax)
{
	asm volatile("mov $0x2b, %%ecx\n\tmov %%ecx, %%ds\n\tmov %%ecx, %%es\n\t"
		     "mov %0, %%rsp\n\t"
		     "mov $3, %%ecx\n\tmov $0x84, %%edx\n\tmov %2, %%ebx\n\tlea 0x100(%%rbx), %%esi\n\t"
		     "lea 0x200(%%rbx), %%edi\n\tmov $0x2b, %%ebp\n\t"
		     "mov $8, %%r8\n\tmov $9, %%r9\n\tmov $10, %%r10\n\tmov $11, %%r11\n\t"
		     "mov $12, %%r12\n\tmov $13, %%r13\n\tmov $14, %%r14\n\tmov $15, %%r15\n\t"
		     "iretq"
		     : : "D"(frame), "a"(rax), "i"(DATA) : "memory");
	__builtin_unreachable();
}

static uint16_t selectors[KINDS] = { 0x33, 0x23 };
static uint32_t bases[KINDS];

static int make_segment(unsigned number, uint32_t base)
{
	struct user_desc segment = {
		.entry_number = number,
		.base_addr = base,
		.limit = 0xfffff,
		.seg_32bit = 1,
		.contents = MODIFY_LDT_CONTENTS_CODE,
		.limit_in_pages = 1,
		.useable = 1,
	};

	return syscall(SYS_modify_ldt, 1, &segment, sizeof(segment));
}

// Runs `len` bytes that begin `offset` bytes behind CODE, in the segment of `kind`. Returns where that is.
static uint64_t run_code(int kind, const uint8_t *bytes, unsigned len, unsigned offset, uint64_t flags, uint64_t rax)
{
	static struct frame frame;
	uint8_t *code = (uint8_t *)(uint64_t)CODE;

	memcpy(code + offset, bytes, len);
	memset((void *)DATA, 0x5a, 8 * DATA_WORDS);
	memset((void *)STACKED, 0, 8 * STACK_WORDS);
	first_event = event_count;
	frame = (struct frame){ (uint32_t)(CODE + offset - bases[kind]), selectors[kind], 2 | flags, STACK_TOP, 0x2b };
	if (!sigsetjmp(before, 0))
		enter(&frame, rax);
	memset(code + offset, STOP, len);
	return frame.ip;
}

static void run(const struct form *form, const char *prefix, int kind, int place, const uint8_t *bytes, unsigned len,
		unsigned offset)
{
	uint64_t flags = place >= STEPPED ? TRAP_FLAG : 0;
	uint64_t start = run_code(kind, bytes, len, offset, flags, form->rax);

	if (ran_count == sizeof(rans) / sizeof(*rans))
		_exit(2);
	rans[ran_count++] =
		(struct ran){ form, prefix, kind, place, start, first_event, event_count - first_event };
}

static void tell(const struct ran *ran)
{
	printf("%s %s%s%s%s", kinds[ran->kind], ran->prefix, *ran->prefix ? " " : "", ran->form->name,
	       places[ran->place]);
	for (unsigned i = ran->first; i < ran->first + ran->count; i++) {
		struct event *event = &events[i];

		printf("; signal %d.%d at %llx trap %llx.%llx flags %llx ip %+lld state %llx", event->signal, event->code,
		       (unsigned long long)event->address, (unsigned long long)event->trap,
		       (unsigned long long)event->error, (unsigned long long)event->flags,
		       (long long)(event->ip - ran->start), (unsigned long long)event->state);
	}
	printf("\n");
}

// In its usual place, up to a page's end, across it, behind MOV SS, and single-stepped.
static void run_everywhere(const struct form *form, const char *prefix, int kind, const uint8_t *bytes, unsigned len,
			   int is_short)
{
	uint8_t behind[2 + LONGEST + 1] = { 0x8e, 0xd5 };

	hides_registers = form->where & VARIES;
	run(form, prefix, kind, IN_USUAL_PLACE, bytes, len, USUAL);
	if (is_short)
		return;
	run(form, prefix, kind, TO_THE_END, bytes, len, PAGE - len);
	if (len > 1)
		run(form, prefix, kind, ACROSS, bytes, len, PAGE - len + 1);
	memcpy(behind + 2, bytes, len);
	run(form, prefix, kind, BEHIND_MOV_SS, behind, len + 2, USUAL);
	if (form->where & UNSTEPPED)
		return;
	run(form, prefix, kind, STEPPED, bytes, len, USUAL);
	run(form, prefix, kind, BEHIND_MOV_SS_STEPPED, behind, len + 2, USUAL);
}

static void run_prefixed(const struct form *form, int kind, int is_short)
{
	for (unsigned i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++) {
		unsigned len = prefixes[i].len;
		uint8_t bytes[LONGEST + 1];

		if (!(prefixes[i].where & 1 << kind))
			continue;
		if (prefixes[i].bytes)
			memcpy(bytes, prefixes[i].bytes, len);
		else
			memset(bytes, 0x2e, len -= form->len);
		memcpy(bytes + len, form->bytes, form->len);
		run_everywhere(form, prefixes[i].name, kind, bytes, len + form->len, is_short);
	}
}

// CPUID as the last two bytes of a segment of 4 GiB. What comes next is one processor's first byte, and another one's
// fault; that the program gets a signal is what they agree in. Returns that.
static int run_around(void)
{
	const uint8_t cpuid[] = { 0x0f, 0xa2 };
	const unsigned number = 8, kind = 2;

	bases[kind] = CODE + USUAL + sizeof(cpuid);
	selectors[kind] = number << 3 | 7;
	if (make_segment(number, bases[kind]))
		return 0;
	run_code(kind, cpuid, sizeof(cpuid), USUAL, 0, 0);
	return events[first_event].signal;
}

// Tells whoever watches CPUID where the instructions begin and end.
static void mark(unsigned leaf)
{
	unsigned a = leaf, c = 0;

	asm volatile("cpuid" : "+a"(a), "+c"(c) : : "ebx", "edx");
}

// Opens a FIFO, which waits for who opens its other end.
static void meet(const char *fifo, int flags)
{
	close(open(fifo, flags));
}

// lab-forms [short | alone] [GO OVER TELL]: runs all in all places, or each in its usual place only, or there and before
// all other programs; with the FIFOs' names, when somebody writes to the first. All have run when the second is opened; they
// are told when somebody writes to the third.
int main(int argc, char **argv)
{
	int is_alone = argc > 1 && !strcmp(argv[1], "alone");
	int is_short = is_alone || (argc > 1 && !strcmp(argv[1], "short"));
	char **fifos = argc > 3 + is_short ? argv + 1 + is_short : NULL;
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	static uint8_t signal_stack[1 << 16];
	stack_t stack = { .ss_sp = signal_stack, .ss_size = sizeof(signal_stack) };
	const int all = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE;
	int around;

	// A traced core is so slow that the kernel's own threads would leave it to no other program.
	if (is_alone)
		sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 });
	mmap((void *)CODE, 3 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, all, -1, 0);
	memset((void *)CODE, STOP, 3 * PAGE);
	mmap((void *)DATA, 2 * PAGE, PROT_READ | PROT_WRITE, all, -1, 0);
	mmap((void *)STACK, PAGE, PROT_READ | PROT_WRITE, all, -1, 0);
	sigaltstack(&stack, NULL);
	for (const int *signal = (const int[]){ SIGTRAP, SIGSEGV, SIGILL, SIGBUS, SIGFPE, 0 }; *signal; signal++)
		sigaction(*signal, &action, NULL);
	bases[2] = CODE - 0x10000;
	selectors[2] = 0 << 3 | 7;
	if (make_segment(0, bases[2]) || ioperm(PORT, 1, 1)) {
		perror("lab-forms");
		return 1;
	}
	if (fifos) {
		printf("pid %x\n", getpid());
		fflush(stdout);
		meet(fifos[0], O_RDONLY);
		mark(BEGIN);
	}
	for (int kind = 0; kind < KINDS; kind++) {
		for (unsigned i = 0; i < sizeof(prefixed) / sizeof(*prefixed); i++)
			if (prefixed[i].where & 1 << kind)
				run_prefixed(&prefixed[i], kind, is_short);
		for (unsigned i = 0; i < sizeof(others) / sizeof(*others); i++)
			if (others[i].where & 1 << kind)
				run_everywhere(&others[i], "", kind, (const uint8_t *)others[i].bytes, others[i].len,
					       is_short);
	}
	around = run_around();
	if (fifos) {
		mark(END);
		meet(fifos[1], O_WRONLY);
		meet(fifos[2], O_RDONLY);
	}
	for (unsigned i = 0; i < ran_count; i++)
		tell(&rans[i]);
	printf("cpuid at the end of the segment; signal %d\n", around);
	return 0;
}
