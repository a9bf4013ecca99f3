//! How fast memory comes over the driver's network card, beside the serial line: in emulated time, of which a second is ten
//! million instructions, waiting for the host program included.

use crate::lab::Lab;
use vm_lab::machine::{KernelLine, Options};
use wire_protocol::limits::MEMORY_BYTES;

/// Where the kernel itself is, by physical addresses: of those the host knows no content.
const FROM_MIB: u64 = 16;

struct Speed {
    way: &'static str,
    round_trip_us: u64,
    page_us: u64,
    bulk_kib: u64,
    /// Without what is told by one byte, since it is that over and over.
    whole_kib: u64,
    bulk_us: u64,
}

impl Speed {
    fn bytes_per_second(&self) -> u64 {
        self.bulk_kib * 1024 * 1_000_000 / self.bulk_us.max(1)
    }

    fn whole_bytes_per_second(&self) -> u64 {
        self.whole_kib * 1024 * 1_000_000 / self.bulk_us.max(1)
    }
}

/// Emulated microseconds that commands take; the question for the time counts once.
fn microseconds(lab: &mut Lab, commands: &[String]) -> u64 {
    const TICKS_PER_US: u64 = 10;
    let question = "rdtsc()";
    let [before, begin] = [lab.value(question), lab.value(question)];
    for command in commands {
        lab.run(command);
    }
    let end = lab.value(question);
    (end - begin).saturating_sub(begin - before) / TICKS_PER_US
}

fn measure(way: &'static str, network: bool, bulk_kib: u64) -> Speed {
    let mut lab = Lab::with(&Options {
        kernel_line: KernelLine::Lean,
        network,
        ..Options::default()
    });
    lab.run("pause");
    let trips = 20;
    let empty: Vec<String> = (0..trips).map(|_| "pools".to_owned()).collect();
    let round_trip_us = microseconds(&mut lab, &empty) / trips;
    let page = format!("!db {:x} l 1000", FROM_MIB << 20);
    let page_us = microseconds(&mut lab, &[page]);
    let file = lab.file("memory", "");
    // One command, behind what is known by now.
    let bulk = format!(
        ".writemem {} physical {:x} l {:x}",
        file.display(),
        (FROM_MIB << 20) + 0x1000,
        bulk_kib << 10
    );
    let bulk_us = microseconds(&mut lab, &[bulk]);
    let written = std::fs::read(&file).unwrap();
    assert_eq!(written.len() as u64, bulk_kib << 10);
    let parts = written.chunks(MEMORY_BYTES);
    let whole = parts.filter(|part| part.iter().any(|byte| *byte != part[0]));
    let whole_kib = whole.count() as u64 * MEMORY_BYTES as u64 / 1024;
    Speed {
        way,
        round_trip_us,
        page_us,
        bulk_kib,
        whole_kib,
        bulk_us,
    }
}

/// What a line of 115,200 baud carries at most in a second.
const RAW_BYTES_PER_SECOND: u64 = 11_520;

#[test]
fn memory_comes_faster_over_the_network() {
    let line = measure("serial line, 115200 baud", false, 16);
    let network = measure("network", true, 16 << 10);
    println!(
        "{:<26} {:>14} {:>12} {:>22} {:>14} {:>8}",
        "way", "empty request", "4 KiB", "read by one command", "speed", "per KiB"
    );
    for speed in [&line, &network] {
        println!(
            "{:<26} {:>11} us {:>9} us {:>6} KiB {:>8} us {:>10} B/s {:>8} instructions",
            speed.way,
            speed.round_trip_us,
            speed.page_us,
            speed.bulk_kib,
            speed.bulk_us,
            speed.bytes_per_second(),
            speed.bulk_us * 10 / speed.bulk_kib
        );
    }
    let raw = |bytes: u64| bytes as f64 / RAW_BYTES_PER_SECOND as f64;
    let whole = network.whole_bytes_per_second();
    println!(
        "over the network {:.1} times what such a line carries; {} KiB of it went as they are, {whole} B/s, {:.1} times",
        raw(network.bytes_per_second()),
        network.whole_kib,
        raw(whole)
    );
    assert!(network.bytes_per_second() >= 20 * RAW_BYTES_PER_SECOND);
}
