// lab-pages: one process that runs, reads and writes a page of its own, and runs and reads code of the kernel, while the code
// changes or its page goes elsewhere. Each line of the FIFO /pages says what to do; /pages-answer has what came of it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Where the process's own page is: at the start of a stretch that a large page could map.
#define PAGE ((uint8_t *)0x7e1000000000)
// A page with the same content, for merging.
#define TWIN ((uint8_t *)0x7e1000800000)
#define SIZE 4096
#define STRETCH (1ul << 21)
// What is read and written there, and a place that nobody looks at.
#define WORD 0x800
#define ASIDE 0xf00
#define FILE_OF_CODE "/tmp/lab-code"
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// lea rax, [rdi+1]; add rax, 0; ret. The second instruction, four bytes in, is what tests watch.
static const uint8_t first_code[] = { 0x48, 0x8d, 0x47, 0x01, 0x48, 0x83, 0xc0, 0x00, 0xc3 };
// mov rax, 1111111111111111h; sub rax, rcx; ret: no instruction begins four bytes in.
static const uint8_t other_code[] = { 0x48, 0xb8, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x48, 0x29, 0xc8, 0xc3 };

static uint64_t (*const code)(uint64_t, uint64_t, uint64_t, uint64_t) = (void *)PAGE;
static int is_rewritten;
// What the word holds, so that nobody has to read it.
static uint64_t word;
static pid_t child;

static uint64_t frame(const void *at)
{
	uint64_t entry = 0;
	int file = open("/proc/self/pagemap", O_RDONLY);

	if (pread(file, &entry, sizeof(entry), (uintptr_t)at / SIZE * 8) != sizeof(entry))
		entry = 0;
	close(file);
	return entry >> 63 ? entry & ((1ul << 55) - 1) : 0;
}

static void fill(uint8_t *page)
{
	for (int i = 0; i < SIZE; i++)
		page[i] = i * 7;
	memcpy(page, first_code, sizeof(first_code));
	memset(page + WORD, 0, 8);
}

static int map(const char *kind, FILE *out)
{
	int protection = PROT_READ | PROT_WRITE | PROT_EXEC, file = -1, flags = MAP_PRIVATE | MAP_FIXED;
	uint8_t content[SIZE];

	is_rewritten = 0;
	word = 0;
	// Of a file whose pages can't be written, of one whose pages are copied when they are, or of none.
	if (!strcmp(kind, "file") || !strcmp(kind, "private")) {
		fill(content);
		file = open(FILE_OF_CODE, O_RDWR | O_CREAT | O_TRUNC, 0700);
		if (file < 0 || write(file, content, SIZE) != SIZE)
			return 1;
		if (!strcmp(kind, "file"))
			protection &= ~PROT_WRITE;
	} else {
		flags |= MAP_ANONYMOUS;
	}
	if (mmap(PAGE, SIZE, protection, flags, file, 0) != PAGE)
		return 1;
	if (file < 0)
		fill(PAGE);
	close(file);
	// So that the page is there.
	fprintf(out, "mapped %d\n", *(volatile uint8_t *)PAGE);
	return 0;
}

static void run(long count, FILE *out)
{
	long wrong = 0;

	for (long i = 0; i < count; i++)
		wrong += code(i, 0, 0, i) != (is_rewritten ? 0x1111111111111111u - i : i + 1u);
	fprintf(out, "ran %ld wrong %ld\n", count, wrong);
}

static void load(long count, FILE *out)
{
	volatile uint64_t *at = (void *)(PAGE + WORD);
	uint64_t first = *at;
	long wrong = 0;

	for (long i = 1; i < count; i++)
		wrong += *at != first;
	fprintf(out, "loaded %ld wrong %ld\n", count, wrong);
}

static void store(long count, FILE *out)
{
	volatile uint64_t *at = (void *)(PAGE + WORD);

	for (long i = 0; i < count; i++)
		*at = word = i;
	fprintf(out, "stored %ld\n", count);
}

static void touch_aside(void)
{
	*(volatile uint8_t *)(PAGE + ASIDE) += 1;
}

// Shares the page with a child and takes a copy.
static void copy_on_write(void)
{
	child = fork();
	if (!child) {
		// Whoever reads the answer waits for all who could write it.
		for (int file = 3; file < 64; file++)
			close(file);
		for (;;)
			pause();
	}
	touch_aside();
}

static void reap(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void run_another(void)
{
	pid_t other = fork();

	if (!other) {
		execl("/bin/true", "true", NULL);
		_exit(1);
	}
	waitpid(other, NULL, 0);
}

static void write_text(const char *path, const char *text)
{
	int file = open(path, O_WRONLY);

	if (file < 0 || write(file, text, strlen(text)) < 0)
		perror(path);
	close(file);
}

static void merge(void)
{
	mmap(TWIN, SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	fill(TWIN);
	*(uint64_t *)(TWIN + WORD) = word;
	madvise(PAGE, SIZE, MADV_MERGEABLE);
	madvise(TWIN, SIZE, MADV_MERGEABLE);
	write_text("/sys/kernel/mm/ksm/sleep_millisecs", "1");
	write_text("/sys/kernel/mm/ksm/run", "1");
	for (int i = 0; i < 1000 && frame(PAGE) != frame(TWIN); i++)
		usleep(10000);
	write_text("/sys/kernel/mm/ksm/run", "0");
}

// One large page instead of the stretch's small ones.
static int collapse(void)
{
	write_text("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");
	mmap(PAGE + SIZE, STRETCH - SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (unsigned long at = SIZE; at < STRETCH; at += SIZE)
		PAGE[at] = 1;
	return madvise(PAGE, STRETCH, MADV_COLLAPSE);
}

// A debugger writes into the code.
static void poke(void)
{
	pid_t self = getpid(), tracer = fork();
	int status;

	if (!tracer) {
		long word;

		ptrace(PTRACE_ATTACH, self, 0, 0);
		waitpid(self, &status, 0);
		word = ptrace(PTRACE_PEEKTEXT, self, PAGE + ASIDE, 0);
		ptrace(PTRACE_POKETEXT, self, PAGE + ASIDE, word + 1);
		ptrace(PTRACE_DETACH, self, 0, 0);
		_exit(0);
	}
	while (waitpid(tracer, &status, 0) < 0)
		;
}

// A function of the kernel's.
static void call(long count, FILE *out)
{
	pid_t session = syscall(SYS_getsid, 0);
	long wrong = 0;

	for (long i = 1; i < count; i++)
		wrong += syscall(SYS_getsid, 0) != session;
	fprintf(out, "called %ld wrong %ld\n", count, wrong);
}

// Writes the same to a parameter of the probe module so many times, which does it once each.
static void ask(const char *parameter, const char *text, long count, FILE *out)
{
	char path[128];
	long wrong = 0;

	snprintf(path, sizeof(path), "/sys/module/lab_probe/parameters/%s", parameter);
	for (long i = 0; i < count; i++) {
		int file = open(path, O_WRONLY);

		wrong += write(file, text, strlen(text)) != (ssize_t)strlen(text);
		close(file);
	}
	fprintf(out, "asked %ld wrong %ld\n", count, wrong);
}

// The kernel runs a BPF program, which gives 11.
static void filter(const char *name, long count, FILE *out)
{
	union bpf_attr attr = { .pathname = (uintptr_t)name };
	int program = syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	uint8_t packet[64] = { 0 };
	long wrong = 0;

	for (long i = 0; i < count; i++) {
		memset(&attr, 0, sizeof(attr));
		attr.test.prog_fd = program;
		attr.test.data_in = (uintptr_t)packet;
		attr.test.data_size_in = sizeof(packet);
		wrong += syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attr, sizeof(attr)) || attr.test.retval != 11;
	}
	close(program);
	fprintf(out, "filtered %ld wrong %ld\n", count, wrong);
}

// Does what the line says. Nonzero: it did not work.
static int act(char *line, FILE *out)
{
	char what[16] = "", how[64] = "", text[80];
	unsigned long number, times = 0;

	sscanf(line, "%15s %63s %lu", what, how, &times);
	number = strtoul(how, NULL, 0);
	if (!strcmp(what, "map"))
		return map(how, out);
	if (!strcmp(what, "frame"))
		fprintf(out, "frame %lx\n", (unsigned long)frame(PAGE));
	else if (!strcmp(what, "run"))
		run(number, out);
	else if (!strcmp(what, "load"))
		load(number, out);
	else if (!strcmp(what, "store"))
		store(number, out);
	else if (!strcmp(what, "rewrite"))
		memcpy(PAGE, other_code, sizeof(other_code)), is_rewritten = 1;
	else if (!strcmp(what, "copy"))
		copy_on_write();
	else if (!strcmp(what, "reap"))
		reap();
	else if (!strcmp(what, "another"))
		run_another();
	else if (!strcmp(what, "merge"))
		merge();
	else if (!strcmp(what, "aside"))
		touch_aside();
	else if (!strcmp(what, "pageout"))
		return madvise(PAGE, SIZE, MADV_PAGEOUT);
	else if (!strcmp(what, "collapse"))
		return collapse();
	else if (!strcmp(what, "poke"))
		poke();
	else if (!strcmp(what, "call"))
		call(number, out);
	else if (!strcmp(what, "ask"))
		ask(how, "1", times, out);
	else if (!strcmp(what, "filter"))
		filter(how, times, out);
	else if (!strcmp(what, "peek")) {
		snprintf(text, sizeof(text), "load %s", how);
		ask("touch", text, times, out);
	} else if (!strcmp(what, "exec"))
		execl("/bin/lab-pages", "lab-pages", NULL);
	else if (!strcmp(what, "end"))
		exit(0);
	else
		return 1;
	return 0;
}

int main(void)
{
	char line[128];

	for (;;) {
		FILE *commands = fopen("/pages", "r"), *answer;

		if (!commands || !fgets(line, sizeof(line), commands))
			return 1;
		fclose(commands);
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "exec") || !strcmp(line, "end"))
			act(line, stdout);
		answer = fopen("/pages-answer", "w");
		if (!answer)
			return 1;
		fprintf(answer, "%s\n", act(line, answer) ? "did not work" : "done");
		fclose(answer);
	}
}
