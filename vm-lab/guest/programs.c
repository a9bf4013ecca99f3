// Test programs for the debuggee. One static binary; the name it is called by selects the program.
#define _GNU_SOURCE
#include <cpuid.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static void pin(long core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("sched_setaffinity");
		exit(1);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

// lab-calls N CORE: calls getsid(0) N times on CORE.
static int calls(long count, long core)
{
	long done = 0;

	pin(core);
	for (long i = 0; i < count; i++)
		done += syscall(SYS_getsid, 0) >= 0;
	printf("calls %ld core %ld\n", done, core);
	return done != count;
}

struct caller {
	long core;
	long count;
};

static void *caller(void *argument)
{
	struct caller *of = argument;
	long done = 0;

	pin(of->core);
	printf("thread %ld on core %ld\n", (long)syscall(SYS_gettid), of->core);
	while (access("/tmp/threads", F_OK))
		usleep(20000);
	for (long i = 0; i < of->count; i++)
		done += syscall(SYS_getsid, 0) >= 0;
	printf("calls %ld core %ld\n", done, of->core);
	return NULL;
}

// lab-threads N CORES: a thread on each core calls getsid(0) N times, once /tmp/threads exists; each tells its number before, and the first line the process'.
static int threads(long count, long cores)
{
	pthread_t ids[cores];
	struct caller of[cores];

	setlinebuf(stdout);
	printf("process %ld\n", (long)getpid());
	for (long core = 0; core < cores; core++) {
		of[core] = (struct caller){ core, count };
		if (pthread_create(&ids[core], NULL, caller, &of[core]))
			return 1;
	}
	for (long core = 0; core < cores; core++)
		pthread_join(ids[core], NULL);
	return 0;
}

static volatile long deep_held;

// Calls itself DEPTH times, and waits in the deepest as long as somebody holds what it waits for.
__attribute__((noinline)) static long deep(long depth)
{
	volatile long here = depth;

	if (!depth) {
		while (deep_held)
			;
		return 1;
	}
	return deep(depth - 1) + here;
}

static void *deep_caller(void *at)
{
	struct caller *of = at;
	long sum = 0;

	pin(of->core);
	printf("thread %ld on core %ld\n", (long)syscall(SYS_gettid), of->core);
	while (access("/tmp/deep", F_OK))
		usleep(20000);
	for (long i = 0; i < of->count; i++) {
		sum += deep(6);
		usleep(0);
	}
	printf("sum %ld core %ld\n", sum, of->core);
	return NULL;
}

// lab-deep N CORES: a thread on each core calls a function N times that calls itself six times, once /tmp/deep exists; tells where that is.
static int deep_threads(long count, long cores)
{
	pthread_t ids[cores];
	struct caller of[cores];

	setlinebuf(stdout);
	printf("process %ld\nfunction %lx\nholds %lx\n", (long)getpid(), (long)deep, (long)&deep_held);
	for (long core = 0; core < cores; core++) {
		of[core] = (struct caller){ core, count };
		if (pthread_create(&ids[core], NULL, deep_caller, &of[core]))
			return 1;
	}
	for (long core = 0; core < cores; core++)
		pthread_join(ids[core], NULL);
	return 0;
}

static int by_size(const void *a, const void *b)
{
	return *(const uint64_t *)a < *(const uint64_t *)b ? -1 : *(const uint64_t *)a > *(const uint64_t *)b;
}

// lab-call-cost N: getsid(0) N times; prints the median of the ticks that each took, of the time-stamp counter.
static int call_cost(long count)
{
	uint64_t *ticks = calloc(count, sizeof(*ticks));

	if (!ticks)
		return 1;
	for (long i = 0; i < count; i++) {
		uint64_t start = __rdtsc();
		long number = SYS_getsid;

		asm volatile("syscall" : "+a"(number) : "D"(0) : "rcx", "r11", "memory");
		ticks[i] = __rdtsc() - start;
	}
	qsort(ticks, count, sizeof(*ticks), by_size);
	printf("median %llu\n", (unsigned long long)ticks[count / 2]);
	free(ticks);
	return 0;
}

// lab-cpuid LEAF N: executes CPUID N times, prints the last result.
static int cpuid(long leaf, long count)
{
	unsigned a = 0, b = 0, c = 0, d = 0;

	for (long i = 0; i < count; i++)
		__cpuid_count(leaf, 0, a, b, c, d);
	printf("cpuid %#lx count %ld eax %08x ebx %08x ecx %08x edx %08x\n", leaf, count, a, b, c, d);
	return 0;
}

// lab-spin SECONDS CORE: keeps CORE busy in user mode.
static int spin(long seconds, long core)
{
	double end = now() + seconds;
	unsigned long rounds = 0;

	pin(core);
	while (now() < end)
		rounds++;
	printf("spin core %ld rounds %lu\n", core, rounds);
	return 0;
}

// lab-umask N CORE: calls umask(1) to umask(N) on CORE; each returns what the one before set. Prints the results.
static int umasks(long count, long core)
{
	pin(core);
	umask(0);
	for (long i = 1; i <= count; i++)
		printf("umask %lx was %lx\n", i & 0777, (long)umask(i & 0777));
	return 0;
}

// lab-open FILE N: opens FILE N times.
static int opens(const char *file, long count)
{
	long done = 0;

	for (long i = 0; i < count; i++) {
		int opened = open(file, O_RDONLY);

		done += opened >= 0;
		close(opened);
	}
	printf("opened %s %ld times\n", file, done);
	return done != count;
}

// lab-tsc N: reads the time-stamp counter N times, prints the last value.
static int ticks(long count)
{
	unsigned long last = 0;

	for (long i = 0; i < count; i++)
		last = __builtin_ia32_rdtsc();
	printf("tsc %lx\n", last);
	return 0;
}

static sigjmp_buf before_vmfunc;

static void refused(int signal)
{
	siglongjmp(before_vmfunc, signal);
}

// lab-vmfunc N: VMFUNC for the first N entries of the list of EPT views; prints the signal that each raised, or 0.
static int vmfuncs(long count)
{
	signal(SIGILL, refused);
	signal(SIGSEGV, refused);
	for (volatile long i = 0; i < count; i++) {
		int raised = sigsetjmp(before_vmfunc, 1);

		if (!raised)
			asm volatile(".byte 0x0f, 0x01, 0xd4" : : "a"(0), "c"(i) : "memory");
		printf("vmfunc %ld signal %d\n", i, raised);
	}
	return 0;
}

static long traps_each;
static atomic_long handled, least_ticks;

static void trapped(int signal)
{
	handled++;
}

static void *trap_core(void *argument)
{
	pin((long)argument);
	for (long i = 0; i < traps_each; i++) {
		long start = __builtin_ia32_rdtsc(), ticks;

		asm volatile("int3");
		ticks = __builtin_ia32_rdtsc() - start;
		if (ticks < least_ticks)
			least_ticks = ticks;
	}
	return NULL;
}

// lab-traps N: for each of the files /tmp/round1, /tmp/round2 … that comes, INT3 N times on each core, all at once;
// then writes to /tmp/done1 … how many signals came of them in this round, and the ticks that the quickest took.
static int traps(long count)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	signal(SIGTRAP, trapped);
	traps_each = count;
	for (int round = 1;; round++) {
		char asked[32], answer[32];
		pthread_t threads[64];
		FILE *done;

		snprintf(asked, sizeof(asked), "/tmp/round%d", round);
		snprintf(answer, sizeof(answer), "/tmp/done%d", round);
		while (access(asked, F_OK))
			usleep(10000);
		handled = 0;
		least_ticks = 1l << 60;
		for (long i = 0; i < cores && i < 64; i++)
			if (pthread_create(&threads[i], NULL, trap_core, (void *)i))
				return 2;
		for (long i = 0; i < cores && i < 64; i++)
			pthread_join(threads[i], NULL);
		done = fopen(answer, "w");
		if (!done)
			return 2;
		fprintf(done, "traps %ld ticks %ld\n", (long)handled, (long)least_ticks);
		fclose(done);
	}
}

#define WORDS (1u << 15)
#define SHARED_PER_ROUND 50
// Where the memory that a core's thread checks begins.
#define CHECKED(core) ((uint64_t *)(0x7d0000000000 + ((core) << 24)))
#define NAP_NS 2000000
// No sleep of that length is ever this late, however slow what the debugger watches makes the machine.
#define LATEST_NS 20000000000
#define TICK_NS 5000000
static atomic_int failures;
static atomic_long rounds;
static int64_t check_end;
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static long shared;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void complain(long core, const char *what)
{
	printf("core %ld: %s\n", core, what);
	failures++;
}

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

// Depends on every word and on their order.
static uint64_t digest(uint64_t before, uint64_t word)
{
	return (before ^ word) * 0x9e3779b97f4a7c15u + (before >> 31);
}

// A system call and CPUID leave every other register as it was.
static int registers_stay(uint64_t seed)
{
	long number = SYS_getppid;
	uint64_t b = seed + 1, d = seed + 2, si = seed + 3, di = seed + 4;
	register uint64_t r8 asm("r8") = seed + 8;
	register uint64_t r9 asm("r9") = seed + 9;
	register uint64_t r10 asm("r10") = seed + 10;
	register uint64_t r12 asm("r12") = seed + 12;
	register uint64_t r13 asm("r13") = seed + 13;
	register uint64_t r14 asm("r14") = seed + 14;
	register uint64_t r15 asm("r15") = seed + 15;
	double x = seed & 0xffff, y = (seed & 0xffff) + 0.5;

	asm volatile("syscall" : "+a"(number), "+b"(b), "+d"(d), "+S"(si), "+D"(di), "+r"(r8), "+r"(r9), "+r"(r10),
		     "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15), "+x"(x), "+x"(y) : : "rcx", "r11", "memory");
	int kept = b == seed + 1 && d == seed + 2;
	asm volatile("cpuid" : "=a"(number), "=b"(b), "=d"(d), "+S"(si), "+D"(di), "+r"(r8), "+r"(r9), "+r"(r10),
		     "+r"(r12), "+r"(r13), "+r"(r14), "+r"(r15), "+x"(x), "+x"(y) : "a"(0) : "rcx");
	return kept && si == seed + 3 && di == seed + 4 && r8 == seed + 8 && r9 == seed + 9 && r10 == seed + 10 &&
	       r12 == seed + 12 && r13 == seed + 13 && r14 == seed + 14 && r15 == seed + 15 && x == (seed & 0xffff) &&
	       y == (seed & 0xffff) + 0.5;
}

static void *check_core(void *argument)
{
	long core = (long)argument;
	uint64_t *memory = mmap(CHECKED(core), WORDS * sizeof(*memory), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	uint64_t state = 0x9e3779b97f4a7c15u * (core + 1);
	int64_t last = now_ns();
	unsigned first[4], again[4];
	pid_t session = getsid(0);

	pin(core);
	__cpuid_count(0, 0, first[0], first[1], first[2], first[3]);
	while (now_ns() < check_end) {
		uint64_t wrote = 0, found = 0;
		struct timespec nap = { .tv_nsec = NAP_NS };

		for (unsigned i = 0; i < WORDS; i++)
			wrote = digest(wrote, memory[i] = next(&state));
		sched_yield();
		for (int i = 0; i < SHARED_PER_ROUND; i++) {
			pthread_mutex_lock(&shared_lock);
			shared++;
			pthread_mutex_unlock(&shared_lock);
		}
		int64_t before = now_ns();
		nanosleep(&nap, NULL);
		int64_t slept = now_ns() - before;
		if (slept < NAP_NS || slept > LATEST_NS)
			complain(core, "another sleep than asked for");
		__cpuid_count(0, 0, again[0], again[1], again[2], again[3]);
		if (memcmp(first, again, sizeof(first)) || getsid(0) != session)
			complain(core, "another answer");
		if (!registers_stay(state))
			complain(core, "registers changed");
		for (unsigned i = 0; i < WORDS; i++)
			found = digest(found, memory[i]);
		if (wrote != found)
			complain(core, "memory changed");
		if (now_ns() < last)
			complain(core, "time went back");
		if (sched_getcpu() != core)
			complain(core, "ran on another core");
		last = now_ns();
		rounds++;
	}
	munmap(memory, WORDS * sizeof(*memory));
	return NULL;
}

// A periodic timer has run out as often as the clock says.
static void *check_timer(void *argument)
{
	int timer = timerfd_create(CLOCK_MONOTONIC, 0);
	int64_t start = now_ns() + TICK_NS, count = 0;
	struct itimerspec every = {
		.it_interval.tv_nsec = TICK_NS,
		.it_value = { .tv_sec = start / 1000000000, .tv_nsec = start % 1000000000 },
	};

	if (timer < 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &every, NULL))
		complain(-1, "no timer");
	while (now_ns() < check_end) {
		int64_t before = now_ns();
		uint64_t ticks = 0;

		if (read(timer, &ticks, sizeof(ticks)) != sizeof(ticks))
			complain(-1, "the timer is gone");
		count += ticks;
		if (count < (before - start) / TICK_NS || count > (now_ns() - start) / TICK_NS + 1)
			complain(-1, "the timer and the clock differ");
	}
	close(timer);
	return argument;
}

// lab-check SECONDS: memory, registers, timers, locks and scheduling on every core; fails if anything is not as it was
// left.
static int check(long seconds)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[64], timer;

	if (cores > 64)
		cores = 64;
	check_end = now_ns() + seconds * 1000000000;
	if (pthread_create(&timer, NULL, check_timer, NULL))
		return 2;
	for (long i = 0; i < cores; i++)
		if (pthread_create(&threads[i], NULL, check_core, (void *)i))
			return 2;
	for (long i = 0; i < cores; i++)
		pthread_join(threads[i], NULL);
	pthread_join(timer, NULL);
	if (shared != rounds * SHARED_PER_ROUND)
		complain(-1, "the lock let two in");
	printf("check %s cores %ld rounds %ld failures %d\n",
	       failures ? "FAILED" : "ok", cores, (long)rounds, (int)failures);
	return failures != 0;
}

__attribute__((noinline)) static long stepped_target(long value)
{
	asm volatile("" : "+r"(value));
	return value + 1;
}

// lab-stepped N: its child calls a function N times, every instruction under its single step, once /tmp/step exists.
// Says in /tmp/stepped which process and which function, and prints the steps and those at the function's start.
static int stepped(long count)
{
	long steps = 0, entered = 0;
	struct user_regs_struct registers;
	pid_t child = fork();
	int status;
	FILE *ready;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		stepped_target(0);
		kill(getpid(), SIGSTOP);
		for (long i = 0; i < count; i++)
			stepped_target(i);
		_exit(0);
	}
	waitpid(child, &status, 0);
	ready = fopen("/tmp/stepped", "w");
	fprintf(ready, "pid %x address %lx\n", child, (unsigned long)stepped_target);
	fclose(ready);
	while (access("/tmp/step", F_OK))
		sched_yield();
	// Not into the child's last system call: the emulator steps on into the kernel.
	while (entered < count && !ptrace(PTRACE_SINGLESTEP, child, 0, 0) && waitpid(child, &status, 0) == child) {
		steps++;
		ptrace(PTRACE_GETREGS, child, 0, &registers);
		entered += registers.rip == (unsigned long)stepped_target;
	}
	ptrace(PTRACE_CONT, child, 0, 0);
	waitpid(child, &status, 0);
	printf("steps %ld entered %ld\n", steps, entered);
	return 0;
}

// lab-filter N: a BPF program called "lab" lets N messages pass, once /tmp/filter exists. Makes /tmp/filtering when the
// program is there.
static int filter(long count)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)code,
		.insn_cnt = 2,
		.license = (uintptr_t)"GPL",
		.prog_name = "lab",
	};
	int program = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	int ends[2];
	long passed = 0;
	char byte = 0;

	if (program < 0 || socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) ||
	    setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_BPF, &program, sizeof(program))) {
		perror("lab-filter");
		return 1;
	}
	close(open("/tmp/filtering", O_CREAT | O_WRONLY, 0600));
	while (access("/tmp/filter", F_OK))
		usleep(10000);
	for (long i = 0; i < count; i++)
		passed += write(ends[0], &byte, 1) == 1 && read(ends[1], &byte, 1) == 1;
	printf("passed %ld\n", passed);
	return 0;
}

#define PROBE "/sys/module/lab_probe/parameters/"
// The first argument of a worker's system calls, which are told by it.
#define CALL_ARGUMENT 0x57ad5711
// Where a worker has its page fault.
#define FAULT_AT ((char *)0x7e0000000000)

static void write_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	if (file < 0 || write(file, text, strlen(text)) < 0)
		perror(path);
	close(file);
}

static void copy_lines(const char *path, const char *start, FILE *out)
{
	FILE *file = fopen(path, "r");
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, start, strlen(start)))
			fputs(line, out);
	if (file)
		fclose(file);
}

// Does what the line says, once, and says what came of it.
static void act(char *line, FILE *out, long core)
{
	char *rest = strchr(line, ' ');
	unsigned long number = rest ? strtoul(rest + 1, NULL, 16) : 0;

	if (!strncmp(line, "cpuid ", 6)) {
		unsigned a = 0, b = 0, c = 0, d = 0;

		__cpuid_count(number, 0, a, b, c, d);
		fprintf(out, "eax %x\n", a);
	} else if (!strncmp(line, "call ", 5)) {
		fprintf(out, "gave %lx\n", syscall(number, CALL_ARGUMENT));
	} else if (!strcmp(line, "fault")) {
		char *page = mmap(FAULT_AT, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		asm volatile("movq (%1), %0" : "=a"(number) : "r"(page) : "memory");
		fprintf(out, "found %lx\n", number);
		munmap(page, 4096);
	} else if (!strncmp(line, "probe ", 6)) {
		char start[16];

		snprintf(start, sizeof(start), "core %ld ", core);
		write_text(PROBE "here", rest + 1);
		copy_lines(PROBE "result", start, out);
	} else if (!strncmp(line, "touch ", 6)) {
		write_text(PROBE "touch", rest + 1);
		copy_lines(PROBE "touch", "", out);
	} else if (!strncmp(line, "target ", 7)) {
		write_text(PROBE "target", rest + 1);
		fputs("called\n", out);
	} else if (!strncmp(line, "crossing ", 9)) {
		write_text(PROBE "crossing", rest + 1);
		copy_lines(PROBE "crossing", "", out);
	} else if (!strncmp(line, "send ", 5)) {
		write_text(PROBE "send", rest + 1);
		copy_lines(PROBE "send", "", out);
	} else {
		fprintf(out, "no such act: %s\n", line);
	}
}

// lab-worker CORE: one process on CORE that does what each line in the FIFO /workerCORE says and answers in /answerCORE.
static int worker(long core)
{
	char in[32], out[32], line[128];

	snprintf(in, sizeof(in), "/worker%ld", core);
	snprintf(out, sizeof(out), "/answer%ld", core);
	pin(core);
	for (;;) {
		FILE *commands = fopen(in, "r"), *answer = NULL;

		if (!commands)
			return 1;
		while (fgets(line, sizeof(line), commands)) {
			line[strcspn(line, "\n")] = 0;
			if (!answer)
				answer = fopen(out, "w");
			if (!answer)
				return 1;
			act(line, answer, core);
		}
		fclose(commands);
		if (answer)
			fclose(answer);
	}
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	long first = argc > 1 ? strtol(argv[1], NULL, 0) : 1;
	long second = argc > 2 ? strtol(argv[2], NULL, 0) : !strcmp(name, "lab-cpuid");

	if (!strcmp(name, "lab-calls"))
		return calls(first, second);
	if (!strcmp(name, "lab-deep"))
		return deep_threads(first, second);
	if (!strcmp(name, "lab-threads"))
		return threads(first, second);
	if (!strcmp(name, "lab-call-cost"))
		return call_cost(first);
	if (!strcmp(name, "lab-umask"))
		return umasks(first, second);
	if (!strcmp(name, "lab-open"))
		return opens(argc > 1 ? argv[1] : "/", argc > 2 ? second : 1);
	if (!strcmp(name, "lab-tsc"))
		return ticks(first);
	if (!strcmp(name, "lab-vmfunc"))
		return vmfuncs(first);
	if (!strcmp(name, "lab-traps"))
		return traps(first);
	if (!strcmp(name, "lab-cpuid"))
		return cpuid(first, second);
	if (!strcmp(name, "lab-spin"))
		return spin(first, second);
	if (!strcmp(name, "lab-check"))
		return check(first);
	if (!strcmp(name, "lab-stepped"))
		return stepped(first);
	if (!strcmp(name, "lab-filter"))
		return filter(first);
	if (!strcmp(name, "lab-worker"))
		return worker(first);
	fprintf(stderr, "no program %s\n", name);
	return 2;
}
