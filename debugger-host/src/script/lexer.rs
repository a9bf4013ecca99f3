//! Text to words. Called by [`super::include`] for each file of a script.

use super::problem::{Position, Problem};
use super::token::{Kind, SIGNS, Token};
use crate::types::number;

/// Splits a file into words, without an [`Kind::End`].
///
/// # Errors
/// When a character, number or string is not part of the language.
pub fn words(file: u16, text: &str) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer::new(file, text, Style::Script);
    let mut tokens = Vec::new();
    while lexer.skip_blanks()? {
        let at = lexer.at;
        let kind = lexer.word()?;
        tokens.push(Token { at, kind });
    }
    Ok(tokens)
}

/// Words of a command's text, as far as they can be part of an expression.
pub struct Beginning {
    /// The words, then an end.
    pub tokens: Vec<Token>,
    /// Where each of them begins, in bytes.
    pub starts: Vec<usize>,
    /// Why the next word is none, if that is what the end stands for.
    pub failure: Option<Problem>,
}

/// Splits the beginning of a command's text, up to what is no word of the language. Names may
/// have dots, and the short forms of numbers are known.
#[must_use]
pub fn beginning(text: &str) -> Beginning {
    let mut lexer = Lexer::new(0, text, Style::Command);
    let mut found = Beginning {
        tokens: Vec::new(),
        starts: Vec::new(),
        failure: None,
    };
    loop {
        let blanks = lexer.skip_blanks();
        let (at, start) = (lexer.at, text.len() - lexer.rest.len());
        let kind = blanks.and_then(|goes_on| if goes_on { lexer.word() } else { Ok(Kind::End) });
        let kind = kind.unwrap_or_else(|why| {
            found.failure = Some(why);
            Kind::End
        });
        let is_end = kind == Kind::End;
        found.tokens.push(Token { at, kind });
        found.starts.push(start);
        if is_end {
            return found;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Script,
    Command,
}

struct Lexer<'a> {
    rest: &'a str,
    at: Position,
    style: Style,
}

fn begins_name(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'a> Lexer<'a> {
    fn new(file: u16, text: &'a str, style: Style) -> Self {
        Self {
            rest: text,
            at: Position {
                file,
                line: 1,
                column: 1,
            },
            style,
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn peek_second(&self) -> Option<char> {
        self.rest.chars().nth(1)
    }

    fn step(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        if c == '\n' {
            self.at.line = self.at.line.saturating_add(1);
            self.at.column = 1;
        } else {
            self.at.column = self.at.column.saturating_add(1);
        }
        Some(c)
    }

    fn take(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let len = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, _) = self.rest.split_at(len);
        for _ in taken.chars() {
            self.step();
        }
        taken
    }

    /// Skips spaces and comments; false at the end.
    fn skip_blanks(&mut self) -> Result<bool, Problem> {
        loop {
            self.take(char::is_whitespace);
            if self.rest.starts_with("//") {
                self.take(|c| c != '\n');
            } else if self.rest.starts_with("/*") {
                let at = self.at;
                let Some(len) = self.rest.get(2..).and_then(|text| text.find("*/")) else {
                    return Err(
                        Problem::new(at, "this comment has no end").help("close it with `*/`")
                    );
                };
                let end = self.rest.len() - len - 4;
                while self.rest.len() > end {
                    self.step();
                }
            } else {
                return Ok(!self.rest.is_empty());
            }
        }
    }

    fn word(&mut self) -> Result<Kind, Problem> {
        let at = self.at;
        let Some(c) = self.peek() else {
            return Ok(Kind::End);
        };
        let second = self.peek_second();
        if c == '"' {
            return self.text(false).map(Kind::Text);
        }
        if c == 'L' && second == Some('"') {
            self.step();
            return self.text(true).map(Kind::Wide);
        }
        if c.is_ascii_digit() || c == '.' && second.is_some_and(|c| c.is_ascii_digit()) {
            return self.number();
        }
        if begins_name(c) {
            return self.name();
        }
        if self.style == Style::Command && c == '\\' && second.is_some_and(is_in_name) {
            self.step();
            let digits = self.take(|c| is_in_name(c) || c == '`');
            return Ok(Kind::Word(format!("\\{digits}")));
        }
        if matches!(c, '.' | '@' | '$') && second.is_some_and(begins_name) {
            self.step();
            let name = self.take(is_in_name);
            return Ok(match c {
                '.' => Kind::Dotted(name.to_owned()),
                '@' => Kind::Register(name.to_ascii_lowercase()),
                _ => Kind::Pseudo(name.to_ascii_lowercase()),
            });
        }
        // Commands have no statements: there `--x` is the value of x.
        let is_here = |sign: &&&str| {
            let is_step = matches!(**sign, "++" | "--");
            self.rest.starts_with(**sign) && !(is_step && self.style == Style::Command)
        };
        if let Some(sign) = SIGNS.iter().find(is_here) {
            for _ in sign.chars() {
                self.step();
            }
            return Ok(Kind::Sign(sign));
        }
        Err(unknown(at, c, second))
    }

    /// A word that begins with a letter.
    fn name(&mut self) -> Result<Kind, Problem> {
        let dots = self.style == Style::Command;
        let name = self.take(|c| is_in_name(c) || c == '`' || dots && (c == '.' || c == '$'));
        let mut after = self.rest.chars();
        if after.next() == Some('!') && after.next().is_some_and(begins_name) {
            self.step();
            let symbol = self.take(|c| is_in_name(c) || c == '.' || c == '$');
            return Ok(Kind::Symbol(format!("{name}!{symbol}")));
        }
        Ok(Kind::Word(name.to_owned()))
    }

    fn number(&mut self) -> Result<Kind, Problem> {
        let at = self.at;
        let whole = self.take(|c| is_in_name(c) || c == '`');
        let is_decimal = whole.chars().all(|c| c.is_ascii_digit());
        if is_decimal && self.peek() == Some('.') && !self.peek_second().is_some_and(begins_name) {
            self.step();
            let fraction = self.take(is_in_name);
            let text = format!("0{whole}.{fraction}");
            return match text.parse() {
                Ok(value) if fraction.chars().all(|c| c.is_ascii_digit()) => Ok(Kind::Float(value)),
                _ => Err(
                    Problem::new(at, format!("`{whole}.{fraction}` is not a number"))
                        .help("a fraction has decimal digits only, as in `11.5`"),
                ),
            };
        }
        match number::parse(whole) {
            Ok(value) => Ok(Kind::Number(value)),
            Err(why) => Err(Problem::new(at, why.to_string())
                .help("numbers are hexadecimal; `0n` makes one decimal, `0t` octal, `0y` binary")),
        }
    }

    /// The bytes of a string, in the encoding asked for.
    fn text(&mut self, wide: bool) -> Result<Vec<u8>, Problem> {
        let open = self.at;
        self.step();
        let mut bytes = Vec::new();
        loop {
            let at = self.at;
            let c = match self.step() {
                None | Some('\n') => {
                    return Err(Problem::new(open, "this string has no end on its line")
                        .help("close it with `\"`; a new line is `\\n`"));
                }
                Some('"') => return Ok(bytes),
                Some('\\') => match self.escape(at)? {
                    Escape::Character(c) => c,
                    Escape::Byte(byte) if wide => char::from(byte),
                    Escape::Byte(byte) => {
                        bytes.push(byte);
                        continue;
                    }
                },
                Some(c) => c,
            };
            if wide {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    bytes.extend_from_slice(&unit.to_le_bytes());
                }
            } else {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }

    fn escape(&mut self, at: Position) -> Result<Escape, Problem> {
        let help = "known are \\n \\r \\t \\0 \\\\ \\\" and \\x with two hexadecimal digits";
        Ok(Escape::Character(match self.step() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('0') => '\0',
            Some(c @ ('\\' | '"' | '\'')) => c,
            Some('x') => {
                let mut byte = 0;
                for _ in 0..2 {
                    let digit = self.peek().and_then(|c| c.to_digit(16));
                    let Some(digit) = digit.and_then(|digit| u8::try_from(digit).ok()) else {
                        return Err(Problem::new(at, "`\\x` needs two hexadecimal digits"));
                    };
                    byte = byte << 4 | digit;
                    self.step();
                }
                return Ok(Escape::Byte(byte));
            }
            Some(c) => {
                return Err(Problem::new(at, format!("there is no escape `\\{c}`")).help(help));
            }
            None => return Err(Problem::new(at, "nothing follows `\\`").help(help)),
        }))
    }
}

enum Escape {
    Character(char),
    Byte(u8),
}

fn unknown(at: Position, c: char, second: Option<char>) -> Problem {
    let problem = Problem::new(at, format!("{c:?} is not part of the language"));
    match (c, second) {
        ('\'', Some(c)) if c.is_ascii() => problem.help(format!(
            "there are no character constants; write the code of {c:?}, {:x}",
            u32::from(c)
        )),
        ('@', _) => problem.help("a register's name follows `@`"),
        ('$', _) => problem.help("a pseudo-register's name follows `$`"),
        (':', _) => problem.help("there is neither `?:` nor `switch`; use `if`"),
        _ => problem,
    }
}
