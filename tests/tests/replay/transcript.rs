//! What is typed in a session and what is printed, as a text: `> ` begins a command, `| ` goes on with it, all else is output,
//! which ends with `(failed)` when the command does. After `% lose KIND` the line loses the next message of that number,
//! after `% end HOW` the machine ends.

use vm_lab::host::Reply;

const FAILED: &str = "(failed)\n";
/// Begins the further lines of a command.
const GOES_ON: &str = "| ";

/// See the module.
pub(crate) struct Transcript(Vec<(Step, String)>);

/// What is done, before what is printed.
#[derive(Clone, Debug)]
enum Step {
    Command(String),
    Lose(String),
    End(String),
}

/// Makes a step of what stands behind its first words.
type Order = fn(String) -> Step;

/// What may be written between commands.
const ORDERS: [(&str, Order); 2] = [("% lose ", Step::Lose), ("% end ", Step::End)];

impl Transcript {
    /// Commands of which nothing is known yet.
    pub(crate) fn of(commands: impl IntoIterator<Item = String>) -> Self {
        let steps = commands.into_iter();
        Self(
            steps
                .map(|command| (Step::Command(command), String::new()))
                .collect(),
        )
    }

    pub(crate) fn read(text: &str) -> Self {
        let mut steps: Vec<(Step, String)> = Vec::new();
        let step = |line: &str| {
            let command = line
                .strip_prefix("> ")
                .map(|it| Step::Command(it.to_owned()));
            let order =
                |(begins, step): &(&str, Order)| Some(step(line.strip_prefix(*begins)?.to_owned()));
            command.or_else(|| ORDERS.iter().find_map(order))
        };
        for line in text.lines() {
            match (step(line), steps.last_mut()) {
                (Some(step), _) => steps.push((step, String::new())),
                (None, Some((Step::Command(command), printed)))
                    if printed.is_empty() && line.starts_with(GOES_ON) =>
                {
                    command.push('\n');
                    command.push_str(&line[GOES_ON.len()..]);
                }
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
    pub(crate) fn map(
        &self,
        mut run: impl FnMut(&str) -> Reply,
        mut lose: impl FnMut(&str),
        mut end: impl FnMut(&str),
    ) -> Self {
        let step = |(step, _): &(Step, String)| {
            let command = match step {
                Step::Command(command) => command,
                Step::Lose(kind) => {
                    lose(kind);
                    return (step.clone(), String::new());
                }
                Step::End(how) => {
                    end(how);
                    return (step.clone(), String::new());
                }
            };
            let Reply { mut output, ok } = run(command);
            if !ok {
                output.push_str(FAILED);
            }
            (step.clone(), output)
        };
        Self(self.0.iter().map(step).collect())
    }

    /// What was typed, and what came of it.
    pub(crate) fn replies(&self) -> Vec<(String, Reply)> {
        let replies = self.0.iter().filter_map(|(step, printed)| match step {
            Step::Command(command) => {
                let output = printed.strip_suffix(FAILED);
                let reply = Reply {
                    ok: output.is_none(),
                    output: output.unwrap_or(printed).to_owned(),
                };
                Some((command.clone(), reply))
            }
            Step::Lose(_) | Step::End(_) => None,
        });
        replies.collect()
    }

    pub(crate) fn write(&self) -> String {
        let step = |(step, printed): &(Step, String)| match step {
            Step::Command(command) => {
                let command = command.replace('\n', &format!("\n{GOES_ON}"));
                format!("> {command}\n{printed}")
            }
            Step::Lose(kind) => format!("% lose {kind}\n"),
            Step::End(how) => format!("% end {how}\n"),
        };
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
