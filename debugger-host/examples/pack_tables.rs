//! Makes the tables by which code is packed for a network, and says how short that makes code:
//!
//! ```text
//! cargo run --release -p debugger-host --example pack_tables -- make wire-protocol/src/pack/quick/tables.bin KERNEL...
//! cargo run --release -p debugger-host --example pack_tables -- measure KERNEL...
//! ```
//!
//! A kernel is a `vmlinuz`, or memory as `.writemem` wrote it, of which all pages count that are not one byte over and over.
//! The tables that are there were made of Debian's `linux-image-5.10.0-32-cloud-amd64` (5.10.223-1) and
//! `linux-image-6.12.117+deb13-cloud-amd64` (6.12.117-1), and measured with the memory of its 6.1.

use debugger_host::symbol::bzimage;
use object::{Object, ObjectSection};
use std::collections::HashMap;
use std::error::Error;
use std::{env, fs};
use wire_protocol::pack::quick::tables::{TABLES, weight};
use wire_protocol::pack::quick::walk::{CONTEXTS, Coder, walk};
use wire_protocol::pack::quick::{pack, unpack};

const PAGE_BYTES: usize = 4096;

/// How often each byte was seen.
type Counts = [f64; 0x100];
/// Bits that each byte takes.
type Costs = [f64; 0x100];

/// The code of a kernel, or the file as it is if it holds none.
fn text(file: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let bytes = fs::read(file)?;
    if !bzimage::is_bzimage(&bytes) {
        return Ok(bytes);
    }
    let kernel = bzimage::unpack(&bytes)?;
    let kernel = object::File::parse(&*kernel)?;
    let text = kernel.section_by_name(".text").ok_or("no code")?;
    Ok(text.data()?.to_vec())
}

fn pages(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let pages = text.chunks_exact(PAGE_BYTES);
    pages.filter(|page| page.iter().any(|byte| *byte != page[0]))
}

/// Where the five bytes at `at` branch to, which begin with `opcode`.
fn target(text: &[u8], at: usize, opcode: u8) -> Option<u64> {
    let code = text.get(at..at + 5).filter(|code| code[0] == opcode)?;
    let distance = i32::from_le_bytes(code[1..].try_into().ok()?);
    (at as u64 + 5).checked_add_signed(i64::from(distance))
}

/// Where most branches with `opcode` lead to.
fn favourite(text: &[u8], opcode: u8) -> Option<u64> {
    let mut counts = HashMap::new();
    for target in (0..text.len()).filter_map(|at| target(text, at, opcode)) {
        *counts.entry(target).or_insert(0_u32) += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(target, _)| target)
}

/// The code as it is while the kernel runs: calls of the tracer, the most frequent, are gone; and where the processor needs no
/// thunk for returns, the most frequent jumps are such.
fn as_it_runs(text: &[u8], has_thunks: bool) -> Vec<u8> {
    const CALL: u8 = 0xe8;
    const JUMP: u8 = 0xe9;
    let (tracer, thunk) = (favourite(text, CALL), favourite(text, JUMP));
    let mut runs = text.to_vec();
    let mut at = 0;
    while at < text.len() {
        let patch = if tracer.is_some() && target(text, at, CALL) == tracer {
            [0x0f, 0x1f, 0x44, 0x00, 0x00]
        } else if !has_thunks && thunk.is_some() && target(text, at, JUMP) == thunk {
            [0xc3, 0xcc, 0xcc, 0xcc, 0xcc]
        } else {
            at += 1;
            continue;
        };
        runs[at..at + 5].copy_from_slice(&patch);
        at += 5;
    }
    runs
}

struct Counter<'c> {
    rest: std::slice::Iter<'c, u8>,
    counts: &'c mut [Counts],
}

impl Coder for Counter<'_> {
    fn next(&mut self, context: usize) -> Option<u8> {
        let byte = *self.rest.next()?;
        self.counts[context][usize::from(byte)] += 1.0;
        Some(byte)
    }
}

/// Bits by counts, where what was never seen counts a little, too.
fn costs(counts: &Counts) -> Costs {
    let sum: f64 = counts.iter().sum();
    let unseen = (sum * 3e-6).max(0.02);
    counts.map(|count| ((sum + 256.0 * unseen) / (count + unseen)).log2())
}

/// Counts that are not 0.
fn seen(counts: &Counts) -> Vec<(usize, f64)> {
    let counts = counts.iter().copied().enumerate();
    counts.filter(|(_, count)| *count > 0.0).collect()
}

fn bits(seen: &[(usize, f64)], costs: &Costs) -> f64 {
    seen.iter().map(|(byte, count)| count * costs[*byte]).sum()
}

/// Which contexts have a table together, and the counts of each table: those that were seen most and differ most from what there
/// is are the first, and then each context goes where it takes the fewest bits, until that changes little.
fn share(counts: &[Counts]) -> (Vec<usize>, Vec<Counts>) {
    const FREQUENT: usize = 1500;
    const ROUNDS: usize = 40;
    let seen: Vec<_> = counts.iter().map(seen).collect();
    let total = |context: &usize| -> f64 { counts[*context].iter().sum() };
    let mut frequent: Vec<usize> = (0..counts.len()).collect();
    frequent.sort_by(|a, b| total(b).total_cmp(&total(a)));
    frequent.truncate(FREQUENT);
    let own: Vec<f64> = (0..counts.len())
        .map(|of| bits(&seen[of], &costs(&counts[of])))
        .collect();
    let mut excess = vec![f64::MAX; counts.len()];
    let mut tables: Vec<Costs> = Vec::new();
    let mut first = frequent[0];
    while tables.len() < TABLES {
        let table = costs(&counts[first]);
        for of in &frequent {
            excess[*of] = excess[*of].min(bits(&seen[*of], &table) - own[*of]);
        }
        tables.push(table);
        let most = frequent
            .iter()
            .max_by(|a, b| excess[**a].total_cmp(&excess[**b]));
        first = most.copied().unwrap_or_default();
    }
    let mut places = vec![0; counts.len()];
    let mut sums = Vec::new();
    let mut last = f64::MAX;
    for _ in 0..ROUNDS {
        sums = vec![[0.0; 0x100]; TABLES];
        let mut all = 0.0;
        for (of, place) in places.iter_mut().enumerate() {
            let by_table = tables
                .iter()
                .map(|table| bits(&seen[of], table))
                .enumerate();
            let best = by_table.min_by(|a, b| a.1.total_cmp(&b.1));
            let (table, bits) = best.unwrap_or_default();
            *place = table;
            all += bits;
            for (byte, count) in &seen[of] {
                sums[table][*byte] += count;
            }
        }
        tables = sums.iter().map(costs).collect();
        if all > last * 0.9998 {
            break;
        }
        last = all;
    }
    (places, sums)
}

/// The byte whose weight is next to `share` of the largest.
fn written(share: f64) -> u8 {
    let wanted = share * f64::from(weight(0xff));
    let distance = |byte: u8| (f64::from(weight(byte)) / wanted.max(1.0)).ln().abs();
    (0..=0xff)
        .min_by(|a, b| distance(*a).total_cmp(&distance(*b)))
        .unwrap_or_default()
}

fn make(to: &str, kernels: &[String]) -> Result<(), Box<dyn Error>> {
    let mut counts = vec![[0.0; 0x100]; CONTEXTS];
    for kernel in kernels {
        let text = text(kernel)?;
        for has_thunks in [true, false] {
            let runs = as_it_runs(&text, has_thunks);
            for page in pages(&runs) {
                let rest = page.iter();
                walk(&mut Counter {
                    rest,
                    counts: &mut counts,
                });
            }
        }
    }
    let (places, sums) = share(&counts);
    let mut file: Vec<u8> = places.iter().map(|table| *table as u8).collect();
    for counts in &sums {
        let bits = costs(counts);
        let least = bits.iter().copied().fold(f64::MAX, f64::min);
        file.extend(bits.map(|bits| written((least - bits).exp2())));
    }
    fs::write(to, file)?;
    Ok(())
}

fn measure(kernel: &str) -> Result<(), Box<dyn Error>> {
    let text = text(kernel)?;
    let mut lengths = Vec::new();
    for page in pages(&text) {
        let mut out = vec![0; PAGE_BYTES - 1];
        let len = pack(page, &mut out);
        lengths.push(len.unwrap_or(PAGE_BYTES));
        if let Some(len) = len {
            let mut content = vec![0; PAGE_BYTES];
            unpack(&out[..len], &mut content);
            assert_eq!(content, page);
        }
    }
    lengths.sort_unstable();
    let part = |percent: usize| lengths.get(lengths.len() * percent / 100).copied();
    let raw = lengths.iter().filter(|len| **len == PAGE_BYTES).count();
    println!(
        "{kernel}: {} pages, median {}, of 100 pages 90 at most {}, 95 at most {}; {raw} not packed",
        lengths.len(),
        part(50).unwrap_or(0),
        part(90).unwrap_or(0),
        part(95).unwrap_or(0),
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", to, _, ..] => make(to, &arguments[2..]),
        ["measure", _, ..] => arguments[1..].iter().try_for_each(|kernel| measure(kernel)),
        _ => Err("make FILE KERNEL..., or measure KERNEL...".into()),
    }
}
