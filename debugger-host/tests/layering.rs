//! Which module of the program may use which, and who may print: `render`, `repl` and the program
//! itself.
#![allow(missing_docs, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

/// What prints, or could.
const PRINTS: [&str; 8] = [
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
    "io::stdout",
    "io::stderr",
    "render::text",
    "render::json",
];

/// Who prints. The script tool is a program of its own, without any debuggee.
const PRINTERS: [&str; 5] = ["main.rs", "main/", "render/", "repl/", "script/tool.rs"];

/// Modules from the top down: each uses those of the lines below it only.
const ORDER: [&[&str]; 13] = [
    &["main"],
    &["repl"],
    &["render"],
    &["command"],
    &["sink", "disasm"],
    &["answer"],
    &["session"],
    &["recording", "doctor"],
    &["transport", "expression"],
    &["script"],
    &["symbol", "assembler", "refusal"],
    &["saved", "timeout"],
    &["types", "clock", "size", "private", "dropped", "unpacked"],
];

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|line| line.contains(&module))
}

/// Modules of the crate that a line of code names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Lines of a text that print, with their numbers.
fn printing(text: &str) -> Vec<String> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter(|(_, line)| PRINTS.iter().any(|print| line.contains(print)))
        .map(|(number, line)| format!("{}: {}", number + 1, line.trim()))
        .collect()
}

#[test]
fn nothing_below_render_and_repl_prints() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    assert!(found.len() > 80, "{found:?}");
    let mut wrong = Vec::new();
    let mut printers = 0;
    for path in found {
        let name = path
            .strip_prefix(&source)
            .expect("in it")
            .display()
            .to_string();
        if name.contains("tests") {
            continue;
        }
        let lines = printing(&fs::read_to_string(&path).expect("readable"));
        if PRINTERS.iter().any(|printer| name.starts_with(printer)) {
            printers += lines.len();
            continue;
        }
        wrong.extend(lines.into_iter().map(|line| format!("{name}:{line}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The words of the list are those in use.
    assert!(printers > 5, "{printers}");
}

/// All of `text` that is no test and no comment.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    let lines = lines.enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

#[test]
fn modules_use_those_below_them_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    let mut wrong = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for path in found {
        let name = path.strip_prefix(&source).expect("in it");
        let module = name.iter().next().and_then(|part| part.to_str());
        let module = module.expect("a plain name").trim_end_matches(".rs");
        let name = name.display().to_string();
        if module == "lib" || name.contains("tests") {
            continue;
        }
        seen.insert(module.to_owned());
        let own = rank(module).unwrap_or_else(|| panic!("`{module}` has no place in the order"));
        for (number, line) in code(&fs::read_to_string(&path).expect("readable")) {
            // The program names the library from outside.
            let line = line.replace("debugger_host::", "crate::");
            for other in named(&line).filter(|other| *other != module) {
                if rank(other).is_none_or(|theirs| theirs <= own) {
                    wrong.push(format!("{name}:{number}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for module in ORDER.iter().copied().flatten() {
        assert!(seen.contains(*module), "there is no `{module}`");
    }
}

#[test]
fn a_line_that_prints_is_found() {
    assert_eq!(
        printing("// println!(1)\nlet a = 1;\n  println!(\"x\");\n").len(),
        1
    );
}
