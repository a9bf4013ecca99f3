//! Tests of `line` with sockets in place of an emulator.

use super::*;
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
    let sent = data.clone();
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
