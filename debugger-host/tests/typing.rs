//! What is wrong or can be read in two ways is refused in one line that says why, and nothing is taken
//! for something else than a person would mean. The places that take numbers come from the command
//! table. With `STANDSTILL_RECORD` set the files of `typing/` are written anew.
#![cfg(unix)]
#![allow(missing_docs, reason = "a test")]

#[allow(dead_code, reason = "other test files use the rest")]
mod fake;

use debugger_host::command::{COMMANDS, find, parse::split, system};
use debugger_host::types::msr::MSRS;
use debugger_host::types::register::{FLAGS, all, part, spelling};
use debugger_host::types::vector::VECTORS;
use fake::host::{Host, halted};
use fake::places::{Place, places};
use fake::sessions::{Step, files, hold_to_record, steps};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Numbers of events grow, and so do pools.
fn without_counts(text: &str) -> String {
    for kind in ["event", "breakpoint"] {
        if let Some(rest) = text.strip_prefix(kind)
            && let Some((_, rest)) = rest.split_once(':')
        {
            return format!("{kind} N:{rest}");
        }
    }
    text.to_owned()
}

/// What a line does, on a debuggee without events and on its first core.
fn outcome(host: &mut Host, line: &str) -> (String, bool) {
    let (text, is_good) = host.run(line);
    host.run("events c all");
    host.run("bc all");
    host.run("~ 0");
    (without_counts(&text), is_good)
}

/// The value of a name at a place that knows such.
fn named(place: &Place, word: &str) -> Option<u32> {
    let names: &[(&str, u32)] = match (place.of, place.name.as_str()) {
        ("!exception", "VECTOR") => &VECTORS,
        (_, "MSR") => &MSRS,
        _ => &[],
    };
    names
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, value)| *value)
}

/// Registers, their parts and flags.
fn registers() -> BTreeSet<String> {
    let letters: Vec<char> = ('a'..='z').chain('0'..='9').collect();
    let mut words: Vec<String> = letters.iter().map(char::to_string).collect();
    let mut found: BTreeSet<String> = all().map(spelling).collect();
    found.extend(FLAGS.iter().map(|(name, ..)| (*name).to_owned()));
    for _ in 0..2 {
        words = words
            .iter()
            .flat_map(|word| letters.iter().map(move |c| format!("{word}{c}")))
            .collect();
        found.extend(words.iter().filter(|word| part(word).is_some()).cloned());
    }
    let long = (10..16).flat_map(|n| ["d", "w", "b"].map(|half| format!("r{n}{half}")));
    found.extend(long);
    found
}

/// Each word of two hexadecimal letters, and some with digits.
fn digits() -> Vec<String> {
    let letters = 'a'..='f';
    let mut words: Vec<String> = letters
        .clone()
        .flat_map(|a| letters.clone().map(move |b| format!("{a}{b}")))
        .collect();
    words.extend(["0a", "1f", "AC", "Df"].map(str::to_owned));
    words
}

#[test]
fn a_word_of_digits_is_the_number_wherever_one_is_taken() {
    let (_debuggee, mut host) = halted();
    for place in places() {
        for word in digits() {
            // Who sleeps for each of them sleeps long.
            if place.of == "sleep" && !["ac", "af", "cf", "df"].contains(&word.as_str()) {
                continue;
            }
            let number = named(&place, &word.to_lowercase())
                .map_or_else(|| format!("0x{word}"), |value| format!("0x{value:x}"));
            let typed = outcome(&mut host, &place.line(&word));
            let meant = outcome(&mut host, &place.line(&number));
            assert_eq!(typed, meant, "{}", place.line(&word));
            assert!(!typed.0.contains("warning"), "{}", typed.0);
        }
    }
}

#[test]
fn registers_flags_symbols_and_options_are_no_numbers() {
    let (debuggee, mut host) = halted();
    let options: Vec<String> = system::options().into_iter().map(|it| it.name).collect();
    let names = COMMANDS
        .iter()
        .flat_map(|row| row.names)
        .map(|name| (*name).to_owned());
    let symbols = ["vfs_read", "vmlinux!vfs_read", "toy!toy_play", "_text"].map(str::to_owned);
    let registers = registers();
    assert!(registers.len() > 100, "{registers:?}");
    let words: BTreeSet<String> = registers
        .iter()
        .cloned()
        .chain(options)
        .chain(names)
        .chain(symbols)
        .collect();
    for place in places() {
        debuggee.take_requests();
        for word in &words {
            if debugger_host::types::number::parse(word).is_ok() || named(&place, word).is_some() {
                continue;
            }
            let line = place.line(word);
            let (text, is_good) = host.run(&line);
            assert!(!is_good && text.lines().count() == 1, "{line}: {text}");
            if registers.contains(word) && word != "if" {
                let told = format!(
                    "a number is wanted, and `{word}` is a register; its value is `@{word}`\n"
                );
                assert!(text.ends_with(&told), "{line}: {text}");
            }
        }
        let requests = debuggee.take_requests();
        // A process may have such a name; that is looked up.
        let is_asked = place.name == "P" && requests.iter().all(|it| it == "ReadMemory");
        assert!(
            requests.is_empty() || is_asked,
            "{}: {requests:?}",
            place.line("…")
        );
        for word in ["@al", "@zf", "(@rax & f)"] {
            let (text, _) = outcome(&mut host, &place.line(word));
            assert!(!text.contains(word), "{}: {text}", place.line(word));
        }
    }
}

/// One of each kind of word that is no number, and what looks like one.
const NO_NUMBERS: [&str; 14] = [
    "al",
    "zf",
    "if",
    "vfs_read",
    "toy!toy_play",
    "pid",
    "pide",
    "x",
    "0x",
    "1g",
    "@nosuch",
    ".x",
    "\"5\"",
    "-1",
];

/// What no command takes, whatever it does.
const NOTHING: [&str; 7] = [
    ") 1",
    ", ,",
    "@nosuch nosuch",
    "\"a\" \"b\" \"c\" \"d\"",
    "l",
    "= = =",
    "nosuch nosuch nosuch",
];

fn run(lines: impl Iterator<Item = String>) -> Vec<Step> {
    let (_debuggee, mut host) = halted();
    lines
        .map(|text| {
            let (mut printed, is_good) = host.run(&text);
            if !is_good {
                printed.push_str("(failed)\n");
            }
            Step::Command { text, printed }
        })
        .collect()
}

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/typing")
        .join(name)
}

#[test]
fn what_is_no_number_is_refused_in_these_words() {
    let lines = places()
        .into_iter()
        .flat_map(|place| NO_NUMBERS.map(|word| place.line(word)));
    hold_to_record(&file("numbers.txt"), &run(lines));
}

#[test]
fn what_no_command_takes_is_refused_in_these_words() {
    let lines = COMMANDS
        .iter()
        .flat_map(|row| NOTHING.map(|rest| format!("{} {rest}", row.names[0])));
    hold_to_record(&file("nothing.txt"), &run(lines));
}

#[test]
fn what_can_be_read_in_two_ways_is_told_in_these_words() {
    let file = file("two-ways.txt");
    let recorded = std::fs::read_to_string(&file).expect("readable");
    let lines = steps(&recorded).into_iter().map(|step| match step {
        Step::Command { text, .. } => text,
        Step::Order { line, .. } => panic!("there are no orders here: {line}"),
    });
    hold_to_record(&file, &run(lines));
}

#[test]
fn every_command_refuses_at_least_five_inputs() {
    let mut refused: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for file in files("typing") {
        for step in steps(&std::fs::read_to_string(file).expect("readable")) {
            if let Step::Command { text, printed } = step
                && printed.ends_with("(failed)\n")
                && let Some(row) = find(split(&text).0)
            {
                refused.entry(row.names[0]).or_default().insert(text);
            }
        }
    }
    for row in COMMANDS.iter() {
        let count = refused.get(row.names[0]).map_or(0, BTreeSet::len);
        assert!(count >= 5, "`{}` refuses {count}", row.names[0]);
    }
}
