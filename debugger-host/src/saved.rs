//! Session files: what a user has set, as commands that can be read, run and set again. Written and read by
//! [`crate::command`], which keeps one for each target and writes it at each `g`.
//!
//! ```text
//! # standstill session 1
//! # target: socket /tmp/line
//! # kernel: Linux version 6.1 …
//! # kernel base: ffffffff81000000
//! # driver: 635c251a005ae623
//! # pool, 1 line
//! prealloc epthook 3
//! # event 0 enabled, 1 line
//! !epthook vmlinux!do_sys_openat2 core 1
//! # end 0123456789abcdef
//! ```
//!
//! The last line has the XXH64 of all before it. For `.script` all but the commands is comment.

use crate::private;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{digit1, line_ending, not_line_ending};
use nom::combinator::{all_consuming, map, map_opt, opt, value};
use nom::multi::{count, many0};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh64::xxh64;

/// Begins the first line; the version follows.
const MAGIC: &str = "# standstill session ";
/// Of the form.
const VERSION: &str = "1";
/// Begins the last line; the checksum follows.
const END: &str = "# end ";
/// No file that this program writes is longer.
const LENGTH_LIMIT: u64 = 64 << 20;

/// What a session file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The line to the debuggee, in words.
    pub target: String,
    /// The kernel's version line.
    pub kernel: String,
    /// Where it was.
    pub kernel_base: u64,
    /// What the driver drew when it was loaded.
    pub driver: u64,
    /// Commands that reserve objects.
    pub pools: Vec<String>,
    /// Commands that make sinks.
    pub outputs: Vec<String>,
    /// Events, by number.
    pub events: Vec<SavedEvent>,
}

/// An event that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedEvent {
    /// Its number then.
    pub id: u32,
    /// Whether it was enabled.
    pub is_enabled: bool,
    /// Its place stands there as a number, which means something else in another kernel.
    pub is_by_address: bool,
    /// The command that sets it, of one line or more.
    pub command: String,
}

/// Why a session file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// Reading or writing it failed.
    #[error("the session file {path}: {why}")]
    SessionFile {
        /// Which.
        path: String,
        /// What the system says.
        why: String,
    },
    /// It is something else.
    #[error("{path} is no session file: the first line of one is `{MAGIC}{VERSION}`")]
    NoSessionFile {
        /// Which.
        path: String,
    },
    /// It would be written over something else.
    #[error("{path} is there and is no session file, and is left as it is; choose another name")]
    FileTaken {
        /// Which.
        path: String,
    },
    /// It is of another form.
    #[error(
        "the session file {path} is of form {version}, this program reads form {VERSION}; `.script` runs what is in it"
    )]
    SessionFileVersion {
        /// Which.
        path: String,
        /// Its form.
        version: String,
    },
    /// It was cut, or changed by hand.
    #[error(
        "the session file {path} is damaged or was changed by hand, and nothing of it is set; `.script` runs what is in it"
    )]
    SessionFileDamaged {
        /// Which.
        path: String,
    },
    /// There is none for this target.
    #[error(
        "nothing is kept of an earlier session with {target}; `.session load FILE` takes what `.session save FILE` wrote"
    )]
    NothingSaved {
        /// The line to the debuggee.
        target: String,
    },
}

/// What a file has for an item.
enum Item {
    Pool(String),
    Output(String),
    Event(SavedEvent),
}

/// Newlines would end the line that it stands in.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

fn put_item(text: &mut String, what: &str, command: &str) {
    let lines: Vec<&str> = command.lines().collect();
    let s = if lines.len() == 1 { "" } else { "s" };
    let _ = writeln!(text, "# {what}, {} line{s}", lines.len());
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
}

impl Saved {
    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{MAGIC}{VERSION}\n");
        let _ = writeln!(text, "# target: {}", one_line(&self.target));
        let _ = writeln!(text, "# kernel: {}", one_line(&self.kernel));
        let _ = writeln!(text, "# kernel base: {:016x}", self.kernel_base);
        let _ = writeln!(text, "# driver: {:016x}", self.driver);
        for command in &self.pools {
            put_item(&mut text, "pool", command);
        }
        for command in &self.outputs {
            put_item(&mut text, "output", command);
        }
        for event in &self.events {
            let state = if event.is_enabled {
                "enabled"
            } else {
                "disabled"
            };
            let by = if event.is_by_address {
                " by address"
            } else {
                ""
            };
            let what = format!("event {:x} {state}{by}", event.id);
            put_item(&mut text, &what, &event.command);
        }
        let sum = xxh64(text.as_bytes(), 0);
        let _ = writeln!(text, "{END}{sum:016x}");
        text
    }

    /// What a file has.
    ///
    /// # Errors
    /// When it cannot be read, or is none, or is damaged.
    pub fn read(path: &Path) -> Result<Self, SavedError> {
        let shown = || path.display().to_string();
        let file = |why: String| SavedError::SessionFile { path: shown(), why };
        let about = std::fs::metadata(path).map_err(|why| file(why.to_string()))?;
        if about.is_file() && about.len() > LENGTH_LIMIT {
            return Err(SavedError::NoSessionFile { path: shown() });
        }
        let bytes = std::fs::read(path).map_err(|why| file(why.to_string()))?;
        let Some(rest) = bytes.strip_prefix(MAGIC.as_bytes()) else {
            return Err(SavedError::NoSessionFile { path: shown() });
        };
        let damaged = || SavedError::SessionFileDamaged { path: shown() };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
        let version = String::from_utf8_lossy(rest);
        let version = version.lines().next().unwrap_or_default();
        if version != VERSION {
            let version = version.chars().take(20).collect();
            return Err(SavedError::SessionFileVersion {
                path: shown(),
                version,
            });
        }
        let (body, sum) = text.rsplit_once(END).ok_or_else(damaged)?;
        if sum != format!("{:016x}\n", xxh64(body.as_bytes(), 0)) {
            return Err(damaged());
        }
        match all_consuming(saved).parse(body) {
            Ok((_, saved)) => Ok(saved),
            Err(_) => Err(damaged()),
        }
    }

    /// Writes the file anew, readable by its owner only: whole, or as it was.
    ///
    /// # Errors
    /// When it cannot be written, or another file has that name.
    pub fn write(&self, path: &Path) -> Result<(), SavedError> {
        let shown = || path.display().to_string();
        match std::fs::read(path) {
            Ok(bytes) if !bytes.starts_with(MAGIC.as_bytes()) => {
                return Err(SavedError::FileTaken { path: shown() });
            }
            Err(why) if why.kind() != ErrorKind::NotFound => {
                let why = why.to_string();
                return Err(SavedError::SessionFile { path: shown(), why });
            }
            _ => {}
        }
        private::replace(path, self.text().as_bytes()).map_err(|why| SavedError::SessionFile {
            path: shown(),
            why: why.to_string(),
        })
    }
}

/// Where what is set on `target` is kept, and makes the directory, which its owner alone can look into.
#[must_use]
pub fn place_of(target: &str) -> Option<PathBuf> {
    let folder = private::folder("sessions")?;
    Some(folder.join(format!("{:016x}", xxh64(target.as_bytes(), 0))))
}

fn field<'a>(name: &'static str) -> impl Parser<&'a str, Output = &'a str, Error = Failure<'a>> {
    delimited(
        (tag("# "), tag(name), tag(": ")),
        not_line_ending,
        line_ending,
    )
}

fn hexadecimal(input: &str) -> IResult<&str, u64> {
    map_opt(take_while1(|c: char| c.is_ascii_hexdigit()), |digits| {
        u64::from_str_radix(digits, 16).ok()
    })
    .parse(input)
}

type Failure<'a> = nom::error::Error<&'a str>;

fn number(name: &'static str) -> impl FnMut(&str) -> IResult<&str, u64> {
    move |input| {
        let (rest, text) = field(name).parse(input)?;
        let (_, number) = all_consuming(hexadecimal).parse(text)?;
        Ok((rest, number))
    }
}

/// So many lines, which are a command.
fn command(input: &str) -> IResult<&str, String> {
    let counted = map_opt(digit1, |digits: &str| digits.parse::<usize>().ok());
    let mut head = delimited(
        tag(", "),
        counted,
        (tag(" line"), opt(tag("s")), line_ending),
    );
    let (rest, lines) = head.parse(input)?;
    if lines > rest.len() {
        return Err(nom::Err::Error(Failure::new(
            input,
            nom::error::ErrorKind::Count,
        )));
    }
    let line = terminated(not_line_ending, line_ending);
    map(count(line, lines), |lines: Vec<&str>| lines.join("\n")).parse(rest)
}

fn event(input: &str) -> IResult<&str, SavedEvent> {
    let id = map_opt(hexadecimal, |id| u32::try_from(id).ok());
    let state = alt((value(true, tag(" enabled")), value(false, tag(" disabled"))));
    let by = map(opt(tag(" by address")), |by| by.is_some());
    let (rest, (id, is_enabled, is_by_address, command)) =
        preceded(tag("event "), (id, state, by, command)).parse(input)?;
    Ok((
        rest,
        SavedEvent {
            id,
            is_enabled,
            is_by_address,
            command,
        },
    ))
}

fn item(input: &str) -> IResult<&str, Item> {
    let pool = map(preceded(tag("pool"), command), Item::Pool);
    let output = map(preceded(tag("output"), command), Item::Output);
    preceded(tag("# "), alt((pool, output, map(event, Item::Event)))).parse(input)
}

/// All but the last line.
fn saved(input: &str) -> IResult<&str, Saved> {
    let first = (tag(MAGIC), tag(VERSION), line_ending);
    let (rest, (_, target, kernel, kernel_base, driver, items)) = (
        first,
        field("target"),
        field("kernel"),
        number("kernel base"),
        number("driver"),
        many0(item),
    )
        .parse(input)?;
    let mut saved = Saved {
        target: target.to_owned(),
        kernel: kernel.to_owned(),
        kernel_base,
        driver,
        ..Saved::default()
    };
    for item in items {
        match item {
            Item::Pool(command) => saved.pools.push(command),
            Item::Output(command) => saved.outputs.push(command),
            Item::Event(event) => saved.events.push(event),
        }
    }
    Ok((rest, saved))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Saved {
        let event = |id, is_enabled, is_by_address, command: &str| SavedEvent {
            id,
            is_enabled,
            is_by_address,
            command: command.to_owned(),
        };
        Saved {
            target: "socket /tmp/line".into(),
            kernel: "Linux version 6.1".into(),
            kernel_base: 0xffff_ffff_8100_0000,
            driver: 0x1234,
            pools: vec!["prealloc epthook 3".into()],
            outputs: vec!["output create a file \"/tmp/a b\"".into()],
            events: vec![
                event(
                    0,
                    true,
                    false,
                    "!epthook vmlinux!f script {\n .n += 1;\n# end 5\n}",
                ),
                event(0x1f, false, true, "!epthook ffffffffc0001000"),
            ],
        }
    }

    #[test]
    fn what_is_written_is_read_and_every_changed_or_missing_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let saved = example();
        saved.write(&path).unwrap();
        assert_eq!(Saved::read(&path).unwrap(), saved);
        // Over itself.
        Saved::default().write(&path).unwrap();
        assert_eq!(Saved::read(&path).unwrap(), Saved::default());
        let text = saved.text().into_bytes();
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1;
            std::fs::write(&path, &changed).unwrap();
            assert!(Saved::read(&path).is_err(), "byte {at}");
            std::fs::write(&path, &text[..at]).unwrap();
            assert!(Saved::read(&path).is_err(), "cut at {at}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn it_is_its_owners_alone_and_no_other_file_is_written_over() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        example().write(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "mine").unwrap();
        let told = example().write(&path).unwrap_err().to_string();
        assert!(told.contains("is left as it is"), "{told}");
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        let missing = folder.path().join("none/s");
        assert!(matches!(
            example().write(&missing),
            Err(SavedError::SessionFile { .. })
        ));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let told = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Saved::read(&path).unwrap_err().to_string()
        };
        assert!(told("!epthook f\n").contains("is no session file: the first line"));
        assert!(told("# standstill session 2\n").contains("is of form 2"));
        let one = example().text();
        assert!(
            told(&one.replace("core", "c0re").replace("+= 1", "+= 2")).contains("changed by hand")
        );
        // A checksum that is right over what is none.
        let body = "# standstill session 1\n# target: a\n";
        let sum = xxh64(body.as_bytes(), 0);
        assert!(told(&format!("{body}# end {sum:016x}\n")).contains("is damaged"));
        let told = Saved::read(folder.path()).unwrap_err().to_string();
        assert!(told.contains("directory"), "{told}");
    }
}
