//! What became of a session file, as text.

use crate::answer::session_file::NotSet;

fn events(count: u32) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} event{s}")
}

/// What was saved, and what was not.
pub(super) fn saved(path: &str, count: u32, unknown: &[u32]) -> String {
    let text = format!("{} saved in {path}", events(count));
    if unknown.is_empty() {
        return text;
    }
    let ids: Vec<String> = unknown.iter().map(|id| format!("{id:x}")).collect();
    let ids = ids.join(", ");
    format!("{text}; not those that another program set, which alone knows how: {ids}")
}

/// What was set again, and a line for each command that was not.
pub(super) fn loaded(
    path: &str,
    set: u32,
    there: u32,
    other_kernel: Option<&str>,
    failed: &[NotSet],
) -> String {
    let there = match there {
        0 => String::new(),
        count => format!("; {} there already", events(count)),
    };
    let mut lines = vec![format!("{} set again from {path}{there}", events(set))];
    if let Some(kernel) = other_kernel {
        lines.push(format!(
            "it is of another kernel, or of one that was elsewhere ({kernel}): names were looked up in this one"
        ));
    }
    for NotSet { command, problem } in failed {
        let first = command.lines().next().unwrap_or_default();
        let more = if command.lines().count() > 1 {
            " …"
        } else {
            ""
        };
        lines.push(format!("not set: `{first}{more}`: {}", problem.message));
    }
    lines.join("\n")
}
