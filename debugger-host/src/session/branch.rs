//! Last-branch records.

use super::{Session, SessionError};
use wire_protocol::address::CoreId;
use wire_protocol::branch::{Branch, BranchOrder};
use wire_protocol::packet::{Reply, Request};

impl Session {
    /// Records branches, or does not, on all cores.
    ///
    /// # Errors
    /// When the debuggee runs, refuses or does not answer.
    pub fn change_branches(&mut self, order: BranchOrder, filter: u16) -> Result<(), SessionError> {
        self.must_be_halted()?;
        let request = Request::ChangeBranches { order, filter };
        self.ask("record branches", &request, |reply| {
            matches!(reply, Reply::Done).then_some(())
        })
    }

    /// What a core recorded, the newest first, and whether it records.
    ///
    /// # Errors
    /// As [`Self::change_branches`].
    pub fn branches(&mut self, core: CoreId) -> Result<(bool, Vec<Branch>), SessionError> {
        self.must_be_halted()?;
        let request = Request::ReadBranches { core };
        self.ask("read branches", &request, |reply| match reply {
            Reply::Branches { is_on, branches } => Some((is_on, branches.iter().collect())),
            _ => None,
        })
    }
}
