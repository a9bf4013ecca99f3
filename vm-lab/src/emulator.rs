//! Building the emulator from Debian's source package, once.
//!
//! Called by `provision`. Debian's own binary won't do: it is older, has no monitor trap flag, and carries a debugger
//! that makes it three times slower.

use crate::apt::Apt;
use crate::progress::Phase;
use crate::run;
use anyhow::{Context, Result, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

const CONFIGURE: &[&str] = &[
    "--with-nogui",
    "--disable-docbook",
    "--enable-cpu-level=6",
    "--enable-x86-64",
    "--enable-smp",
    "--enable-vmx=2",
    "--enable-svm",
    "--enable-avx",
    "--enable-evex",
    "--enable-protection-keys",
    "--enable-cet",
    "--enable-memtype",
    "--enable-pci",
    "--enable-e1000",
    "--enable-ne2000",
    "--enable-fpu",
    "--enable-large-ramfile",
    "--enable-all-optimizations",
    "--enable-a20-pin",
    "--enable-cdrom",
    "--enable-logging",
    "--enable-raw-serial",
    "--disable-debugger",
    "--disable-plugins",
];

/// A place of the emulator's source, and what stands there instead.
struct Change {
    file: &'static str,
    before: &'static str,
    after: &'static str,
}

const CHANGES: &[Change] = &[
    // Two defects of the loop that runs several processors; the loop for one has neither.
    //
    // After an exception was delivered, the instruction and stack pointers to fall back to are still those of the
    // instruction that raised it. A VM exit at that very boundary then saves them, and the guest's stack is off by one.
    // Seen as kernel crashes, about one in a thousand break-ins under load.
    Change {
        file: "cpu/cpu.cc",
        before: "void BX_CPU_C::cpu_run_trace(void)\n{\n",
        after: "void BX_CPU_C::cpu_run_trace(void)\n{\n  BX_CPU_THIS_PTR prev_rip = RIP;\n  \
                BX_CPU_THIS_PTR speculative_rsp = false;\n",
    },
    // A longjmp out of one processor's instruction gives this variable the value it had at the setjmp: the first
    // processor. Its instruction counter is then one too high, and the state that STI leaves for one instruction is over
    // before that instruction. Seen as an interrupt inside it, about one in two thousand hits of a hook under load.
    Change {
        file: "main.cc",
        before: "Bit32u executed = 0, processor = 0;",
        after: "volatile Bit32u executed = 0, processor = 0;",
    },
    // The emulator can save its state, but only when told to in a window. This one does so on a signal, into `saved` in
    // its working directory, and ends.
    Change {
        file: "gui/nogui.cc",
        before: "void bx_nogui_gui_c::handle_events(void)\n{\n}\n",
        after: "#include <signal.h>\n\
                static volatile sig_atomic_t save_asked = 0;\n\
                static void ask_to_save(int) { save_asked = 1; }\n\
                void bx_nogui_gui_c::handle_events(void)\n{\n  \
                static void (*const before)(int) = signal(SIGUSR1, ask_to_save);\n  \
                (void)before;\n  \
                if (save_asked) _exit(SIM->save_state(\"saved\") ? 0 : 1);\n}\n",
    },
    // A line has a rate at each end, and the lab's relay damages it where they differ. So the second port says its own
    // between the bytes that it sends, as RFC 2217 has it (`rates` reads it): 255 is the escape, and stands twice for
    // itself.
    Change {
        file: "iodev/serial.cc",
        before: "      BX_SER_THIS s[port].line_cntl.dlab = new_b7;\n",
        after: "      if (port == 1 && BX_SER_THIS s[port].line_cntl.dlab && !new_b7 &&\n          \
                BX_SER_THIS s[port].io_mode == BX_SER_MODE_SOCKET_CLIENT) {\n        \
                Bit8u told[16] = {255, 250, 44, 1};\n        \
                unsigned len = 4;\n        \
                for (int shift = 24; shift >= 0; shift -= 8) {\n          \
                told[len++] = (Bit8u)(BX_SER_THIS s[port].baudrate >> shift);\n          \
                if (told[len - 1] == 255) told[len++] = 255;\n        }\n        \
                told[len++] = 255;\n        told[len++] = 240;\n        \
                ::send(BX_SER_THIS s[port].socket_id, (const char*) told, len, 0);\n      }\n      \
                BX_SER_THIS s[port].line_cntl.dlab = new_b7;\n",
    },
    Change {
        file: "iodev/serial.cc",
        before: "               (const char*) &BX_SER_THIS s[port].tsrbuffer, 1, 0);\n",
        after: "               (const char*) &BX_SER_THIS s[port].tsrbuffer, 1, 0);\n        \
                if (port == 1 && BX_SER_THIS s[port].tsrbuffer == 255 &&\n            \
                BX_SER_THIS s[port].io_mode == BX_SER_MODE_SOCKET_CLIENT)\n          \
                ::send(BX_SER_THIS s[port].socket_id,\n                 \
                (const char*) &BX_SER_THIS s[port].tsrbuffer, 1, 0);\n",
    },
    // Whoever asked for it is told of each VM exit, before anything else happens anywhere in the machine: see `exits`.
    Change {
        file: "cpu/vmx.cc",
        before: "void BX_CPU_C::VMexit(Bit32u reason, Bit64u qualification)\n{\n",
        after: EXITS,
    },
    Change {
        file: "cpu/vmx.cc",
        before: "  BX_CPU_THIS_PTR in_vmx_guest = false;\n\n  \
                 // entering VMX root mode: clear possibly pending guest VMX events\n",
        after: "  tell_exit();\n\n  BX_CPU_THIS_PTR in_vmx_guest = false;\n\n  \
                // entering VMX root mode: clear possibly pending guest VMX events\n",
    },
];

/// In front of what handles an exit: connects to the socket that a variable names, sends all that the core's state can be
/// told by, and waits for a byte.
const EXITS: &str = r#"#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>
#include <sys/un.h>
void BX_CPU_C::VMexit(Bit32u reason, Bit64u qualification)
{
  static int exits = -2;
  if (exits == -2) {
    exits = -1;
    const char *path = getenv("BOCHS_VMEXITS");
    struct sockaddr_un at;
    memset(&at, 0, sizeof(at));
    at.sun_family = AF_UNIX;
    if (path && strlen(path) < sizeof(at.sun_path)) {
      strcpy(at.sun_path, path);
      exits = ::socket(AF_UNIX, SOCK_STREAM, 0);
      if (exits < 0 || ::connect(exits, (struct sockaddr*) &at, sizeof(at)) != 0)
        BX_PANIC(("nobody to tell of VM exits"));
    }
  }
  auto tell_exit = [&]() {
    if (exits < 0) return;
    static Bit8u told[16384];
    unsigned len = 8;
    auto tell = [&](Bit8u kind, Bit32u number, Bit64u value) {
      told[len++] = kind;
      memcpy(told + len, &number, 4);
      memcpy(told + len + 4, &value, 8);
      len += 12;
    };
    for (unsigned type = 0; type < 3; type++)
      for (unsigned width = 0; width < 4; width++)
        for (unsigned index = 0; index < 64; index++) {
          Bit32u field = width << 13 | type << 10 | index << 1;
          if (BX_CPU_THIS_PTR vmcs_map->is_valid(field)) tell(0, field, vmread(field));
        }
    for (unsigned n = 0; n < 16; n++) tell(1, n, n == 4 ? 0 : BX_READ_64BIT_REG(n));
    tell(2, 0, BX_CPU_THIS_PTR cr2);
    tell(2, 1, BX_CPU_THIS_PTR lapic->get_tpr() >> 4);
    for (unsigned n = 0; n < 4; n++) tell(2, 2 + n, BX_CPU_THIS_PTR dr[n]);
    tell(2, 6, BX_CPU_THIS_PTR dr6.get32());
    tell(2, 7, BX_CPU_THIS_PTR msr.kernelgsbase);
    tell(2, 8, BX_CPU_THIS_PTR lapic->get_tsc_deadline());
    tell(2, 9, BX_CPU_THIS_PTR msr.apicbase);
    tell(2, 10, BX_CPU_THIS_PTR msr.star);
    tell(2, 11, BX_CPU_THIS_PTR msr.lstar);
    tell(2, 12, BX_CPU_THIS_PTR msr.fmask);
    Bit32u core = BX_CPU_ID, body = len - 8;
    memcpy(told, &core, 4);
    memcpy(told + 4, &body, 4);
    for (unsigned sent = 0; sent < len; ) {
      long count = ::send(exits, told + sent, len - sent, MSG_NOSIGNAL);
      if (count <= 0) _exit(0);
      sent += count;
    }
    Bit8u go;
    if (::recv(exits, &go, 1, 0) != 1) _exit(0);
  };

"#;

/// Compiler flags, which depend on what this machine's processor can run.
fn flags() -> &'static str {
    let v3 = std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("bmi2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("movbe")
        && std::arch::is_x86_feature_detected!("lzcnt");
    if v3 {
        "-O3 -march=x86-64-v3 -fno-plt"
    } else {
        "-O3 -fno-plt"
    }
}

/// The cache entry's name: another configuration is another entry.
///
/// # Errors
/// Never in practice; it reads no file.
pub(crate) fn entry_name() -> Result<String> {
    let mut settings = vec![flags()];
    settings.extend(CONFIGURE);
    settings.extend(CHANGES.iter().map(|change| change.after));
    Ok(format!(
        "emulator-{}",
        crate::cache::fingerprint(&[], &settings)?
    ))
}

/// Fetches, checks, configures and compiles the emulator; leaves the program `bochs` in `into`.
pub(crate) fn build(apt: &Apt, into: &Path, phase: &Phase) -> Result<()> {
    let work = tempfile::tempdir_in(into.parent().unwrap_or(into))?;
    let tarball = apt.upstream_tarball("bochs", work.path())?;
    let tree = work.path().join("tree");
    fs::create_dir(&tree)?;
    run::output(
        Command::new("tar")
            .arg("-xf")
            .arg(&tarball)
            .arg("-C")
            .arg(&tree)
            .arg("--strip-components=1"),
    )?;
    change(&tree)?;
    run::output(
        Command::new("./configure")
            .current_dir(&tree)
            .args(CONFIGURE)
            .env("CFLAGS", flags())
            .env("CXXFLAGS", flags()),
    )?;
    make(&tree, phase)?;
    fs::copy(tree.join("bochs"), into.join("bochs")).context("the build left no bochs")?;
    Ok(())
}

/// Makes every one of [`CHANGES`].
fn change(tree: &Path) -> Result<()> {
    for Change {
        file,
        before,
        after,
    } in CHANGES
    {
        let path = tree.join(file);
        let source = fs::read_to_string(&path)?;
        if source.matches(before).count() != 1 {
            bail!("the emulator's {file} is not the one this lab knows how to change");
        }
        fs::write(&path, source.replacen(before, after, 1))?;
    }
    Ok(())
}

/// Runs make, counting compiled files on the progress bar.
fn make(tree: &Path, phase: &Phase) -> Result<()> {
    let compiles = |line: &str| line.contains(" -c ");
    let plan = run::output(Command::new("make").arg("-n").current_dir(tree)).unwrap_or_default();
    phase.expect_steps(plan.lines().filter(|line| compiles(line)).count() as u64);
    let log_path = tree.join("make-errors");
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut child = Command::new("make")
        .arg(format!("-j{jobs}"))
        .current_dir(tree)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&log_path)?)
        .spawn()
        .context("starting make")?;
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if compiles(&line) {
                phase.step();
            }
        }
    }
    let status = child.wait()?;
    if !status.success() {
        let log = String::from_utf8_lossy(&fs::read(&log_path)?).into_owned();
        bail!("compiling the emulator failed:\n{}", run::tail(&log, 30));
    }
    Ok(())
}
