//! Predicts memory bit by bit from what came before: many weak predictions, each by its own context, weighted by how
//! well they did so far.
//!
//! Used by `pack`, at both ends, which therefore predict the same. Integers only.

use super::instruction::{Instruction, PLACES};

/// Contexts that predict a bit each.
const CONTEXTS: usize = 7;
/// Those, and what followed the last time the same bytes came.
const INPUTS: usize = CONTEXTS + 1;

/// Bytes that one slot of the table takes: a probability in 12 bits and a count in 4.
const SLOT_BYTES: usize = 2;
/// Slots of the table; a power of two.
const SLOTS: usize = 1 << 17;
/// Memory that a model works with.
pub(super) const TABLE_BYTES: usize = SLOTS * SLOT_BYTES;
/// A slot that saw no bit. The table holds what differs from it, so that it begins as zeros.
const FRESH: u16 = 0x8000;
const COUNT_MAX: u16 = 15;

/// Where repeated bytes are looked up: the last place of each of so many hashes of three bytes.
const PLACES_BITS: u32 = 11;
const REPETITION_MAX: usize = 31;
/// Shortest repetition that is believed.
const REPETITION_MIN: usize = 3;

/// Probabilities are 12 bits wide.
const ONE: i32 = 1 << 12;
/// Fixed point of weights.
const WEIGHT_SHIFT: u32 = 16;
const FIRST_WEIGHTS: Weights = [(1 << WEIGHT_SHIFT) * 22 / 100; INPUTS];
const LEARNING_RATE: i32 = 24;
/// Logits are kept between these.
const LOGIT_MAX: i32 = 2047;

/// How far a slot moves towards the bit, by its count, in 65536ths: one part in the number of bits seen and a half.
#[allow(clippy::indexing_slicing, reason = "at compile time")]
const STEPS: [i32; 16] = {
    let mut steps = [0; 16];
    let mut count = 0;
    while count < 16 {
        steps[count] = 655_360 / (10 * count as i32 + 16);
        count += 1;
    }
    steps
};

/// How far a slot's prediction is trusted, by its count, in 16ths.
const TRUST: [i32; 16] = [0, 8, 11, 13, 14, 15, 16, 17, 18, 18, 19, 19, 20, 20, 20, 21];

/// The probability of a logit, at every 128th.
const CURVE: [i32; 33] = [
    1, 2, 3, 6, 10, 16, 27, 45, 73, 120, 194, 310, 488, 747, 1101, 1546, 2047, 2549, 2994, 3348,
    3607, 3785, 3901, 3975, 4022, 4050, 4068, 4079, 4085, 4089, 4092, 4093, 4094,
];

/// Probability of a one, from its logit.
const fn squash(logit: i32) -> i32 {
    let logit = if logit > LOGIT_MAX {
        LOGIT_MAX
    } else if logit < -LOGIT_MAX {
        -LOGIT_MAX
    } else {
        logit
    };
    let within = logit & 127;
    let at = ((logit >> 7) + 16) as usize;
    #[allow(
        clippy::indexing_slicing,
        reason = "-16 to 15, so that both are in the table; the compiler evaluates it, too"
    )]
    let (left, right) = (CURVE[at], CURVE[at + 1]);
    (left * (128 - within) + right * within + 64) >> 7
}

/// The inverse of [`squash`].
#[allow(clippy::indexing_slicing, reason = "at compile time")]
static LOGITS: [i16; ONE as usize] = {
    let mut logits = [LOGIT_MAX as i16; ONE as usize];
    let mut filled = 0;
    let mut logit = -LOGIT_MAX;
    while logit <= LOGIT_MAX {
        let probability = squash(logit) as usize;
        while filled <= probability {
            logits[filled] = logit as i16;
            filled += 1;
        }
        logit += 1;
    }
    logits
};

fn logit(probability: u16) -> i32 {
    let logit = LOGITS.get(usize::from(probability));
    logit.map_or(0, |logit| i32::from(*logit))
}

type Weights = [i32; INPUTS];

fn mix(inputs: &Weights, weights: &Weights) -> i32 {
    let pairs = inputs.iter().zip(weights);
    let sum: i64 = pairs.map(|(a, b)| i64::from(*a) * i64::from(*b)).sum();
    ((sum >> WEIGHT_SHIFT) as i32).clamp(-LOGIT_MAX, LOGIT_MAX)
}

fn learn(inputs: &Weights, weights: &mut Weights, error: i32) {
    for (input, weight) in inputs.iter().zip(weights) {
        *weight += (input * error + 0x8000) >> 16;
    }
}

/// See the module.
pub(super) struct Model<'t> {
    table: &'t mut [[u8; SLOT_BYTES]; SLOTS],
    weights: [Weights; PLACES],
    instruction: Instruction,
    /// Hashes of this byte's contexts.
    contexts: [u32; CONTEXTS],
    /// Where the slots of the next four bits are.
    groups: [usize; CONTEXTS],
    /// A one and the bits of this byte so far.
    partial: u32,
    /// Slots of this bit.
    slots: [usize; CONTEXTS],
    inputs: Weights,
    probability: i32,
    places: [u16; 1 << PLACES_BITS],
    /// Where the bytes before stood earlier, and how many of them are the same.
    earlier: usize,
    repeated: usize,
    /// What followed there.
    expected: Option<u8>,
    /// How often the expectation was right, by the length of the repetition.
    right: [u16; REPETITION_MAX + 1],
}

impl<'t> Model<'t> {
    /// A model that knows nothing yet; `None` if there is too little memory.
    pub(super) fn new(memory: &'t mut [u8]) -> Option<Self> {
        let memory = memory.get_mut(..TABLE_BYTES)?;
        memory.fill(0);
        let (table, _) = memory.as_chunks_mut();
        let table: &mut [_; SLOTS] = table.try_into().ok()?;
        let mut right = [0; REPETITION_MAX + 1];
        for (length, right) in right.iter_mut().enumerate() {
            *right = (ONE - ONE / (length as i32 + 4)) as u16;
        }
        Some(Self {
            table,
            weights: [FIRST_WEIGHTS; PLACES],
            instruction: Instruction::default(),
            contexts: [0; CONTEXTS],
            groups: [0; CONTEXTS],
            partial: 1,
            slots: [0; CONTEXTS],
            inputs: [0; INPUTS],
            probability: ONE / 2,
            places: [0; 1 << PLACES_BITS],
            earlier: 0,
            repeated: 0,
            expected: None,
            right,
        })
    }

    /// Prepares for the byte that follows `before`.
    pub(super) fn begin_byte(&mut self, before: &[u8]) {
        let [third, second, first] = before.last_chunk().copied().unwrap_or_default();
        if !before.is_empty() {
            self.instruction.push(first);
        }
        let last_two = u32::from(first) | u32::from(second) << 8;
        let place = self.instruction.place();
        let operation = self.instruction.operation();
        let operands = self.instruction.operands();
        let last = self.instruction.before();
        let contexts = [
            [0, 0, 0],
            [u32::from(first), 0, 0],
            [last_two, 0, 0],
            [place, operation, 0],
            [place, operation, operands],
            [place, operation, last],
            [place, operands, last_two],
        ];
        for (index, (hash, context)) in self.contexts.iter_mut().zip(contexts).enumerate() {
            *hash = context.iter().fold(index as u32 + 1, |hash, part| {
                (hash.rotate_left(11) ^ part).wrapping_mul(0x9e37_79b1)
            });
        }
        self.look_up(before, last_two << 8 | u32::from(third));
        self.partial = 1;
    }

    /// Finds where the last bytes stood before.
    fn look_up(&mut self, before: &[u8], last_three: u32) {
        let at = |index: usize| before.get(index).copied();
        let len = before.len();
        if self.repeated > 0 && at(self.earlier) == before.last().copied() {
            self.earlier += 1;
            self.repeated = (self.repeated + 1).min(REPETITION_MAX);
        } else {
            self.repeated = 0;
        }
        let hash = last_three.wrapping_mul(0x9e37_79b1) >> (32 - PLACES_BITS);
        if len >= REPETITION_MIN
            && let Some(place) = self.places.get_mut(hash as usize)
        {
            let found = usize::from(core::mem::replace(place, len as u16));
            if self.repeated == 0 && found > 0 {
                let old = before.get(..found).unwrap_or(&[]).iter().rev();
                let new = before.iter().rev();
                let same = old.zip(new).take(REPETITION_MAX);
                let same = same.take_while(|(old, new)| old == new).count();
                if same >= REPETITION_MIN {
                    (self.earlier, self.repeated) = (found, same);
                }
            }
        }
        self.expected = if self.repeated > 0 {
            at(self.earlier)
        } else {
            None
        };
    }

    /// The bit that the repetition makes likely.
    fn expected_bit(&self) -> Option<bool> {
        let expected = u32::from(self.expected?) | 0x100;
        let known = self.partial.ilog2();
        (expected >> (8 - known) == self.partial).then_some(expected >> (7 - known) & 1 != 0)
    }

    /// Probability that the next bit is a one, in 4096ths.
    pub(super) fn predict(&mut self) -> u32 {
        // The slots of four bits stand together.
        let known = self.partial.ilog2();
        if known & 3 == 0 {
            for (group, context) in self.groups.iter_mut().zip(&self.contexts) {
                let hash =
                    (context ^ self.partial.wrapping_mul(0x2c9d_7b55)).wrapping_mul(0x85eb_ca6b);
                *group = (hash >> 12) as usize;
            }
        }
        let within = (self.partial & ((1 << (known & 3)) - 1) | 1 << (known & 3)) as usize;
        let kept = self.slots.iter_mut().zip(&mut self.inputs);
        for (group, (kept, input)) in self.groups.iter().zip(kept) {
            let slot = (group << 4 | within) & (SLOTS - 1);
            let state =
                u16::from_le_bytes(self.table.get(slot).copied().unwrap_or_default()) ^ FRESH;
            let trust = TRUST.get(usize::from(state & COUNT_MAX));
            *kept = slot;
            *input = logit(state >> 4) * trust.copied().unwrap_or(0) / 16;
        }
        let expected_bit = self.expected_bit();
        let right = self.right.get(self.repeated).copied().unwrap_or(0);
        self.inputs[CONTEXTS] = match expected_bit {
            Some(true) => logit(right),
            Some(false) => -logit(right),
            None => 0,
        };
        let place = self.instruction.place() as usize;
        let weights = self.weights.get(place).unwrap_or(&FIRST_WEIGHTS);
        self.probability = squash(mix(&self.inputs, weights)).clamp(1, ONE - 1);
        self.probability as u32
    }

    /// Learns what the bit was.
    pub(super) fn update(&mut self, bit: bool) {
        let place = self.instruction.place() as usize;
        if let Some(weights) = self.weights.get_mut(place) {
            let error = i32::from(bit) * ONE - self.probability;
            learn(&self.inputs, weights, error * LEARNING_RATE);
        }
        let target = if bit { ONE - 1 } else { 0 };
        for slot in self.slots {
            let Some(bytes) = self.table.get_mut(slot) else {
                continue;
            };
            let state = u16::from_le_bytes(*bytes) ^ FRESH;
            let (probability, count) = (i32::from(state >> 4), state & COUNT_MAX);
            let step = STEPS.get(usize::from(count)).copied().unwrap_or(0);
            let moved = probability + (((target - probability) * step + 0x8000) >> 16);
            let count = (count + 1).min(COUNT_MAX);
            *bytes = (((moved as u16) << 4 | count) ^ FRESH).to_le_bytes();
        }
        if let Some(expected) = self.expected_bit() {
            if let Some(right) = self.right.get_mut(self.repeated) {
                let target = if expected == bit { ONE as u16 - 1 } else { 0 };
                *right = right.wrapping_add_signed((target as i16 - *right as i16) / 32);
            }
            if expected != bit {
                self.repeated = 0;
                self.expected = None;
            }
        }
        self.partial = self.partial << 1 | u32::from(bit);
    }
}
