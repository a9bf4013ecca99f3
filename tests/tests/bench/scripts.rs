//! What scripts cost: seven programs, each next to the same in plain Rust and, where Debian's `lua5.4`
//! is installed, in Lua. Rounds of all of them take turns, and of each the least processor time
//! counts, so that whatever else the machine does disturbs all alike.

use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use wire_protocol::branch::Branch;
use wire_protocol::bytecode::routine::Pseudo;
use wire_protocol::packet::Arguments;
use wire_protocol::register::Register;
use wire_protocol::script::{Ask, Machine};

#[path = "scripts/engine.rs"]
mod engine;

/// Rounds of each program.
const ROUNDS: usize = 25;
/// Where the memory is that the programs look at.
const MEMORY: u64 = 0x10_0000;
/// How much of it there is.
const MEMORY_BYTES: usize = 0x1_0000;
/// Texts that differ in their last letter.
const TEXTS: [(usize, &str); 2] = [
    (0x8000, "/usr/lib/x86_64-linux-gnu/security/pam_unix.so.0"),
    (0x9000, "/usr/lib/x86_64-linux-gnu/security/pam_unix.so.1"),
];

/// A program in three languages. Each gives the same value.
struct Sample {
    name: &'static str,
    /// Turns of its loop.
    turns: u64,
    script: &'static str,
    plain: fn(&Flat) -> u64,
    /// Statements that leave the value in `sum`; `n` is the number of turns. A text is what it is to the script:
    /// bytes of memory up to a zero, taken from there in every turn.
    lua: &'static str,
}

const SAMPLES: [Sample; 7] = [
    Sample {
        name: "loop",
        turns: 100_000,
        script: "i = 0; sum = 0; while (i < 0n100000) { sum += (i * 3) ^ (sum >> 7); i += 1; } return sum;",
        plain: |_| {
            let (mut i, mut sum) = (0u64, 0u64);
            while *black_box(&mut i) < 100_000 {
                sum = sum.wrapping_add(i.wrapping_mul(3) ^ (*black_box(&mut sum) >> 7));
                i += 1;
            }
            sum
        },
        lua: "local i, sum = 0, 0 while i < n do sum = sum + ((i * 3) ~ (sum >> 7)) i = i + 1 end return sum",
    },
    Sample {
        name: "calls, int",
        turns: 30_000,
        script: "int add(int a, int b) { return a + b; } int sum = 0; int i; \
                 for (i = 0; i < 0n30000; i++) { sum = add(sum, i & ff); } return sum;",
        plain: |_| {
            #[inline(never)]
            fn add(a: i32, b: i32) -> i32 {
                a.wrapping_add(b)
            }
            let sum = (0..30_000).fold(0, |sum, i| add(black_box(sum), i & 0xff));
            i64::from(sum) as u64
        },
        lua: "local function add(a, b) return a + b end local sum = 0 \
              for i = 0, n - 1 do sum = add(sum, i & 0xff) end return sum",
    },
    Sample {
        name: "calls, long",
        turns: 30_000,
        script: "long add(long a, long b) { return a + b; } long sum = 0; long i; \
                 for (i = 0; i < 0n30000; i++) { sum = add(sum, i & ff); } return sum;",
        plain: |_| {
            #[inline(never)]
            fn add(a: u64, b: u64) -> u64 {
                a.wrapping_add(b)
            }
            (0..30_000).fold(0, |sum, i| add(black_box(sum), i & 0xff))
        },
        lua: "local function add(a, b) return a + b end local sum = 0 \
              for i = 0, n - 1 do sum = add(sum, i & 0xff) end return sum",
    },
    Sample {
        name: "scan",
        turns: 8 * 4096,
        script: "sum = 0; for (j = 0; j < 8; j++) { \
                 for (p = 100000; p < 108000; p += 8) { sum += poi(p); } } return sum;",
        plain: |flat| {
            let mut sum = 0u64;
            for _ in 0..8 {
                for offset in (0..0x8000).step_by(8) {
                    sum = sum.wrapping_add(flat.word(black_box(offset)));
                }
            }
            sum
        },
        lua: "local t = {} for k = 0, 4095 do t[k] = k * 0x9e3779b97f4a7c15 end local sum = 0 \
              start() for j = 1, 8 do for p = 0, 4095 do sum = sum + t[p] end end return sum",
    },
    Sample {
        name: "branches",
        turns: 50_000,
        script: "x = 0; y = 0; z = 0; for (i = 0; i < 0n50000; i++) { if (i & 1) { x += i; } \
                 elsif ((i & 6) == 4) { y += 2; } else { z += 3; } \
                 if (i > 1000 && (i & 3f) < 9 || x == 7) { z += 1; } } return x + y + z;",
        plain: |_| {
            let (mut a, mut b, mut c) = (0u64, 0u64, 0u64);
            for i in 0..50_000u64 {
                let i = black_box(i);
                if i & 1 != 0 {
                    a += i;
                } else if i & 6 == 4 {
                    b += 2;
                } else {
                    c += 3;
                }
                if i > 0x1000 && i & 0x3f < 9 || a == 7 {
                    c += 1;
                }
            }
            a + b + c
        },
        lua: "local a, b, c = 0, 0, 0 for i = 0, n - 1 do if i & 1 ~= 0 then a = a + i \
              elseif i & 6 == 4 then b = b + 2 else c = c + 3 end \
              if i > 0x1000 and i & 0x3f < 9 or a == 7 then c = c + 1 end end return a + b + c",
    },
    Sample {
        name: "strings",
        turns: 10_000,
        script: "sum = 0; for (i = 0; i < 0n10000; i++) { if (strcmp(108000, 109000) != 0) { sum += 1; } } \
                 return sum;",
        plain: |flat| {
            let differ = |_: &u32| flat.text(black_box(0x8000)) != flat.text(black_box(0x9000));
            (0..10_000).filter(differ).count() as u64
        },
        lua: "local m, at = memory() local sum = 0 start() for i = 0, n - 1 do \
              if at('z', m, 0x8001) ~= at('z', m, 0x9001) then sum = sum + 1 end end return sum",
    },
    Sample {
        name: "strings, printf",
        turns: 5_000,
        script: "sum = 0; for (i = 0; i < 0n5000; i++) { if (strcmp(108000, 109000) != 0) { \
                 printf(\"%s %llx\\n\", 108000, i); sum += 1; } } return sum;",
        plain: |flat| {
            let mut count = 0;
            let mut text = String::new();
            for i in 0..5_000 {
                if flat.text(black_box(0x8000)) != flat.text(black_box(0x9000)) {
                    text.clear();
                    let shown = String::from_utf8_lossy(flat.text(0x8000));
                    let _ = writeln!(text, "{shown} {i:x}");
                    black_box(&text);
                    count += 1;
                }
            }
            count
        },
        lua: "local m, at = memory() local sum = 0 start() for i = 0, n - 1 do \
              local a = at('z', m, 0x8001) if a ~= at('z', m, 0x9001) then \
              string.format(\"%s %x\\n\", a, i) sum = sum + 1 end end return sum",
    },
];

/// Memory at [`MEMORY`], and nothing else.
struct Flat {
    bytes: Vec<u8>,
    globals: [AtomicU64; 8],
}

impl Flat {
    fn new() -> Self {
        let mut bytes = vec![0; MEMORY_BYTES];
        for (index, word) in bytes.chunks_exact_mut(8).take(4096).enumerate() {
            let value = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word.copy_from_slice(&value.to_le_bytes());
        }
        for (at, text) in TEXTS {
            bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        Self {
            bytes,
            globals: [const { AtomicU64::new(0) }; 8],
        }
    }

    fn word(&self, offset: usize) -> u64 {
        let bytes = self.bytes.get(offset..offset + 8).unwrap_or_default();
        bytes.try_into().map_or(0, u64::from_le_bytes)
    }

    fn text(&self, offset: usize) -> &[u8] {
        let from = &self.bytes[offset..];
        let end = from.iter().position(|&byte| byte == 0).unwrap_or(0);
        &from[..end]
    }

    fn place(&self, address: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let from = usize::try_from(address.checked_sub(MEMORY)?).ok()?;
        let end = from.checked_add(len)?;
        (end <= self.bytes.len()).then_some(from..end)
    }
}

impl Machine for Flat {
    fn register(&mut self, _: Register) -> u64 {
        0
    }
    fn set_register(&mut self, _: Register, _: u64) -> bool {
        false
    }
    fn pseudo(&mut self, _: Pseudo) -> u64 {
        0
    }
    fn read_virtual(&mut self, address: u64, out: &mut [u8]) -> bool {
        let place = self.place(address, out.len());
        let Some(from) = place.and_then(|place| self.bytes.get(place)) else {
            return false;
        };
        out.copy_from_slice(from);
        true
    }
    fn write_virtual(&mut self, _: u64, _: &[u8]) -> bool {
        false
    }
    fn read_physical(&mut self, _: u64, _: &mut [u8]) -> bool {
        false
    }
    fn write_physical(&mut self, _: u64, _: &[u8]) -> bool {
        false
    }
    fn virtual_to_physical(&mut self, _: u64) -> Option<u64> {
        None
    }
    fn physical_to_virtual(&mut self, _: u64) -> Option<u64> {
        None
    }
    fn globals(&self) -> &[AtomicU64] {
        &self.globals
    }
    fn record(&mut self, site: u32, arguments: Arguments<'_>) {
        black_box((site, arguments));
    }
    fn branch(&mut self, _: usize) -> Option<Branch> {
        None
    }
    fn ask(&mut self, _: Ask) -> bool {
        false
    }
    fn tsc(&mut self) -> u64 {
        0
    }
    fn relax(&mut self) {}
    fn sleep_us(&mut self, _: u32) {}
}

/// Nanoseconds that this thread has had a processor.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let time = Duration::try_from(time).expect("it does not run backwards");
    u64::try_from(time.as_nanos()).expect("less than centuries")
}

/// The value of some work, and the time that it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let start = cpu_ns();
    let value = work();
    (value, (cpu_ns() - start).max(1))
}

/// One round of every sample in Lua: the value and nanoseconds of each. `None`: there is no Lua.
fn lua_round() -> Option<Vec<(u64, u64)>> {
    let [(_, first), (_, second)] = TEXTS;
    let mut text = format!(
        "local began function start() began = os.clock() end \
         local m = string.rep('\\0', 0x8000) .. \"{first}\" .. string.rep('\\0', 0x1000 - #\"{first}\") .. \"{second}\\0\" \
         function memory() return m, string.unpack end \
         local function run(f, n) start() local v = f(n) local t = os.clock() - began \
         print(string.format(\"%u %u\", v, math.floor(t * 1e9))) end\n"
    )
    .replace("%u %u", "%d %d");
    for Sample { turns, lua, .. } in &SAMPLES {
        writeln!(text, "run(function(n) {lua} end, {turns})").expect("writes");
    }
    let output = Command::new("lua5.4").arg("-e").arg(&text).output().ok()?;
    let lines = String::from_utf8(output.stdout).expect("text");
    let pairs: Option<Vec<_>> = lines
        .lines()
        .map(|line| {
            let (value, time) = line.split_once(' ')?;
            let value: i64 = value.parse().ok()?;
            Some((value as u64, time.parse().ok()?))
        })
        .collect();
    pairs.filter(|pairs| pairs.len() == SAMPLES.len())
}

/// The least that each of the samples took.
#[derive(Clone, Copy)]
struct Times {
    script: u64,
    plain: u64,
    lua: Option<u64>,
    operations: u64,
}

#[test]
fn scripts_beside_rust_and_lua() {
    let mut flat = Flat::new();
    let mut programs: Vec<_> = SAMPLES
        .iter()
        .map(|sample| engine::Program::new(sample.script))
        .collect();
    let none = Times {
        script: u64::MAX,
        plain: u64::MAX,
        lua: None,
        operations: 0,
    };
    let mut times = [none; SAMPLES.len()];
    for _ in 0..ROUNDS {
        let lua = lua_round();
        for (index, (sample, program)) in SAMPLES.iter().zip(&mut programs).enumerate() {
            let best = &mut times[index];
            let (outcome, script) = timed(|| program.run(&mut flat));
            let (value, plain) = timed(|| (sample.plain)(&flat));
            assert_eq!(outcome.value(), Some(value), "{}", sample.name);
            assert_eq!(outcome.faults, 0, "{}", sample.name);
            best.script = best.script.min(script);
            best.plain = best.plain.min(plain);
            best.operations = u64::MAX - outcome.left;
            if let Some(&(lua_value, time)) = lua.as_ref().and_then(|all| all.get(index)) {
                assert_eq!(lua_value, value, "{} in Lua", sample.name);
                best.lua = Some(best.lua.map_or(time, |best| best.min(time)));
            }
        }
    }
    for (index, (sample, program)) in SAMPLES.iter().zip(&programs).enumerate() {
        let best = times[index];
        let ns = best.script as f64;
        let mut line = format!(
            "script {:<16} {:>4} bytes {:>7.1} ns a turn {:>6.0} million operations per second, {:>5.1} × Rust",
            sample.name,
            program.len_bytes(),
            ns / sample.turns as f64,
            best.operations as f64 * 1e3 / ns,
            ns / best.plain as f64,
        );
        if let Some(lua) = best.lua {
            let _ = write!(line, ", {:.2} × Lua", ns / lua as f64);
        }
        println!("{line}");
    }
    if times[0].lua.is_none() {
        println!(
            "script: no lua5.4 here, so nothing is compared with it (Debian: apt install lua5.4)"
        );
    }
}
