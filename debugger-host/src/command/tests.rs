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
    for command in COMMANDS.iter() {
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
    assert!(matches!(parse_line("/* two\n * lines */"), Ok(None)));
    for line in [
        "/* before */ g",
        "g /* after */",
        "!syscall script { x = 1; } /* after */",
        "!syscall script { x = 1; }/* and */ pid 1c",
    ] {
        assert!(matches!(parse_line(line), Ok(Some(_))), "{line}");
    }
    assert!(error("g /* and").contains("the `*/` that closes the comment is missing"));
    assert!(error(".script \"/a b.ds").contains("the `\"` that ends the word is missing"));
}

#[test]
fn quoted_words_are_one_argument() {
    let (name, rest) = parse::split(".script \"/a b.ds\" \"arg one\" two");
    let mut arguments = Arguments::new(name, "", rest);
    let words: Vec<_> = std::iter::from_fn(|| arguments.word()).collect();
    assert_eq!(words, ["/a b.ds", "arg one", "two"]);
    let path = |rest| Arguments::new("", "", rest).path("the file");
    assert_eq!(path("\"/a b\""), Ok("/a b"));
    assert_eq!(path("/a b"), Ok("/a b"));
    assert!(path("\"/a b\" c").is_err() && path("").is_err());
}

#[test]
fn an_unknown_command_comes_with_a_suggestion() {
    assert!(error("!epthok 1000").contains("is `!epthook` meant?"));
    assert!(error("frobnicate").contains("no command `frobnicate`"));
    for line in ["print(@rax);", "@rax = 5", "7*8"] {
        assert!(
            error(line).contains(&format!("is `? {line}` meant?")),
            "{line}"
        );
    }
}

#[test]
fn a_wrong_number_is_named() {
    assert!(error("db 12345678901234567890").contains("12345678901234567890"));
    assert!(error("db 0n1f").contains("0n1f"));
}

#[test]
fn missing_and_extra_arguments_show_the_syntax() {
    assert!(error("!epthook").contains("usage: !epthook"));
    assert!(error("g now then").contains("`then` is not understood here"));
}

#[test]
fn options_that_exclude_each_other_are_refused_with_what_to_do() {
    for stage in ["post", "all"] {
        let text = error(&format!("!cpuid 1 sc on stage {stage}"));
        let both = format!("`sc on` and `stage {stage}` exclude");
        assert!(text.contains(&both), "{text}");
        assert!(text.contains("leave the stage at `pre`"), "{text}");
    }
    let text = error("!cpuid imm no output { a }");
    assert!(text.contains("leave out `imm no`"), "{text}");
    assert!(error("!epthook 1000 sc on").contains("change @rip instead"));
    assert!(error("!epthook 1000 stage post").contains("can only be `pre`"));
    assert!(error("!mode u pid 1 sc on").contains("no instruction to skip"));
    assert!(error("!mode u stage post").contains("can only be `pre`"));
    assert!(error("!tsc pid 4 pid 5").contains("`pid` is given twice"));
    assert!(error("!tsc condition {90} asm condition {nop}").contains("given twice"));
}

#[test]
fn a_misspelt_option_comes_with_the_nearest_one() {
    for line in ["!tsc stge pre", "!cpuid stge pre", "!cpuid 1 stge pre"] {
        let text = error(line);
        assert!(
            text.contains("no option `stge`; is `stage` meant?"),
            "{text}"
        );
        assert!(text.contains("`.help options`"), "{text}");
    }
    assert!(error("!tsc stage middle").contains("`middle` is not pre, post or all"));
    assert!(error("!tsc sc yes").contains("`yes` is not on or off"));
}

#[test]
fn blocks_must_be_whole_and_make_sense() {
    assert!(error("!tsc script").contains("the block of `script` is missing"));
    assert!(error("!tsc script { print(1);").contains("`}` that closes the block is missing"));
    assert!(error("!tsc script {}").contains("it is empty"));
    assert!(error("!tsc code { nop }").contains("`asm code {…}`"));
    assert!(error("!tsc asm nop").contains("`nop` is not condition or code"));
    assert!(error("!tsc output {}").contains("names no sink"));
    assert!(error("!tsc output {a, b, c, d, e, f}").contains("6 sinks"));
    assert!(error("!tsc output {a, a}").contains("`a` twice"));
    let block = "!tsc pid 4 script{\n  printf(\"}\"); // }\n} core 1 output { a b }";
    assert!(matches!(parse_line(block), Ok(Some(_))));
}

#[test]
fn a_monitored_range_is_written_in_many_ways() {
    for line in [
        "!monitor rw 1000 1fff",
        "!monitor va w vfs_read vfs_read+8 stage post",
        "!monitor x pa 1000 l 10",
        "!monitor RWX @rsp l (8 * 2) pid all",
    ] {
        assert!(matches!(parse_line(line), Ok(Some(_))), "{line}");
    }
    for line in [
        "!monitor 1000 2000",
        "!monitor q 1000 2000",
        "!monitor rr 1000 2000",
    ] {
        assert!(error(line).contains("is not r, w, x, rw, rx, wx or rwx"));
    }
    assert!(error("!monitor r 1000").contains("or `l LENGTH`"));
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
