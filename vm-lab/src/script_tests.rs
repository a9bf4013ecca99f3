//! Tests of `script` with both ends made up.

use super::*;

struct Fake;

impl Ends for Fake {
    fn host(&mut self, command: &str) -> Result<Reply> {
        if command == "die" {
            bail!("gone");
        }
        Ok(Reply {
            output: format!("did {command}\n"),
            ok: command != "bad",
        })
    }
    fn guest(&mut self, command: &str) -> Result<String> {
        if command == "hang" {
            bail!("no answer");
        }
        Ok(format!("saw {command}"))
    }
    fn guest_background(&mut self, _command: &str) -> Result<()> {
        Ok(())
    }
    fn unplug(&mut self, _time: Duration) {}
}

fn script(text: &str) -> Script {
    Script {
        lines: parse(text).unwrap(),
        dir: "/somewhere".into(),
    }
}

fn session(text: &str, keep_going: bool) -> (usize, String) {
    let mut out = Vec::new();
    let failures = run(&script(text), &mut Fake, keep_going, &mut out).unwrap();
    (failures, String::from_utf8(out).unwrap())
}

#[test]
fn transcript_looks_like_the_session() {
    let (failures, told) = session(
        "# why\n\nx 1\nexpect> ^did x\nguest> ls\nrefute> did\nguest>& spin\nfails> bad\nwait> 5\n",
        false,
    );
    assert_eq!(failures, 0);
    assert_eq!(
        told,
        "standstill> x 1\ndid x 1\nguest> ls\nsaw ls\nguest>& spin\n\
         standstill> bad\ndid bad\nstandstill> .wait 0n5\ndid .wait 0n5\n"
    );
}

#[test]
fn first_failure_ends_the_session() {
    let (failures, told) = session("bad\nx\n", false);
    assert_eq!(failures, 1);
    assert!(told.ends_with("*** line 1: the command failed\n"), "{told}");
}

#[test]
fn keep_going_counts_every_failure() {
    let (failures, told) = session(
        "bad\nfails> x\nexpect> no\nrefute> did\nguest> hang\nx\n",
        true,
    );
    assert_eq!(failures, 5);
    assert!(told.ends_with("did x\n"));
}

#[test]
fn lost_host_program_is_an_error() {
    let told = run(&script("x\ndie\n"), &mut Fake, true, &mut Vec::new()).unwrap_err();
    assert_eq!(format!("{told:#}"), "line 2: gone");
}

#[test]
fn block_is_one_command() {
    let script = parse("a {\n  b \"}\" {\n  }\n}\nc\n").unwrap();
    assert_eq!(script.len(), 2);
    assert!(matches!(&script[0].step, Step::Host(text) if text == "a {\n  b \"}\" {\n  }\n}"));
    assert_eq!(script[1].number, 5);
}

#[test]
fn comments_are_those_of_the_host_program() {
    let text = "/* A header,\n * with { a brace,\n guest> and no command.\n */\n// more\n# more\n\
                a /* b */ // c\nguest> echo // d\n/* e */ f {\n// }\n}\n";
    let script = parse(text).unwrap();
    let steps: Vec<_> = script
        .iter()
        .map(|line| (line.number, &line.step))
        .collect();
    assert!(
        matches!(
            steps[..],
            [(7, Step::Host(a)), (8, Step::Guest(b)), (9, Step::Host(c))]
                if a == "a /* b */ // c" && b == "echo // d" && c == "/* e */ f {\n// }\n}"
        ),
        "{steps:?}"
    );
}

#[test]
fn nonsense_names_its_line() {
    for (text, line) in [
        ("x\nwait> soon\n", "line 2"),
        ("expect> (\n", "line 1"),
        ("a {\n", "line 1"),
        ("/* a\n", "line 1"),
        ("guest>\n", "line 1"),
        ("keep> name\n", "line 1"),
        ("unplug> now\n", "line 1"),
    ] {
        let told = format!("{:#}", parse(text).unwrap_err());
        assert!(told.contains(line), "{told}");
    }
}

#[test]
fn what_was_kept_stands_in_later_lines() {
    let (failures, told) = session(
        "a 1.5\nkeep> n did a (.*)\nb <n> <dir> <m>\nexpect> did b <n> /somewhere <m>$\n\
         a 1x5\nrefute> did a <n>\nkeep> n \\d.\nguest> <n>\nexpect> saw 1x$\nkeep> n no\n",
        true,
    );
    assert_eq!(failures, 1, "{told}");
    assert!(
        told.contains("standstill> b 1.5 /somewhere <m>\n"),
        "{told}"
    );
    assert!(told.contains("<n> is 1x\nguest> 1x\n"), "{told}");
    assert!(told.contains("*** line 10: "), "{told}");
}

#[test]
fn shell_works_on_files_of_the_session() {
    let (failures, told) = session(
        "shell> echo text > file; echo <temp>\nkeep> at .*\n\
         shell> cat <at>/file\nexpect> ^text$\nshell> exit 3\nunplug> 2\n",
        true,
    );
    assert_eq!(failures, 1, "{told}");
    assert!(told.ends_with("unplug> 2\n"), "{told}");
}

#[test]
fn script_knows_where_its_file_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.ds");
    std::fs::write(&file, "x\n").unwrap();
    assert_eq!(read(&file).unwrap().dir, dir.path());
    assert!(read(&dir.path().join("none")).is_err());
}
