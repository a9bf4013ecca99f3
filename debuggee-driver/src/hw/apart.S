# Code that may panic, in VMX-root, on a stack of its own that can be left for good at any time.
# Offsets come from hw/percore.rs.

# u64 standstill_run_apart(void *argument, u64 stack_top, void (*function)(void *)). Returns 0, or 1 if the
# stack was left.
.globl standstill_run_apart
standstill_run_apart:
    SAVE_CALLEE_SAVED
    mov fs:[{APART_RSP}], rsp
    mov rsp, rsi
    call rdx
    xor eax, eax
1:  mov rsp, fs:[{APART_RSP}]
    mov qword ptr fs:[{APART_RSP}], 0
    RESTORE_CALLEE_SAVED
    ret
# void standstill_leave_apart(void): on such a stack. Does not return there.
.globl standstill_leave_apart
standstill_leave_apart:
    cld
    mov eax, 1
    jmp 1b
