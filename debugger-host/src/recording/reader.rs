//! Reads a recording: all of it that is whole, and why not more. Called by `standstill replay` and
//! `standstill show`.

use super::form::{self, Wrong};
use super::{Entry, FORM, LINK_TYPE, Moment, Packet, Start};
use pcap_parser::{Block, EnhancedPacketBlock, Linktype, parse_block_le, parse_sectionheaderblock};
use std::fmt;
use std::path::Path;
use wire_protocol::packet::PROTOCOL_VERSION;

/// Why a file cannot be read as a recording. The file is named by who reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// There is no such file, or it is none.
    #[error("{why}")]
    Unreadable {
        /// What the system says.
        why: String,
    },
    /// Some other file.
    #[error("it is no recording of this program ({why})")]
    NoRecording {
        /// By what one sees that.
        why: String,
    },
    /// Nothing of it is whole.
    #[error("it is damaged from its beginning on: {0}")]
    Damaged(Damage),
    /// Of another release.
    #[error(
        "it was recorded by {program}, with version {protocol} of the protocol (form {form}); this \
         program reads version {} (form {FORM}): use the program of that release",
        PROTOCOL_VERSION
    )]
    Foreign {
        /// Who recorded it.
        program: String,
        /// Its protocol.
        protocol: u16,
        /// Its form.
        form: u16,
    },
}

/// Where a recording is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Number of the packet that cannot be read.
    pub packet: u32,
    /// Where in the file it is.
    pub at_byte: usize,
    /// The file ends in it; else bytes were changed.
    pub is_cut: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            packet, at_byte, ..
        } = self;
        match self.is_cut {
            true => write!(
                f,
                "the file ends within packet {packet}, at byte {at_byte:#x}"
            ),
            false => write!(
                f,
                "packet {packet}, at byte {at_byte:#x}, is not what was written"
            ),
        }
    }
}

/// How a recording ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As the session did.
    Closed,
    /// Without a word: the program was ended from outside, or still records.
    Open,
    /// What follows cannot be read.
    Damaged(Damage),
}

/// A recording that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// What it begins with.
    pub start: Start,
    /// All of it, the first one included.
    pub packets: Vec<Packet>,
    /// How it ends.
    pub ending: Ending,
}

/// The first blocks: a file of ours, as far as can be seen before the first packet.
fn head(bytes: &[u8]) -> Result<&[u8], RecordingError> {
    let no = |why: &str| RecordingError::NoRecording {
        why: why.to_owned(),
    };
    let damaged = |at: &[u8]| {
        RecordingError::Damaged(Damage {
            packet: 0,
            at_byte: bytes.len() - at.len(),
            is_cut: true,
        })
    };
    let (rest, section) = match parse_sectionheaderblock(bytes) {
        Ok(parsed) => parsed,
        Err(nom::Err::Incomplete(_)) if bytes.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) => {
            return Err(damaged(bytes));
        }
        Err(_) => return Err(no("not pcapng")),
    };
    if section.big_endian() {
        return Err(no("pcapng with the highest byte first"));
    }
    match parse_block_le(rest) {
        Ok((rest, Block::InterfaceDescription(interface))) => match interface.linktype {
            Linktype(ours) if ours == i32::from(LINK_TYPE) => Ok(rest),
            Linktype(other) => Err(no(&format!("pcapng with packets of link type {other}"))),
        },
        Err(nom::Err::Incomplete(_)) => Err(damaged(rest)),
        Ok(_) | Err(_) => Err(no("pcapng without a description of its packets")),
    }
}

/// The packet in a block.
fn packet(block: &EnhancedPacketBlock<'_>) -> Result<Packet, Wrong> {
    let is_whole = block.caplen == block.origlen && block.if_id == 0;
    let data = usize::try_from(block.caplen)
        .ok()
        .and_then(|len| block.data.get(..len))
        .filter(|_| is_whole)
        .ok_or(Wrong::Altered)?;
    let at = Moment(u64::from(block.ts_high) << 32 | u64::from(block.ts_low));
    form::read(at, data)
}

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    /// When not even its beginning can be read.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let bytes = std::fs::read(path).map_err(|error| RecordingError::Unreadable {
            why: error.to_string(),
        })?;
        Self::read(&bytes)
    }

    /// The same, of a file's content.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn read(bytes: &[u8]) -> Result<Self, RecordingError> {
        let mut rest = head(bytes)?;
        let mut packets: Vec<Packet> = Vec::new();
        let mut ending = Ending::Open;
        let mut started = None;
        while !rest.is_empty() {
            let damage = |is_cut| Damage {
                packet: packets.len() as u32,
                at_byte: bytes.len() - rest.len(),
                is_cut,
            };
            let (after, next) = match parse_block_le(rest) {
                Ok((after, Block::EnhancedPacket(block))) => (after, packet(&block)),
                // Other programs that keep the file add such.
                Ok((
                    after,
                    Block::InterfaceStatistics(_)
                    | Block::NameResolution(_)
                    | Block::DecryptionSecrets(_)
                    | Block::Custom(_),
                )) => {
                    rest = after;
                    continue;
                }
                Err(nom::Err::Incomplete(_)) => {
                    ending = Ending::Damaged(damage(true));
                    break;
                }
                Ok(_) | Err(_) => {
                    ending = Ending::Damaged(damage(false));
                    break;
                }
            };
            let is_in_order = |packet: &Packet| {
                packet.number as usize == packets.len()
                    && matches!(packet.entry, Entry::Start(_)) == packets.is_empty()
                    && !matches!(packets.last().map(|last| &last.entry), Some(Entry::End))
            };
            match next {
                Ok(packet) if is_in_order(&packet) => {
                    if let Entry::Start(start) = &packet.entry {
                        started = Some(start.clone());
                    }
                    packets.push(packet);
                    rest = after;
                }
                Err(Wrong::Foreign {
                    form,
                    protocol,
                    program,
                }) if packets.is_empty() => {
                    return Err(RecordingError::Foreign {
                        program,
                        protocol,
                        form,
                    });
                }
                Ok(_) | Err(_) => {
                    ending = Ending::Damaged(damage(false));
                    break;
                }
            }
        }
        let is_closed = matches!(packets.last().map(|last| &last.entry), Some(Entry::End));
        match (started, ending) {
            (Some(start), Ending::Open) if is_closed => Ok(Self {
                start,
                packets,
                ending: Ending::Closed,
            }),
            (Some(start), ending) => Ok(Self {
                start,
                packets,
                ending,
            }),
            (None, Ending::Damaged(damage)) => Err(RecordingError::Damaged(damage)),
            (None, _) => Err(RecordingError::Damaged(Damage {
                packet: 0,
                at_byte: bytes.len(),
                is_cut: true,
            })),
        }
    }
}
