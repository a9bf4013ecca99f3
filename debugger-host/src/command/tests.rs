//! The command table and its parsers.

use super::*;
use proptest::prelude::*;

fn error(line: &str) -> String {
    match parse_line(line) {
        Ok(_) => panic!("`{line}` was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_example_of_the_help_can_be_parsed() {
    for command in COMMANDS {
        for example in command.examples {
            assert!(matches!(parse_line(example), Ok(Some(_))), "{example}");
        }
    }
}

#[test]
fn no_name_stands_for_two_commands() {
    let mut names: Vec<_> = COMMANDS.iter().flat_map(|c| c.names).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn names_can_be_written_in_any_case() {
    assert!(matches!(parse_line("DB 1000 L 20"), Ok(Some(_))));
    assert!(matches!(parse_line("!EptHook 1000 PID 4"), Ok(Some(_))));
}

#[test]
fn empty_lines_and_comments_are_no_commands() {
    for line in ["", "   ", "// a comment", "# a comment"] {
        assert!(matches!(parse_line(line), Ok(None)), "{line}");
    }
    assert!(matches!(parse_line("g // and now"), Ok(Some(_))));
}

#[test]
fn an_unknown_command_comes_with_a_suggestion() {
    assert!(error("!epthok 1000").contains("is `!epthook` meant?"));
    assert!(error("frobnicate").contains("no command `frobnicate`"));
}

#[test]
fn a_wrong_number_is_named() {
    assert!(error("db 12345678901234567890").contains("12345678901234567890"));
    assert!(error("db 0n1f").contains("0n1f"));
}

#[test]
fn missing_and_extra_arguments_show_the_syntax() {
    assert!(error("!epthook").contains("usage: !epthook"));
    assert!(error("g now").contains("`now` is not understood here"));
}

#[test]
fn only_commands_that_add_events_can_share_a_message() {
    let is_event =
        |line| matches!(parse_line(line), Ok(Some(action)) if action.as_event().is_some());
    assert!(is_event("!epthook vmlinux!vfs_read"));
    assert!(is_event("!cpuid 1 pid 4 core 0"));
    assert!(!is_event("events"));
}

proptest! {
    #[test]
    fn no_line_makes_the_parser_panic(line in ".{0,80}") {
        let _ = parse_line(&line);
    }

    #[test]
    fn no_arguments_make_a_parser_panic(
        index in 0..COMMANDS.len(),
        rest in "[-a-z0-9 @()!{}$*?=+]{0,40}"
    ) {
        let _ = parse_line(&format!("{} {rest}", COMMANDS[index].names[0]));
    }
}
