//! Who may print, and who may decide what users see: `render`, `repl` and the program itself.
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
const PRINTERS: [&str; 4] = ["main.rs", "render/", "repl/", "script/tool.rs"];

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

#[test]
fn a_line_that_prints_is_found() {
    assert_eq!(
        printing("// println!(1)\nlet a = 1;\n  println!(\"x\");\n").len(),
        1
    );
}
