//! The places that take numbers, from the syntax in the command table.

use debugger_host::command::{COMMANDS, system};

/// A line with a place for a number in it.
pub(crate) struct Place {
    /// Name of the command, or of the option.
    pub(crate) of: &'static str,
    /// What stands there in the syntax.
    pub(crate) name: String,
    before: String,
    after: String,
}

impl Place {
    /// The line with this in the place.
    pub(crate) fn line(&self, word: &str) -> String {
        format!("{}{word}{}", self.before, self.after)
    }
}

/// What a word of a syntax stands for.
enum Meaning {
    Number,
    /// Anything that can stand there.
    Other(&'static str),
}

fn meaning(word: &str) -> Meaning {
    Meaning::Other(match word {
        "N" | "C" | "P" | "T" | "PID" | "TID" | "MS" | "SECONDS" | "LENGTH" | "COUNT" | "MAX"
        | "NUMBER" | "LEAF" | "MSR" | "PORT" | "VECTOR" | "BITS" | "XCR" | "BYTES" => {
            return Meaning::Number;
        }
        "ADDRESS" | "FROM" => "vfs_read",
        "TO" => "vfs_read+8",
        "PHYSICAL" => "1000",
        "VALUE" | "EXPRESSION" | "STATEMENTS" => "1",
        "REGISTER" => "rax",
        "CLASS" => "regular-event",
        "MODULE!" => "vmlinux!",
        "PATTERN" => "vfs_*",
        "PART" | "NAME" | "FILE" | "TARGET" | "ARGUMENT" => "nosuch",
        "COMMAND" => "g",
        "OPTION" => "core 0",
        "WORD" => "kernel",
        "WHAT" => "process",
        // In decimal, and no expression.
        "BAUD" => "115200",
        // It is not to be made.
        "OUT-FILE" => "/nosuch/file",
        "DEVICE" | "PATH" => "/nosuch",
        "HOST:PORT" => "127.0.0.1:1",
        // In decimal, too.
        "UDP-PORT" => "50000",
        "KEY" | "@FILE" => "@/nosuch",
        "BLOCK" => "{ 1 }",
        _ => panic!("say here what `{word}` takes"),
    })
}

/// The parts of a syntax: words and signs.
fn parts(syntax: &str) -> Vec<String> {
    let mut spaced = String::new();
    // What stands in braces is a program.
    for (at, text) in syntax.split(['{', '}']).enumerate() {
        spaced.push_str(if at % 2 == 0 { text } else { "BLOCK" });
    }
    for sign in ["[", "]", "(", ")"] {
        spaced = spaced.replace(sign, &format!(" {sign} "));
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// All lines that `parts` can begin with, each alternative and each option taken once; and the rest
/// behind what closes them.
fn lines(mut parts: &[String]) -> (Vec<Vec<String>>, &[String]) {
    let mut all = Vec::new();
    let mut lines = vec![Vec::new()];
    while let [part, rest @ ..] = parts {
        parts = rest;
        match part.as_str() {
            "]" | ")" => break,
            "|" => all.append(&mut std::mem::replace(&mut lines, vec![Vec::new()])),
            "[" | "(" => {
                let (inner, rest) = self::lines(parts);
                parts = rest;
                let mut with: Vec<Vec<String>> = Vec::new();
                if part == "[" {
                    with.clone_from(&lines);
                }
                for line in &lines {
                    with.extend(
                        inner
                            .iter()
                            .map(|inner| [line.clone(), inner.clone()].concat()),
                    );
                }
                lines = with;
            }
            "…" | "=" => lines.iter_mut().for_each(|line| {
                if part == "=" {
                    line.push("=".to_owned());
                }
            }),
            words => {
                let alternatives: Vec<&str> = words.split('|').collect();
                lines = lines
                    .iter()
                    .flat_map(|line| {
                        let with = |word: &&str| [line.clone(), vec![(*word).to_owned()]].concat();
                        alternatives.iter().map(with)
                    })
                    .collect();
            }
        }
    }
    all.append(&mut lines);
    (all, parts)
}

fn is_placeholder(word: &str) -> bool {
    word.chars().any(|c| c.is_ascii_uppercase()) && word == word.to_ascii_uppercase()
}

/// The first line of a syntax that has each of its numbers.
fn of_syntax(of: &'static str, syntax: &str, beginning: &str, found: &mut Vec<Place>) {
    for line in lines(&parts(syntax)).0 {
        for (at, name) in line.iter().enumerate() {
            let is_number = is_placeholder(name) && matches!(meaning(name), Meaning::Number);
            let is_known = found
                .iter()
                .any(|place| place.of == of && place.name == *name);
            if !is_number || is_known {
                continue;
            }
            let words = |words: &[String]| {
                let filled = words.iter().map(|word| match is_placeholder(word) {
                    false => word.clone(),
                    true => match meaning(word) {
                        Meaning::Number => "0".to_owned(),
                        Meaning::Other(sample) => sample.to_owned(),
                    },
                });
                filled.collect::<Vec<_>>().join(" ")
            };
            let after = words(&line[at + 1..]);
            found.push(Place {
                of,
                name: name.clone(),
                before: format!("{beginning}{} ", words(&line[..at])),
                after: if after.is_empty() {
                    after
                } else {
                    format!(" {after}")
                },
            });
        }
    }
}

/// Every place of every command, and of the options that events share.
pub(crate) fn places() -> Vec<Place> {
    let mut found = Vec::new();
    for row in COMMANDS.iter() {
        of_syntax(row.names[0], row.syntax, "", &mut found);
    }
    for option in system::options() {
        of_syntax("!tsc", &option.syntax, "!tsc ", &mut found);
    }
    found
}
