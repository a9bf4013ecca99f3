//! Blocks in braces, strings and comments of command lines. Called by the parsers of arguments,
//! and by everything that reads lines, to know whether a command ends here.

/// Where a reader of a command line stands.
#[derive(Default)]
struct Scanner {
    depth: usize,
    state: State,
    is_escaped: bool,
    previous: Option<char>,
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
    /// Takes one character, and the one after it. True when it belongs to a comment that stands
    /// outside of all braces.
    fn take(&mut self, c: char, next: Option<char>) -> bool {
        let previous = self.previous.replace(c);
        match self.state {
            State::Code => match c {
                '"' => self.state = State::String,
                // Outside of braces, `//` may stand within a path.
                '/' if next == Some('/')
                    && (self.depth > 0 || previous.is_none_or(char::is_whitespace)) =>
                {
                    self.state = State::LineComment;
                }
                '/' if next == Some('*') && self.depth > 0 => self.state = State::CommentOpens,
                '{' => self.depth += 1,
                '}' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            },
            State::String => {
                let is_escape = c == '\\' && self.depth > 0 && !self.is_escaped;
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
                }
            }
        }
        self.state == State::LineComment && self.depth == 0
    }
}

/// How many braces of `text` are still open. Those in strings and comments do not count.
#[must_use]
pub fn open_braces(text: &str) -> usize {
    let mut scanner = Scanner::default();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        scanner.take(c, rest.clone().next());
    }
    scanner.depth
}

/// The command without comments that stand outside of its braces; empty if it is nothing else.
#[must_use]
pub(super) fn without_comments(text: &str) -> String {
    if text.trim_start().starts_with('#') {
        return String::new();
    }
    let mut scanner = Scanner::default();
    let mut rest = text.chars();
    let mut kept = String::new();
    while let Some(c) = rest.next() {
        if !scanner.take(c, rest.clone().next()) {
            kept.push(c);
        }
    }
    kept.trim().to_owned()
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
    fn comments_outside_of_braces_are_dropped() {
        for (text, kept) in [
            ("g // and now", "g"),
            ("// nothing", ""),
            ("  # nothing", ""),
            ("a { b // c\n d } // e", "a { b // c\n d }"),
            ("a \"x // y\"", "a \"x // y\""),
        ] {
            assert_eq!(without_comments(text), kept, "{text}");
        }
        assert_eq!(without_comments("db http://x"), "db http://x");
    }

    #[test]
    fn a_block_ends_with_its_own_brace() {
        assert_eq!(block("{ a { b } } c"), Some((" a { b } ", " c")));
        assert_eq!(block("{ \"}\" }"), Some((" \"}\" ", "")));
        assert_eq!(block("{ a"), None);
        assert_eq!(block("a"), None);
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
