//! What is typed in a session and what is printed, as a text: `> ` begins a command, all else is output, which ends with
//! `(failed)` when the command does.

use vm_lab::host::Reply;

const FAILED: &str = "(failed)\n";

/// See the module.
pub(crate) struct Transcript(Vec<(String, String)>);

impl Transcript {
    pub(crate) fn read(text: &str) -> Self {
        let mut steps: Vec<(String, String)> = Vec::new();
        for line in text.lines() {
            match (line.strip_prefix("> "), steps.last_mut()) {
                (Some(command), _) => steps.push((command.to_owned(), String::new())),
                (None, Some((_, printed))) => {
                    printed.push_str(line);
                    printed.push('\n');
                }
                (None, None) => panic!("`{line}` belongs to no command"),
            }
        }
        Self(steps)
    }

    /// The same commands with what they print now.
    pub(crate) fn map(&self, mut run: impl FnMut(&str) -> Reply) -> Self {
        let step = |(command, _): &(String, String)| {
            let Reply { mut output, ok } = run(command);
            if !ok {
                output.push_str(FAILED);
            }
            (command.clone(), output)
        };
        Self(self.0.iter().map(step).collect())
    }

    pub(crate) fn write(&self) -> String {
        let step = |(command, printed): &(String, String)| format!("> {command}\n{printed}");
        self.0.iter().map(step).collect()
    }
}

/// Kinds of messages that the document of the wire format lists: the second column of the tables of requests, replies and
/// notices.
pub(crate) fn kinds_of_messages(document: &str) -> Vec<String> {
    let sections = ["\n### Requests\n", "\n### Replies\n", "\n### Notices\n"];
    let rows = sections.iter().flat_map(|section| {
        let (_, text) = document.split_once(section).expect("the section is there");
        let table = text.lines().skip_while(|line| !line.starts_with('|'));
        table.take_while(|line| line.starts_with('|')).skip(2)
    });
    let name = |row: &str| row.split('|').nth(2).map(|name| name.trim().to_owned());
    rows.filter_map(name).collect()
}
