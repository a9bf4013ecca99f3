# Detours: from the place that a hooked instruction jumps to, into the driver's code and back, in
# guest mode and without a VM exit. Offsets come from hw/detour.rs.
#
# All pages from standstill_detour_data to the end of the places lead to pages of the arena that the
# guest can read and execute; what stands here is never seen.

.pushsection .text.standstill_detours, "ax", @progbits
.balign 4096
.globl standstill_detour_data
standstill_detour_data:
    .fill 4096, 1, 0xcc
.globl standstill_detour_slots
standstill_detour_slots:
    .fill {SLOTS_BYTES}, 1, 0xcc
.popsection

# A place has pushed its number. On the stack, from the top: the general registers in the order of
# their numbers, then RIP, CS, RFLAGS, RSP, SS for IRETQ, of which the last two hold the flags and the
# number first.
.globl standstill_detour
standstill_detour:
    pushfq
    # No interrupts, no single step, strings upwards.
    push 2
    popfq
    lea rsp, [rsp - 24]
    push r15
    push r14
    push r13
    push r12
    push r11
    push r10
    push r9
    push r8
    push rdi
    push rsi
    push rbp
    push rsp
    push rbx
    push rdx
    push rcx
    push rax
    mov rax, [rsp + 19 * 8]
    mov [rsp + 18 * 8], rax
    lea rax, [rsp + 21 * 8]
    mov [rsp + 19 * 8], rax
    mov r8, [rsp + 20 * 8]
    mov eax, ss
    mov [rsp + 20 * 8], rax
    mov eax, cs
    mov [rsp + 17 * 8], rax
    # The limit of the segment that the kernel keeps for this says which core it is.
    mov eax, [rip + standstill_detour_data + {CORE_SELECTOR}]
    lsl eax, eax
    and eax, 0xfff
    mov r12d, eax
    lea rcx, [rip + standstill_detour_data]
    mov r14, [rcx + r12 * 8 + {STACKS}]
    mov rbp, [rcx + {HOST_CR3}]
    mov rbx, [rcx + {HYPERVISOR}]
    mov r13, cr3
    mov r15, rsp
    # Into the view in which the debugger's memory is there.
    xor eax, eax
    mov ecx, 1
    vmfunc
    lea rsp, [r14 - {FRAME_BYTES}]
    mov rsi, r15
    mov rdi, rsp
    mov ecx, {FRAME_WORDS}
    rep movsq
    mov cr3, rbp
    mov rdi, rsp
    mov rsi, r12
    mov rdx, r13
    mov rcx, rbx
    call standstill_detour_hit
    test rax, rax
    jnz 2f
    mov cr3, r13
    mov rsi, rsp
    mov rdi, r15
    mov ecx, {FRAME_WORDS}
    rep movsq
    mov rsp, r15
    # Back into the view with hooks.
    xor eax, eax
    xor ecx, ecx
    vmfunc
    lea rcx, [rip + standstill_detour_data]
    cmp byte ptr [rcx + r12 + {OWED}], 0
    jne 3f
1:  pop rax
    pop rcx
    pop rdx
    pop rbx
    lea rsp, [rsp + 8]
    pop rbp
    pop rsi
    pop rdi
    pop r8
    pop r9
    pop r10
    pop r11
    pop r12
    pop r13
    pop r14
    pop r15
    iretq
    # What only VMX-root can do: it takes the frame from RSP and the guest's tables from R13, and
    # lets the guest go on where the frame says.
2:  mov rdx, rax
    movabs rax, {MAGIC}
    mov ecx, {FINISH}
    vmcall
    # Exits came while this core was inside, and were deferred.
3:  movabs rax, {MAGIC}
    mov ecx, {FINISH}
    xor edx, edx
    vmcall
    jmp 1b
.globl standstill_detour_end
standstill_detour_end:
