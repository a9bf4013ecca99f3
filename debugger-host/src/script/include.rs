//! `#include "file"`: puts the words of another file where the line stands. Called by
//! [`super::parser`]; the caller of the compiler says how a file is read.

use super::lexer;
use super::problem::{Position, Problem, Sources};
use super::token::{Kind, Token};
use std::io;
use std::path::Path;

/// Reads the file of that path as text.
pub type Loader<'a> = &'a dyn Fn(&str) -> io::Result<String>;

/// Files within files.
const DEPTH_LIMIT: usize = 16;
/// Files in all, the script itself included.
const FILE_LIMIT: usize = 256;

/// All words of a script, those of included files in their places, then [`Kind::End`].
///
/// # Errors
/// When a word is not part of the language, or a file cannot be included.
pub fn words(
    sources: &mut Sources,
    name: &str,
    text: &str,
    loader: Loader<'_>,
) -> Result<Vec<Token>, Problem> {
    let mut all = Vec::new();
    let mut open = vec![name.to_owned()];
    let mut files = 0;
    let Some(file) = sources.add(name, text) else {
        return Err(too_many(Position::default()));
    };
    let mut include = Include {
        sources,
        loader,
        open: &mut open,
        files: &mut files,
        all: &mut all,
    };
    let end = include.file(file, text)?;
    all.push(Token {
        at: end,
        kind: Kind::End,
    });
    Ok(all)
}

struct Include<'a> {
    sources: &'a mut Sources,
    loader: Loader<'a>,
    /// Names of the files that are being read, the outermost first.
    open: &'a mut Vec<String>,
    files: &'a mut usize,
    all: &'a mut Vec<Token>,
}

impl Include<'_> {
    /// Adds a file's words; returns its end.
    fn file(&mut self, file: u16, text: &str) -> Result<Position, Problem> {
        *self.files += 1;
        let mut tokens = lexer::words(file, text)?.into_iter().peekable();
        while let Some(token) = tokens.next() {
            if token.kind != Kind::Sign("#") {
                self.all.push(token);
                continue;
            }
            let known = matches!(tokens.next().map(|t| t.kind), Some(Kind::Word(word)) if word == "include");
            let Some((true, Kind::Text(path))) = tokens.next().map(|t| (known, t.kind)) else {
                return Err(Problem::new(token.at, "`#` begins nothing but `#include`")
                    .help("write `#include \"file\"`"));
            };
            tokens.next_if(|next| next.kind == Kind::Sign(";"));
            self.include(token.at, &String::from_utf8_lossy(&path))?;
        }
        let lines = text.lines().count().max(1);
        let column = text.lines().last().unwrap_or_default().chars().count() + 1;
        Ok(Position {
            file,
            line: u32::try_from(lines).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        })
    }

    fn include(&mut self, at: Position, path: &str) -> Result<(), Problem> {
        let including = self.sources.name(at.file).to_owned();
        let path = beside(&including, path);
        if self.open.contains(&path) {
            return Err(Problem::new(
                at,
                format!("`{path}` includes itself, through {}", self.open.join(", ")),
            ));
        }
        if self.open.len() >= DEPTH_LIMIT {
            return Err(Problem::new(
                at,
                format!("files include each other more than {DEPTH_LIMIT} deep"),
            ));
        }
        if *self.files >= FILE_LIMIT {
            return Err(too_many(at));
        }
        let text = (self.loader)(&path)
            .map_err(|why| Problem::new(at, format!("cannot read `{path}`: {why}")))?;
        let file = self.sources.add(&path, &text).ok_or_else(|| too_many(at))?;
        self.open.push(path);
        self.file(file, &text)?;
        self.open.pop();
        Ok(())
    }
}

fn too_many(at: Position) -> Problem {
    Problem::new(at, format!("the script has more than {FILE_LIMIT} files"))
}

/// A path that is relative is so to the file that includes it.
fn beside(including: &str, path: &str) -> String {
    match Path::new(including).parent() {
        Some(folder) if Path::new(path).is_relative() => {
            folder.join(path).to_string_lossy().into_owned()
        }
        _ => path.to_owned(),
    }
}
