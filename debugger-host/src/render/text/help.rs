//! Help, and the reference that is made of it.

use crate::answer::help::{CommandHelp, CommandName, OptionHelp};

/// Columns of help.
const HELP_COLUMNS: usize = 90;

/// A text behind `first`, in lines of [`HELP_COLUMNS`]; those after the first are indented.
fn wrapped(text: &str, first: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    let options = textwrap::Options::new(HELP_COLUMNS)
        .initial_indent(first)
        .subsequent_indent(&indent);
    textwrap::fill(text, options)
}

/// Names that the syntax does not show.
fn aliases(command: &CommandHelp) -> Vec<&str> {
    let shown: Vec<&str> = command.syntax.split([' ', '|']).collect();
    let names = command.names.iter().map(String::as_str);
    names.filter(|name| !shown.contains(name)).collect()
}

/// All commands, a line each.
pub(super) fn commands(commands: &[CommandName]) -> String {
    let name = |command: &CommandName| command.names.first().cloned().unwrap_or_default();
    let width = commands.iter().map(|c| name(c).len()).max().unwrap_or(0);
    let mut lines: Vec<String> = commands
        .iter()
        .map(|command| format!("{:<width$}  {}", name(command), command.summary))
        .collect();
    lines.push("`.help COMMAND` tells more; numbers are hexadecimal, 0n10 is decimal ten".into());
    lines.join("\n")
}

/// Help of one command.
pub(super) fn command(command: &CommandHelp) -> String {
    let mut lines = vec![command.syntax.clone(), wrapped(&command.summary, "  ", 2)];
    lines.extend(command.details.lines().map(|line| wrapped(line, "  ", 2)));
    let aliases = aliases(command);
    if !aliases.is_empty() {
        lines.push(format!("  also: {}", aliases.join(", ")));
    }
    let examples = command.examples.iter();
    lines.extend(examples.map(|example| format!("  e.g. {example}")));
    lines.join("\n")
}

/// Help of the options of event commands.
pub(super) fn options(options: &[OptionHelp]) -> String {
    let width = options
        .iter()
        .map(|option| option.syntax.chars().count())
        .max()
        .unwrap_or(0);
    let lines: Vec<String> = options
        .iter()
        .map(|option| {
            let first = format!("{:width$}  ", option.syntax);
            wrapped(&option.summary, &first, width + 2)
        })
        .collect();
    lines.join("\n")
}

/// How lines are read.
pub(super) fn rules(rules: &str) -> String {
    wrapped(&rules.replace('\n', " "), "", 0)
}

/// A summary as a sentence.
fn sentence(summary: &str) -> String {
    let mut letters = summary.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    })
}

/// All commands as a Markdown document.
#[must_use]
pub fn reference(
    commands: &[CommandHelp],
    all_options: &[OptionHelp],
    details: &str,
    rules: &str,
) -> String {
    let mut text = String::from(
        "# Commands\n\nNumbers are hexadecimal unless a prefix says otherwise (0n10 is decimal ten).\n",
    );
    text.push_str(&format!("\n## How a line is read\n\n{rules}\n"));
    for command in commands {
        text.push_str(&format!(
            "\n## `{}`\n\n{}\n",
            command.syntax,
            sentence(&command.summary)
        ));
        if !command.details.is_empty() {
            text.push_str(&format!("\n{}\n", command.details));
        }
        let aliases = aliases(command);
        if !aliases.is_empty() {
            let names: Vec<String> = aliases.iter().map(|name| format!("`{name}`")).collect();
            text.push_str(&format!("\nAlso: {}.\n", names.join(", ")));
        }
        text.push_str("\n```text\n");
        for example in &command.examples {
            text.push_str(&format!("{example}\n"));
        }
        text.push_str("```\n");
    }
    text.push_str(&format!(
        "\n## Options of event commands\n\n{details}\n\n```text\n{}\n```\n",
        options(all_options)
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::COMMANDS;
    use crate::command::system;

    #[test]
    fn help_fits_a_terminal() {
        let fits = |line: &str| assert!(line.chars().count() <= HELP_COLUMNS, "{line}");
        for row in COMMANDS.iter() {
            let text = command(&system::help_of(row));
            let prose = text.lines().skip(1).filter(|line| !line.contains("e.g. "));
            prose.for_each(fits);
        }
        options(&system::options()).lines().for_each(fits);
        system::RULES
            .lines()
            .for_each(|line| assert!(line.chars().count() <= 100, "{line}"));
    }
}
