//! Last-branch records as text.

use super::address;
use crate::answer::branch::{Branch, CoreBranches};

/// What cores recorded, the newest branch last, as it happened.
pub(super) fn branches(cores: &[CoreBranches]) -> String {
    let mut lines = Vec::new();
    for core in cores {
        let CoreBranches {
            core,
            is_on,
            branches,
        } = core;
        let state = match (is_on, branches.len()) {
            (false, 0) => "nothing is recorded; `!lbr enable` begins".to_owned(),
            (_, 0) => "nothing was recorded".to_owned(),
            (_, 1) => "1 branch".to_owned(),
            (_, count) => format!("{count} branches"),
        };
        lines.push(format!("core {core:x}: {state}"));
        lines.extend(branches.iter().enumerate().rev().map(line));
    }
    lines.join("\n")
}

fn line((number, branch): (usize, &Branch)) -> String {
    let mut text = format!(
        "  [{number:2}] {} -> {}",
        address(&branch.from),
        address(&branch.to)
    );
    if let Some(what) = &branch.what {
        text.push_str(&format!(", {what}"));
    }
    if branch.is_mispredicted == Some(true) {
        text.push_str(", mispredicted");
    }
    if let Some(cycles) = branch.cycles {
        text.push_str(&format!(", {cycles} cycles"));
    }
    text
}
