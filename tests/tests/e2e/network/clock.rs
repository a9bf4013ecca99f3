//! The real-time clock, which the driver reads while the guest uses it.

use super::options;
use crate::budget::through_a_relay;
use crate::lab::assert_log_is_clean;
use std::time::Duration;
use vm_lab::machine::Machine;
use wire_protocol::secure::Key;

/// 2031-05-06 07:08:00.
const SET_US: u64 = 1_935_817_680_000_000;
/// What passes until a machine is looked at again, at most.
const HOUR_US: u64 = 3_600_000_000;

/// The time that the last call had which the host program answered, in microseconds since 1970.
pub(super) fn last_call_us(machine: &Machine) -> u64 {
    let key = std::fs::read_to_string(&machine.network().unwrap().key_file).unwrap();
    let id = key.trim().parse::<Key>().unwrap().id();
    let name = format!("standstill/clocks/{:08x}", u32::from_be_bytes(id));
    let text = std::fs::read_to_string(machine.socket_path().with_file_name(name)).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn the_clock_stays_the_guests_and_tells_the_time_of_each_call() {
    let (mut lab, relay) = through_a_relay(&options());
    let system_us: u64 = lab.guest("date +%s").trim().parse::<u64>().unwrap() * 1_000_000;
    assert!(last_call_us(&lab.machine).abs_diff(system_us) < HOUR_US);
    // What the guest writes arrives, and the driver knows it, whatever the system believes that it is.
    lab.guest("date -u -s '2031-05-06 07:08:00' && hwclock -w -u && date -u -s '2026-01-01'");
    assert!(lab.guest("hwclock -r -u").contains("2031"));
    lab.run("pause");
    lab.run("!ioout 70");
    lab.run("g");
    lab.guest_background("hwclock -r -u > /dev/null");
    assert!(lab.run(".wait 0n40").contains("event 0 hit"));
    lab.run("events c all");
    lab.run("? .reads = 0");
    lab.run("!ioin 71 script { .reads += 1; }");
    lab.run("g");
    // Both cores use the clock all the time, while the driver calls again and again, and reads it for that.
    let calls = || relay.captured().iter().filter(|it| it[0] == 0x91).count();
    let before = calls();
    lab.kill_host();
    relay.cut(true);
    let read = "i=0; while [ $i -lt 150 ]; do cat /sys/class/rtc/rtc0/date /sys/class/rtc/rtc0/time; i=$((i+1)); done";
    let told = lab.guest(&format!(
        "({read}) > /tmp/one & ({read}) > /tmp/two; wait; cat /tmp/one; echo two; cat /tmp/two"
    ));
    std::thread::sleep(Duration::from_secs(2));
    relay.cut(false);
    for half in told.split("two") {
        let lines: Vec<&str> = half
            .lines()
            .map(str::trim)
            .filter(|it| !it.is_empty())
            .collect();
        assert_eq!(lines.len(), 300);
        assert!(
            lines.iter().step_by(2).all(|date| *date == "2031-05-06"),
            "{told}"
        );
        assert!(lines.iter().skip(1).step_by(2).is_sorted(), "{told}");
    }
    lab.connect();
    println!("{} calls meanwhile", calls() - before);
    let call_us = last_call_us(&lab.machine);
    assert!((SET_US..SET_US + HOUR_US).contains(&call_us), "{call_us}");
    lab.run("pause");
    assert!(lab.value(".reads") > 400);
    lab.run("events c all");
    lab.go();
    assert_log_is_clean(&lab.guest("dmesg"));
}
