//! Where a command of the host program ends, and what of it is comment. Called by [`crate::script`] and
//! [`crate::document`].
//!
//! The rules are those of the host program (`.help lines` there); a test of the whole (`tests/tests/command_ends.rs`) holds
//! both to the same.

/// Whether braces or a comment of `text` are open, so that the command goes on in the next line.
#[must_use]
pub fn is_open(text: &str) -> bool {
    if is_hash_line(text) {
        return false;
    }
    let reader = read(text, |_| {});
    reader.braces > 0 || reader.state.is_block_comment()
}

/// Whether `text`, which is not open, is nothing but comment.
#[must_use]
pub fn is_comment(text: &str) -> bool {
    let mut is_command = false;
    read(text, |c| is_command |= !c.is_whitespace());
    is_hash_line(text) || !is_command
}

fn is_hash_line(text: &str) -> bool {
    text.trim_start().starts_with('#')
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    braces: usize,
    /// Parentheses outside of braces.
    parentheses: usize,
    state: State,
    is_escaped: bool,
    previous: Option<char>,
    /// A comment outside of scripts ended right before.
    ended_comment: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Code,
    String,
    LineComment,
    /// The star of `/*` comes.
    CommentBegins,
    BlockComment,
}

impl State {
    fn is_block_comment(self) -> bool {
        matches!(self, Self::CommentBegins | Self::BlockComment)
    }
}

/// Reads a text; `keep` gets what is no comment outside of scripts.
fn read(text: &str, mut keep: impl FnMut(char)) -> Reader {
    let mut reader = Reader::default();
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        let was_comment = reader.is_outer_comment();
        reader.take(c, letters.clone().next());
        if !was_comment && !reader.is_outer_comment() {
            keep(c);
        }
    }
    reader
}

impl Reader {
    /// Within braces and parentheses stand scripts.
    fn is_in_script(&self) -> bool {
        self.braces > 0 || self.parentheses > 0
    }

    fn is_outer_comment(&self) -> bool {
        let is_comment = self.state == State::LineComment || self.state.is_block_comment();
        is_comment && !self.is_in_script()
    }

    fn take(&mut self, c: char, next: Option<char>) {
        let mut previous = self.previous.replace(c);
        if std::mem::take(&mut self.ended_comment) {
            previous = None;
        }
        match self.state {
            State::Code => self.code(c, next, previous),
            State::String => {
                let is_escape = c == '\\' && self.is_in_script() && !self.is_escaped;
                if (c == '"' && !self.is_escaped) || c == '\n' {
                    self.state = State::Code;
                }
                self.is_escaped = is_escape;
            }
            State::LineComment if c == '\n' => self.state = State::Code,
            State::LineComment => {}
            State::CommentBegins => {
                self.state = State::BlockComment;
                // The star of `/*/` ends nothing.
                self.previous = None;
            }
            State::BlockComment if c == '/' && previous == Some('*') => {
                self.state = State::Code;
                self.ended_comment = true;
            }
            State::BlockComment => {}
        }
    }

    fn code(&mut self, c: char, next: Option<char>, previous: Option<char>) {
        // Outside of scripts paths hold `//` and `/*`, too.
        let can_comment =
            self.is_in_script() || previous.is_none_or(|c| c.is_whitespace() || c == '}');
        match c {
            '"' => self.state = State::String,
            '/' if next == Some('/') && can_comment => self.state = State::LineComment,
            '/' if next == Some('*') && can_comment => self.state = State::CommentBegins,
            '{' => self.braces += 1,
            '}' => self.braces = self.braces.saturating_sub(1),
            '(' if self.braces == 0 => self.parentheses += 1,
            ')' if self.braces == 0 => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_in_quotes_and_comments_do_not_count() {
        for (text, open) in [
            ("x { \"{\" // {", true),
            ("x { \"{\" } // {", false),
            ("x \"\\\"{\" }", true),
            ("/* a header", true),
            ("/* of\ntwo { lines */", false),
            ("dir /tmp/*", false),
            ("# {", false),
        ] {
            assert_eq!(is_open(text), open, "{text}");
        }
    }

    #[test]
    fn what_is_only_comment_is_no_command() {
        for (text, comment) in [
            ("// a", true),
            ("  # a", true),
            ("/* a\n * b */", true),
            ("/* a *//* b */ // c", true),
            ("/* a */ g", false),
            ("db /tmp//a", false),
            ("", true),
        ] {
            assert_eq!(is_comment(text), comment, "{text}");
        }
    }
}
