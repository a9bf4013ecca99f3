//! Where and why a script is wrong. Made by every stage of the compiler, shown by `script check`
//! and by the commands that take scripts.

use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// A place in one of the files that make up a script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which file, in the order in which they were read; the script itself is 0.
    pub file: u16,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}

/// What is wrong at a position. [`Sources::explain`] gives it the file's name and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The first character that cannot stand.
    pub at: Position,
    /// What is wrong, and why.
    pub what: String,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// A problem without advice.
    pub fn new(at: Position, what: impl Into<String>) -> Self {
        Self {
            at,
            what: what.into(),
            help: None,
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with advice, if there is any.
    #[must_use]
    pub fn advised(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }
}

/// The files of a script, with their text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<(String, String)>,
}

impl Sources {
    /// Adds a file. `None` when there are too many to number.
    pub fn add(&mut self, name: &str, text: &str) -> Option<u16> {
        let number = u16::try_from(self.files.len()).ok()?;
        self.files.push((name.to_owned(), text.to_owned()));
        Some(number)
    }

    /// A file's name.
    #[must_use]
    pub fn name(&self, file: u16) -> &str {
        self.files
            .get(usize::from(file))
            .map_or("", |(name, _)| name)
    }

    /// `file:line` of a position.
    #[must_use]
    pub fn line(&self, at: Position) -> String {
        format!("{}:{}", self.name(at.file), at.line)
    }

    /// A problem as users see it.
    #[must_use]
    pub fn explain(&self, problem: Problem) -> Explained {
        let text = self.files.get(usize::from(problem.at.file));
        let line = (problem.at.line as usize).saturating_sub(1);
        let excerpt = text
            .and_then(|(_, text)| text.lines().nth(line))
            .unwrap_or_default();
        Explained {
            file: self.name(problem.at.file).to_owned(),
            line: problem.at.line,
            column: problem.at.column,
            what: problem.what,
            help: problem.help,
            excerpt: excerpt.to_owned(),
        }
    }
}

/// A problem with the file's name and the line it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    /// Name of the file.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What is wrong, and why.
    pub what: String,
    /// What to do.
    pub help: Option<String>,
    /// The text of the line.
    pub excerpt: String,
}

/// Characters of a line that [`Explained::mark`] shows.
const EXCERPT_LIMIT: usize = 100;

impl Explained {
    /// The line with a mark under the column; of a long one, what is around it.
    #[must_use]
    pub fn mark(&self) -> String {
        let column = (self.column as usize).saturating_sub(1);
        if self.excerpt.trim().is_empty() {
            return String::new();
        }
        let (start, cut) = if column < EXCERPT_LIMIT {
            (0, "")
        } else {
            (column - EXCERPT_LIMIT / 2, "…")
        };
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        let shown: String = self
            .excerpt
            .chars()
            .map(plain)
            .skip(start)
            .take(EXCERPT_LIMIT)
            .collect();
        let before = " ".repeat(cut.chars().count() + column - start);
        format!("  {cut}{shown}\n  {before}^")
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.what
        )?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Explained {}
