//! What a program can ask for by number: functions of the language, pseudo-registers, and ways to
//! show a value.

macro_rules! routines {
    ($($(#[$doc:meta])* $name:ident $text:literal $arguments:literal;)*) => {
        /// A function of the language. Each leaves exactly one value; those that have none to
        /// give leave 0. The names are the language's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Routine {
            $($(#[$doc])* $name,)*
        }

        impl Routine {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What the language calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// Number of its arguments.
            #[must_use]
            pub const fn arguments(self) -> u8 {
                match self {
                    $(Self::$name => $arguments,)*
                }
            }
        }
    };
}

routines! {
    /// `destination source bytes → 0`; stops with a fault where either is not there
    Memcpy "memcpy" 3;
    /// The same with physical addresses
    MemcpyPhysical "memcpy_pa" 3;
    /// `a b bytes → -1, 0 or 1`
    Memcmp "memcmp" 3;
    /// `text → bytes before the zero`
    Strlen "strlen" 1;
    /// `a b → -1, 0 or 1`
    Strcmp "strcmp" 2;
    /// `a b most → -1, 0 or 1`
    Strncmp "strncmp" 3;
    /// `text → characters before the zero`, UTF-16
    Wcslen "wcslen" 1;
    /// `a b → -1, 0 or 1`, UTF-16
    Wcscmp "wcscmp" 2;
    /// `a b most → -1, 0 or 1`, UTF-16
    Wcsncmp "wcsncmp" 3;
    /// `address → 1 if it can be read`
    CheckAddress "check_address" 1;
    /// `address → physical address`, 0 if none
    VirtualToPhysical "virtual_to_physical" 1;
    /// `physical address → address`, 0 if none
    PhysicalToVirtual "physical_to_virtual" 1;
    /// `address → bytes of the 64-bit instruction there`, 0 if it is none
    InstructionLength64 "disassemble_len64" 1;
    /// `address → bytes of the 32-bit instruction there`, 0 if it is none
    InstructionLength32 "disassemble_len32" 1;
    /// Stops all cores when the run has ended
    Pause "pause" 0;
    /// Drops queued messages
    Flush "flush" 0;
    /// `event → done`
    EventEnable "event_enable" 1;
    /// `event → done`
    EventDisable "event_disable" 1;
    /// `event → done`
    EventClear "event_clear" 1;
    /// `0 or 1 → done`: whether what triggered this hit takes place, for this hit
    EventShortCircuit "event_sc" 1;
    /// `type vector → done`
    EventInject "event_inject" 2;
    /// `type vector code → done`
    EventInjectErrorCode "event_inject_error_code" 3;
    /// Steps, then runs the event again: one instruction, a call taken as one
    TraceStep "event_trace_step" 0;
    /// The same, into calls
    TraceStepIn "event_trace_step_in" 0;
    /// The same until the routine returned
    TraceStepOut "event_trace_step_out" 0;
    /// As `event_trace_step`, of handlers that come in between, too
    TraceInstrumentationStep "event_trace_instrumentation_step" 0;
    /// As `event_trace_step_in`, of handlers that come in between, too
    TraceInstrumentationStepIn "event_trace_instrumentation_step_in" 0;
    /// `address of a variable →`: waits until it is 0 and makes it 1
    SpinlockLock "spinlock_lock" 1;
    /// `address of a variable →`: makes it 0
    SpinlockUnlock "spinlock_unlock" 1;
    /// `address of a variable, longest wait →`: as `spinlock_lock`
    SpinlockLockCustomWait "spinlock_lock_custom_wait" 2;
    /// `address of a variable → new value`
    InterlockedIncrement "interlocked_increment" 1;
    /// `address of a variable → new value`
    InterlockedDecrement "interlocked_decrement" 1;
    /// `address of a variable, value → old value`
    InterlockedExchange "interlocked_exchange" 2;
    /// `address of a variable, addend → old value`
    InterlockedExchangeAdd "interlocked_exchange_add" 2;
    /// `address of a variable, new, expected → old value`
    InterlockedCompareExchange "interlocked_compare_exchange" 3;
    /// The time-stamp counter
    Rdtsc "rdtsc" 0;
    /// The time-stamp counter, after all earlier instructions
    Rdtscp "rdtscp" 0;
    /// `microseconds →`: waits
    Microsleep "microsleep" 1;
    /// Keeps the branches that this core recorded, for `!lbrdump`
    LbrSave "lbr_save" 0;
    /// Prints them; 1 if they are recorded
    LbrPrint "lbr_print" 0;
    /// The same
    LbrDump "lbr_dump" 0;
    /// `→ 1 if this core records branches`
    LbrCheck "lbr_check" 0;
    /// Goes on recording after something ended it
    LbrRestore "lbr_restore" 0;
    /// `filter → done`: the same, with this filter
    LbrRestoreByFilter "lbr_restore_by_filter" 1;
}

impl Routine {
    /// The routine of that number.
    #[must_use]
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The routine of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "disassemble_len" {
            return Some(Self::InstructionLength64);
        }
        Self::ALL
            .iter()
            .find(|routine| routine.name() == name)
            .copied()
    }
}

macro_rules! pseudo_registers {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {
        /// A pseudo-register. The names are the language's, after the `$`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Pseudo {
            $($(#[$doc])* $name,)*
        }

        impl Pseudo {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What the language calls it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

pseudo_registers! {
    /// Process number
    Pid "pid";
    /// Thread number
    Tid "tid";
    /// Core number
    Core "core";
    /// Address of the system's process object
    Process "proc";
    /// Address of the system's thread object
    Thread "thread";
    /// Address of the image name, 16 bytes
    ProcessName "pname";
    /// Address of the process environment block
    Peb "peb";
    /// Address of the thread environment block
    Teb "teb";
    /// Instruction pointer
    Ip "ip";
    /// The event's safe buffer, or 0
    Buffer "buffer";
    /// What the event type says it is
    Context "context";
    /// Number of the event
    EventId "event_id";
    /// Tag of the event
    EventTag "event_tag";
    /// 0 before and 1 after what triggered the event
    EventStage "event_stage";
    /// Text, see [`super::tag::Marker`]
    Date "date";
    /// Text, see [`super::tag::Marker`]
    Time "time";
}

impl Pseudo {
    /// The pseudo-register of that number.
    #[must_use]
    #[inline]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }

    /// The pseudo-register of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|pseudo| pseudo.name() == name)
            .copied()
    }
}

/// How a single value is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Show {
    /// `print`: a line with the number in hexadecimal.
    Print,
    /// `formats`: the number in every notation.
    Formats,
    /// `test_statement`: a line that a test can find.
    Test,
}

impl Show {
    /// The way of that number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Print, Self::Formats, Self::Test]
            .get(usize::from(byte))
            .copied()
    }
}

/// How a value of `printf` is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ArgumentKind {
    /// As the number it is.
    Value,
    /// `%s`: the text it points at.
    Text,
    /// `%ws` and `%ls`: the UTF-16 text it points at.
    WideText,
}

impl ArgumentKind {
    /// The kind of the value at `index`, of all kinds as [`super::op::Op::PrintfText`] has them.
    #[must_use]
    pub fn of(kinds: u32, index: usize) -> Option<Self> {
        let shift = u32::try_from(index.checked_mul(2)?).ok()?;
        match kinds.checked_shr(shift)? & 3 {
            0 => Some(Self::Value),
            1 => Some(Self::Text),
            2 => Some(Self::WideText),
            _ => None,
        }
    }
}
