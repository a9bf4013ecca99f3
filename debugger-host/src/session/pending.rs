//! Numbers of requests, and those whose answers nobody waited for: they may still come, and are for no other request.

use std::collections::BTreeSet;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pending {
    next_id: u8,
    given_up: BTreeSet<u8>,
    /// A `g` among them, with the number of the halt that it may have ended.
    go: Option<(u8, u32)>,
}

impl Pending {
    /// A number that no answer can have that is still under way.
    pub(super) fn draw_id(&mut self) -> u8 {
        if self.given_up.len() > usize::from(u8::MAX) {
            // So many do not come any more.
            self.given_up.clear();
        }
        loop {
            let id = self.next_id;
            self.next_id = id.wrapping_add(1);
            if !self.given_up.contains(&id) {
                return id;
            }
        }
    }

    /// Answers that are under way, and that nobody waits for.
    pub(super) fn given_up_count(&self) -> usize {
        self.given_up.len()
    }

    /// Nobody waits for this answer; `ends_halt` if it was to a `g`.
    pub(super) fn give_up(&mut self, id: u8, ends_halt: Option<u32>) {
        self.given_up.insert(id);
        if let Some(halt) = ends_halt {
            self.go = Some((id, halt));
        }
    }

    /// An answer came late. The halt that it was to end, if any.
    pub(super) fn answered(&mut self, id: u8) -> Option<u32> {
        self.given_up.remove(&id);
        let (_, halt) = self.go.take_if(|(go, _)| *go == id)?;
        Some(halt)
    }

    /// Whether the debuggee may have been let go without anybody knowing.
    pub(super) const fn may_run(&self) -> bool {
        self.go.is_some()
    }

    /// A new session: no answer of the one before comes.
    pub(super) fn forget(&mut self) {
        self.given_up.clear();
        self.go = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_whose_answer_is_under_way_is_not_drawn_again() {
        let mut pending = Pending::default();
        let first = pending.draw_id();
        pending.give_up(first, None);
        let others: BTreeSet<u8> = (0..1000).map(|_| pending.draw_id()).collect();
        assert_eq!(others.len(), 255);
        assert!(!others.contains(&first));
        assert_eq!(pending.answered(first), None);
        assert!((0..256).any(|_| pending.draw_id() == first));
    }

    #[test]
    fn numbers_do_not_run_out() {
        let mut pending = Pending::default();
        for _ in 0..1000 {
            let id = pending.draw_id();
            pending.give_up(id, None);
        }
    }

    #[test]
    fn a_late_answer_to_go_names_the_halt_that_it_ends() {
        let mut pending = Pending::default();
        pending.give_up(7, Some(3));
        pending.give_up(8, None);
        assert_eq!(pending.answered(8), None);
        assert!(pending.may_run());
        assert_eq!(pending.answered(7), Some(3));
        assert!(!pending.may_run());
    }
}
