//! Tests of `line` with sockets in place of an emulator.

use super::*;
use crate::relay::Relay;
use rustix::termios::{OptionalActions, tcsetattr};
use std::net::TcpListener;

struct Rig {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    line: Line,
    debuggee: TcpStream,
}

fn rig(faults: Option<Faults>) -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("line");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let debuggee = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    debuggee
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let (near, _) = listener.accept().unwrap();
    let line = Line::start(near, &path, faults).unwrap();
    Rig {
        _dir: dir,
        path,
        line,
        debuggee,
    }
}

impl Rig {
    /// Connects and makes sure the relay knows.
    fn host(&mut self) -> UnixStream {
        let mut host = UnixStream::connect(&self.path).unwrap();
        host.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        host.write_all(b"!").unwrap();
        assert_eq!(read(&mut self.debuggee, 1), b"!");
        host
    }
}

fn read(from: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    from.read_exact(&mut bytes).unwrap();
    bytes
}

/// What the emulator sends for these bytes.
fn as_emulated(bytes: &[u8]) -> Vec<u8> {
    let twice = |byte: &u8| std::iter::repeat_n(*byte, 1 + usize::from(*byte == 255));
    bytes.iter().flat_map(twice).collect()
}

/// Programs the emulated UART.
fn rate(rig: &mut Rig, baud_hz: u32) {
    let rate = baud_hz.to_be_bytes();
    let told = [&[255, 250, 44, 1][..], &rate, &[255, 240]].concat();
    rig.debuggee.write_all(&told).unwrap();
}

#[test]
fn with_a_cable_each_end_sees_the_others_bytes_at_its_own_rate() {
    let mut rig = rig(None);
    let (_relay, name, terminal) = Relay::terminal(&rig.path).unwrap();
    let mut host = std::fs::OpenOptions::new();
    let mut host = host.read(true).write(true).open(name).unwrap();
    rig.line.set_cable(Cable {
        terminal,
        highest_hz: 115_200,
    });
    host.write_all(b"!").unwrap();
    assert_eq!(read(&mut rig.debuggee, 1), b"!", "no rate is known yet");
    rate(&mut rig, 115_200);
    rig.debuggee.write_all(&as_emulated(&[1, 255, 2])).unwrap();
    assert_eq!(read(&mut host, 3), [1, 255, 2]);
    rate(&mut rig, 9600);
    rig.debuggee.write_all(&[0x55]).unwrap();
    assert_eq!(read(&mut host, 5), [0; 5]);
    // Bits of the sender's are as short as the twelfth part of the receiver's, which misses those that are high.
    host.write_all(&[0x81; 13]).unwrap();
    let seen = read(&mut rig.debuggee, 1);
    assert_ne!(seen, [0x81]);
    // The host's end follows.
    let mut settings = tcgetattr(&host).unwrap();
    settings.set_speed(9600).unwrap();
    tcsetattr(&host, OptionalActions::Now, &settings).unwrap();
    rig.debuggee.write_all(&[0x55]).unwrap();
    assert_eq!(read(&mut host, 1), [0x55]);
    // Neither is counted otherwise than it was sent.
    assert_eq!(rig.line.count().to_host, 5);
}

#[test]
fn bytes_pass_both_ways_and_are_counted() {
    let mut rig = rig(None);
    let mut host = rig.host();
    host.write_all(b"hello").unwrap();
    assert_eq!(read(&mut rig.debuggee, 5), b"hello");
    rig.debuggee.write_all(b"abc").unwrap();
    assert_eq!(read(&mut host, 3), b"abc");
    let count = LineCount {
        to_debuggee: 6,
        to_host: 3,
    };
    assert_eq!(rig.line.count(), count);
}

#[test]
fn large_transfers_arrive_whole() {
    let mut rig = rig(None);
    let mut host = rig.host();
    let data: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let sent = as_emulated(&data);
    let mut far = rig.debuggee.try_clone().unwrap();
    let writer = std::thread::spawn(move || far.write_all(&sent).unwrap());
    assert!(read(&mut host, data.len()) == data);
    writer.join().unwrap();
}

#[test]
fn bytes_for_nobody_are_dropped_but_counted() {
    let mut rig = rig(None);
    rig.debuggee.write_all(b"lost").unwrap();
    while rig.line.count().to_host < 4 {
        std::thread::yield_now();
    }
    let mut host = rig.host();
    rig.debuggee.write_all(b"kept").unwrap();
    assert_eq!(read(&mut host, 4), b"kept");
}

#[test]
fn second_host_is_hung_up_on_until_the_first_is_gone() {
    let mut rig = rig(None);
    let mut first = rig.host();
    let mut second = UnixStream::connect(&rig.path).unwrap();
    assert_eq!(second.read(&mut [0; 1]).unwrap(), 0);
    rig.debuggee.write_all(b"x").unwrap();
    assert_eq!(read(&mut first, 1), b"x");
    drop(first);
    rig.host();
}

#[test]
fn hang_up_closes_the_host_only() {
    let mut rig = rig(None);
    let mut host = rig.host();
    rig.line.hang_up();
    assert_eq!(host.read(&mut [0; 1]).unwrap(), 0);
    rig.host();
}

#[test]
fn cut_loses_bytes_until_it_ends() {
    let mut rig = rig(None);
    let mut host = rig.host();
    rig.line.cut(Duration::from_millis(100));
    host.write_all(b"gone").unwrap();
    std::thread::sleep(Duration::from_millis(150));
    host.write_all(b"here").unwrap();
    assert_eq!(read(&mut rig.debuggee, 4), b"here");
}

#[test]
fn faults_can_be_switched_on_and_off() {
    let mut rig = rig(None);
    let mut host = rig.host();
    let flip = Faults {
        flip: 1.0,
        ..Faults::default()
    };
    rig.line.set_faults(Some(flip));
    host.write_all(b"aaaa").unwrap();
    assert_ne!(read(&mut rig.debuggee, 4), b"aaaa");
    rig.line.set_faults(None);
    host.write_all(b"aaaa").unwrap();
    assert_eq!(read(&mut rig.debuggee, 4), b"aaaa");
}
