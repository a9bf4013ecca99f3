//! The lab and the host program agree where a command ends and what is comment: the lab must know it to send a script's
//! commands, and imports nothing of the host.

use debugger_host::command::{open_braces, parse_line};
use vm_lab::comment::{is_comment, is_open};

/// What rules are about, and something that none is about.
const SIGNS: [char; 12] = ['/', '*', '"', '{', '}', '(', ')', '#', ' ', '\\', '\n', 'q'];
/// So many of them, in each order, behind each beginning.
const LENGTH: u32 = 4;
const BEGINNINGS: [&str; 6] = ["", "q ", "q { ", "q ( ", "q \"", "/* "];

#[test]
fn lab_and_host_program_read_every_command_alike() {
    for number in 0..SIGNS.len().pow(LENGTH) {
        let sign = |place| SIGNS[number / SIGNS.len().pow(place) % SIGNS.len()];
        let end: String = (0..LENGTH).map(sign).collect();
        for beginning in BEGINNINGS {
            let text = format!("{beginning}{end}");
            let goes_on = open_braces(&text) > 0;
            assert_eq!(is_open(&text), goes_on, "{text:?}");
            if !goes_on {
                let is_nothing = matches!(parse_line(&text), Ok(None));
                assert_eq!(is_comment(&text), is_nothing, "{text:?}");
            }
        }
    }
}
