//! Joins two lines, as a hypervisor joins its guest's serial port with a named pipe: the tests under Wine use it for what
//! only a program of Windows can be an end of.
//!
//! `join serve|open PIPE HOST:PORT`: makes the pipe, or opens it, and copies between it and TCP until an end hangs up.

use debugger_host::transport::{Endpoint, Line};
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

/// Between attempts.
const SLICE: Duration = Duration::from_millis(50);

fn open(endpoint: &Endpoint) -> Line {
    let mut transport = endpoint.transport();
    loop {
        match transport.open() {
            Ok(line) => return line,
            Err(_) => std::thread::sleep(SLICE),
        }
    }
}

fn is_passing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

fn copy(mut from: Box<dyn Read + Send>, mut to: Box<dyn Write + Send>) {
    let mut bytes = [0; 4096];
    loop {
        let mut rest = match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(count) => &bytes[..count],
            Err(error) if is_passing(&error) => continue,
            Err(_) => return,
        };
        while !rest.is_empty() {
            match to.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if is_passing(&error) => {}
                Err(_) => return,
            }
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, name, address] = &arguments[..] else {
        panic!("join serve|open PIPE HOST:PORT");
    };
    let (name, address) = (name.clone(), address.clone());
    let pipe = match role.as_str() {
        "serve" => Endpoint::PipeServer { name },
        _ => Endpoint::Pipe { name },
    };
    let pipe = open(&pipe);
    let line = open(&Endpoint::Tcp { address });
    std::thread::spawn(move || {
        copy(pipe.reader, line.writer);
        std::process::exit(0);
    });
    copy(line.reader, pipe.writer);
}
