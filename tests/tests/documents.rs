//! What documents say of the code is so: their tables, the files that they name, and the numbers of refusals.
//!
//! Reads documents and sources as text. What documents show of a session is run by the lab's tests.

#[path = "layering/sources.rs"]
#[allow(dead_code, reason = "the rules of imports use more of it")]
mod sources;

use debuggee_driver::constants::TABLE;
use sources::{all_files, read};
use std::collections::BTreeSet;

const INSTANT_EVENTS: &str = "docs/instant-events.md";

/// Numbers of refusals that users know from other debuggers and that cannot occur here.
const NEVER: [&str; 4] = ["c0000025", "c0000044", "c0000045", "c000004c"];

fn documents() -> Vec<String> {
    let mut files = all_files();
    files.retain(|path| path.ends_with(".md"));
    assert!(files.len() > 2, "{files:?}");
    files
}

/// What stands between backquotes in a document, with the number of its line; sessions and programs are left out.
fn code_spans(text: &str) -> Vec<(usize, &str)> {
    let mut spans = Vec::new();
    let mut in_fence = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            let odd = line.split('`').skip(1).step_by(2);
            spans.extend(odd.map(|span| (index + 1, span)));
        }
    }
    spans
}

/// Targets of links, with the numbers of their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split(')').next().unwrap_or_default();
            links.push((index + 1, target));
        }
    }
    links
}

#[test]
fn every_file_that_a_document_names_exists() {
    let files: Vec<String> = all_files()
        .into_iter()
        .map(|path| format!("/{}", path.replace("/src/", "/")))
        .collect();
    let names_file = |span: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_/.-".contains(letter);
        let ends = [".rs", ".S", ".c", ".ds", ".md", ".toml", ".sh"];
        span.chars().all(plain) && ends.iter().any(|end| span.ends_with(end))
    };
    // `event/dispatch` and `tests/scenarios` name a module and a directory.
    let names_place = |span: &str| {
        let plain = |letter: char| letter.is_ascii_lowercase() || "_/-".contains(letter);
        span.contains('/') && !span.starts_with('/') && span.chars().all(plain)
    };
    let mut broken = Vec::new();
    for document in documents() {
        let text = read(&document);
        for (number, span) in code_spans(&text) {
            let end = format!("/{}", span.replace("/src/", "/").trim_end_matches('/'));
            let exists = if names_file(span) {
                files.iter().any(|file| file.ends_with(&end))
            } else if names_place(span) {
                let (inside, module) = (format!("{end}/"), format!("{end}."));
                files
                    .iter()
                    .any(|file| file.contains(&inside) || file.contains(&module))
            } else {
                true
            };
            if !exists {
                broken.push(format!("{document}:{number}: {span}"));
            }
        }
    }
    assert!(broken.is_empty(), "no such file:\n{}", broken.join("\n"));
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, target) in links(&read(&document)) {
            let (file, section) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.clone(),
                file => normal(&format!("{folder}/{file}")),
            };
            let whole = sources::repository().join(&path);
            let found = whole.exists()
                && (section.is_empty() || anchors(&read(&path)).contains(&section.to_owned()));
            if !file.contains("://") && !found {
                broken.push(format!("{document}:{number}: {target}"));
            }
        }
    }
    assert!(broken.is_empty(), "leads nowhere:\n{}", broken.join("\n"));
}

/// A path without `.` and `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What a heading is called in a link.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = |letter: &char| letter.is_alphanumeric() || " -_".contains(*letter);
            heading
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

#[test]
fn table_of_design_constants_is_the_code_s() {
    let text = read(INSTANT_EVENTS);
    let cells = |line: &str| -> Vec<String> {
        let cells = line.trim_matches('|').split('|');
        cells
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    let rows: Vec<(String, u64)> = text
        .lines()
        .skip_while(|line| !line.starts_with("| constant |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| match &cells(line)[..] {
            [name, default, _] => Some((name.clone(), default.parse().ok()?)),
            _ => None,
        })
        .collect();
    let constants: Vec<(String, u64)> = TABLE
        .iter()
        .map(|constant| (constant.name.to_owned(), constant.default))
        .collect();
    assert_eq!(rows, constants);
}

/// Every `c000….` in a text that stands alone.
fn codes(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let is_code = |word: &&str| {
        word.len() == 8
            && word.starts_with("c0000")
            && word[5..].starts_with(['0', '1'])
            && word.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    words.filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_refusal_is_explained_and_no_other() {
    let mut known = BTreeSet::new();
    for source in sources::sources("wire-protocol/src") {
        for (_, line) in source.code() {
            for number in line.split("0xc000_").skip(1) {
                let digits = number.get(..4).unwrap_or_default();
                known.insert(format!("c000{digits}"));
            }
        }
    }
    assert!(known.len() > 20, "{known:?}");
    known.extend(NEVER.map(str::to_owned));
    assert_eq!(codes(&read(INSTANT_EVENTS)), known);
}

#[test]
fn every_example_is_run_by_the_lab_and_listed() {
    let scenario = read("tests/scenarios/examples.ds");
    let list = read("docs/examples/README.md");
    let examples: Vec<String> = all_files()
        .iter()
        .filter_map(|path| path.strip_prefix("docs/examples/"))
        .filter(|name| name.ends_with(".ds"))
        .map(str::to_owned)
        .collect();
    assert!(examples.len() > 6, "{examples:?}");
    for example in examples {
        let run = format!(".script <dir>/../../docs/examples/{example}");
        assert!(scenario.contains(&run), "{example} is not run");
        assert!(
            list.contains(&format!("`{example}`")),
            "{example} is not listed"
        );
    }
}

#[test]
fn guide_names_the_parts_of_soak() {
    let text = read("vm-lab/src/soak.rs");
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","));
    let names: BTreeSet<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 3, "{names:?}");
    let guide = read("docs/contributing.md");
    let named = guide.split("`cargo lab soak ").skip(1);
    let named = named.filter_map(|rest| rest.split('`').next());
    let named: BTreeSet<String> = named.map(str::to_owned).collect();
    let with_any: BTreeSet<String> = names.into_iter().chain(["PART".to_owned()]).collect();
    assert_eq!(named, with_any);
}
