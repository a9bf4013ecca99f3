// Test programs for the debuggee. One static binary; the name it is called by selects the program.
#define _GNU_SOURCE
#include <cpuid.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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
static atomic_int failures;
static atomic_long rounds;
static double check_end;

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void *check_core(void *argument)
{
	long core = (long)argument;
	uint64_t *memory = malloc(WORDS * sizeof(*memory));
	uint64_t seed = 0x9e3779b97f4a7c15u * (core + 1);
	double last = now();
	unsigned first[4], again[4];
	pid_t session = getsid(0);

	pin(core);
	__cpuid_count(0, 0, first[0], first[1], first[2], first[3]);
	while (now() < check_end) {
		uint64_t state = seed, wrote = 0, found = 0;
		struct timespec nap = { .tv_nsec = 2000000 };

		for (unsigned i = 0; i < WORDS; i++)
			wrote += memory[i] = next(&state);
		sched_yield();
		for (unsigned i = 0; i < WORDS; i++)
			found += memory[i];
		if (wrote != found) {
			printf("core %ld: memory changed\n", core);
			failures++;
		}
		nanosleep(&nap, NULL);
		__cpuid_count(0, 0, again[0], again[1], again[2], again[3]);
		if (memcmp(first, again, sizeof(first)) || getsid(0) != session) {
			printf("core %ld: another answer\n", core);
			failures++;
		}
		if (now() < last) {
			printf("core %ld: time went back\n", core);
			failures++;
		}
		if (sched_getcpu() != core) {
			printf("core %ld: ran on core %d\n", core, sched_getcpu());
			failures++;
		}
		last = now();
		seed = state;
		rounds++;
	}
	free(memory);
	return NULL;
}

// lab-check SECONDS: memory, timers and scheduling on every core; fails if anything is not as it was left.
static int check(long seconds)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t threads[64];

	if (cores > 64)
		cores = 64;
	check_end = now() + seconds;
	for (long i = 0; i < cores; i++)
		if (pthread_create(&threads[i], NULL, check_core, (void *)i))
			return 2;
	for (long i = 0; i < cores; i++)
		pthread_join(threads[i], NULL);
	printf("check %s cores %ld rounds %ld failures %d\n",
	       failures ? "FAILED" : "ok", cores, (long)rounds, (int)failures);
	return failures != 0;
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

		*(volatile char *)page = 1;
		fprintf(out, "touched %p\n", page);
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
	if (!strcmp(name, "lab-umask"))
		return umasks(first, second);
	if (!strcmp(name, "lab-open"))
		return opens(argc > 1 ? argv[1] : "/", argc > 2 ? second : 1);
	if (!strcmp(name, "lab-tsc"))
		return ticks(first);
	if (!strcmp(name, "lab-traps"))
		return traps(first);
	if (!strcmp(name, "lab-cpuid"))
		return cpuid(first, second);
	if (!strcmp(name, "lab-spin"))
		return spin(first, second);
	if (!strcmp(name, "lab-check"))
		return check(first);
	if (!strcmp(name, "lab-worker"))
		return worker(first);
	fprintf(stderr, "no program %s\n", name);
	return 2;
}
