//! The language against C: a table of expressions and statements with what a C compiler makes of
//! them. [`cases`] makes the left column, [`c`] has the compiler make the right one.
//!
//! To write the table anew: `STANDSTILL_WRITE_TABLE=1 cargo test -p debugger-host conformance`.

#[cfg(unix)]
mod c;
mod cases;

use super::{OPERATIONS, World, good};

/// A case and its result on each line, with a tab between them.
const TABLE: &str = include_str!("table.txt");

/// Cases that there are at least.
const LEAST: usize = 400;

/// What scripts read at [`cases::MEMORY`].
fn world() -> World {
    let mut world = World::default();
    world
        .put_memory(cases::MEMORY, cases::MEMORY_BYTES.to_vec())
        .expect("free");
    world
}

/// What a case prints, all on one line.
fn result(case: &str) -> String {
    let compiled = good(&format!("{}{}", cases::PREAMBLE, cases::statement(case)));
    let mut locals = vec![0; compiled.local_bytes];
    let mut out = Vec::new();
    let outcome = world()
        .run(&compiled.bytes, &mut locals, OPERATIONS, &mut out)
        .expect("verified");
    assert_eq!(outcome.faults, 0, "{case}: {outcome:?}");
    assert!(outcome.value().is_some(), "{case}: {outcome:?}");
    one_line(&String::from_utf8(out).expect("text"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn expressions_and_statements_give_what_they_give_in_c() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for line in TABLE.lines() {
        let (case, expected) = line.split_once('\t').expect("a tab");
        let found = result(case);
        if found != expected {
            wrong.push(format!("{case}\n  C: {expected}\n  here: {found}"));
        }
        count += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= LEAST, "{count} cases");
    println!("{count} cases agree with C");
}

#[cfg(unix)]
#[test]
fn the_table_is_what_a_c_compiler_says() {
    let cases = cases::all();
    let results = c::results(&cases);
    let table: String = cases
        .iter()
        .zip(&results)
        .map(|(case, result)| format!("{case}\t{result}\n"))
        .collect();
    if std::env::var_os("STANDSTILL_WRITE_TABLE").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/script/tests/conformance/table.txt"
        );
        std::fs::write(path, &table).expect("written");
        return;
    }
    for (here, there) in table.lines().zip(TABLE.lines()) {
        assert_eq!(here, there);
    }
    assert_eq!(table.lines().count(), TABLE.lines().count());
}
