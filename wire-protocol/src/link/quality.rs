//! How good the line is, from what became of the frames that were sent, and how long a frame may be on it.

use crate::limits::{FRAME_PAYLOAD_BYTES, LEAST_CUT_BYTES};

/// Bytes that are remembered. Older ones count half, still older ones a quarter.
const MEMORY_BYTES: usize = 16 * 1024;

/// What a loss costs besides the frame itself, in bytes: its framing and that of its neighbours.
const COST_OF_LOSS_BYTES: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Quality {
    passed_bytes: usize,
    losses: usize,
}

impl Quality {
    /// The other side has so many bytes more.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.passed_bytes += bytes;
        while self.passed_bytes > MEMORY_BYTES {
            self.passed_bytes /= 2;
            self.losses /= 2;
        }
    }

    /// A frame did not arrive.
    pub(super) fn lost(&mut self) {
        self.losses = self.losses.saturating_add(1);
    }

    /// Payload of the longest frame that is worth sending whole. With one loss in `n` bytes, a
    /// frame of `l` costs `l / n` repetitions of itself, and one more frame for every `l` bytes:
    /// the sum is least where `l` is the square root of `n` times the cost of a frame.
    pub(super) fn cut_bytes(&self) -> usize {
        let Some(bytes_per_loss) = self.passed_bytes.checked_div(self.losses) else {
            return FRAME_PAYLOAD_BYTES;
        };
        let best = (bytes_per_loss * COST_OF_LOSS_BYTES).isqrt();
        best.clamp(LEAST_CUT_BYTES, FRAME_PAYLOAD_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is cut when one byte in `bytes_per_loss` is lost for long.
    fn cut_at(bytes_per_loss: usize) -> usize {
        let mut quality = Quality::default();
        for _ in 0..1000 {
            quality.passed(bytes_per_loss);
            quality.lost();
        }
        quality.cut_bytes()
    }

    #[test]
    fn frames_are_the_shorter_the_worse_the_line_is() {
        assert_eq!(Quality::default().cut_bytes(), FRAME_PAYLOAD_BYTES);
        assert_eq!([10, 100, 200].map(cut_at), [64; 3]);
        // The best are 126, 252 and 505; of losses that are remembered there are few.
        assert_eq!([1000, 4000, 16_000].map(cut_at), [123, 223, 505]);
    }

    #[test]
    fn frames_grow_again_when_nothing_is_lost() {
        let mut quality = Quality::default();
        for _ in 0..1000 {
            quality.passed(100);
            quality.lost();
        }
        let mut cuts = std::vec::Vec::new();
        for _ in 0..12 {
            cuts.push(quality.cut_bytes());
            quality.passed(MEMORY_BYTES / 2);
        }
        assert!(cuts.is_sorted(), "{cuts:?}");
        assert_eq!(cuts.last(), Some(&FRAME_PAYLOAD_BYTES), "{cuts:?}");
    }
}
