//! Who may import whom, where unsafe code may stand, and that what is written twice says the same.
//!
//! Reads the sources as text: a rule that no longer holds fails here, with the line that breaks it.

#[path = "layering/fields.rs"]
mod fields;
#[path = "layering/graph.rs"]
mod graph;
#[path = "layering/sources.rs"]
#[allow(dead_code, reason = "additions use more of it")]
mod sources;
#[path = "layering/statics.rs"]
mod statics;

use debuggee_driver::constants::TABLE;
use fields::Use;
use sources::{Source, lines_of_table, read, repository, sources};
use std::collections::BTreeSet;
use std::fs;

const MEMBERS: [&str; 5] = [
    "wire-protocol",
    "debuggee-driver",
    "debugger-host",
    "vm-lab",
    "tests",
];

/// Modules of a crate in call order. A module uses only what stands in ranks to its right.
struct Order {
    /// Where the crate begins.
    root: &'static str,
    ranks: &'static [&'static [&'static str]],
    /// Modules outside the order: what stands in for hardware in tests.
    outside: &'static [&'static str],
}

const ORDERS: [Order; 2] = [
    Order {
        root: "debuggee-driver/src/lib.rs",
        ranks: &[
            &["boot"],
            &["hw"],
            &["exit"],
            &["hit"],
            &["halt"],
            &["command"],
            &["run"],
            &["shared"],
            &[
                "line",
                "facts",
                "constants",
                "published",
                "clock",
                "occasions",
                "poll",
                "steps",
            ],
            &["messages", "transport"],
            &["event"],
            &["ept"],
            &["cores", "guest", "pool"],
            &["vmx", "rtc"],
            &["port"],
        ],
        outside: &["fake"],
    },
    Order {
        root: "wire-protocol/src/lib.rs",
        ranks: &[
            &["script", "print"],
            &["packet", "link"],
            &["event"],
            &["refusal"],
            &["bytecode", "frame", "transport", "instruction", "secure"],
            &["register", "branch", "crc", "digest", "pack", "pool"],
            &["address", "baud", "closed", "codec", "dropped", "limits"],
        ],
        outside: &[],
    },
];

/// Implementations of the traits of `port`: who may name them.
const IMPLEMENTATIONS: [(&str, &[&str]); 2] = [
    ("hw", &["boot", "hw"]),
    ("transport", &["boot", "hw", "transport", "fake"]),
];

/// Where unsafe code may stand.
const UNSAFE: [&str; 5] = [
    "debuggee-driver/src/hw/",
    "debuggee-driver/src/cores/exclusive.rs",
    "debuggee-driver/src/cores/rendezvous",
    "debuggee-driver/src/boot",
    "debuggee-driver/platform/",
];

/// End of the names that are reserved for examples (RFC 2606): the only hosts a file may name.
const EXAMPLE: &str = ".example";

fn assert_none(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

/// Lines of a crate that name one of `forbidden` as a path's first part.
fn naming(sources: &[Source], forbidden: &[&str]) -> Vec<String> {
    let mut broken = Vec::new();
    for source in sources {
        for (number, line) in source.code() {
            for krate in forbidden {
                let path = format!("{}::", krate.replace('-', "_"));
                let import = format!("use {};", krate.replace('-', "_"));
                if sources::has_word_start(line, &path) || line.contains(&import) {
                    broken.push(format!("{}:{number}: {}", source.path, line.trim()));
                }
            }
        }
    }
    broken
}

fn assert_imports_none_of(krate: &str, forbidden: &[&str]) {
    let found = sources(krate);
    assert!(!found.is_empty(), "no sources in {krate}");
    assert_none(
        &naming(&found, forbidden),
        &format!("{krate} must not import any of {forbidden:?}"),
    );
    let manifest = read(&format!("{krate}/Cargo.toml"));
    for name in forbidden {
        let depends = manifest.lines().any(|line| {
            line.split(['.', ' ', '=']).next() == Some(*name)
                || line.contains(&format!("/{name}\""))
        });
        assert!(!depends, "{krate}/Cargo.toml depends on {name}");
    }
}

#[test]
fn protocol_and_lab_import_no_crate_of_the_project() {
    assert_imports_none_of(
        "wire-protocol",
        &[
            "debuggee-driver",
            "debugger-host",
            "vm-lab",
            "standstill-tests",
        ],
    );
    assert_imports_none_of(
        "vm-lab",
        &[
            "wire-protocol",
            "debuggee-driver",
            "debugger-host",
            "standstill-tests",
        ],
    );
}

#[test]
fn driver_and_host_import_the_protocol_only() {
    for krate in ["debuggee-driver", "debugger-host"] {
        let other = if krate == "debugger-host" {
            "debuggee-driver"
        } else {
            "debugger-host"
        };
        assert_imports_none_of(krate, &[other, "vm-lab", "standstill-tests"]);
    }
}

/// The top-level module that a file belongs to.
fn module(path: &str) -> &str {
    let rest = path.split("/src/").nth(1).unwrap_or_default();
    let first = rest.split('/').next().unwrap_or_default();
    first.trim_end_matches(".rs")
}

#[test]
fn modules_use_rightwards_only() {
    let mut broken = Vec::new();
    for order in &ORDERS {
        let rank = |module: &str| order.ranks.iter().position(|rank| rank.contains(&module));
        let graph = graph::Graph::of(order.root);
        let mut seen = BTreeSet::new();
        for source in graph.sources() {
            let own = module(&source.path).to_owned();
            let is_outside = own == "lib" || order.outside.contains(&own.as_str());
            if rank(&own).is_none() && !is_outside {
                broken.push(format!(
                    "{}: `{own}` has no place in the order",
                    source.path
                ));
            }
            seen.insert(own);
        }
        for ((from, to), path) in graph.edges() {
            let (own, used) = (module(&from), module(&to));
            if own != used && rank(own) >= rank(used) && rank(own).is_some() {
                broken.push(format!("{from}: {path}"));
            }
        }
        for module in order.ranks.iter().copied().flatten() {
            assert!(
                seen.contains(*module),
                "the order lists `{module}`, which is no module of {}",
                order.root
            );
        }
    }
    assert_none(&broken, "modules use what stands to their right only");
}

#[test]
fn hardware_is_named_by_those_who_wire_it() {
    let mut broken = Vec::new();
    for source in sources("debuggee-driver/src") {
        let module = source.module();
        for (number, line, imported) in source.imports() {
            let allowed = IMPLEMENTATIONS
                .iter()
                .find(|(name, _)| *name == imported)
                .is_none_or(|(_, users)| users.contains(&module.as_str()));
            if !allowed && !source.is_test_code(number) {
                broken.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none(
        &broken,
        "`hw` and `transport` are named by boot and line only",
    );
}

#[test]
fn unsafe_code_stands_where_the_list_says() {
    let mut broken = Vec::new();
    let mut used = BTreeSet::new();
    for krate in MEMBERS.iter().copied().chain(["tests/fuzz"]) {
        for source in sources(krate) {
            let place = UNSAFE.iter().find(|place| source.path.starts_with(*place));
            for (number, line) in source.code() {
                if !sources::has_word(line, "unsafe") {
                    continue;
                }
                match place {
                    Some(place) => drop(used.insert(*place)),
                    None => broken.push(format!("{}:{number}: {}", source.path, line.trim())),
                }
            }
        }
    }
    assert_none(&broken, "unsafe code outside its list");
    assert_eq!(
        used.len(),
        UNSAFE.len(),
        "the list has more than is used: {used:?}"
    );
}

/// What a note about unsafe code says that names no precondition: it is true of any code there.
const EMPTY_NOTES: [&str; 7] = [
    "by contract.",
    "as above.",
    "as it was.",
    "CPL 0.",
    "reading only.",
    "reading has no effect.",
    "VMX-root.",
];

#[test]
fn notes_about_unsafe_code_name_a_precondition() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for source in sources("debuggee-driver") {
        for (number, line) in (1..).zip(source.text.lines()) {
            let Some((_, note)) = line.split_once("// SAFETY: ") else {
                continue;
            };
            seen += 1;
            if EMPTY_NOTES.contains(&note) || note.len() < "the register exists".len() {
                broken.push(format!("{}:{number}: {note}", source.path));
            }
        }
    }
    assert!(seen > 100, "only {seen} notes were found");
    assert_none(&broken, "notes that name no precondition");
}

#[test]
fn every_member_takes_the_workspace_lints() {
    for member in MEMBERS {
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert_eq!(
            lines_of_table(&manifest, "lints"),
            ["workspace = true"],
            "{member}"
        );
    }
    let workspace = read("Cargo.toml");
    for member in MEMBERS {
        assert!(
            workspace.contains(&format!("\"{member}\"")),
            "{member} is no member"
        );
    }
}

#[test]
fn platform_package_repeats_the_workspace_lints() {
    let workspace = read("Cargo.toml");
    let platform = read("debuggee-driver/platform/linux/Cargo.toml");
    for table in ["rust", "clippy"] {
        let lints = lines_of_table(&workspace, &format!("workspace.lints.{table}"));
        assert!(!lints.is_empty(), "no lints for {table}");
        assert_eq!(lines_of_table(&platform, &format!("lints.{table}")), lints);
    }
}

/// `16 << 20` or a number.
fn value(text: &str) -> Option<u64> {
    match text.split_once("<<") {
        Some((number, shift)) => {
            let number: u64 = number.trim().parse().ok()?;
            number.checked_shl(shift.trim().parse().ok()?)
        }
        None => text.trim().parse().ok(),
    }
}

#[test]
fn module_parameters_are_the_design_constants() {
    let shim = read("debuggee-driver/platform/linux/shim.c");
    let of_row = |line: &'_ str| {
        let (kind, parts) = line.strip_suffix(");")?.split_once('(')?;
        let parts: Vec<&str> = parts.split(',').map(str::trim).collect();
        let (variable, name, text) = match (kind, &parts[..]) {
            ("CONSTANT", [name, text]) => (name, name, text),
            ("CONSTANT_IN", [variable, name, text]) => (variable, name, text),
            _ => return None,
        };
        Some(((*variable).to_owned(), ((*name).to_owned(), value(text)?)))
    };
    let rows: Vec<(String, (String, u64))> = shim.lines().filter_map(of_row).collect();
    let (variables, parameters): (Vec<String>, Vec<(String, u64)>) = rows.into_iter().unzip();
    let constants: Vec<(String, u64)> = TABLE
        .iter()
        .map(|constant| (constant.name.to_owned(), constant.default))
        .collect();
    assert_eq!(parameters, constants);
    // The shim passes them by position.
    let start = shim.find("constants[SS_CONSTANTS] = {").unwrap_or_default();
    let list = shim[start..]
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let passed: Vec<&str> = list
        .map_or("", |(list, _)| list)
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(passed, variables);
}

/// Kinds of files at the top that a repository needs beside its code.
const PAPERS: [&str; 3] = [".md", ".toml", ".lock"];

#[test]
fn all_code_stands_below_the_agreed_names() {
    let mut names = BTreeSet::new();
    let mut broken = Vec::new();
    for entry in fs::read_dir(repository()).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            broken.push(format!("{:?}", entry.file_name()));
            continue;
        };
        let is_paper = if entry.path().is_dir() {
            name == "docs" || name == "target"
        } else {
            name.starts_with("LICENSE") || PAPERS.iter().any(|end| name.ends_with(end))
        };
        let is_agreed = name == "Cargo.toml" || MEMBERS.contains(&name.as_str());
        if !(is_agreed || is_paper || name.starts_with('.')) {
            broken.push(name.clone());
        }
        names.insert(name);
    }
    assert_none(
        &broken,
        "what stands at the top is one of the agreed names, documentation or configuration",
    );
    for name in MEMBERS.into_iter().chain(["Cargo.toml"]) {
        assert!(names.contains(name), "{name} is gone");
    }
    for papers in ["docs", ".ci", ".cargo"] {
        let code: Vec<String> = sources(papers)
            .into_iter()
            .map(|source| source.path)
            .collect();
        assert_none(&code, "no code stands beside the agreed names");
    }
}

#[test]
fn no_file_names_a_host_but_examples() {
    let mut broken = Vec::new();
    for path in sources::all_files() {
        // Cargo writes its own fixed name of the registry into lock files.
        if path.ends_with("Cargo.lock") {
            continue;
        }
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            let hosts = line.split("://").skip(1).map(sources::leading_host);
            for host in hosts.filter(|host| host.contains('.') && !host.ends_with(EXAMPLE)) {
                broken.push(format!("{path}:{}: {host}", number + 1));
            }
        }
    }
    assert_none(
        &broken,
        "the machine's own configuration names the package hosts",
    );
}

/// Crates without files that use each other.
const ROOTS: [&str; 5] = [
    "wire-protocol/src/lib.rs",
    "debuggee-driver/src/lib.rs",
    "debuggee-driver/platform/linux/src/lib.rs",
    "debugger-host/src/lib.rs",
    "debugger-host/src/main.rs",
];

#[test]
fn no_files_use_each_other() {
    let mut broken = Vec::new();
    for root in ROOTS {
        let edges = graph::Graph::of(root).edges();
        for circle in graph::circles(&edges) {
            broken.push(format!("{root}: {} files", circle.len()));
            for ((from, to), path) in &edges {
                if circle.contains(from) && circle.contains(to) {
                    broken.push(format!("    {from} uses {to}: {path}"));
                }
            }
        }
    }
    assert_none(&broken, "files use each other in circles");
}

/// What changes from entry to entry, and the one file that writes it.
const DERIVED: &str = "debuggee-driver/src/exit/derived.rs";
const DERIVED_FIELDS: [&str; 3] = [
    "PRIMARY_PROCBASED_EXEC_CONTROLS",
    "EPTP_FULL",
    "INTERRUPTIBILITY_STATE",
];
/// What a core is launched with.
const LAUNCH: &str = "debuggee-driver/src/hw/vmx_cpu/fill.rs";

/// The monitor trap flag is one of the primary controls.
#[test]
fn trap_flag_view_and_shadow_are_written_at_one_place_each() {
    let mut broken = Vec::new();
    let sources = graph::Graph::of("debuggee-driver/src/lib.rs").sources();
    for field in DERIVED_FIELDS {
        let mut writes = 0;
        for source in &sources {
            for use_ in fields::uses(source, field) {
                match use_ {
                    Use::Read => {}
                    Use::Write if source.path == DERIVED => writes += 1,
                    Use::Other if source.path == LAUNCH => {}
                    Use::Write | Use::Other => {
                        broken.push(format!("{}: {use_:?} of {field}", source.path));
                    }
                }
            }
        }
        assert_eq!(writes, 1, "{DERIVED} writes {field} at so many places");
    }
    assert_none(&broken, "they are computed just before each entry");
}

/// Crates whose code runs in the debuggee: where they begin, and where they stand.
const IN_DEBUGGEE: [(&str, &str); 3] = [
    ("wire-protocol/src/lib.rs", "wire-protocol/src/"),
    ("debuggee-driver/src/lib.rs", "debuggee-driver/src/"),
    (
        "debuggee-driver/platform/linux/src/lib.rs",
        "debuggee-driver/platform/",
    ),
];

#[test]
fn nothing_in_the_image_of_the_driver_can_change() {
    let mut broken = Vec::new();
    for (root, directory) in IN_DEBUGGEE {
        for source in graph::Graph::of(root).sources() {
            for name in statics::changeable(&source) {
                broken.push(format!("{}: {name}", source.path));
            }
        }
        for path in sources::all_files() {
            if path.starts_with(directory) && path.ends_with(".S") {
                let lines = statics::writable_sections(&read(&path));
                broken.extend(lines.into_iter().map(|line| format!("{path}: {line}")));
            }
        }
    }
    assert_none(
        &broken,
        "what changes stands in the arena, which the guest can't see",
    );
}
