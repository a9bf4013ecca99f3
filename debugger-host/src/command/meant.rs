//! Which command may have been meant: one that is spelt alike, or one that does what other
//! debuggers do by that name. Called when there is no command of a name.

use super::commands;
use crate::types::near::nearest;

/// Names in other debuggers, and what is nearest to them here.
const MEANINGS: &[(&str, &str)] = &[
    ("!pte", "!va2pa"),
    ("!ptov", "!pa2va"),
    ("!vtop", "!va2pa"),
    (".break", "pause"),
    (".bugcheck", ".lastevent"),
    (".connect", ".debug remote"),
    (".detach", ".debug close"),
    (".dump", ".writemem"),
    (".echo", "? printf"),
    (".logopen", "output create"),
    (".printf", "? printf"),
    ("break", "bp"),
    ("bu", "bp"),
    ("c", "g"),
    ("connect", ".debug remote"),
    ("continue", "g"),
    ("da", "db"),
    ("detach", ".debug close"),
    ("disas", "u"),
    ("dps", "dq"),
    ("dw", "db"),
    ("gc", "g"),
    ("info", ".help"),
    ("lsmod", "lm"),
    ("qd", ".debug close"),
    ("run", "g"),
    ("stop", "pause"),
    ("sxn", "sxe"),
    ("uf", "u"),
    ("up", "u"),
    ("watch", "ba"),
];

/// What may have been meant by a name.
pub(super) fn meant(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let meaning = MEANINGS.iter().find(|(other, _)| *other == name);
    let meaning = meaning.map(|(_, own)| *own);
    let names = || commands().flat_map(|command| command.names.iter().copied());
    meaning
        .or_else(|| nearest(&name, names()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{find, parse};

    #[test]
    fn every_meaning_is_a_command_and_no_name_has_two() {
        for (other, own) in MEANINGS {
            assert!(find(parse::split(own).0).is_some(), "{own}");
            assert!(find(other).is_none(), "{other} is a command");
        }
        assert!(MEANINGS.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn a_suggestion_is_near_in_spelling_or_meaning_or_none() {
        for (name, own) in [
            ("!pte", Some("!va2pa")),
            ("bu", Some("bp")),
            ("!PTE", Some("!va2pa")),
            ("evnets", Some("events")),
            ("k", None),
            ("zork", None),
            ("frobnicate", None),
        ] {
            assert_eq!(meant(name).as_deref(), own, "{name}");
        }
    }
}
