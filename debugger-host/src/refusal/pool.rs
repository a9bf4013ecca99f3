//! What is said when a pool has too few objects: how many there are, and the command that helps.

use crate::size::{bytes, count};
use wire_protocol::event::PoolClass;

/// A pool that has too few objects to give.
pub(super) struct Pool {
    pub(super) class: PoolClass,
    pub(super) reserved: u32,
    pub(super) object_bytes: u32,
    pub(super) arena_left_bytes: u64,
    /// Objects that the arena gives to `prealloc`.
    pub(super) possible: u32,
    /// Time between two refills that bring one, 0 if none does.
    pub(super) refill_ms: u32,
}

impl Pool {
    /// One object of it, and several.
    const fn names(&self) -> (&'static str, &'static str) {
        match self.class {
            PoolClass::RegularEvent => ("regular event", "regular events"),
            PoolClass::BigEvent => ("big event", "big events"),
            PoolClass::RegularSafeBuffer => ("regular safe buffer", "regular safe buffers"),
            PoolClass::BigSafeBuffer => ("big safe buffer", "big safe buffers"),
            PoolClass::EptHook => ("EPT-hook page", "EPT-hook pages"),
            PoolClass::EptHook2 => ("detour page", "detour pages"),
            PoolClass::Monitor => ("monitored page", "monitored pages"),
            PoolClass::ThreadInterception => ("thread interception", "thread interceptions"),
        }
    }

    /// The command that reserves more.
    fn prealloc(&self, count: u32) -> String {
        format!("`prealloc {} {count:x}`", self.class.name())
    }

    /// That it has not as many free objects as one event needs, and what helps.
    pub(super) fn lacks(&self, in_use: u32, needed: u32, most: u32) -> String {
        let (_, several) = self.names();
        let free = self.reserved.saturating_sub(in_use);
        if in_use.saturating_add(needed) > most {
            return format!(
                "too few {several}: {} are needed or more, {} are in use, and there can be {}; ask \
                 for less, or clear an event (`events c N`)",
                count(needed),
                count(in_use),
                count(most)
            );
        }
        if needed <= 1 && free == 0 {
            return self.is_empty();
        }
        let missing = needed.saturating_sub(free);
        let short = format!(
            "too few {several}: {} are needed, and of {} {} are free",
            count(needed),
            count(self.reserved),
            count(free)
        );
        let wanted_bytes = u64::from(missing) * u64::from(self.object_bytes);
        if self.possible >= missing {
            format!("{short}; run {}", self.prealloc(missing))
        } else {
            format!(
                "{short}, and the arena has {} left, not enough for the others, which take {}; ask for \
                 less, clear an event (`events c N`), or load the driver with a larger arena",
                bytes(self.arena_left_bytes),
                bytes(wanted_bytes)
            )
        }
    }

    /// That it has nothing to give, and what helps.
    pub(super) fn is_empty(&self) -> String {
        let (one, _) = self.names();
        let count = match self.reserved {
            0 => "none is reserved".to_owned(),
            n => format!("all {n} are in use"),
        };
        let left = bytes(self.arena_left_bytes);
        let mut helps = Vec::new();
        let why = if self.possible > 0 {
            helps.push(format!("run {}", self.prealloc(1)));
            format!("the arena's last {left} are kept for prealloc")
        } else {
            format!(
                "the arena has {left} left, no piece large enough for one, which takes {}",
                bytes(u64::from(self.object_bytes))
            )
        };
        if self.refill_ms > 0 {
            let refill_ms = self.refill_ms;
            helps.push(format!(
                "`g` and break in when it is refilled, every {refill_ms} ms"
            ));
        }
        if self.possible == 0 {
            if self.reserved > 0 {
                helps.push("clear an event (`events c N`)".to_owned());
            }
            helps.push("load the driver with a larger arena".to_owned());
        }
        format!("no {one} left: {count} and {why}; {}", helps.join(", or "))
    }
}

#[cfg(test)]
mod tests {
    use super::super::refusal;
    use wire_protocol::event::PoolClass;
    use wire_protocol::refusal::Refusal;

    #[test]
    fn what_is_missing_of_many_is_told_and_reserved() {
        let lacks = |in_use, needed, arena_left_bytes, possible| {
            refusal(&Refusal::PoolExhausted {
                class: PoolClass::Monitor,
                reserved: 20,
                in_use,
                needed,
                most: 1024,
                object_bytes: 12288,
                arena_left_bytes,
                possible,
                refill_ms: 0,
            })
        };
        assert_eq!(
            lacks(0, 512, 8 << 20, 512),
            "c0000023: too few monitored pages: 200 (0n512) are needed, and of 14 (0n20) 14 (0n20) \
             are free; run `prealloc monitor 1ec`"
        );
        assert_eq!(
            lacks(19, 2, 100, 0),
            "c0000023: too few monitored pages: 2 are needed, and of 14 (0n20) 1 are free, and the \
             arena has 100 bytes left, not enough for the others, which take 12 KiB; ask for less, \
             clear an event (`events c N`), or load the driver with a larger arena"
        );
        assert_eq!(
            lacks(1000, 25, 8 << 20, 24),
            "c0000023: too few monitored pages: 19 (0n25) are needed or more, 3e8 (0n1000) are in use, \
             and there can be 400 (0n1024); ask for less, or clear an event (`events c N`)"
        );
    }
}
