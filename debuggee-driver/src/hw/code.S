# Machine code of the user's, in VMX-root: entered with the trap flag set, so that every instruction
# raises #DB, which counts them; left by RET, by any exception, or when the count is used up.
# Offsets come from hw/percore.rs.

# u64 standstill_run_code(PerCore *core, u64 entry, u64 stack_top). Returns RAX of the code.
.globl standstill_run_code
standstill_run_code:
    pushfq
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    mov [rdi + {CODE_RSP}], rsp
    lea rax, [rip + standstill_code_done]
    mov [rdx - 8], rax
    sub rdx, 8
    mov eax, ss
    push rax
    push rdx
    pushfq
    or qword ptr [rsp], 0x100
    mov eax, cs
    push rax
    push rsi
    mov rcx, [rdi + {CODE_ARGUMENTS}]
    mov rdx, [rdi + {CODE_ARGUMENTS} + 8]
    mov r8, [rdi + {CODE_ARGUMENTS} + 16]
    mov qword ptr [rdi + {CODE_ACTIVE}], 1
    xor eax, eax
    xor ebx, ebx
    xor ebp, ebp
    xor esi, esi
    xor edi, edi
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    xor r12d, r12d
    xor r13d, r13d
    xor r14d, r14d
    xor r15d, r15d
    iretq
# Where the code returns to, and where a run ends that was cut short.
standstill_code_done:
    mov qword ptr fs:[{CODE_ACTIVE}], 0
    mov rsp, fs:[{CODE_RSP}]
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
    popfq
    ret

# #DB: one more instruction of the code was carried out. Whatever the code did to its flags, the
# next one is counted too, and no interrupt comes in between.
.globl standstill_debug
standstill_debug:
    cmp qword ptr fs:[{CODE_ACTIVE}], 0
    je 2f
    push rax
    lea rax, [rip + standstill_code_done]
    cmp [rsp + 8], rax
    je 1f
    dec qword ptr fs:[{CODE_LEFT}]
    jz 3f
    or qword ptr [rsp + 24], 0x100
    and qword ptr [rsp + 24], -0x201
    pop rax
    iretq
1:  and qword ptr [rsp + 24], -0x101
    pop rax
    iretq
2:  push 1
    jmp standstill_fault_common
3:  pop rax
    mov rax, [rsp]
    mov fs:[{CODE_RIP}], rax
    mov qword ptr fs:[{CODE_VECTOR}], 256
    jmp standstill_code_done

# An exception while code of the user's runs: [rsp] is the vector, above it maybe an error code, RIP.
standstill_code_fault:
    mov eax, [rsp]
    mov fs:[{CODE_VECTOR}], rax
    mov rcx, [rsp + 8]
    # Vectors with an error code: 8, 10 to 14, 17, 21.
    mov edx, 0x227d00
    bt edx, eax
    jnc 1f
    mov rcx, [rsp + 16]
1:  mov fs:[{CODE_RIP}], rcx
    jmp standstill_code_done
