//! What the GNU assembler makes of the same text, and what cannot be machine code.

use super::*;
use proptest::prelude::*;

fn none(_: &str) -> Option<u64> {
    None
}

fn hex(code: &[u8]) -> String {
    code.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn error(text: &str) -> String {
    assemble(text, &mut none)
        .expect_err("it is wrong")
        .to_string()
}

/// Statement, and its bytes by GNU as (with the numbers in its own notation).
const KNOWN: &[(&str, &str)] = &[
    ("nop", "90"),
    ("mov rax, 1122334455667788", "48b88877665544332211"),
    ("mov rax, [rcx]", "488b01"),
    ("mov rax, qword ptr [rcx+8]", "488b4108"),
    ("mov eax, dword ptr [rcx+rdx*4+10]", "8b449110"),
    ("mov byte ptr [rcx], 41", "c60141"),
    ("mov dword ptr [rcx+8], 12345678", "c7410878563412"),
    ("mov qword ptr [rcx+100], rax", "48898100010000"),
    ("mov [r8+r9*8-20], r10", "4f8954c8e0"),
    ("movzx eax, byte ptr [rcx]", "0fb601"),
    ("movsx rax, word ptr [rcx]", "480fbf01"),
    ("movsxd rax, dword ptr [rcx]", "486301"),
    ("lea rax, [rcx+rcx*2]", "488d0449"),
    ("xor eax, eax", "31c0"),
    ("xor rax, rax", "4831c0"),
    ("add rax, 10", "4883c010"),
    ("add rax, 1000", "480500100000"),
    ("add qword ptr [rcx], 1", "48830101"),
    ("sub rsp, 28", "4883ec28"),
    ("and rax, fff", "4825ff0f0000"),
    ("or al, 80", "0c80"),
    ("cmp rax, rdx", "4839d0"),
    ("cmp dword ptr [rcx+20], 5", "83792005"),
    ("test rax, rax", "4885c0"),
    ("test al, 1", "a801"),
    ("inc qword ptr [rcx]", "48ff01"),
    ("dec eax", "ffc8"),
    ("neg rax", "48f7d8"),
    ("not rax", "48f7d0"),
    ("shl rax, 4", "48c1e004"),
    ("shr rax, cl", "48d3e8"),
    ("sar edx, 1", "d1fa"),
    ("rol rax, 8", "48c1c008"),
    ("imul rax, rdx", "480fafc2"),
    ("imul rax, rdx, 10", "486bc210"),
    ("mul rcx", "48f7e1"),
    ("div rcx", "48f7f1"),
    ("push rbp", "55"),
    ("pop rbp", "5d"),
    ("push 5", "6a05"),
    ("ret", "c3"),
    ("sete al", "0f94c0"),
    ("setne cl", "0f95c1"),
    ("cmove rax, rdx", "480f44c2"),
    ("cmovb eax, ecx", "0f42c1"),
    ("bswap rax", "480fc8"),
    ("bsf rax, rcx", "480fbcc1"),
    ("bt rax, 5", "480fbae005"),
    ("popcnt rax, rcx", "f3480fb8c1"),
    ("xchg rax, rdx", "4892"),
    ("xadd [rcx], rax", "480fc101"),
    ("lock inc qword ptr [rcx]", "f048ff01"),
    ("lock cmpxchg [rcx], rdx", "f0480fb111"),
    ("lock xadd qword ptr [rcx], rax", "f0480fc101"),
    ("rep movsb", "f3a4"),
    ("rep stosq", "f348ab"),
    ("cld", "fc"),
    ("std", "fd"),
    ("cli", "fa"),
    ("sti", "fb"),
    ("rdtsc", "0f31"),
    ("rdtscp", "0f01f9"),
    ("cpuid", "0fa2"),
    ("rdmsr", "0f32"),
    ("wrmsr", "0f30"),
    ("mov rax, cr0", "0f20c0"),
    ("mov rax, cr3", "0f20d8"),
    ("mov cr3, rax", "0f22d8"),
    ("mov rax, dr7", "0f21f8"),
    ("pushfq", "9c"),
    ("popfq", "9d"),
    ("lfence", "0faee8"),
    ("mfence", "0faef0"),
    ("pause", "f390"),
    ("int3", "cc"),
    ("int 3", "cc"),
    ("ud2", "0f0b"),
    ("hlt", "f4"),
    ("swapgs", "0f01f8"),
    ("in al, dx", "ec"),
    ("out dx, al", "ee"),
    ("in eax, 60", "e560"),
    ("mov ax, fs", "668ce0"),
    ("mov rax, gs:[188]", "65488b042588010000"),
    ("mov rax, qword ptr gs:[rcx]", "65488b01"),
    ("mov ah, bl", "88dc"),
    ("mov r15b, sil", "4188f7"),
    ("movq xmm0, rax", "66480f6ec0"),
    ("movdqu xmm1, [rcx]", "f30f6f09"),
    ("movups [rdx], xmm1", "0f110a"),
    ("pxor xmm0, xmm0", "660fefc0"),
    ("call rax", "ffd0"),
    ("call qword ptr [rcx+8]", "ff5108"),
    ("jmp rax", "ffe0"),
    ("jmp qword ptr [rcx]", "ff21"),
    ("leave", "c9"),
    ("cdq", "99"),
    ("cqo", "4899"),
    ("cdqe", "4898"),
    ("invlpg [rax]", "0f0138"),
    ("clflush [rcx]", "0fae39"),
    ("prefetcht0 [rcx]", "0f1809"),
    ("xgetbv", "0f01d0"),
    ("adc rax, rdx", "4811d0"),
    ("sbb rax, 0", "4883d800"),
    ("xlatb", "d7"),
    ("lodsb", "ac"),
    ("scasb", "ae"),
    ("movabs rax, ffffffff81000000", "48b800000081ffffffff"),
    ("mov rax, ffffffff81000000", "48c7c000000081"),
    ("mov eax, ffffffff", "b8ffffffff"),
    ("mov rcx, -1", "48c7c1ffffffff"),
    ("add rax, -8", "4883c0f8"),
    ("add rsp, 80", "4881c480000000"),
    ("mov r8d, dword ptr [rsp+rax-4]", "448b4404fc"),
];

#[test]
fn statements_become_what_the_gnu_assembler_makes_of_them() {
    let mut wrong = Vec::new();
    for (text, bytes) in KNOWN {
        let ours = assemble(text, &mut none).map(|code| hex(&code));
        // One statement is one instruction, for the disassembler too.
        let length = ours.as_ref().map_or(0, |text| text.len() / 2);
        let code = assemble(text, &mut none).unwrap_or_default();
        let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
        let decoded = decoder.decode();
        if decoded.is_invalid() || decoded.len() != length || ours.as_deref() != Ok(*bytes) {
            wrong.push(format!("{text}: {ours:?}, not {bytes}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn labels_comments_and_both_separators_work() {
    let text =
        "xor eax, eax // count; up\nagain: inc eax; cmp eax, 10\njb again; jmp end; nop\nend: ret";
    let code = assemble(text, &mut none).expect("it is right");
    assert_eq!(hex(&code), "31c0ffc083f81072f9eb0190c3");
}

#[test]
fn symbols_are_their_addresses() {
    let mut symbol = |name: &str| match name {
        "vmlinux!vfs_read" | "vfs_read" => Some(0xffff_ffff_9100_2000),
        _ => None,
    };
    for text in [
        "mov rax, vmlinux!vfs_read; call rax",
        "mov rax, vfs_read\ncall rax",
    ] {
        let code = assemble(text, &mut symbol).expect("it is right");
        assert!(hex(&code).ends_with("ffd0"), "{}", hex(&code));
        let mut decoder = Decoder::with_ip(64, &code, 0, DecoderOptions::NONE);
        assert_eq!(decoder.decode().immediate(1), 0xffff_ffff_9100_2000);
    }
}

#[test]
fn an_error_names_line_column_and_what_is_wrong() {
    assert_eq!(
        error("nop; nop\n  frob rax"),
        "assembler, line 2, column 3: unknown instruction `frob`"
    );
    assert_eq!(
        error("mov rax, nowhere!x"),
        "assembler, line 1, column 10: no symbol `nowhere!x`"
    );
    assert!(error("nop; mov rax, 0n1f").contains("column 15: `0n1f` is not a number in base 10"));
    assert!(error("jmp nowhere").contains("nowhere"));
    assert!(error("mov rax, rbx, rcx").contains("column 1"));
}

#[test]
fn code_that_refers_out_of_itself_is_refused() {
    let mut symbol = |name: &str| (name == "vfs_read").then_some(0xffff_ffff_9100_2000);
    let error = assemble("nop\n call vfs_read", &mut symbol).expect_err("it is wrong");
    assert_eq!((error.line, error.column), (2, 2));
    assert!(error.why.contains("put the address into a register"));
    assert!(assemble("mov rax, [rip+1000]", &mut none).is_err());
}

#[test]
fn code_that_does_not_return_gets_a_return() {
    for (code, expected) in [
        (&[0x90][..], &[0x90, 0xc3][..]),
        (&[0x90, 0xc3], &[0x90, 0xc3]),
        // The last byte belongs to an operand.
        (&[0xb8, 0, 0, 0, 0xc3], &[0xb8, 0, 0, 0, 0xc3, 0xc3]),
        (&[0xeb, 0xfe], &[0xeb, 0xfe, 0xc3]),
    ] {
        assert_eq!(returning(code.to_vec()), expected);
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[-a-z0-9 ,;:!\\[\\]+*\n@.]{0,40}") {
        let _ = assemble(&text, &mut none);
    }
}
