// Test programs for the debuggee. One static binary; the name it is called by selects the program.
#define _GNU_SOURCE
#include <cpuid.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

	pin(core);
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

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
	long first = argc > 1 ? strtol(argv[1], NULL, 0) : 1;
	long second = argc > 2 ? strtol(argv[2], NULL, 0) : !strcmp(name, "lab-cpuid");

	if (!strcmp(name, "lab-calls"))
		return calls(first, second);
	if (!strcmp(name, "lab-cpuid"))
		return cpuid(first, second);
	if (!strcmp(name, "lab-spin"))
		return spin(first, second);
	if (!strcmp(name, "lab-check"))
		return check(first);
	fprintf(stderr, "no program %s\n", name);
	return 2;
}
