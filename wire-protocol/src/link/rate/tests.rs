//! Both ends over a line with a rate at each end.

use super::super::*;
use super::*;
use crate::baud::{PC_CLOCK_HZ, byte_time_ns};
use std::collections::VecDeque;
use std::vec::Vec;

const STEP_US: u64 = 50;
const SECOND: u64 = 1_000_000;

/// One end with its port.
struct End<'b> {
    link: Link<'b>,
    baud_hz: u32,
    /// On their way from here: when they are there, and at which rate they left.
    sent: VecDeque<(u64, u32, u8)>,
    free_us: u64,
    /// Bytes that wait for the transmitter.
    waiting: VecDeque<u8>,
    /// Its clock is so many times faster than the line's.
    clock: u64,
    came: Vec<Incoming>,
    messages: Vec<Vec<u8>>,
}

struct Line<'b> {
    host: End<'b>,
    debuggee: End<'b>,
    now_us: u64,
    highest_hz: u32,
    /// One byte in so many is damaged.
    one_in: u32,
    passed: u32,
    is_cut: bool,
    news: Vec<RateNews>,
}

fn memory() -> &'static mut [u8] {
    std::boxed::Box::leak(std::vec![0; Storage::BYTES].into_boxed_slice())
}

impl End<'static> {
    fn new(role: Role, rates: Rates, clock: u64) -> Self {
        let timing = match role {
            Role::Initiator => Timing {
                retry_us: 1_000_000,
                ack_delay_us: 3000,
                answer_us: 500_000,
                byte_time_ns: 0,
            },
            Role::Responder => Timing {
                retry_us: 600_000,
                ack_delay_us: 50_000,
                answer_us: 500_000,
                byte_time_ns: 0,
            },
        };
        let mut link = Link::new(role, Storage::carve(memory()).unwrap(), timing);
        link.use_rates(rates);
        Self {
            link,
            baud_hz: rates.baud_hz,
            sent: VecDeque::new(),
            free_us: 0,
            waiting: VecDeque::new(),
            clock,
            came: Vec::new(),
            messages: Vec::new(),
        }
    }

    fn turn(&mut self, now_us: u64) {
        let own_us = now_us * self.clock;
        if self.waiting.is_empty() && now_us >= self.free_us {
            if let Some(baud_hz) = self.link.wanted_rate() {
                self.baud_hz = baud_hz;
                self.link.rate_is(baud_hz, own_us);
            }
            let mut bytes = [0; 16];
            let count = self.link.pull_into(&mut bytes, own_us);
            self.waiting.extend(&bytes[..count]);
        }
        while now_us >= self.free_us
            && let Some(byte) = self.waiting.pop_front()
        {
            let time_us = u64::from(byte_time_ns(self.baud_hz)).div_ceil(1000);
            self.free_us = self.free_us.max(now_us.saturating_sub(STEP_US)) + time_us;
            self.sent.push_back((self.free_us, self.baud_hz, byte));
        }
    }

    fn hear(&mut self, byte: u8, now_us: u64) {
        if let Some(incoming) = self.link.push(byte, now_us * self.clock) {
            self.came.push(incoming);
            if incoming == Incoming::Message {
                self.messages.push(self.link.message().to_vec());
                self.link.release();
            }
        }
    }
}

impl Line<'static> {
    /// A host that was told `host_hz`, and a driver that was loaded with `debuggee_hz`.
    fn new(host_hz: u32, debuggee_hz: u32, clock_hz: u32) -> Self {
        let rates = |baud_hz, clock_hz| Rates {
            baud_hz,
            clock_hz,
            is_fixed: false,
        };
        Self {
            host: End::new(Role::Initiator, rates(host_hz, 0), 1),
            debuggee: End::new(Role::Responder, rates(debuggee_hz, clock_hz), 1),
            now_us: 0,
            highest_hz: u32::MAX,
            one_in: 0,
            passed: 0,
            is_cut: false,
            news: Vec::new(),
        }
    }

    /// What the receiver sees: nothing like what was sent if its rate is another one, or too high for the line.
    fn pass(&mut self, to_debuggee: bool) {
        let (from, to) = match to_debuggee {
            true => (&mut self.host, &mut self.debuggee),
            false => (&mut self.debuggee, &mut self.host),
        };
        while from
            .sent
            .front()
            .is_some_and(|(at_us, ..)| *at_us <= self.now_us)
        {
            let Some((_, baud_hz, byte)) = from.sent.pop_front() else {
                return;
            };
            self.passed += 1;
            if self.is_cut {
                continue;
            }
            let is_hit = self.one_in != 0 && self.passed.is_multiple_of(self.one_in);
            if baud_hz == to.baud_hz && baud_hz <= self.highest_hz {
                to.hear(if is_hit { byte ^ 0x10 } else { byte }, self.now_us);
                continue;
            }
            // A slower receiver makes one byte of several, a faster one several of one.
            let times = to.baud_hz / baud_hz;
            let count = match times {
                0 => u32::from(self.passed.is_multiple_of((baud_hz / to.baud_hz).max(2))),
                _ => times.div_ceil(2),
            };
            for at in 0..count {
                let shown = [0, 0xf8, byte.rotate_left(3) | 1, 0xff][(at % 4) as usize];
                to.hear(shown, self.now_us);
            }
        }
    }

    fn run_until(&mut self, limit_us: u64, is_done: impl Fn(&Self) -> bool) -> bool {
        let end_us = self.now_us + limit_us;
        while self.now_us < end_us {
            self.now_us += STEP_US;
            self.host.turn(self.now_us);
            self.debuggee.turn(self.now_us);
            self.pass(true);
            self.pass(false);
            self.news.extend(self.host.link.take_rate_news());
            if is_done(self) {
                return true;
            }
        }
        false
    }

    fn run(&mut self, time_us: u64) {
        self.run_until(time_us, |_| false);
    }

    fn connect(&mut self) {
        self.host.link.connect(77);
    }

    fn rates(&self) -> (u32, u32) {
        (self.host.baud_hz, self.debuggee.baud_hz)
    }

    /// Whether messages get through, both ways, within so many microseconds.
    fn works(&mut self, limit_us: u64) -> bool {
        let (to_host, to_debuggee) = (
            self.host.messages.len() + 1,
            self.debuggee.messages.len() + 1,
        );
        self.host.link.send(&[1; 40]).unwrap();
        let began_us = self.now_us;
        if !self.run_until(limit_us, |line| line.debuggee.messages.len() == to_debuggee) {
            return false;
        }
        self.debuggee.link.send(&[2; 60]).unwrap();
        let left_us = limit_us.saturating_sub(self.now_us - began_us);
        self.run_until(left_us, |line| line.host.messages.len() == to_host)
    }
}

#[test]
fn from_9600_the_line_goes_to_the_highest_rate_of_the_uart() {
    for (clock_hz, highest_hz) in [(PC_CLOCK_HZ, 115_200), (16 * 921_600, 921_600)] {
        let mut line = Line::new(9600, 9600, clock_hz);
        line.connect();
        let is_there = line.run_until(8 * SECOND, |line| line.rates() == (highest_hz, highest_hz));
        std::println!("{highest_hz} after {} ms", line.now_us / 1000);
        assert!(is_there, "{:?}", line.rates());
        assert!(line.works(SECOND));
        line.run(SECOND);
        assert_eq!(line.rates(), (highest_hz, highest_hz));
        assert_eq!(line.host.link.rate_state().failed_hz, 0);
        assert_eq!(line.news, []);
    }
}

#[test]
fn rates_that_the_line_does_not_let_through_are_left_and_remembered() {
    for clock in [1, 13] {
        let mut line = Line::new(9600, 9600, 16 * 921_600);
        line.debuggee.clock = clock;
        line.highest_hz = 57_600;
        line.connect();
        line.run(12 * SECOND);
        assert_eq!(line.rates(), (57_600, 57_600));
        let state = line.host.link.rate_state();
        assert_eq!((state.baud_hz, state.failed_hz), (57_600, 115_200));
        assert!(line.works(SECOND));
        assert_eq!(line.news, []);
    }
}

#[test]
fn messages_that_were_queued_meanwhile_come_in_order_and_once() {
    let mut line = Line::new(9600, 9600, PC_CLOCK_HZ);
    line.connect();
    for at in 0..40 {
        line.host.link.send(&[at; 30]).unwrap();
    }
    line.run_until(SECOND / 2, |line| {
        line.debuggee.came.contains(&Incoming::Connected)
    });
    for at in 0..40 {
        line.debuggee.link.send(&[at; 50]).unwrap();
    }
    line.run(10 * SECOND);
    assert_eq!(line.rates(), (115_200, 115_200));
    let expected = |len: usize| (0..40).map(|at| std::vec![at; len]).collect::<Vec<_>>();
    assert_eq!(line.debuggee.messages, expected(30));
    assert_eq!(line.host.messages, expected(50));
}

#[test]
fn a_line_that_carries_its_rate_no_longer_goes_on_at_a_lower_one() {
    for clock in [1, 13] {
        let mut line = Line::new(9600, 9600, PC_CLOCK_HZ);
        line.debuggee.clock = clock;
        line.connect();
        line.run(8 * SECOND);
        assert_eq!(line.rates(), (115_200, 115_200));
        line.highest_hz = 38_400;
        assert!(line.works(10 * SECOND), "{:?}", line.rates());
        std::println!(
            "clock {clock}: through again after {} ms",
            line.now_us / 1000 - 8000
        );
        line.run(8 * SECOND);
        assert_eq!(line.rates(), (38_400, 38_400));
        let lowered = matches!(
            line.news[..],
            [RateNews::Lowered {
                from_hz: 115_200,
                to_hz: 9600
            }]
        );
        assert!(lowered, "{:?}", line.news);
        assert!(line.works(SECOND));
    }
}

#[test]
fn more_than_a_quarter_damaged_goes_down_one_rate() {
    let mut line = Line::new(9600, 9600, PC_CLOCK_HZ);
    line.connect();
    line.run(8 * SECOND);
    // Probes of 256 bytes do not pass this, so the last rate that did is kept.
    line.one_in = 90;
    for _ in 0..60 {
        line.works(2 * SECOND);
    }
    line.one_in = 0;
    assert!(line.works(10 * SECOND));
    line.run(5 * SECOND);
    let (host, debuggee) = line.rates();
    assert_eq!(host, debuggee);
    assert!(line.works(SECOND));
}

#[test]
fn the_wrong_rate_is_named_within_three_seconds() {
    let all = [9600, 19_200, 38_400, 57_600, 115_200];
    let pairs = all
        .iter()
        .flat_map(|host| all.map(|debuggee| (*host, debuggee)));
    for (host_hz, debuggee_hz) in pairs.filter(|(host, debuggee)| host != debuggee) {
        let mut line = Line::new(host_hz, debuggee_hz, PC_CLOCK_HZ);
        line.connect();
        let is_named = line.run_until(3 * SECOND, |line| !line.news.is_empty());
        assert!(
            is_named,
            "{host_hz} {debuggee_hz} {:?} {:?}",
            line.host.link.rate, line.debuggee.link.rate
        );
        let expected = RateNews::Elsewhere {
            asked_hz: host_hz,
            found_hz: debuggee_hz,
        };
        assert_eq!(line.news, [expected]);
        std::println!("{host_hz}, not {debuggee_hz}: {} ms", line.now_us / 1000);
        assert!(line.works(8 * SECOND));
        assert_eq!(line.news.len(), 1);
        assert_eq!(
            line.debuggee
                .came
                .iter()
                .filter(|it| **it == Incoming::BreakIn)
                .count(),
            0
        );
    }
}

#[test]
fn garbage_at_every_rate_is_named_once_within_three_seconds() {
    let mut line = Line::new(115_200, 9600, PC_CLOCK_HZ);
    // Nothing gets through at any rate, but something comes.
    line.highest_hz = 0;
    line.connect();
    let is_named = line.run_until(3 * SECOND, |line| !line.news.is_empty());
    assert!(is_named);
    line.run(8 * SECOND);
    let expected = RateNews::Nowhere {
        asked_hz: 115_200,
        tried: 7,
    };
    assert_eq!(line.news, [expected]);
}

#[test]
fn a_rate_that_is_fixed_at_either_end_stays() {
    for host_is_fixed in [true, false] {
        let mut line = Line::new(9600, 9600, PC_CLOCK_HZ);
        let fixed = Rates {
            baud_hz: 9600,
            clock_hz: PC_CLOCK_HZ,
            is_fixed: true,
        };
        let end = if host_is_fixed {
            &mut line.host
        } else {
            &mut line.debuggee
        };
        end.link.use_rates(fixed);
        line.connect();
        line.run(3 * SECOND);
        assert_eq!(line.rates(), (9600, 9600));
        assert!(line.works(SECOND));
    }
    let mut line = Line::new(115_200, 9600, PC_CLOCK_HZ);
    line.host.link.use_rates(Rates {
        baud_hz: 115_200,
        clock_hz: 0,
        is_fixed: true,
    });
    line.connect();
    line.run(3 * SECOND);
    let expected = RateNews::Nowhere {
        asked_hz: 115_200,
        tried: 0,
    };
    assert_eq!(
        (line.news.clone(), line.host.baud_hz),
        ([expected].to_vec(), 115_200)
    );
}

#[test]
fn who_comes_after_a_host_that_was_killed_finds_the_debuggee_where_it_began() {
    for says_so in [true, false] {
        let mut line = Line::new(9600, 9600, PC_CLOCK_HZ);
        line.connect();
        line.run(8 * SECOND);
        assert_eq!(line.debuggee.baud_hz, 115_200);
        if says_so {
            line.host.link.leave();
            line.host.link.leave_rate();
            line.run(SECOND / 10);
            assert_eq!(line.debuggee.baud_hz, 9600);
        }
        line.host = End::new(
            Role::Initiator,
            Rates {
                baud_hz: 9600,
                clock_hz: 0,
                is_fixed: false,
            },
            1,
        );
        line.host.link.connect(78);
        let began_us = line.now_us;
        assert!(line.run_until(8 * SECOND, |line| line.host.link.is_connected()));
        std::println!("{says_so}: {} ms", (line.now_us - began_us) / 1000);
        assert!(line.works(8 * SECOND));
        assert_eq!(line.news, []);
    }
}

#[test]
fn a_cut_in_any_phase_is_got_over() {
    let starts = if cfg!(miri) { 1 } else { 40 };
    for start in 0..starts {
        let mut line = Line::new(9600, 9600, PC_CLOCK_HZ);
        line.connect();
        line.run(50_000 * start);
        line.is_cut = true;
        line.run(1_500_000);
        line.is_cut = false;
        let is_through = line.run_until(30 * SECOND, |line| line.host.link.is_connected());
        assert!(is_through && line.works(30 * SECOND), "cut after {start}");
        let (host, debuggee) = line.rates();
        assert_eq!(host, debuggee, "cut after {start}");
    }
}

#[test]
fn nothing_is_negotiated_where_there_is_no_rate() {
    let mut line = Line::new(9600, 9600, PC_CLOCK_HZ);
    let none = Rates {
        baud_hz: 0,
        clock_hz: 0,
        is_fixed: false,
    };
    line.host.link.use_rates(none);
    line.connect();
    line.run(3 * SECOND);
    assert_eq!(line.debuggee.baud_hz, 9600);
    assert!(line.works(SECOND));
    line.run(SECOND);
    assert_eq!(line.host.link.next_deadline_us(), None);
}
