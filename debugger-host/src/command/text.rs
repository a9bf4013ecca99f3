//! Blocks in braces, strings and comments of command lines. Called by the parsers of arguments,
//! and by everything that reads lines, to know whether a command ends here.

use super::ParseError;

/// How command lines are read, for users.
pub const RULES: &str = "\
A command is one line; open braces and comments make it go on. Words are separated by spaces. A
word that begins with `\"` goes on to the next `\"` and may hold spaces and comment signs, as in
`.script \"/tmp/a b.ds\" \"arg one\"`; a backslash in it stands for itself. `//` begins a comment
that goes to the end of the line and `/*` one that goes to `*/`, both at the beginning of a word
only, as paths hold them, too; `#` makes the whole line a comment. Within `{ }` and `( )` stand
scripts, whose strings know `\\\"` and whose comments may begin anywhere.

Numbers are hexadecimal; `0n10` is decimal, `0t17` octal, `0y101` binary. A word of hexadecimal
digits is a number, whatever else has that name: `cf` is cf, the flag is `@cf`. Where a count, an
id, a vector, a port, a mask or a length stands, registers and flags have their `@` and names of
symbols are refused; addresses and values take both.";

/// Where a reader of a command line stands.
#[derive(Default)]
struct Scanner {
    /// Braces that are open.
    depth: usize,
    /// Parentheses that are open, outside of braces.
    parentheses: usize,
    state: State,
    is_escaped: bool,
    previous: Option<char>,
    /// A comment that ends here and stands outside of braces and parentheses.
    ends_comment: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Code,
    String,
    LineComment,
    CommentOpens,
    BlockComment,
}

impl Scanner {
    /// Within braces and parentheses stand scripts, with their strings and comments.
    fn is_in_script(&self) -> bool {
        self.depth > 0 || self.parentheses > 0
    }

    /// A comment can begin here. Outside of scripts `//` and `/*` may stand within a path.
    fn can_comment(&self, previous: Option<char>) -> bool {
        self.is_in_script() || previous.is_none_or(|c| c.is_whitespace() || c == '}')
    }

    /// Takes one character, and the one after it. True when it belongs to a comment that stands
    /// outside of all braces and parentheses.
    fn take(&mut self, c: char, next: Option<char>) -> bool {
        let mut previous = self.previous.replace(c);
        if std::mem::take(&mut self.ends_comment) {
            // What follows a comment stands at the beginning of a word.
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
            State::LineComment => {
                if c == '\n' {
                    self.state = State::Code;
                }
            }
            State::CommentOpens => {
                // The star of `/*/` does not close what it opens.
                self.state = State::BlockComment;
                self.previous = None;
            }
            State::BlockComment => {
                if c == '/' && previous == Some('*') {
                    self.state = State::Code;
                    self.ends_comment = true;
                    return !self.is_in_script();
                }
            }
        }
        let is_comment = matches!(
            self.state,
            State::LineComment | State::CommentOpens | State::BlockComment
        );
        is_comment && !self.is_in_script()
    }

    fn code(&mut self, c: char, next: Option<char>, previous: Option<char>) {
        match c {
            '"' => self.state = State::String,
            '/' if next == Some('/') && self.can_comment(previous) => {
                self.state = State::LineComment;
            }
            '/' if next == Some('*') && self.can_comment(previous) => {
                self.state = State::CommentOpens;
            }
            '{' => self.depth += 1,
            '}' => self.depth = self.depth.saturating_sub(1),
            '(' if self.depth == 0 => self.parentheses += 1,
            ')' if self.depth == 0 => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
    }
}

/// The line is a comment as a whole.
fn is_hash_line(text: &str) -> bool {
    text.trim_start().starts_with('#')
}

/// How many braces and comments of `text` are still open. Braces in strings and comments do not
/// count.
#[must_use]
pub fn open_braces(text: &str) -> usize {
    if is_hash_line(text) {
        return 0;
    }
    let scanner = scanned(text, |_| {});
    let is_comment = matches!(scanner.state, State::CommentOpens | State::BlockComment);
    scanner.depth + usize::from(is_comment)
}

/// A command of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Of its first line, counted from 1.
    pub number: usize,
    /// As it stands there.
    pub text: String,
}

/// Commands of a text: lines, joined until their braces and comments are closed. Empty ones are
/// left out.
#[must_use]
pub fn commands_of(text: &str) -> Vec<Line> {
    let mut commands: Vec<Line> = Vec::new();
    let mut open: Option<Line> = None;
    for (index, line) in text.lines().enumerate() {
        let command = match open.take() {
            None => Line {
                number: index + 1,
                text: line.to_owned(),
            },
            Some(mut begun) => {
                begun.text.push('\n');
                begun.text.push_str(line);
                begun
            }
        };
        if open_braces(&command.text) > 0 {
            open = Some(command);
        } else {
            commands.push(command);
        }
    }
    commands.extend(open);
    commands.retain(|line| !line.text.trim().is_empty());
    commands
}

/// Reads all of a text; `keep` gets what is no comment.
fn scanned(text: &str, mut keep: impl FnMut(char)) -> Scanner {
    let mut scanner = Scanner::default();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if !scanner.take(c, rest.clone().next()) {
            keep(c);
        }
    }
    scanner
}

/// The command without comments that stand outside of its braces; empty if it is nothing else.
///
/// # Errors
/// When a comment or a string outside of braces has no end.
pub(super) fn without_comments(text: &str) -> Result<String, ParseError> {
    if is_hash_line(text) {
        return Ok(String::new());
    }
    let mut kept = String::new();
    let scanner = scanned(text, |c| kept.push(c));
    match scanner.state {
        State::CommentOpens | State::BlockComment if scanner.depth == 0 => {
            Err(ParseError::OpenComment)
        }
        State::String if !scanner.is_in_script() => Err(ParseError::OpenQuote),
        _ => Ok(kept.trim().to_owned()),
    }
}

/// The word that `text` begins with, and what follows it. One that begins with `"` goes on to
/// the next `"` and comes without both.
#[must_use]
pub(super) fn word(text: &str) -> Option<(&str, &str)> {
    let mut is_quoted = false;
    let end = text.find(|c: char| {
        is_quoted ^= c == '"';
        c.is_whitespace() && !is_quoted
    });
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let inside = word
        .strip_prefix('"')
        .and_then(|word| word.strip_suffix('"'));
    let inside = inside.filter(|inside| !inside.contains('"'));
    (!word.is_empty()).then_some((inside.unwrap_or(word), rest))
}

/// What stands between the brace that `text` begins with and the one that closes it, and what
/// follows. `None` when it begins with something else, or the brace is not closed.
#[must_use]
pub(super) fn block(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('{')?;
    let mut scanner = Scanner {
        depth: 1,
        ..Scanner::default()
    };
    let mut rest = inside.char_indices();
    while let Some((at, c)) = rest.next() {
        let next = rest.clone().next().map(|(_, c)| c);
        scanner.take(c, next);
        if scanner.depth == 0 {
            return Some((&inside[..at], &inside[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn braces_in_strings_and_comments_do_not_count() {
        for (text, open) in [
            ("a {", 1),
            ("a { b }", 0),
            ("a { printf(\"{\"); }", 0),
            ("a { printf(\"\\\"{\"); }", 0),
            ("a { // }\n", 1),
            ("a { /* } */", 1),
            ("a { /*/ } */ }", 0),
            ("a { /**/ }", 0),
            ("a }", 0),
            ("a {{}", 1),
            ("a \"{\"", 0),
        ] {
            assert_eq!(open_braces(text), open, "{text}");
        }
    }

    #[test]
    fn an_open_string_ends_with_its_line() {
        assert_eq!(open_braces("a { print(\"x);\n}"), 0);
    }

    #[test]
    fn a_comment_that_is_open_makes_a_line_go_on() {
        for (text, open) in [
            ("/* a header", 1),
            ("/* a header\n * of two lines */", 0),
            ("/* { */ a {", 1),
            ("a { /* b", 2),
            ("dir /tmp/*", 0),
            ("# /* {", 0),
            ("// /* {", 0),
            ("\"/*\"", 0),
        ] {
            assert_eq!(open_braces(text), open, "{text}");
        }
    }

    #[test]
    fn quotes_hold_a_word_together() {
        for (text, found) in [
            ("a b", Some(("a", " b"))),
            ("\"a b\" c", Some(("a b", " c"))),
            ("\"\" c", Some(("", " c"))),
            ("a\"b c\"d e", Some(("a\"b c\"d", " e"))),
            ("\"a\"b c", Some(("\"a\"b", " c"))),
            ("", None),
        ] {
            assert_eq!(word(text), found, "{text}");
        }
    }

    #[test]
    fn comments_outside_of_braces_are_dropped() {
        for (text, kept) in [
            ("g /* and */ now", "g  now"),
            ("/* a\n header */ g", "g"),
            ("/* one *//* two */ g", "g"),
            ("a { b } /* c */", "a { b }"),
            ("a { b }/* c */", "a { b }"),
            ("a { b }// c", "a { b }"),
            ("a { /* b */ }", "a { /* b */ }"),
            (
                "? f(/* a */ 1, \"\\\" // b\")",
                "? f(/* a */ 1, \"\\\" // b\")",
            ),
            ("a \"/* x */\"", "a \"/* x */\""),
            ("dir /tmp/*", "dir /tmp/*"),
            ("g // and now", "g"),
            ("// nothing", ""),
            ("  # nothing", ""),
            ("a { b // c\n d } // e", "a { b // c\n d }"),
            ("a \"x // y\"", "a \"x // y\""),
        ] {
            assert_eq!(without_comments(text), Ok(kept.to_owned()), "{text}");
        }
        let kept = Ok("db http://x".to_owned());
        assert_eq!(without_comments("db http://x"), kept);
        assert_eq!(without_comments("g /* and"), Err(ParseError::OpenComment));
        assert_eq!(
            without_comments(".script \"a b"),
            Err(ParseError::OpenQuote)
        );
    }

    #[test]
    fn a_block_ends_with_its_own_brace() {
        assert_eq!(block("{ a { b } } c"), Some((" a { b } ", " c")));
        assert_eq!(block("{ \"}\" }"), Some((" \"}\" ", "")));
        assert_eq!(block("{ a"), None);
        assert_eq!(block("a"), None);
    }

    #[test]
    fn lines_are_joined_until_their_braces_close() {
        let lines = commands_of("g\n\na {\n b\n}\npause\n");
        let texts: Vec<_> = lines.iter().map(|l| (l.number, l.text.as_str())).collect();
        assert_eq!(texts, [(1, "g"), (3, "a {\n b\n}"), (6, "pause")]);
    }

    #[test]
    fn a_comment_of_several_lines_is_one_command() {
        let lines = commands_of("/* A header,\n * with { a brace.\n */\ng\n");
        let texts: Vec<_> = lines.iter().map(|l| (l.number, l.text.as_str())).collect();
        let header = "/* A header,\n * with { a brace.\n */";
        assert_eq!(texts, [(1, header), (4, "g")]);
        assert_eq!(without_comments(header), Ok(String::new()));
    }

    proptest! {
        #[test]
        fn text_without_strings_and_comments_is_counted_like_plain_braces(
            text in "[a-z {}\n]{0,40}"
        ) {
            let plain = text.chars().fold(0_usize, |open, c| match c {
                '{' => open + 1,
                '}' => open.saturating_sub(1),
                _ => open,
            });
            prop_assert_eq!(open_braces(&text), plain);
        }

        #[test]
        fn a_block_and_what_follows_are_the_whole_text(text in "\\{[a-z\"/*{} ]{0,30}") {
            if let Some((inside, rest)) = block(&text) {
                prop_assert_eq!(inside.len() + rest.len() + 2, text.len());
            }
        }
    }
}
