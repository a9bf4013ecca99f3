//! A program as it runs: its words, in memory that whoever keeps the program lends.

use super::program::{Layout, Program};
use super::translate::{Sink, translate};
use super::verify::Verified;
use super::word::{Leads, WORD_BYTES, Word};

/// Bytes of the place of a label or of a function, while the words are made.
const PLACE_BYTES: usize = 4;

/// A program that has been verified, and its words.
#[derive(Clone, Copy, Debug)]
pub struct Decoded<'a> {
    program: Program<'a>,
    words: &'a [[u8; WORD_BYTES]],
}

impl<'a> Decoded<'a> {
    /// Decodes a program into memory of at least [`Verified::decoded_bytes`]. `None`: it is less.
    #[must_use]
    pub fn new(program: &Verified<'a>, memory: &'a mut [u8]) -> Option<Self> {
        let len_bytes = write(program, memory)?;
        Self::again(*program.program(), memory.get(..len_bytes)?)
    }

    /// A program that was decoded into the start of this memory before, and has not been changed since. Should that not
    /// be so, the run ends at the first thing that makes no sense, or does something else: memory
    /// is safe either way.
    #[must_use]
    #[inline]
    pub fn again(program: Program<'a>, memory: &'a [u8]) -> Option<Self> {
        let (words, rest) = memory.as_chunks();
        rest.is_empty().then_some(Self { program, words })
    }

    /// The same from bytes, and what [`Program::layout`] said then.
    #[must_use]
    #[inline]
    pub fn from_parts(bytes: &'a [u8], layout: Layout, memory: &'a [u8]) -> Option<Self> {
        Self::again(Program::with_layout(bytes, layout)?, memory)
    }

    /// The program.
    #[must_use]
    #[inline]
    pub fn program(&self) -> &Program<'a> {
        &self.program
    }

    /// Its words.
    #[inline]
    pub(crate) fn words(&self) -> &'a [[u8; WORD_BYTES]] {
        self.words
    }

    /// The place in the code that a word comes from.
    pub(crate) fn place_of(&self, word: usize) -> u32 {
        let find = Find { rest: word, at: 0 };
        translate(&Verified::trusted(self.program), find).at
    }
}

impl Verified<'_> {
    /// Bytes of memory that [`Decoded::new`] needs. The first so many that the second number says are kept.
    #[must_use]
    pub fn decoded_bytes(&self) -> (usize, usize) {
        let Count(words) = translate(self, Count(0));
        let words = words * WORD_BYTES;
        (words + places(self) * PLACE_BYTES, words)
    }

    /// Writes what [`Decoded::from_parts`] takes, to the start of memory of so many bytes. `None`: it is
    /// less.
    #[must_use]
    pub fn decode_into(&self, memory: &mut [u8]) -> Option<usize> {
        write(self, memory)
    }
}

fn places(program: &Verified<'_>) -> usize {
    let program = program.program();
    program.label_count() + program.function_count()
}

/// Writes the words to the start of the memory; their bytes.
fn write(program: &Verified<'_>, memory: &mut [u8]) -> Option<usize> {
    let for_places = places(program) * PLACE_BYTES;
    let room = memory.len().checked_sub(for_places)?;
    let (words, places) = memory.split_at_mut_checked(room)?;
    let (words, _) = words.as_chunks_mut();
    let (places, _) = places.as_chunks_mut();
    let labels = program.program().label_count();
    let (labels, functions) = places.split_at_mut_checked(labels)?;
    let writer = Write {
        words,
        count: 0,
        is_full: false,
        labels,
        label_count: 0,
        functions,
        function_count: 0,
    };
    let written = translate(program, writer);
    if written.is_full {
        return None;
    }
    let count = written.count;
    let words = written.words.get_mut(..count)?;
    link(words, written.labels, written.functions);
    Some(count * WORD_BYTES)
}

/// Puts places where words have numbers of labels and functions.
fn link(
    words: &mut [[u8; WORD_BYTES]],
    labels: &[[u8; PLACE_BYTES]],
    functions: &[[u8; PLACE_BYTES]],
) {
    let mut is_number = false;
    for index in 0..words.len() {
        let Some(&bytes) = words.get(index) else {
            return;
        };
        if is_number {
            is_number = false;
            continue;
        }
        let word = Word(u64::from_le_bytes(bytes));
        is_number = word.is_wide();
        // The verifier has seen that there is one.
        let of = |places: &[[u8; PLACE_BYTES]], number: usize| {
            places
                .get(number)
                .map_or(0, |place| u32::from_le_bytes(*place))
        };
        let place = match word.leads() {
            Leads::Nowhere => continue,
            Leads::ToLabel => of(labels, word.place()),
            Leads::ToLabelComparing => of(labels, word.short_place()),
            Leads::ToLabelJoined => of(labels, word.joined_place()),
            Leads::ToFunction => begin(words, of(functions, word.place())),
        };
        if let Some(bytes) = words.get_mut(index) {
            *bytes = word.leading_to(place).0.to_le_bytes();
        }
    }
}

/// Where the function at a place begins to do something.
fn begin(words: &[[u8; WORD_BYTES]], place: u32) -> u32 {
    let first = words.get(place as usize).copied().unwrap_or_default();
    place + u32::from(Word(u64::from_le_bytes(first)).enters_at_once())
}

/// Counts words.
struct Count(usize);

impl Sink for Count {
    fn word(&mut self, _: Word, _: u32) -> bool {
        self.0 += 1;
        true
    }
    fn label(&mut self) {}
    fn function(&mut self) {}
}

/// Looks for the word behind so many others.
struct Find {
    rest: usize,
    at: u32,
}

impl Sink for Find {
    fn word(&mut self, _: Word, at: u32) -> bool {
        self.at = at;
        let Some(rest) = self.rest.checked_sub(1) else {
            return false;
        };
        self.rest = rest;
        true
    }
    fn label(&mut self) {}
    fn function(&mut self) {}
}

struct Write<'m> {
    words: &'m mut [[u8; WORD_BYTES]],
    count: usize,
    is_full: bool,
    labels: &'m mut [[u8; PLACE_BYTES]],
    label_count: usize,
    functions: &'m mut [[u8; PLACE_BYTES]],
    function_count: usize,
}

impl Write<'_> {
    fn here(&self) -> [u8; PLACE_BYTES] {
        u32::try_from(self.count).unwrap_or(u32::MAX).to_le_bytes()
    }
}

impl Sink for Write<'_> {
    fn word(&mut self, word: Word, _: u32) -> bool {
        match self.words.get_mut(self.count) {
            Some(place) => {
                *place = word.0.to_le_bytes();
                self.count += 1;
            }
            None => self.is_full = true,
        }
        !self.is_full
    }

    fn label(&mut self) {
        let here = self.here();
        if let Some(place) = self.labels.get_mut(self.label_count) {
            *place = here;
        }
        self.label_count += 1;
    }

    fn function(&mut self) {
        let here = self.here();
        if let Some(place) = self.functions.get_mut(self.function_count) {
            *place = here;
        }
        self.function_count += 1;
    }
}
