// Instructions that are awkward to step through, and what the processor's own single step makes of them.
//
// lab-awkward: has a child execute them under PTRACE_SINGLESTEP, and writes to /awkward, for each, where it stood after it and
// a hash of its registers. Then, once /tmp/awkward exists, executes them itself, for whoever steps it by other means, and says
// whether it saw a trap flag that it had not set, and how often its own trap flag trapped.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

extern char awkward[], awkward_end[], after_mov_ss[], pure_end[];
extern void run_awkward(void *buffer, long has_avx);
// Its last byte but 0x20 is where string instructions begin that go over the end of a page.
static char buffer[3 * 4096] __attribute__((aligned(4096)));
char awkward_stack[16384] __attribute__((aligned(4096)));
uint64_t awkward_saved, awkward_saw_tf;

asm(R"(
.text
.globl run_awkward, awkward, awkward_end, after_mov_ss, pure_end
run_awkward:
	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15
	mov %rsp, awkward_saved(%rip)
	lea awkward_stack+16384(%rip), %rsp
	mov %rsi, %r15
	mov $0x1111111111111111, %rax
	mov $0x2222222222222222, %rbx
	mov $3, %rcx
	mov $0x4444444444444444, %rdx
	mov $0x5555555555555555, %rbp
	mov $0x6666666666666666, %rsi
	mov $7, %r8; mov $8, %r9; mov $9, %r10; mov $10, %r11; mov $11, %r12; mov $12, %r13; mov %rdi, %r14
awkward:
	nop
	// The stack.
	push %rax; push $-1; pop %r8; pop %r9
	push (%r14); pop 8(%r14)
	enter $32, $1; leave
	pushw $5; popw %cx
	// Pushed flags, without the trap flag that a tracer sets.
	pushf; andl $~0x100, (%rsp); pop %r10
	stc; pushf; andl $~0x100, (%rsp); popf
	clc; cmc; lahf; sahf; std; cld
	push $0x246; popf
	// Stack segment: what comes next is not interrupted.
	mov %ss, %ecx
	mov %ecx, %ss
after_mov_ss:
	lea 8(%rsp), %r11
	// Arithmetic on what carries and overflows.
	.rept 8
	add %rbx, %rax; adc %rdx, %rbx; sbb $3, %rdx; imul $7, %rax, %r9; neg %r9; bswap %rdx; rol $5, %rbx; rcr $3, %rax
	.endr
	mov $1000, %eax; xor %edx, %edx; mov $7, %ecx; div %ecx
	mov $-1000, %eax; cltd; idiv %ecx
	mov %rbx, %rax; mul %rbp; shld $9, %rax, %rdx; shrd $3, %rdx, %rax
	bts $17, %rax; btr $3, %rax; btc $60, %rax; bt $5, %rax; setc %cl; seto %ch
	cmovs %rbx, %r8; cmovns %rbp, %r8; bsf %rax, %r9; bsr %rax, %r10; xchg %rax, %r9; xadd %rax, %rbx
	movzx %al, %ecx; movsx %ax, %edx; movslq %eax, %rdx; cbtw; cwtl; cltq; cwtd; cltd; cqto
	lea (%rax,%rbx,4), %r9; lea 1f(%rip), %r10
	// Memory, with locks.
	lock incq (%r14); lock xadd %rax, (%r14); lock cmpxchg %rbx, (%r14); xchg %rax, (%r14)
	lock cmpxchg16b (%r14); lock btsq $9, (%r14); lock orl $1, 4(%r14)
	// Jumps.
1:	xor %ecx, %ecx
	jrcxz 2f
	nop
2:	mov $5, %ecx
3:	loop 3b
	mov $3, %ecx
4:	test %ecx, %ecx
	loopne 4b
	lea 5f(%rip), %rax
	jmp *%rax
	nop
5:	lea 6f(%rip), %rax
	push %rax
	ret
	nop
6:	call 7f
7:	pop %rax
	call 8f
	jmp 9f
8:	ret $0
9:	lea 10f(%rip), %rax
	mov %cs, %ecx
	push %rcx
	push %rax
	lretq
	nop
10:	mov %rsp, %rdx
	mov %ss, %eax
	push %rax
	push %rdx
	push $0x202
	mov %cs, %eax
	push %rax
	lea 11f(%rip), %rax
	push %rax
	iretq
	nop
	// Strings, over the end of a page, and back.
11:	lea 4096-16(%r14), %rdi
	mov $0x41, %eax
	mov $32, %ecx
	rep stosb
	lea 4096-20(%r14), %rsi
	lea 8192-12(%r14), %rdi
	mov $5, %ecx
	rep movsq
	lea 4096-16(%r14), %rdi
	mov $40, %ecx
	repe scasb
	lea 4096-16(%r14), %rsi
	lea 8192-16(%r14), %rdi
	mov $16, %ecx
	repne cmpsb
	std
	lea 4096+8(%r14), %rsi
	lea 8192+8(%r14), %rdi
	mov $4, %ecx
	rep movsl
	cld
	lea 4096-4(%r14), %rsi
	lodsq; lodsl; lodsw; lodsb
	xor %ecx, %ecx
	rep movsb
	lea 4096-3(%r14), %rbx
	mov (%rbx), %rax
	mov %rax, (%rbx)
	mov $2, %al
	xlat
	// Vectors.
	movdqu 4096-8(%r14), %xmm0
	pxor %xmm1, %xmm1; paddq %xmm0, %xmm1; pshufd $0x1b, %xmm1, %xmm2; punpcklbw %xmm0, %xmm2; pmovmskb %xmm2, %eax
	mov $1234, %ecx; cvtsi2sd %rcx, %xmm3; sqrtsd %xmm3, %xmm3; mulsd %xmm3, %xmm3; cvttsd2si %xmm3, %rcx; ucomisd %xmm3, %xmm0
	movaps %xmm2, (%r14); movups %xmm2, 4096-5(%r14); movd %xmm2, %edx; movq %xmm1, %rbx; pextrw $2, %xmm1, %esi
	maskmovdqu %xmm0, %xmm1
	fld1; fldpi; fmulp; fistpll (%r14); mov (%r14), %rbx; fnop; emms
	test %r15, %r15
	jz 12f
	vmovdqu 4096-16(%r14), %ymm4; vpxor %ymm5, %ymm5, %ymm5; vpaddq %ymm4, %ymm5, %ymm6; vmovdqu %ymm6, 8192-13(%r14)
	vpmovmskb %xmm6, %eax; vextractf128 $1, %ymm6, %xmm7; vmovq %xmm7, %rbx; vzeroupper
12:	mov $0, %edi
	// What leaves to a hypervisor.
	xor %eax, %eax; xor %ecx, %ecx
	cpuid
	mov $0x80000000, %eax
	cpuid
	mov $1, %eax; mov $2, %ebx; mov $3, %ecx; mov $4, %edx
	mfence; lfence; sfence; pause; prefetcht0 (%r14); clflush (%r14)
	.rept 6
	inc %rax; dec %rbx; not %rcx; ror %cl, %rdx; sar $2, %rdx; xor %rax, %rdx; rcl %cl, %rbx; sub %rdx, %rcx
	.endr
pure_end:
	nop
	// Into the kernel and back: calls, faults that are mended, and signals.
	mov $39, %eax
	syscall
	mov $124, %eax; xor %edi, %edi
	syscall
	mov $20, %eax
	int $0x80
	lea 2*4096+256(%r14), %rax
	incb (%rax)
	ud2
	nop
	int3
	nop
	hlt
	nop
	xor %eax, %eax
	mov (%rax), %rbx
	nop; nop
	// What it sees of itself.
	pushf
	pop %rax
	and $0x100, %eax
	mov %rax, awkward_saw_tf(%rip)
awkward_end:
	nop
	mov awkward_saved(%rip), %rsp
	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx
	ret
.previous
)");

static volatile long own_traps;

// Goes on behind the instruction that cannot be executed.
static void skip(int number, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;

	if (number == SIGILL)
		registers[REG_RIP] += 2;
	else if (number == SIGSEGV)
		registers[REG_RIP] += *(unsigned char *)registers[REG_RIP] == 0xf4 ? 1 : 3;
	else if (info->si_code == TRAP_TRACE && registers[REG_EFL] & 0x100)
		own_traps++;
}

static uint64_t hash(const struct user_regs_struct *of)
{
	const uint64_t values[] = {
		of->rax, of->rcx, of->rdx, of->rbx, of->rsp, of->rbp, of->rsi, of->rdi, of->r8, of->r9, of->r10, of->r11, of->r12,
		of->r13, of->r14, of->r15, of->eflags & 0xcd5,
	};
	uint64_t hash = 0xcbf29ce484222325;

	for (unsigned i = 0; i < sizeof(values) / sizeof(*values); i++)
		hash = (hash ^ values[i]) * 0x100000001b3;
	return hash;
}

static long has_avx(void)
{
	return __builtin_cpu_supports("avx2");
}

static int trace(FILE *log)
{
	struct user_regs_struct registers;
	siginfo_t info;
	int status, deliver = 0, is_inside = 0;
	pid_t child = fork();

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		run_awkward(buffer, has_avx());
		_exit(0);
	}
	waitpid(child, &status, 0);
	while (!ptrace(PTRACE_SINGLESTEP, child, 0, deliver) && waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		ptrace(PTRACE_GETREGS, child, 0, &registers);
		ptrace(PTRACE_GETSIGINFO, child, 0, &info);
		deliver = WSTOPSIG(status);
		if (deliver == SIGTRAP && info.si_code != SI_KERNEL)
			deliver = 0;
		if (deliver)
			continue;
		is_inside |= registers.rip == (uint64_t)awkward;
		if (is_inside)
			fprintf(log, "%llx %lx\n", registers.rip, hash(&registers));
		if (registers.rip == (uint64_t)awkward_end)
			break;
	}
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	return 0;
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = skip, .sa_flags = SA_SIGINFO };
	FILE *log = fopen("/awkward", "w");
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	sched_setaffinity(0, sizeof(set), &set);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGTRAP, &action, NULL);
	// Both have their pages, and find the same in them.
	memset(awkward_stack, 0, sizeof(awkward_stack));
	mlockall(MCL_CURRENT);
	trace(log);
	fclose(log);
	printf("process %x begin %lx end %lx behind %lx pure %lx\n", getpid(), (long)awkward, (long)awkward_end,
	       (long)after_mov_ss, (long)pure_end);
	fflush(stdout);
	while (access("/tmp/awkward", F_OK))
		usleep(20000);
	// The child had them, too: they are this one's own again before the first instruction.
	memset(awkward_stack, 0, sizeof(awkward_stack));
	memset(buffer, 0, sizeof(buffer));
	run_awkward(buffer, has_avx());
	// Its own trap flag: each instruction traps from the one behind that which sets it to the one that clears it.
	asm volatile("pushf; orl $0x100, (%%rsp); popf; nop; nop; pushf; andl $~0x100, (%%rsp); popf; nop" ::: "memory", "cc");
	printf("saw %lx own traps %ld\n", (long)awkward_saw_tf, own_traps);
	return 0;
}
