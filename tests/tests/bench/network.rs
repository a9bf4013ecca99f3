//! How fast memory comes over the driver's network card, beside the serial line: in emulated time, of which a second is ten
//! million instructions, waiting for the host program included.

use crate::lab::Lab;
use vm_lab::machine::{KernelLine, Options};

/// Where the kernel itself is, by physical addresses: of those the host knows no content.
const FROM_MIB: u64 = 16;

struct Speed {
    way: &'static str,
    round_trip_us: u64,
    page_us: u64,
    bulk_kib: u64,
    bulk_us: u64,
}

impl Speed {
    fn bytes_per_second(&self) -> u64 {
        self.bulk_kib * 1024 * 1_000_000 / self.bulk_us.max(1)
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
    let read =
        |number: u64, len: u64| format!("!db {:x} l {len:x}", (FROM_MIB << 20) + number * len);
    let page_us = microseconds(&mut lab, &[read(0, 0x1000)]);
    let whole: Vec<String> = (1..=bulk_kib / 16)
        .map(|number| read(number, 0x4000))
        .collect();
    let bulk_us = microseconds(&mut lab, &whole);
    Speed {
        way,
        round_trip_us,
        page_us,
        bulk_kib,
        bulk_us,
    }
}

#[test]
fn memory_comes_faster_over_the_network() {
    let line = measure("serial line, 115200 baud", false, 64);
    let network = measure("network", true, 16 << 10);
    println!(
        "{:<26} {:>14} {:>12} {:>16} {:>22}",
        "way", "empty request", "4 KiB", "many KiB", "instructions per KiB"
    );
    for speed in [&line, &network] {
        println!(
            "{:<26} {:>11} us {:>9} us {:>14} B/s {:>22}",
            speed.way,
            speed.round_trip_us,
            speed.page_us,
            speed.bytes_per_second(),
            speed.bulk_us * 10 / speed.bulk_kib
        );
    }
    let times = network.bytes_per_second() / line.bytes_per_second().max(1);
    println!("{times} times as fast");
    assert!(times >= 20);
}
