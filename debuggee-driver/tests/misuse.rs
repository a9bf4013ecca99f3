//! Programs that use the tokens of `cores::rendezvous` wrongly do not compile, and for the reason
//! that is meant; without their wrong lines they do.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what went wrong and ends"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What `rustc` needs to compile against the driver.
struct Library {
    driver: PathBuf,
    protocol: PathBuf,
}

/// A library's metadata among the messages of `cargo check`.
fn artefact(messages: &str, name: &str) -> PathBuf {
    let file = format!("lib{name}-");
    let of_library = messages
        .lines()
        .filter(|line| line.contains(r#""reason":"compiler-artifact""#))
        .flat_map(|line| line.split('"'))
        .map(Path::new)
        .find(|path| {
            let path_name = path.file_name().and_then(|name| name.to_str());
            path_name.is_some_and(|it| it.starts_with(&file) && it.ends_with(".rmeta"))
        });
    match of_library {
        Some(path) => path.to_owned(),
        None => panic!("no metadata of {name} in:\n{messages}"),
    }
}

impl Library {
    /// Checks the driver as it is now; nothing has to be done if it was checked before.
    fn check() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["check", "--quiet", "--offline", "--lib"])
            .args(["--message-format", "json"])
            .args(["--package", "debuggee-driver", "--package", "wire-protocol"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let messages = text(&output.stdout);
        Self {
            driver: artefact(&messages, "debuggee_driver"),
            protocol: artefact(&messages, "wire_protocol"),
        }
    }

    /// Codes of the errors of a program; none if it compiles.
    fn errors(&self, name: &str, program: &str) -> BTreeSet<String> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).unwrap();
        let source = directory.join("program.rs");
        fs::write(&source, program).unwrap();
        let external = |name: &str, file: &Path| format!("{name}={}", file.display());
        let dependencies = self.driver.parent().unwrap().display();
        let output = Command::new("rustc")
            .args(["--edition", "2024", "--crate-type", "lib"])
            .args(["--emit", "metadata", "--error-format", "json"])
            .args(["-L", &format!("dependency={dependencies}")])
            .args(["--extern", &external("debuggee_driver", &self.driver)])
            .args(["--extern", &external("wire_protocol", &self.protocol)])
            .arg("--out-dir")
            .args([&directory, &source])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        codes(&output)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Codes of the errors that the compiler tells of; what has none stands for itself.
fn codes(output: &Output) -> BTreeSet<String> {
    let messages = text(&output.stderr);
    let found: BTreeSet<String> = messages
        .lines()
        .filter(|line| line.contains(r#""level":"error""#))
        .filter(|line| !line.contains(r#""message":"aborting due to"#))
        .map(|line| {
            let code = line.split_once(r#""code":{"code":""#);
            let code = code.and_then(|(_, rest)| rest.split_once('"'));
            code.map_or(line, |(code, _)| code).to_owned()
        })
        .collect();
    assert_eq!(output.status.success(), found.is_empty(), "{messages}");
    found
}

/// Marks what makes a program wrong.
const WRONG: &str = "// wrong";

/// File and code of each misuse.
const MISUSES: [(&str, &str); 6] = [
    ("look_during_edit", "E0502"),
    ("park_during_look", "E0500"),
    ("edit_after_release", "E0505"),
    ("two_borrows_of_own", "E0499"),
    ("claim_during_look", "E0499"),
    ("look_while_waiting", "E0502"),
];

#[test]
fn each_misuse_has_its_error_and_compiles_without_its_wrong_line() {
    let library = Library::check();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/misuse");
    for (name, code) in MISUSES {
        let program = fs::read_to_string(directory.join(name).with_extension("rs")).unwrap();
        let right: Vec<&str> = program
            .lines()
            .filter(|line| !line.ends_with(WRONG))
            .collect();
        assert!(
            right.len() < program.lines().count(),
            "{name} marks no line"
        );
        let errors = library.errors(name, &program);
        assert_eq!(errors, BTreeSet::from([code.to_owned()]), "{name}");
        let errors = library.errors(name, &right.join("\n"));
        assert_eq!(errors, BTreeSet::new(), "{name} without its wrong line");
    }
    let files = fs::read_dir(directory).unwrap().count();
    assert_eq!(files, MISUSES.len(), "a file that is in no row");
}
