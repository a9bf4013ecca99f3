//! A refusal, a message and a command are added to a copy of the sources at the places that `docs/contributing.md` names,
//! and nowhere else: the compiler takes them, and where a place is left out, it says so, or a test does.
//!
//! The copy shares the build directory, so that only the project's own crates are checked anew.

#[path = "layering/sources.rs"]
#[allow(dead_code, reason = "the rules of imports use more of it")]
mod sources;

use sources::{copy_to, read, repository};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const GUIDE: &str = "docs/contributing.md";

/// What a program writes for refusals and commands; a test of the host says when it is out of date.
const RECORDED: &str = "docs/json.md";

/// The same, for refusals and messages.
const RECORDED_OF_CONTENT: &str = "docs/recording-content.md";

/// The same, for commands only.
const RECORDED_OF_COMMANDS: &str = "debugger-host/tests/typing/nothing.txt";

/// What is recorded of sessions; a test of it says which message is in none.
const RECORDED_OF_MESSAGES: &str = "tests/replay/scripts.txt";

/// What is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addition {
    Refusal,
    Message,
    Command,
}

impl Addition {
    const ALL: [Self; 3] = [Self::Refusal, Self::Message, Self::Command];

    /// Its heading in the guide.
    const fn heading(self) -> &'static str {
        match self {
            Self::Refusal => "## Adding a refusal",
            Self::Message => "## Adding a message",
            Self::Command => "## Adding a command",
        }
    }
}

/// Who finds that a place was forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nobody can: it is what all else follows from.
    First,
    /// The compiler, in the wire crate.
    Wire,
    /// The compiler, in driver or host.
    Ends,
    /// The compiler, in the made-up debuggee of the host's tests.
    Fake,
    /// A test of the host.
    Session,
    /// A test of the documents.
    Document,
    /// A test of the wire crate.
    Format,
    /// The compiler, in the tests of recordings.
    Replay,
}

/// A text in front of another one in a file.
struct Edit {
    of: Addition,
    file: &'static str,
    before: &'static str,
    text: &'static str,
    found: Found,
}

const fn edit(
    of: Addition,
    found: Found,
    file: &'static str,
    before: &'static str,
    text: &'static str,
) -> Edit {
    Edit {
        of,
        file,
        before,
        text,
        found,
    }
}

use Addition::{Command as OfCommand, Message, Refusal};
use Found::{Document, Ends, Fake, First, Format, Replay, Session, Wire};

const EDITS: &[Edit] = &[
    edit(
        Refusal,
        First,
        "wire-protocol/src/refusal/mod.rs",
        "    /// The debuggee runs; this needs it halted.\n",
        "    /// A dummy.\n    Dummy {\n        /// A number.\n        number: u32,\n    },\n",
    ),
    edit(
        Refusal,
        Wire,
        "wire-protocol/src/refusal/mod.rs",
        "            Self::NotHalted => 0xc",
        "            Self::Dummy { .. } => 0xc000_01ff,\n",
    ),
    edit(
        Refusal,
        Wire,
        "wire-protocol/src/packet/refusal/mod.rs",
        "            14 NotHalted {};\n",
        "            250 Dummy { number: number };\n",
    ),
    edit(
        Refusal,
        Ends,
        "debugger-host/src/refusal.rs",
        "        Refusal::NotHalted =>",
        "        Refusal::Dummy { number } => format!(\"dummy {number}\"),\n",
    ),
    edit(
        Refusal,
        Ends,
        "debugger-host/src/recording/told/refusal.rs",
        "    NotHalted {}\n",
        "    Dummy { number }\n",
    ),
    edit(
        Refusal,
        Document,
        "docs/instant-events.md",
        "| c0000104 |",
        "| c00001ff | never |\n",
    ),
    edit(
        Refusal,
        Format,
        "docs/wire-format.md",
        "| 14 | NotHalted | |",
        "| 250 | Dummy | number | c00001ff |\n",
    ),
    edit(
        Refusal,
        Format,
        "debugger-host/wireshark/standstill.lua",
        "    [14] = \"NotHalted\",\n",
        "    [250] = \"Dummy\",\n",
    ),
    edit(
        Message,
        First,
        "wire-protocol/src/packet/kind.rs",
        "        MessageCounts = 0x63,\n    }\n}\n\nkinds! {\n    /// What a reply",
        "        Dummy = 0x7e,\n",
    ),
    edit(
        Message,
        First,
        "wire-protocol/src/packet/kind.rs",
        "        MessageCounts = 0x63,\n    }\n}\n\nkinds! {\n    /// What a notice",
        "        Dummy = 0x7e,\n",
    ),
    edit(
        Message,
        First,
        "wire-protocol/src/packet/request.rs",
        "    /// Let every core go on [`Reply::Done`].\n",
        "    /// A dummy [`Reply::Dummy`].\n    Dummy,\n",
    ),
    edit(
        Message,
        Wire,
        "wire-protocol/src/packet/request.rs",
        "            Self::ShortCircuit { on } => out.byte",
        "            Self::Dummy => Ok(()),\n",
    ),
    edit(
        Message,
        Wire,
        "wire-protocol/src/packet/request.rs",
        "            RequestKind::Go => Ok(",
        "            RequestKind::Dummy => Ok((body, Self::Dummy)),\n",
    ),
    edit(
        Message,
        Wire,
        "wire-protocol/src/packet/request.rs",
        "            Self::MessageCounts => RequestKind::",
        "            Self::Dummy => RequestKind::Dummy,\n",
    ),
    edit(
        Message,
        First,
        "wire-protocol/src/packet/reply.rs",
        "    /// See [`MessageCounts`].\n",
        "    /// A dummy.\n    Dummy,\n",
    ),
    edit(
        Message,
        Wire,
        "wire-protocol/src/packet/reply.rs",
        "            Self::MessageCounts(counts) => messages::",
        "            Self::Dummy => Ok(()),\n",
    ),
    edit(
        Message,
        Wire,
        "wire-protocol/src/packet/reply.rs",
        "            Self::MessageCounts(_) => ReplyKind::",
        "            Self::Dummy => ReplyKind::Dummy,\n",
    ),
    edit(
        Message,
        Wire,
        "wire-protocol/src/packet/reply.rs",
        "            ReplyKind::MessageCounts => made(",
        "            ReplyKind::Dummy => Ok((body, Self::Dummy)),\n",
    ),
    edit(
        Message,
        Ends,
        "debuggee-driver/src/command/mod.rs",
        "        Request::Cores =>",
        "        Request::Dummy => Ok(Reply::Dummy),\n",
    ),
    edit(
        Message,
        First,
        "debugger-host/src/session/event.rs",
        "    /// Carves objects from the arena.\n",
        "    /// Asks for nothing.\n    ///\n    /// # Errors\n    /// When the debuggee does not answer.\n    \
         pub fn dummy(&mut self) -> Result<(), SessionError> {\n        self.ask(\"dummy\", &Request::Dummy, \
         |reply| {\n            matches!(reply, Reply::Dummy).then_some(())\n        })\n    }\n\n",
    ),
    edit(
        Message,
        Ends,
        "debugger-host/src/session/recorded/timeline.rs",
        "        Request::Pools =>",
        "        Request::Dummy => Nature::Change(&[]),\n",
    ),
    edit(
        Message,
        Ends,
        "debugger-host/src/recording/compare.rs",
        "        | Reply::Memory { .. }",
        "        | Reply::Dummy\n",
    ),
    edit(
        Message,
        Ends,
        "debugger-host/src/recording/told/message.rs",
        "    ShortCircuit { on },\n",
        "    Dummy,\n",
    ),
    edit(
        Message,
        Ends,
        "debugger-host/src/recording/told/message.rs",
        "    MemoryAsExpected,\n",
        "    Dummy,\n",
    ),
    edit(
        Message,
        Replay,
        "tests/tests/replay/mistakes.rs",
        "        Request::Go => Request::Cores,\n",
        "        Request::Dummy => Request::Cores,\n",
    ),
    edit(
        Message,
        Format,
        "debugger-host/wireshark/standstill.lua",
        "    [0x63] = \"MessageCounts\",\n    [0x70]",
        "    [0x7e] = \"Dummy\",\n",
    ),
    edit(
        Message,
        Format,
        "debugger-host/wireshark/standstill.lua",
        "    [0x63] = \"MessageCounts\",\n    [0x71]",
        "    [0x7e] = \"Dummy\",\n",
    ),
    edit(
        Message,
        Fake,
        "debugger-host/tests/fake/answer.rs",
        "        Request::ShortCircuit { .. } => Reply::Done,\n",
        "        Request::Dummy => Reply::Dummy,\n",
    ),
    edit(
        Message,
        Format,
        "docs/wire-format.md",
        "| 63 | MessageCounts | | MessageCounts |",
        "| 7e | Dummy | | Dummy |\n",
    ),
    edit(
        Message,
        Format,
        "docs/wire-format.md",
        "| 63 | MessageCounts | numbers",
        "| 7e | Dummy | nothing |\n",
    ),
    edit(
        OfCommand,
        First,
        "debugger-host/src/command/table/mod.rs",
        "    Command {\n        names: &[\"exit\", ",
        "    Command {\n        names: &[\"dummy\"],\n        syntax: \"dummy\",\n        summary: \"nothing\",\n        \
         details: \"\",\n        examples: &[\"dummy\"],\n        answers: &[\"dummy\"],\n        parse: system::dummy,\n    },\n",
    ),
    edit(
        OfCommand,
        First,
        "debugger-host/src/command/system.rs",
        "struct Exit;\n",
        "struct Dummy;\n\npub(super) fn dummy(mut arguments: Arguments<'_>) -> Parsed {\n    arguments.end()?;\n    \
         Ok(Box::new(Dummy))\n}\n\nimpl Action for Dummy {\n    fn run(&self, debugger: &mut Debugger) -> \
         Result<Answer, CommandError> {\n        debugger.session.dummy()?;\n        Ok(Answer::Dummy {})\n    }\n}\n\n",
    ),
    edit(
        OfCommand,
        First,
        "debugger-host/src/answer/mod.rs",
        "    /// The debuggee was halted before.\n",
        "    /// A dummy.\n    Dummy {},\n",
    ),
    edit(
        OfCommand,
        Ends,
        "debugger-host/src/render/text/answer.rs",
        "        Answer::HaltedAlready {} =>",
        "        Answer::Dummy {} => \"dummy\".to_owned(),\n",
    ),
    edit(
        OfCommand,
        Session,
        "debugger-host/tests/sessions/running.txt",
        "> flush\n",
        "> dummy\ndummy\n",
    ),
];

/// Cargo tells packages of a workspace apart by their place in it and their version, so with the same one it would take
/// what it built of the copy for what it built of the project.
fn as_another_version(manifest: Vec<u8>) -> Vec<u8> {
    let manifest = String::from_utf8(manifest).expect("text");
    let ours = concat!("\nversion = \"", env!("CARGO_PKG_VERSION"), "\"\n");
    assert_eq!(manifest.matches(ours).count(), 1, "{ours}");
    manifest
        .replace(ours, "\nversion = \"0.0.0-additions\"\n")
        .into_bytes()
}

/// The copy, which is written only where it changes, so that cargo knows what it has checked.
struct Scratch {
    root: PathBuf,
}

impl Scratch {
    /// With those additions whose places `has` accepts.
    fn with(&self, has: impl Fn(&Edit) -> bool) {
        copy_to(&self.root, |path, mut text| {
            for edit in EDITS.iter().filter(|edit| edit.file == path && has(edit)) {
                let whole = String::from_utf8(text).expect("text");
                let found = whole.matches(edit.before).count();
                assert_eq!(found, 1, "{path}: `{}`", edit.before);
                let both = format!("{}{}", edit.text, edit.before);
                text = whole.replace(edit.before, &both).into_bytes();
            }
            match path {
                "Cargo.toml" => as_another_version(text),
                _ => text,
            }
        });
    }

    /// Whether cargo succeeds there, and what it says.
    fn cargo(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", repository().join("target"))
            .output()
            .expect("cargo");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }

    /// The compiler refuses, and names each of these files.
    #[track_caller]
    fn refused(&self, arguments: &[&str], found: Found) {
        let (is_fine, said) = self.cargo(arguments);
        assert!(!is_fine, "{found:?}: it compiles");
        for edit in EDITS.iter().filter(|edit| edit.found == found) {
            // Files of the package are named from its directory or from the repository's.
            let file = edit
                .file
                .split_once('/')
                .map_or(edit.file, |(_, file)| file);
            assert!(said.contains(file), "{file} is not named in:\n{said}");
        }
    }

    #[track_caller]
    fn accepted(&self, arguments: &[&str]) {
        let (is_fine, said) = self.cargo(arguments);
        assert!(is_fine, "{arguments:?}:\n{said}");
    }
}

/// The files in the guide's table below a heading.
fn places(guide: &str, heading: &str) -> BTreeSet<String> {
    let section = guide.split_once(heading).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn additions_are_made_at_the_places_that_the_guide_names() {
    let guide = read(GUIDE);
    for addition in Addition::ALL {
        let edits = EDITS.iter().filter(|edit| edit.of == addition);
        let mut edited: BTreeSet<String> = edits.map(|edit| edit.file.to_owned()).collect();
        if addition != Message {
            edited.insert(RECORDED.to_owned());
        }
        if addition != OfCommand {
            edited.insert(RECORDED_OF_CONTENT.to_owned());
        }
        if addition == OfCommand {
            edited.insert(RECORDED_OF_COMMANDS.to_owned());
        }
        if addition == Message {
            edited.insert(RECORDED_OF_MESSAGES.to_owned());
        }
        assert_eq!(places(&guide, addition.heading()), edited, "{addition:?}");
    }
}

#[test]
fn an_addition_compiles_at_those_places_and_not_without_one() {
    let copy = Scratch {
        root: Path::new(env!("CARGO_TARGET_TMPDIR")).join("additions"),
    };
    let profile = vm_lab::host::own_profile();
    let common = ["--offline", "--quiet", "--profile", &profile];
    let check = [&["check", "--keep-going"], &common[..]].concat();
    let wire = [&check[..], &["--package", "wire-protocol"]].concat();
    let ends = ["--package", "debuggee-driver", "--package", "debugger-host"];
    let ends = [&check[..], &ends, &["--all-targets"]].concat();
    copy.with(|edit| edit.found == First);
    copy.refused(&wire, Wire);
    copy.with(|edit| matches!(edit.found, First | Wire));
    copy.accepted(&wire);
    copy.refused(&ends, Ends);
    copy.with(|edit| matches!(edit.found, First | Wire | Ends));
    copy.refused(&ends, Fake);
    copy.with(|edit| !matches!(edit.found, Session | Document | Format | Replay));
    copy.accepted(&ends);
    // What no compiler finds, a test does.
    let test = [&["test"], &common[..], &["--package"]].concat();
    let of_session = ["debugger-host", "--test", "sessions", "have_every_command"];
    let of_session = [&test[..], &of_session].concat();
    let of_document = ["standstill-tests", "--test", "documents", "every_refusal"];
    let of_document = [&test[..], &of_document].concat();
    let of_format = ["wire-protocol", "--lib", "document"];
    let of_format = [&test[..], &of_format].concat();
    // Nothing is run: that it compiles is enough.
    let of_replay = ["standstill-tests", "--test", "replay", "nothing"];
    let of_replay = [&test[..], &of_replay].concat();
    for (arguments, clue) in [
        (&of_session, "`dummy`"),
        (&of_document, "c00001ff"),
        (&of_format, "Dummy"),
        (&of_replay, "mistakes.rs"),
    ] {
        let (is_fine, said) = copy.cargo(arguments);
        assert!(!is_fine && said.contains(clue), "{arguments:?}:\n{said}");
    }
    copy.with(|_| true);
    copy.accepted(&of_session);
    copy.accepted(&of_document);
    copy.accepted(&of_format);
    copy.accepted(&of_replay);
}
