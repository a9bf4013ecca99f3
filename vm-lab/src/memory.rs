//! The debuggee's memory as the emulator holds it, read from outside while the emulator stands still. The debugger has no
//! part in it, so it can be judged by it.
//!
//! Called by `machine`. The emulator keeps memory in blocks, in the order in which they were first used, and a table that
//! says where each one is. The table is found by what is in it: addresses of blocks, all different, in the one stretch of
//! the process that is large enough for the memory.

use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Blocks lie at multiples of this.
const BLOCK_ALIGN: u64 = 4096;
/// A machine that has booted has used more blocks than this.
const USED_MIN: usize = 16;
const WORD_BYTES: u64 = 8;

/// A copy of all memory. What the machine never used has no block, and is zero.
pub struct Memory {
    block_bytes: u64,
    blocks: Vec<Option<Box<[u8]>>>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.blocks.iter().flatten().count();
        write!(f, "{used} of {} blocks used", self.blocks.len())
    }
}

impl Memory {
    /// Copies the `len_bytes` of memory that the emulator with this process id holds in blocks of `block_bytes`; it is
    /// to be stopped.
    ///
    /// # Errors
    /// When the process can't be read, or holds no such memory.
    pub(crate) fn copy(process: i32, len_bytes: u64, block_bytes: u64) -> Result<Self> {
        let live = Live::of(process, len_bytes, block_bytes)?;
        let mut blocks = Vec::with_capacity(live.count);
        for at in live.table()? {
            blocks.push(if at == 0 {
                None
            } else {
                let mut block = vec![0; usize::try_from(block_bytes)?];
                live.file.read_exact_at(&mut block, at)?;
                Some(block.into())
            });
        }
        Ok(Self {
            block_bytes,
            blocks,
        })
    }

    /// Stretches of physical addresses whose bytes differ, in order, none next to another.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Range<u64>> {
        let zeroes = vec![0; self.block_bytes as usize];
        let mut found: Vec<Range<u64>> = Vec::new();
        let pairs = self.blocks.iter().zip(&other.blocks);
        for (start, (one, two)) in (0..).step_by(self.block_bytes as usize).zip(pairs) {
            let [one, two] = [one, two].map(|block| block.as_deref().unwrap_or(&zeroes));
            if one == two {
                continue;
            }
            let bytes = (start..).zip(one.iter().zip(two));
            for (at, _) in bytes.filter(|(_, (one, two))| one != two) {
                match found.last_mut() {
                    Some(last) if last.end == at => last.end = at + 1,
                    _ => found.push(at..at + 1),
                }
            }
        }
        found
    }

    /// One byte; `None` beyond the end.
    #[must_use]
    pub fn byte(&self, at: u64) -> Option<u8> {
        let block = self
            .blocks
            .get(usize::try_from(at / self.block_bytes).ok()?)?;
        let offset = usize::try_from(at % self.block_bytes).ok()?;
        Some(block.as_ref().map_or(0, |block| block[offset]))
    }

    /// Where these bytes stand, at addresses divisible by eight, as many as there are.
    #[must_use]
    pub fn find(&self, word: u64) -> Vec<u64> {
        let blocks = (0..).step_by(self.block_bytes as usize).zip(&self.blocks);
        let used = blocks.filter_map(|(start, block)| Some((start, block.as_ref()?)));
        used.flat_map(|(start, block)| {
            let words = (start..).step_by(WORD_BYTES as usize).zip(words(block));
            words
                .filter(|(_, found)| *found == word)
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
        })
        .collect()
    }
}

/// Memory as the emulator holds it now. It is to stand still, or what is read is not to change.
#[derive(Debug)]
pub struct Live {
    file: File,
    /// Where the table of blocks is.
    table_at: u64,
    block_bytes: u64,
    count: usize,
}

impl Live {
    /// The `len_bytes` of memory that the emulator with this process id holds in blocks of `block_bytes`.
    ///
    /// # Errors
    /// As [`Memory::copy`].
    pub(crate) fn of(process: i32, len_bytes: u64, block_bytes: u64) -> Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
        let file = File::open(format!("/proc/{process}/mem")).context("opening its memory")?;
        let stretches = writable(&maps);
        let large = |stretch: &&Range<u64>| stretch.end - stretch.start >= len_bytes;
        let mut holding = stretches.iter().filter(large);
        let (Some(ram), None) = (holding.next(), holding.next()) else {
            bail!("the emulator has not one stretch of {len_bytes:#x} bytes:\n{maps}");
        };
        let count = usize::try_from(len_bytes / block_bytes)?;
        let mut tables = Vec::new();
        for stretch in stretches.iter().filter(|stretch| *stretch != ram) {
            let mut bytes = vec![0; usize::try_from(stretch.end - stretch.start)?];
            // Some kinds of memory have no contents to read.
            if file.read_exact_at(&mut bytes, stretch.start).is_ok() {
                let found = find_tables(&words(&bytes), ram, block_bytes, count);
                let places = found.into_iter().map(|at| stretch.start + at * WORD_BYTES);
                tables.extend(places);
            }
        }
        let [table_at] = tables[..] else {
            bail!("the emulator has {} tables of its blocks", tables.len());
        };
        Ok(Self {
            file,
            table_at,
            block_bytes,
            count,
        })
    }

    fn table(&self) -> Result<Vec<u64>> {
        let mut bytes = vec![0; self.count * WORD_BYTES as usize];
        self.file.read_exact_at(&mut bytes, self.table_at)?;
        Ok(words(&bytes))
    }

    /// Bytes from a physical address on, all in one block; zeroes where the machine used none, or has no memory.
    ///
    /// # Errors
    /// When the emulator is gone.
    pub fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        out.fill(0);
        let block = at / self.block_bytes;
        if block >= self.count as u64 {
            return Ok(());
        }
        let mut place = [0; WORD_BYTES as usize];
        self.file
            .read_exact_at(&mut place, self.table_at + block * WORD_BYTES)?;
        match u64::from_ne_bytes(place) {
            0 => Ok(()),
            place => Ok(self
                .file
                .read_exact_at(out, place + at % self.block_bytes)?),
        }
    }
}

/// Private memory that the process can write, from the text of its list of mappings.
fn writable(maps: &str) -> Vec<Range<u64>> {
    let lines = maps.lines().filter_map(|line| line.split_once(' '));
    let private = lines.filter(|(_, rest)| rest.starts_with("rw-p"));
    private
        .filter_map(|(range, _)| {
            let (start, end) = range.split_once('-')?;
            let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).ok());
            Some(start?..end?)
        })
        .collect()
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let (words, _) = bytes.as_chunks::<{ WORD_BYTES as usize }>();
    words.iter().map(|word| u64::from_ne_bytes(*word)).collect()
}

/// Where in `words` every table of `count` blocks in `ram` begins. One begins behind a word that can't be in it, with the
/// block at address 0, which every machine uses.
fn find_tables(words: &[u64], ram: &Range<u64>, block_bytes: u64, count: usize) -> Vec<u64> {
    let fits = |word: &u64| *word == 0 || ram.contains(word) && word.is_multiple_of(BLOCK_ALIGN);
    let mut tables = Vec::new();
    let mut start = 0;
    for run in words.split(|word| !fits(word)) {
        if run
            .get(..count)
            .is_some_and(|table| is_table(table, block_bytes))
        {
            tables.push(start);
        }
        start += run.len() as u64 + 1;
    }
    tables
}

fn is_table(table: &[u64], block_bytes: u64) -> bool {
    let used = table.iter().filter(|at| **at != 0);
    let different: BTreeSet<u64> = used.clone().copied().collect();
    let Some(lowest) = different.first() else {
        return false;
    };
    table.first() != Some(&0)
        && different.len() >= USED_MIN
        && different.len() == used.count()
        && different
            .iter()
            .all(|at| (at - lowest).is_multiple_of(block_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAM: Range<u64> = 0x7f00_0000_0000..0x7f01_0000_0000;
    const COUNT: usize = 64;
    const BLOCK_BYTES: u64 = 128 << 10;

    /// A table that uses every second block, the last first.
    fn table() -> Vec<u64> {
        let place = |block: u64| RAM.start + BLOCK_ALIGN + (COUNT as u64 - block) * BLOCK_BYTES;
        let blocks = 0..COUNT as u64;
        blocks
            .map(|block| if block % 2 == 0 { place(block) } else { 0 })
            .collect()
    }

    fn among_others(table: &[u64]) -> Vec<u64> {
        let mut words = vec![0; 100];
        words.extend([RAM.start, 0x211]);
        words.extend(table);
        words.extend([0, 0, 0x31]);
        words
    }

    #[test]
    fn table_is_found_by_what_is_in_it() {
        let table = table();
        let among = among_others(&table);
        let found = find_tables(&among, &RAM, BLOCK_BYTES, COUNT);
        let [at] = found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(among[at as usize..][..COUNT], table);
    }

    #[test]
    fn what_names_a_block_twice_or_half_or_few_is_no_table() {
        let mut twice = table();
        twice[4] = twice[2];
        let mut half = table();
        half[4] += BLOCK_BYTES / 2;
        let mut few = table();
        few[2 * USED_MIN - 2..].fill(0);
        let short = &table()[..COUNT - 4];
        for wrong in [&twice, &half, &few, short] {
            assert!(find_tables(&among_others(wrong), &RAM, BLOCK_BYTES, COUNT).is_empty());
        }
    }

    #[test]
    fn only_private_writable_memory_is_searched() {
        let maps = "1000-3000 rw-p 0 00:00 0 [heap]\n4000-5000 r--p 0 00:00 0\n\
                    6000-7000 rw-s 0 00:00 0\n8000-a000 rw-p 0 00:00 0\n";
        assert_eq!(writable(maps), [0x1000..0x3000, 0x8000..0xa000]);
    }

    fn memory(blocks: [Option<u8>; 3]) -> Memory {
        let block = |byte| vec![byte; BLOCK_BYTES as usize].into();
        Memory {
            block_bytes: BLOCK_BYTES,
            blocks: blocks.map(|byte| byte.map(block)).into(),
        }
    }

    #[test]
    fn one_changed_byte_is_found_and_no_block_is_zeroes() {
        let before = memory([Some(1), None, Some(0)]);
        let mut after = memory([Some(1), Some(0), None]);
        assert!(before.differences(&after).is_empty());
        let block = after.blocks[1].as_mut().unwrap();
        block[7] = 1;
        block[9..12].fill(2);
        let at = BLOCK_BYTES + 7;
        assert_eq!(before.differences(&after), [at..at + 1, at + 2..at + 5]);
        assert_eq!((after.byte(at), before.byte(at)), (Some(1), Some(0)));
        assert_eq!(before.byte(3 * BLOCK_BYTES), None);
    }

    #[test]
    fn words_are_found_where_they_stand() {
        let mut memory = memory([Some(0), None, Some(0)]);
        let block = memory.blocks[2].as_mut().unwrap();
        block[16..24].copy_from_slice(&77_u64.to_ne_bytes());
        assert_eq!(memory.find(77), [2 * BLOCK_BYTES + 16]);
    }
}
