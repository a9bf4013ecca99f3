//! Every crate that the project is built from has a licence that `deny.toml` allows, and comes from the registry.
//!
//! Asks cargo, for each lock file. `cargo lab soak` checks the same with cargo-deny, and bans beside it; this is what needs
//! nothing but cargo. The list of licences stands in `deny.toml` alone.

use serde_json::Value;
use spdx::{Expression, LicenseReq, Licensee, ParseMode};
use std::path::{Path, PathBuf};
use std::process::Command;
use toml_edit::{Document, Item};

/// The packages that have a lock file of their own.
const WORKSPACES: [&str; 3] = [".", "debuggee-driver/platform/linux", "tests/fuzz"];

/// How what cargo calls the registry that it knows by itself ends, wherever its crates are taken from.
const REGISTRY: &str = "/crates.io-index";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The licences that are allowed.
fn allowed() -> Vec<Licensee> {
    let text = std::fs::read_to_string(repository().join("deny.toml")).expect("deny.toml");
    let document: Document<String> = text.parse().expect("a table");
    let list = document["licenses"]["allow"].as_array();
    let names = list.into_iter().flatten().filter_map(|name| name.as_str());
    let licences: Vec<Licensee> = names
        .map(|name| Licensee::parse(name).unwrap_or_else(|error| panic!("{name}: {error}")))
        .collect();
    assert!(!licences.is_empty(), "no licence is allowed");
    licences
}

/// What cargo says of the packages of a workspace.
fn packages(workspace: &str) -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version=1", "--quiet"])
        .arg("--manifest-path")
        .arg(repository().join(workspace).join("Cargo.toml"))
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{workspace}: {said}");
    let whole: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = whole["packages"].as_array().cloned().unwrap_or_default();
    assert!(!packages.is_empty(), "{workspace} has no package");
    packages
}

/// Why a crate may not be used.
fn objection(package: &Value, allowed: &[Licensee]) -> Option<String> {
    let licence = package["license"].as_str().unwrap_or_default();
    // Old manifests write `/` for `OR`.
    let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("its licence cannot be read: {error}")),
    };
    let may_be = |wanted: &LicenseReq| allowed.iter().any(|licence| licence.satisfies(wanted));
    if !expression.evaluate(may_be) {
        return Some(format!("its licence is {licence}"));
    }
    // What has no source stands in this repository.
    let source = package["source"].as_str()?;
    let is_registry = source.starts_with("registry+") && source.ends_with(REGISTRY);
    (!is_registry).then(|| format!("it comes from {source}"))
}

#[test]
fn every_crate_has_an_allowed_licence_and_comes_from_the_registry() {
    let allowed = allowed();
    let mut broken = Vec::new();
    for workspace in WORKSPACES {
        for package in packages(workspace) {
            if let Some(why) = objection(&package, &allowed) {
                let [name, version] = ["name", "version"].map(|key| package[key].to_string());
                broken.push(format!("{workspace}: {name} {version}: {why}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn other_licences_and_sources_are_objected_to() {
    let allowed = allowed();
    let registry = &format!("registry+file:///somewhere{REGISTRY}");
    let of = |licence: &str, source: &str| {
        let package = serde_json::json!({ "license": licence, "source": source });
        objection(&package, &allowed).is_some()
    };
    assert!(!of("MIT", registry));
    assert!(!of("MIT/Apache-2.0", registry));
    assert!(!of("GPL-3.0-only OR MIT", registry));
    assert!(!of("(MIT OR GPL-2.0-only) AND Unicode-3.0", registry));
    assert!(of("GPL-3.0-only", registry));
    assert!(of("MIT AND GPL-3.0-only", registry));
    assert!(of("", registry));
    assert!(of("MIT", "git+file:///somewhere/crates.io-index"));
    assert!(of("MIT", "registry+file:///somewhere"));
    let own = serde_json::json!({ "license": "MIT", "source": null });
    assert_eq!(objection(&own, &allowed), None);
}

#[test]
fn every_lock_file_is_looked_at() {
    let mut found = Vec::new();
    let mut waiting = vec![repository()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if entry.path().is_dir() && name != "target" && name != ".git" {
                waiting.push(entry.path());
            } else if name == "Cargo.lock" {
                found.push(entry.path());
            }
        }
    }
    assert_eq!(found.len(), WORKSPACES.len(), "{found:?}");
    // The bans of cargo-deny are not repeated here, but it must find them.
    let text = std::fs::read_to_string(repository().join("deny.toml")).expect("deny.toml");
    let document: Document<String> = text.parse().expect("a table");
    for table in ["licenses", "bans", "sources"] {
        assert!(document.get(table).is_some_and(Item::is_table), "{table}");
    }
}
