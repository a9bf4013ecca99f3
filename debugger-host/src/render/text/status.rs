//! The session, the cores, the outputs.

use super::address;
use crate::answer::Count;
use crate::answer::status::{
    Core, CoreState, DropCause, Dropped, Endpoint, Line, Messages, Network, Output, State, Status,
    Target,
};
use crate::size::bytes;

/// `connected: …`
pub(super) fn connected(status: &Status) -> String {
    let state = match status.state {
        State::Halted { .. } => "halted",
        State::Running {} => "running",
        State::DriverGone {} => "the driver is gone",
        State::TakenOver {} => "another host program has it",
    };
    let connected = format!(
        "connected: {}; {} cores; session {:016x}; {state}",
        status.banner, status.cores, status.session
    );
    match (&status.network, &status.line.endpoint) {
        (None, _) | (_, Endpoint::Net { .. }) => connected,
        (Some(network), _) => format!(
            "{connected}\nnetwork: {}, so this line is the way to the debuggee",
            heard(network)
        ),
    }
}

fn heard(network: &Network) -> String {
    match network.heard_ms_ago {
        None => "no host was ever heard there".to_owned(),
        Some(Count(ms)) => format!(
            "a host was heard there {}.{} s ago",
            ms / 1000,
            ms / 100 % 10
        ),
    }
}

/// What the driver has counted.
fn network(network: &Network) -> String {
    let mut parts = vec![heard(network), counted(network.sessions, "session", "s")];
    if !network.dropped.is_empty() {
        parts.push(format!("dropped: {}", dropped(&network.dropped)));
    }
    if network.rebuilt.0 > 0 {
        let times = counted(network.rebuilt, "time", "s");
        parts.push(format!("its code failed and it was made anew {times}"));
    }
    if network.card_resets.0 > 0 {
        let times = counted(network.card_resets, "time", "s");
        parts.push(format!("the card was set up anew {times}"));
    }
    parts.join("; ")
}

pub(super) fn counted(count: Count, one: &str, more: &str) -> String {
    match count.0 {
        1 => format!("1 {one}"),
        count => format!("{count} {one}{more}"),
    }
}

/// What is left of a session that is over.
pub(super) fn closed(line: &str, runs: bool, events: u32) -> String {
    let state = match runs {
        true => "the debuggee runs",
        false => "the debuggee did not answer, and may be halted",
    };
    let left = match events {
        0 => String::new(),
        1 => "; 1 event stays, and if it halts the debuggee, that waits for you to connect"
            .to_owned(),
        n => format!(
            "; {n} events stay, and if one halts the debuggee, that waits for you to connect"
        ),
    };
    format!("{line} is closed; {state}{left}")
}

fn endpoint(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Serial { device, baud, .. } => format!("serial line {device} at {baud} baud"),
        Endpoint::Socket { path } => format!("socket {path}"),
        Endpoint::Tcp { address } => format!("tcp {address}"),
        Endpoint::Pipe { name } => format!("pipe {name}"),
        Endpoint::PipeServer { name } => format!("pipe {name}, served here"),
        Endpoint::Net { address, key } => format!("network port {address}, key {key}"),
    }
}

/// What the line's rate has become.
fn rate(line: &Line) -> String {
    let Endpoint::Serial { baud: asked, .. } = line.endpoint else {
        return String::new();
    };
    let now = line.baud.filter(|baud| *baud != asked);
    let now = now.map_or_else(String::new, |baud| format!("; now at {baud} baud"));
    let failed = line
        .failed_baud
        .map_or_else(String::new, |baud| format!("; {baud} did not get through"));
    now + &failed
}

/// `2 forged, 1 replayed`
fn dropped(dropped: &[Dropped]) -> String {
    let words = dropped.iter().map(|Dropped { cause, count }| {
        let cause = match cause {
            DropCause::Foreign => "no debuggee's",
            DropCause::Truncated => "without their end",
            DropCause::Reflected => "sent back",
            DropCause::WrongKey => "under another key",
            DropCause::Forged => "forged or damaged",
            DropCause::Replayed => "replayed or doubled",
            DropCause::OlderClock => "at an earlier time",
            DropCause::UnknownSession => "of a session that is over",
        };
        format!("{count} {cause}")
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Lines of `.status`.
pub(super) fn status(status: &Status, messages: Option<&Messages>) -> String {
    let line = &status.line;
    let open = line
        .lost
        .as_ref()
        .map_or_else(|| "open".to_owned(), |why| format!("lost: {why}"));
    let state = match status.state {
        State::Halted { number, core } => {
            format!("halted (halt {number}, operating core {core:x})")
        }
        State::Running {} => "running".to_owned(),
        State::TakenOver {} => "unknown: another host program has the debuggee".to_owned(),
        State::DriverGone {} => "unknown: the driver was unloaded, and is waited for".to_owned(),
    };
    let constants = &status.constants;
    let symbols = status.symbols.map_or_else(
        || "none".to_owned(),
        |symbols| format!("{} of the kernel, slide {:x}", symbols.count, symbols.slide),
    );
    let messages = messages.map_or_else(
        || "unknown: the debuggee does not answer".to_owned(),
        |counts| {
            format!(
                "{} made, {} delivered, {} found no room, {} flushed, {} waiting",
                counts.made, counts.delivered, counts.dropped, counts.flushed, counts.waiting
            )
        },
    );
    let mut lines = vec![
        format!(
            "line        {} ({open}{})",
            endpoint(&line.endpoint),
            rate(line)
        ),
        format!("debuggee    {}", status.banner),
        format!(
            "session     {:016x}, {} cores, kernel at {:016x}, TSC {} kHz",
            status.session, status.cores, status.kernel_base, status.tsc_khz
        ),
        format!("state       {state}"),
        format!("symbols     {symbols}"),
        format!(
            "constants   arena {}, {} of it for prealloc alone; halted time {}; {} polls/s",
            bytes(constants.arena_bytes.0),
            bytes(constants.prealloc_only_bytes.0),
            if constants.hides_time {
                "hidden"
            } else {
                "shown"
            },
            constants.poll_hz
        ),
        format!("messages    {messages}"),
        format!(
            "link        {} bytes sent, {} bytes received, {} requests",
            line.sent_bytes, line.received_bytes, line.requests
        ),
        format!(
            "frames      {} sent ({} repeated), {} received, {} broken, {} duplicate, {} after a gap",
            line.sent_frames,
            line.repeated_frames,
            line.received_frames,
            line.broken_frames,
            line.duplicate_frames,
            line.gap_frames
        ),
    ];
    if !line.dropped.is_empty() {
        lines.push(format!("dropped     {}", dropped(&line.dropped)));
    }
    if let Some(of) = &status.network {
        lines.push(format!("network     {}", network(of)));
    }
    lines.join("\n")
}

/// Lines of `~`.
pub(super) fn cores(cores: &[Core]) -> String {
    let line = |core: &Core| {
        let mark = if core.is_operating { '*' } else { ' ' };
        let state = match &core.state {
            CoreState::Halted { at } => format!("halted   {}", address(at)),
            CoreState::WaitsForStartup {} => "waits for a start-up IPI".to_owned(),
            CoreState::Missing {} => "did not check in".to_owned(),
            CoreState::Offline {} => "not under the hypervisor".to_owned(),
            CoreState::Died { at } => format!("died     {}", address(at)),
            CoreState::Lost {} => "lost by a fault of the hypervisor".to_owned(),
        };
        format!("{mark}{:2x}  {state}", core.core)
    };
    cores.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// `file /tmp/x`
pub(super) fn target(target: &Target) -> String {
    match target {
        Target::File { path } => format!("file {path}"),
        Target::Tcp { address } => format!("tcp {address}"),
        Target::Namedpipe { path } => format!("namedpipe {path}"),
    }
}

/// Lines of `output`.
pub(super) fn outputs(outputs: &[Output]) -> String {
    if outputs.is_empty() {
        return "no outputs; `output create NAME file PATH` makes one".to_owned();
    }
    let line = |output: &Output| {
        let state = match (&output.failure, output.is_open) {
            (Some(why), _) => format!("failed: {why}"),
            (None, true) => "open".to_owned(),
            (None, false) => "closed".to_owned(),
        };
        format!(
            "{}  {}  {state}; {} messages, {} bytes written",
            output.name,
            target(&output.target),
            output.messages,
            output.bytes
        )
    };
    outputs.iter().map(line).collect::<Vec<_>>().join("\n")
}
