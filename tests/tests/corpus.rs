//! What the fuzz targets kept: each input goes through what reads it, with the pinned toolchain and on every run. An input
//! that did harm once is kept in `fuzz/corpus`, and is a test from then on.
#![allow(missing_docs, reason = "a test")]

#[path = "../fuzz/hostile/mod.rs"]
#[allow(unreachable_pub, dead_code, reason = "the fuzz targets take the rest")]
mod hostile;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

fn fuzz(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(folder)
}

/// Names in a folder, without their endings.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let stem = |entry: fs::DirEntry| Some(entry.path().file_stem()?.to_str()?.to_owned());
    entries.flatten().filter_map(stem).collect()
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<String> = hostile::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(names(&fuzz("fuzz_targets")), targets);
    assert_eq!(names(&fuzz("corpus")), targets);
}

#[test]
fn what_was_kept_does_no_harm() {
    let mut harmed = Vec::new();
    for (name, target) in hostile::TARGETS {
        let folder = fuzz("corpus").join(name);
        let kept = names(&folder);
        assert!(!kept.is_empty(), "{name}");
        for input in kept {
            let bytes = fs::read(folder.join(&input)).expect("it is there");
            if catch_unwind(|| target(&bytes)).is_err() {
                harmed.push(format!("{name}/{input}"));
            }
        }
    }
    assert!(harmed.is_empty(), "{harmed:?}");
}
