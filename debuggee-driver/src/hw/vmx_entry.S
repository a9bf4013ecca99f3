# The four places where Rust cannot follow the control flow: entering the hypervisor from the
# kernel, running the guest, leaving for good, and exceptions taken in VMX-root.
# Offsets come from hw/percore.rs.

.macro SAVE_CALLEE_SAVED
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
.endm
.macro RESTORE_CALLEE_SAVED
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbp
    pop rbx
.endm
.macro LOAD_GUEST_REGISTERS
    mov rax, [rdi + 0x00]
    mov rcx, [rdi + 0x08]
    mov rdx, [rdi + 0x10]
    mov rbx, [rdi + 0x18]
    mov rbp, [rdi + 0x28]
    mov rsi, [rdi + 0x30]
    mov r8,  [rdi + 0x40]
    mov r9,  [rdi + 0x48]
    mov r10, [rdi + 0x50]
    mov r11, [rdi + 0x58]
    mov r12, [rdi + 0x60]
    mov r13, [rdi + 0x68]
    mov r14, [rdi + 0x70]
    mov r15, [rdi + 0x78]
    mov rdi, [rdi + 0x38]
.endm

# u64 standstill_enter(PerCore *core): kernel context, interrupts off. Returns 0 as a guest, or the
# error of the launch. The guest starts at label 2 on the kernel's own stack.
.globl standstill_enter
standstill_enter:
    pushfq
    SAVE_CALLEE_SAVED
    mov [rdi + {GUEST_RSP}], rsp
    lea rax, [rip + 2f]
    mov [rdi + {GUEST_RIP}], rax
    mov rax, rsp
    mov rsp, [rdi + {STACK_TOP}]
    push rax
    push rax
    call standstill_core_main
    pop rcx
    pop rsp
    jmp 3f
2:  xor eax, eax
3:  RESTORE_CALLEE_SAVED
    popfq
    ret

# u64 standstill_vm_run(u64 registers[16], u64 launched): VMX-root. Returns 0 after a VM exit, with
# the guest's registers stored, or 1 if the entry failed. Keeps RBX and RBP and no other register: the caller
# knows best which ones it needs.
.globl standstill_vm_run
standstill_vm_run:
    push rbx
    push rbp
    push rdi
    mov eax, 0x6C14
    vmwrite rax, rsp
    test rsi, rsi
    LOAD_GUEST_REGISTERS
    jz 1f
    vmresume
    jmp 2f
1:  vmlaunch
2:  pop rdi
    pop rbp
    pop rbx
    mov eax, 1
    ret
.globl standstill_vm_exit
standstill_vm_exit:
    push rdi
    mov rdi, [rsp + 8]
    mov [rdi + 0x00], rax
    mov [rdi + 0x08], rcx
    mov [rdi + 0x10], rdx
    mov [rdi + 0x18], rbx
    mov [rdi + 0x28], rbp
    mov [rdi + 0x30], rsi
    pop qword ptr [rdi + 0x38]
    mov [rdi + 0x40], r8
    mov [rdi + 0x48], r9
    mov [rdi + 0x50], r10
    mov [rdi + 0x58], r11
    mov [rdi + 0x60], r12
    mov [rdi + 0x68], r13
    mov [rdi + 0x70], r14
    mov [rdi + 0x78], r15
    pop rdi
    pop rbp
    pop rbx
    xor eax, eax
    ret

# void standstill_leave(u64 registers[16], const u64 frame[5]): VMX is off already and the guest's
# tables are loaded; continues the guest at frame = RIP, CS, RFLAGS, RSP, SS.
.globl standstill_leave
standstill_leave:
    mov rsp, rsi
    LOAD_GUEST_REGISTERS
    iretq

# u64 standstill_call_on_stack(void *argument, u64 stack_top, u64 (*function)(void *)).
.globl standstill_call_on_stack
standstill_call_on_stack:
    push rbp
    mov rbp, rsp
    mov rsp, rsi
    call rdx
    mov rsp, rbp
    pop rbp
    ret

# void standstill_sleep(u64 seen_nmis): waits for an NMI, if none came since. Interrupts are off and wake
# nothing; what does wake it besides is rare, and the caller looks again.
.globl standstill_sleep
standstill_sleep:
    cmp fs:[{ROOT_NMIS}], rdi
    jne standstill_slept
    hlt
standstill_slept:
    ret

# An NMI in VMX-root. It is counted, and the preemption timer is set to zero so that the next
# VM entry exits at once: an NMI between the last check and VMRESUME is not lost. Nor is one between the comparison and HLT
# above, behind which that code then goes on.
.globl standstill_nmi
standstill_nmi:
    push rax
    push rdx
    lock inc qword ptr fs:[{ROOT_NMIS}]
    mov eax, 0x482E
    xor edx, edx
    vmwrite rax, rdx
    lea rax, [rip + standstill_slept]
    lea rdx, [rip + standstill_sleep]
    cmp [rsp + 16], rax
    jae 1f
    cmp [rsp + 16], rdx
    jb 1f
    mov [rsp + 16], rax
1:  pop rdx
    pop rax
    iretq

# A machine check in VMX-root: remembered, and given to the guest at the next entry.
.globl standstill_machine_check
standstill_machine_check:
    lock inc qword ptr fs:[{MACHINE_CHECKS}]
    iretq

# All other vectors: 16 bytes of code each, ending in standstill_root_fault, which does not return.
.globl standstill_fault_table
.balign 16
standstill_fault_table:
.set vector, 0
.rept 32
    .balign 16
    push vector
    jmp standstill_fault_common
    .set vector, vector + 1
.endr
standstill_fault_common:
    cmp qword ptr fs:[{CODE_ACTIVE}], 0
    jne standstill_code_fault
    mov rdi, rsp
    mov rsi, fs:[{SELF}]
    and rsp, -16
    call standstill_root_fault
