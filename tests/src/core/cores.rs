//! Cores that run beside one another, each in a thread of its own, as those of a machine do: while one halts, the others
//! are held. Who directs them gives each its exits, one after the other, and waits until all that follows is done.

use super::Made;
use super::line::Host;
use super::recording::{Log, change};
use debuggee_driver::cores::roster::Presence;
use debuggee_driver::exit::{self, Core, Death, Flow};
use debuggee_driver::fake::cpu::{FakeCpu, Place};
use debuggee_driver::fake::machine::Built;
use debuggee_driver::port::Cpu;
use debuggee_driver::shared::Shared;
use debuggee_driver::vmx::{interruption, reason, ro};
use debugger_host::recording::input::Input;
use std::cell::Cell;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use wire_protocol::address::CoreId;

/// Stack of a core.
const STACK_BYTES: usize = 16 << 20;

/// Looks of a core at its time in one exit until it rests, and for how long.
const LOOKS_UNTIL_REST: u32 = 1000;
const REST: Duration = Duration::from_millis(6);

/// What a core is given.
enum Order {
    /// It leaves its guest with these values.
    Exit(Vec<(Place, u64)>),
    /// The same, and what of them is new is written down. The sender goes when that is done.
    NotedExit(Vec<(Place, u64)>, Log, Sender<()>),
    /// Its timer runs out: it looks at the line, if it is the one that does.
    Look,
}

/// What is known of a core from outside.
#[derive(Clone, Copy, Default)]
struct Known {
    /// It is at work in VMX-root.
    is_busy: bool,
    /// Another core has sent it an NMI, which it was not given yet.
    is_asked: bool,
    /// It has left the hypervisor.
    has_left: bool,
}

#[derive(Default)]
struct Board {
    cores: Mutex<Vec<Known>>,
    changed: Condvar,
}

impl Board {
    fn cores(&self) -> MutexGuard<'_, Vec<Known>> {
        self.cores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, core: usize, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.cores().get_mut(core) {
            change(known);
        }
        self.changed.notify_all();
    }
}

/// What those are waited for that are at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// None is at work.
    Idle,
    /// For these cores, which do not know yet that they are to come.
    ForCores(Vec<usize>),
    /// For nothing that has come about so far.
    Busy,
}

/// See the module.
pub(super) struct Cores<H: Host> {
    pub(super) shared: &'static Shared<Made<H>>,
    orders: Vec<Sender<Order>>,
    threads: Vec<JoinHandle<()>>,
    board: Arc<Board>,
}

impl<H: Host> Cores<H> {
    /// Each waits for its first exit.
    pub(super) fn start((shared, cores): Built<Made<H>>) -> Self {
        let board = Arc::new(Board::default());
        *board.cores() = vec![Known::default(); cores.len()];
        let (mut orders, mut threads) = (Vec::new(), Vec::new());
        for (number, mut core) in cores.into_iter().enumerate() {
            let (sender, receiver) = channel();
            let asks = Arc::clone(&board);
            core.cpu.sends_nmi = Some(Box::new(move |to| {
                asks.set(to as usize, |known| known.is_asked = true);
            }));
            let board = Arc::clone(&board);
            let run = move || run(core, number, &receiver, &board);
            let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
            match thread.spawn(run) {
                Ok(thread) => threads.push(thread),
                Err(why) => panic!("no thread for a core: {why}"),
            }
            orders.push(sender);
        }
        Self {
            shared,
            orders,
            threads,
            board,
        }
    }

    fn give(&self, core: usize, order: Order) {
        let Some(orders) = self.orders.get(core) else {
            return;
        };
        self.board.set(core, |known| {
            known.is_busy = true;
            known.is_asked = false;
        });
        // A core that is gone stays busy, and whoever waits for it gives up.
        let _ = orders.send(order);
    }

    /// A core that is not at work leaves its guest.
    pub(super) fn exit(&self, core: usize, values: Vec<(Place, u64)>) {
        self.give(core, Order::Exit(values));
    }

    /// The same, written down before other cores are given anything.
    pub(super) fn noted_exit(&self, core: usize, values: Vec<(Place, u64)>, log: Log) {
        let (noted, is_noted) = channel();
        self.give(core, Order::NotedExit(values, log, noted));
        // Nothing is sent: it is done, or the core is gone.
        let _ = is_noted.recv();
    }

    /// The core that polls looks at the line, if it runs its guest.
    pub(super) fn look(&self) {
        let polls = |core: &usize| self.shared.poll.is_by(CoreId(*core as u16));
        if let Some(core) = (0..self.orders.len()).find(polls) {
            self.give(core, Order::Look);
        }
    }

    /// Waits until there is something to do for those that are at work, or for a while.
    pub(super) fn wait(&self, patience: Duration) -> Waits {
        let waits = |cores: &[Known]| {
            let asked = (0..).zip(cores);
            let asked = asked.filter(|(_, known)| known.is_asked && !known.is_busy);
            let asked: Vec<_> = asked.map(|(number, _)| number).collect();
            match cores.iter().any(|known| known.is_busy) {
                false => Waits::Idle,
                true if asked.is_empty() => Waits::Busy,
                true => Waits::ForCores(asked),
            }
        };
        let is_busy = |cores: &mut Vec<Known>| waits(cores) == Waits::Busy;
        let changed = &self.board.changed;
        let cores = changed.wait_timeout_while(self.board.cores(), patience, is_busy);
        let (cores, _) = cores.unwrap_or_else(PoisonError::into_inner);
        waits(&cores)
    }

    /// Whether a core deals with an exit, or is held while it does.
    pub(super) fn is_busy(&self, core: usize) -> bool {
        self.board.cores().get(core).is_some_and(|it| it.is_busy)
    }

    /// Whether a core deals with an exit, and is not held.
    pub(super) fn is_at_work(&self, core: usize) -> bool {
        self.is_busy(core) && self.shared.rendezvous.presence(CoreId(core as u16)) != Presence::Held
    }

    /// Whether cores wait to leave, together with all others.
    pub(super) fn any_leaves(&self) -> bool {
        self.shared.departure.any_waits()
    }

    /// Whether all have left.
    pub(super) fn all_have_left(&self) -> bool {
        self.board.cores().iter().all(|known| known.has_left)
    }
}

impl<H: Host> Drop for Cores<H> {
    fn drop(&mut self) {
        self.orders.clear();
        let is_idle = self.board.cores().iter().all(|known| !known.is_busy);
        for thread in self.threads.drain(..) {
            // One that is in a halt which nobody ends stays there.
            if is_idle {
                let _ = thread.join();
            }
        }
    }
}

/// A core that waits for another one looks at its time as long as it has patience, ten million times. It rests in between, so
/// that this takes a minute: a busy computer keeps the other one from coming for a while.
fn rests() -> Box<dyn Fn() + Send> {
    let looks = Cell::new(0_u32);
    Box::new(move || {
        looks.set(looks.get() + 1);
        if looks.get().is_multiple_of(LOOKS_UNTIL_REST) {
            std::thread::sleep(REST);
        }
    })
}

/// A core's thread.
fn run<H: Host>(
    mut core: Core<'static, Made<H>>,
    number: usize,
    orders: &Receiver<Order>,
    board: &Board,
) {
    let mut death = None;
    while let Ok(order) = orders.recv() {
        core.cpu.looks_at_time = Some(rests());
        match order {
            // One that has died has left its guest for the last time, and takes part in halts only.
            Order::Exit(_) if death.is_some() => {}
            Order::Exit(values) => take(&mut core.cpu, &values),
            Order::NotedExit(values, log, noted) => {
                let values = match death {
                    Some(_) => Vec::new(),
                    None => values,
                };
                note(&core.cpu, &values, &log, core.id);
                drop(noted);
                take(&mut core.cpu, &values);
            }
            Order::Look => {
                let reason = u64::from(reason::PREEMPTION_TIMER);
                core.cpu.vmwrite(ro::EXIT_REASON, reason);
            }
        }
        let mut has_left = false;
        if death.is_none() {
            match exit::handle(&mut core) {
                Flow::Enter => {}
                Flow::Leave => has_left = true,
                Flow::Dead(fault) => death = Some(Death::new(&core, fault)),
            }
        }
        if let Some(death) = &mut death {
            death.turn(&mut core);
        }
        board.set(number, |known| {
            known.is_busy = false;
            known.has_left = has_left;
        });
    }
}

/// Gives a core the values that it leaves its guest with.
fn take(cpu: &mut FakeCpu, values: &[(Place, u64)]) {
    for (place, value) in values {
        cpu.change(*place, *value);
    }
}

/// Writes down what of them is not what the core entered its guest with, since when it has done nothing.
fn note(cpu: &FakeCpu, values: &[(Place, u64)], log: &Log, core: CoreId) {
    let entered = cpu.state();
    let is_new = |(place, value): &&(Place, u64)| {
        *place == Place::Field(ro::EXIT_REASON)
            || entered.get(place).copied().unwrap_or_default() != *value
    };
    let changes = values.iter().filter(is_new);
    log.took(Input::Exit {
        core: core.0,
        changes: changes
            .map(|(place, value)| change(*place, *value))
            .collect(),
    });
}

/// Values with which a core leaves its guest that nothing happened to but an NMI.
pub(super) fn with_nmi(values: &mut Vec<(Place, u64)>) {
    let info = interruption::VALID | 2 << 8 | 2;
    for (field, value) in [
        (ro::EXIT_REASON, u64::from(reason::EXCEPTION_OR_NMI)),
        (ro::VMEXIT_INTERRUPTION_INFO, info),
        (ro::IDT_VECTORING_INFO, 0),
    ] {
        values.retain(|(place, _)| *place != Place::Field(field));
        values.push((Place::Field(field), value));
    }
}
