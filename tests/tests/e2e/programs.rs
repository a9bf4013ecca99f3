//! Scripts in VMX-root: what they see, what they print, what they may not touch.

use crate::lab::Lab;
use vm_lab::machine::KernelLine;

#[test]
fn programs_act_on_the_machine_and_are_held_in_check() {
    let mut lab = Lab::halted(KernelLine::default());
    a_statement_at_the_prompt_sees_the_machine(&mut lab);
    variables_of_all_scripts_stay(&mut lab);
    a_script_without_an_end_is_ended(&mut lab);
    machine_code_acts_on_the_guest_and_its_faults_and_hangs_are_caught(&mut lab);
    a_script_disables_and_clears_events_and_stops_the_machine(&mut lab);
}

fn a_statement_at_the_prompt_sees_the_machine(lab: &mut Lab) {
    let rip = lab.run("? printf(\"%llx\\n\", @rip);");
    let registers = lab.run("r rip");
    let shown = rip.trim().trim_start_matches('0');
    assert!(
        !shown.is_empty() && registers.contains(shown),
        "{rip} {registers}"
    );
    // Memory by both kinds of addresses is the same memory.
    let text =
        lab.run("? p = virtual_to_physical(@rip); printf(\"same %d\\n\", poi(@rip) - poi_pa(p));");
    assert!(text.contains("same 0"), "{text}");
    let name = lab.run("? printf(\"core %d pid %x %s\\n\", $core, $pid, $pname);");
    assert!(name.contains("core "), "{name}");
    // Nothing is there, and that is told.
    let nothing = lab.run("? print(poi(10)); print(check_address(10));");
    assert!(nothing.contains('0'), "{nothing}");
}

fn variables_of_all_scripts_stay(lab: &mut Lab) {
    lab.run("? .lab_counter = 41;");
    lab.run("? .lab_counter = .lab_counter + 1;");
    let shown = lab.run("? printf(\"counter %llx\\n\", .lab_counter);");
    assert!(shown.contains("counter 42"), "{shown}");
}

fn a_script_without_an_end_is_ended(lab: &mut Lab) {
    let text = lab.refused("? while (1 == 1) { .lab_turns = .lab_turns + 1; }");
    assert!(
        text.contains("1000000") || text.contains("operations"),
        "{text}"
    );
    let turns = lab.run("? printf(\"turns %llx\\n\", .lab_turns);");
    assert!(!turns.contains("turns 0\n"), "{turns}");
}

fn machine_code_acts_on_the_guest_and_its_faults_and_hangs_are_caught(lab: &mut Lab) {
    // mov qword [rdx + 50h], 1234h: R10 of the guest.
    lab.run("!cpuid 9 code {48 c7 42 50 34 12 00 00 c3}");
    // xor eax, eax; ret: never.
    lab.run("!cpuid 9 condition {31 c0 c3} script { .lab_never = 1; }");
    // ud2; a jump to itself; a page fault; a stack that leads nowhere; an SSE instruction.
    lab.run("!cpuid 9 code {0f 0b}");
    lab.run("!cpuid 9 code {eb fe}");
    lab.run("!cpuid 9 code {48 31 c0 48 8b 00 c3}");
    lab.run("!cpuid 9 code {48 c7 c4 10 00 00 00 50 c3}");
    lab.run("!cpuid 9 code {0f 57 c0 c3}");
    lab.run("!cpuid 9 script { .lab_hits = .lab_hits + 1; printf(\"r10 is %llx never %llx\\n\", @r10, .lab_never); }");
    lab.go();
    lab.guest("lab-cpuid 9 3");
    let mut text = lab.run("pause");
    text += &lab.run("? printf(\"hits %llx\\n\", .lab_hits);");
    assert!(text.contains("r10 is 1234 never 0"), "{text}");
    assert!(text.contains("hits 3"), "{text}");
    let events = lab.run("events");
    assert_eq!(events.matches("disabled").count(), 5, "{events}");
    lab.run("events c all");
    lab.go();
    assert!(lab.guest("lab-check 2").contains("check ok cores 2"));
}

fn a_script_disables_and_clears_events_and_stops_the_machine(lab: &mut Lab) {
    lab.run("pause");
    lab.run("!cpuid 9 script { .lab_first = .lab_first + 1; if (.lab_first == 2) { event_clear($event_id); } }");
    lab.run("!cpuid 9 script { .lab_second = .lab_second + 1; if (.lab_second == 4) { event_disable($event_id); } }");
    lab.run("!cpuid 9 script { .lab_third = .lab_third + 1; if (.lab_third == 6) { pause(); } }");
    lab.go();
    lab.guest_background("lab-cpuid 9 6");
    let stop = lab.run(".wait 0n60");
    let counts = lab.run("? printf(\"%llx %llx %llx\\n\", .lab_first, .lab_second, .lab_third);");
    assert!(counts.contains("2 4 6"), "{counts} {stop}");
    let events = lab.run("events");
    assert!(events.contains("disabled"), "{events}");
    lab.run("events c all");
}
