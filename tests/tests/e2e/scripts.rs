//! Sessions written down in `tests/scenarios` and `tests/tests/scripts`, run as `cargo lab script` runs them; and
//! variables of scripts that several cores run at once.

use crate::lab::Lab;
use std::path::Path;
use vm_lab::machine::Options;
use vm_lab::script;

/// Runs a script, whose path is from the package's directory.
fn goes_as_written(file: &str, options: &Options) {
    let script = match script::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(file)) {
        Ok(script) => script,
        Err(error) => panic!("{error:#}"),
    };
    let mut lab = Lab::with(options);
    let mut session = Vec::new();
    let result = script::run(&script, &mut lab.ends(), true, &mut session);
    let session = String::from_utf8_lossy(&session);
    assert!(matches!(result, Ok(0)), "{result:?}\n{session}");
}

#[test]
fn first_steps_go_as_written() {
    goes_as_written("tests/scripts/first-steps.txt", &Options::default());
}

#[test]
fn script_language_goes_as_written() {
    goes_as_written("tests/scripts/script-language.txt", &Options::default());
}

#[test]
fn scenario_of_instant_events() {
    goes_as_written("scenarios/05-instant-events.ds", &Options::default());
}

#[test]
fn scenario_of_conditional_stops() {
    goes_as_written("scenarios/06-conditional-stop.ds", &Options::default());
}

#[test]
fn scenario_of_who_writes() {
    goes_as_written("scenarios/07-who-writes.ds", &Options::default());
}

#[test]
fn scenario_of_system_calls() {
    goes_as_written("scenarios/08-system-calls.ds", &Options::default());
}

#[test]
fn scenario_of_counting_on_four_cores() {
    let options = Options {
        cpus: 4,
        ..Options::default()
    };
    goes_as_written("scenarios/09-count.ds", &options);
}

#[test]
fn scenario_of_instructions() {
    goes_as_written("scenarios/11-instructions.ds", &Options::default());
}

#[test]
fn scenario_of_pools_that_run_dry() {
    let params = [("arena_bytes", "6291456"), ("replenish_ms", "0")];
    let options = Options {
        params: params.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec(),
        ..Options::default()
    };
    goes_as_written("scenarios/12-pools.ds", &options);
}

#[test]
fn scenario_of_what_changes_underneath() {
    let scenario = "scenarios/13-what-changes-underneath.ds";
    goes_as_written(scenario, &Options::default());
}

#[test]
fn scenario_of_refusals() {
    goes_as_written("scenarios/refusals.ds", &Options::default());
}

/// Counts atomically, with operators (in words and in parts of one), under a lock, and on each
/// core for itself.
const COUNTING: &str = "{ int .parts[4]; interlocked_increment(&.atomic); \
     .plain += 1; .up++; --.down; .parts[1]++; .parts[0] += 2; \
     spinlock_lock(&.lock); .locked = .locked + 1; spinlock_unlock(&.lock); \
     mine = mine + 1; \
     if ($core == 0) { .mine0 = mine; } elsif ($core == 1) { .mine1 = mine; } \
     elsif ($core == 2) { .mine2 = mine; } else { .mine3 = mine; } }";

#[test]
fn four_cores_share_variables_and_keep_their_own() {
    let mut lab = Lab::with(&Options {
        cpus: 4,
        ..Options::default()
    });
    lab.run("pause");
    lab.run(&format!("!cpuid 9 script {COUNTING}"));
    lab.go();
    let count = 4 * 500;
    let one = "lab-cpuid 9 500 >/dev/null &";
    lab.guest(&format!("{one} {one} {one} {one} wait; echo done"));
    lab.run("pause");
    let text = lab.run(
        "? printf(\"atomic %d locked %d lock %d\\n\", .atomic, .locked, .lock); \
         printf(\"own %d\\n\", .mine0 + .mine1 + .mine2 + .mine3); \
         printf(\"cores %d\\n\", (.mine0 != 0) + (.mine1 != 0) + (.mine2 != 0) + (.mine3 != 0));",
    );
    assert!(
        text.contains(&format!("atomic {count} locked {count} lock 0")),
        "{text}"
    );
    assert!(text.contains(&format!("own {count}")), "{text}");
    let text = lab.run(
        "? { int .parts[4]; printf(\"plain %d up %d down %d parts %d %d\\n\", \
         .plain, .up, .down, .parts[0], .parts[1]); }",
    );
    let operators = format!(
        "plain {count} up {count} down -{count} parts {} {count}",
        2 * count
    );
    assert!(text.contains(&operators), "{text}");
    assert!(
        !text.contains("cores 1\n"),
        "only one core took part: {text}"
    );
    let events = lab.run("events");
    assert!(events.contains(&count.to_string()), "{events}");
}

/// A translation is kept for the length of a run, but not over what the script itself changes: two pages of the stack
/// of the second core's idle thread, which the kernel maps page by page, of which the first one's entry becomes the second's for a moment.
#[test]
fn a_script_that_changes_a_page_table_reads_what_it_leads_to() {
    const SCRIPT: &str = "? v = @rsp & ~0xfff; w = v - 0x1000; \
        for (k = 0; k < 2; k++) { \
            page = v - 0x1000 * k; t = @cr3 & 0x000ffffffffff000; \
            for (s = 0n39; s > 0n11; s -= 9) { \
                at = t + ((page >> s) & 0x1ff) * 8; t = poi_pa(at) & 0x000ffffffffff000; \
            } \
            if (k == 0) { first = at; } else { second = at; } \
        } \
        for (o = 0; o < 0xff8 && poi(v + o) == poi(w + o); o += 8) { } \
        x = poi(v + o); y = poi(w + o); old = poi_pa(first); \
        x = poi(v + o); eq_pa(first, poi_pa(second)); z = poi(v + o); eq_pa(first, old); u = poi(v + o); \
        printf(\"%d %d %d\\n\", x != y, z == y, u == x);";
    let mut lab = Lab::halted(vm_lab::machine::KernelLine::Lean);
    lab.run("~ 1");
    assert_eq!(lab.run(SCRIPT).trim(), "1 1 1");
    lab.go();
}
