//! `standstill script check` and `standstill script run`, as a user starts them.

use std::io::Write;
use std::process::{Command, Stdio};

/// Output, messages, and whether it went well.
fn standstill(arguments: &[&str], input: &str) -> (String, String, bool) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_standstill"))
        .arg("script")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("read");
    drop(stdin);
    let output = child.wait_with_output().expect("ended");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
        output.status.success(),
    )
}

#[test]
fn a_script_is_checked_with_its_sizes() {
    let script = "mine++; .all += mine; printf(\"%llx %llx\\n\", @rip, poi(@rsp));";
    let (out, error, success) = standstill(&["check", "-", "--cores", "4"], script);
    assert!(success, "{error}");
    assert_eq!(
        out,
        "ok: 28 bytes of program, 8 bytes of locals per core\n\
         globals: .all (8 bytes)\n\
         with 4 cores it takes 48 bytes: a regular event has room for it (up to 2000)\n"
    );
    let script = "char buffer[2000]; buffer[0] = 1;";
    let (out, _, success) = standstill(&["check", "-", "--cores", "2"], script);
    assert!(success && out.contains("it needs a big event"), "{out}");
}

#[test]
fn a_wrong_script_is_refused_with_line_and_column() {
    let (out, error, success) = standstill(&["check", "-"], "x = 1;\nprint(y);\n");
    assert!(!success && out.is_empty());
    assert_eq!(
        error,
        "standstill: -:2:7: `y` is neither a variable nor a symbol; \
         a variable exists once something is assigned to it\n  print(y);\n        ^\n"
    );
}

#[test]
fn a_script_runs_on_registers_and_memory_from_files() {
    let folder = tempfile::tempdir().expect("made");
    let memory = folder.path().join("memory");
    std::fs::write(&memory, b"\x08\x00\x00\x00\x00\x00\x00\x00text\0").expect("written");
    let script = folder.path().join("try.ds");
    let text = "printf(\"%llx %s %x %x\\n\", poi(@rsp), @rsp + poi(@rsp), $pid, $arg1);\n\
                @rax = @rax + 1; .runs++; print(@al); print(.runs); pause();";
    std::fs::write(&script, text).expect("written");
    let (out, error, success) = standstill(
        &[
            "run",
            script.to_str().expect("text"),
            "0n10",
            "--reg",
            "rsp=7000",
            "--reg",
            "@rax=ff",
            "--reg",
            "$pid=1a0",
            "--memory",
            &format!("{}@7000", memory.display()),
            "--times",
            "2",
        ],
        "",
    );
    assert!(success, "{error}");
    assert_eq!(
        out,
        "8 text 1a0 a\n0\n1\n[pause: all cores would halt]\n\
         8 text 1a0 a\n1\n2\n[pause: all cores would halt]\n"
    );
}

#[test]
fn a_run_that_does_not_end_is_ended_at_its_line() {
    let (_, error, success) = standstill(&["run", "-"], "x = 1;\nwhile (x) {\n}\n");
    assert!(!success);
    assert!(
        error.starts_with("standstill: -:2: stopped here after 1000000 operations"),
        "{error}"
    );
    let (out, _, success) = standstill(&["run", "-"], "\nprint(poi(10) + 5);");
    assert!(success);
    assert_eq!(
        out,
        "5\nwarning: -:2: there is no memory at 10 to read; 0 was used\n"
    );
}

#[test]
fn options_that_make_no_sense_are_explained() {
    for (option, value, words) in [
        ("--reg", "rax", "a name and a value"),
        ("--reg", "rxx=5", "no such register"),
        ("--reg", "rax=xyz", "not a number"),
        ("--memory", "file", "a file and an address"),
        ("--memory", "nothing@1", "cannot read nothing"),
    ] {
        let (_, error, success) = standstill(&["run", "-", option, value], "print(1);");
        assert!(!success && error.contains(words), "{value}: {error}");
    }
}

#[test]
fn memory_has_to_fit_beside_other_memory() {
    let folder = tempfile::tempdir().expect("made");
    let file = folder.path().join("eight");
    std::fs::write(&file, [7; 8]).expect("written");
    let at = |address: &str| format!("{}@{address}", file.display());
    let run = |first: &str, second: &str| {
        let (first, second) = (at(first), at(second));
        standstill(
            &["run", "-", "--memory", &first, "--memory", &second],
            "print(db(1008));",
        )
    };
    let (out, error, success) = run("1000", "1008");
    assert!(success && out == "7\n", "{out}{error}");
    let (_, error, success) = run("1000", "1007");
    let taken = error.contains("there is memory from 1000 to 1008 already");
    assert!(!success && taken, "{error}");
    let (_, error, success) = run("1000", "fffffffffffffffa");
    let ends = error.contains("the address space ends before the file does");
    assert!(!success && ends, "{error}");
}

#[test]
fn a_debuggee_has_from_one_to_sixty_four_cores() {
    for cores in ["0", "65", "four"] {
        let (_, error, success) = standstill(&["check", "/dev/null", "--cores", cores], "");
        assert!(!success && error.contains("--cores"), "{error}");
    }
    let (out, error, success) = standstill(&["check", "/dev/null", "--cores", "64"], "");
    assert!(success && out.contains("with 64 cores"), "{out}{error}");
}
