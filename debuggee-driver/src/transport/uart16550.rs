//! The serial port of a PC, polled. In VMX-root with the core that serves the link; at boot for
//! [`Uart::init`].
//!
//! National Semiconductor PC16550D data sheet, "Registers" 8.0; Texas Instruments TL16C750 data sheet, "FIFO control
//! register", for FIFOs of 64 bytes; Exar ST16C650A data sheet, "Enhanced feature register", for those of 32.

use crate::port::{Calls, HostTransport, Owned, RegisterIo};
use wire_protocol::baud::{self, byte_time_ns, divisor};
use wire_protocol::link::Rates;
use wire_protocol::transport::Transport;

const DATA: u8 = 0;
const INTERRUPT_ENABLE: u8 = 1;
const FIFO_CONTROL: u8 = 2;
const INTERRUPT_IDENTITY: u8 = 2;
/// In the place of the two before, where the line control says so and the chip has it.
const ENHANCED: u8 = 2;
const LINE_CONTROL: u8 = 3;
const MODEM_CONTROL: u8 = 4;
const LINE_STATUS: u8 = 5;
const SCRATCH: u8 = 7;

/// With it set, the first two registers are the divisor.
const DIVISOR_LATCH: u8 = 0x80;
const EIGHT_BITS_NO_PARITY_ONE_STOP: u8 = 0x03;
/// Shows [`ENHANCED`].
const ENHANCED_LATCH: u8 = 0xbf;
/// Lets the bits be written that chips of this kind have more in other registers; no flow control.
const ENHANCED_ON: u8 = 0x10;
const FIFO_ON_AND_EMPTIED: u8 = 0x07;
/// Takes effect with the divisor latch open only.
const FIFO_OF_64: u8 = 0x20;
const FIFO_IS_ON: u8 = 0xc0;
const FIFO_IS_OF_64: u8 = 0x20;
const FIFO: u8 = FIFO_IS_ON | FIFO_IS_OF_64;
/// Data terminal ready and request to send; without OUT2, which lets interrupts through.
const READY: u8 = 0x03;
const LETS_INTERRUPTS_THROUGH: u8 = 0x08;
/// What it interrupts for: bytes received, an empty transmitter.
const RECEIVED: u8 = 1;
const EMPTIED: u8 = 2;

/// Bits that every UART has in the registers for interrupts and for the modem.
const INTERRUPTS: u8 = 0x0f;
const MODEM: u8 = 0x1f;

const HAS_DATA: u8 = 1;
const OVERRUN: u8 = 1 << 1;
const PARITY: u8 = 1 << 2;
const FRAMING: u8 = 1 << 3;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// The shift register, too.
const ALL_SENT: u8 = 1 << 6;
/// What a port reads that no device answers at.
const NOBODY: u8 = 0xff;

/// Why a port cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UartError {
    /// No UART answers.
    Missing,
    /// Its clock does not make this rate.
    BadSpeed {
        /// What was asked for.
        baud_hz: u32,
        /// What it makes.
        rates: baud::Rates,
    },
}

/// How a UART is to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// Its clock.
    pub clock_hz: u32,
    /// Bits in a second.
    pub baud_hz: u32,
    /// Whatever the host asks for.
    pub is_fixed: bool,
}

/// Errors on the line since [`Uart::init`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineErrors {
    /// Bytes came faster than they were read; at least one each time was lost.
    pub overruns: u32,
    /// Bytes without a stop bit (or a wrong parity): wrong speed or noise.
    pub framing: u32,
}

/// One port.
#[derive(Debug)]
pub struct Uart<Io> {
    io: Io,
    speed: Speed,
    divisor: u16,
    /// What it says of its FIFO.
    fifo: u8,
    /// Bytes that the transmitter takes once it is empty.
    fifo_bytes: usize,
    errors: LineErrors,
}

impl<Io: RegisterIo> Uart<Io> {
    /// Sets the port up: 8 bits, no parity, one stop bit, FIFO on and empty, no interrupts.
    ///
    /// # Errors
    /// No UART answers, or the speed is impossible; then nothing was written.
    pub fn init(mut io: Io, speed: Speed) -> Result<Self, UartError> {
        let Speed {
            clock_hz, baud_hz, ..
        } = speed;
        let divisor = divisor(clock_hz, baud_hz).ok_or(UartError::BadSpeed {
            baud_hz,
            rates: baud::Rates { clock_hz },
        })?;
        if !is_there(&mut io) {
            return Err(UartError::Missing);
        }
        let mut uart = Self {
            io,
            speed,
            divisor,
            fifo: 0,
            fifo_bytes: 1,
            errors: LineErrors::default(),
        };
        uart.set_up();
        uart.fifo_bytes = uart.find_fifo();
        // Errors of the time before are not ours.
        uart.line_status();
        uart.errors = LineErrors::default();
        Ok(uart)
    }

    /// What chips have more than a 16550 is switched off: their flow control, sleep, and a slower clock. A 16550 takes that for
    /// its FIFO being switched off, which is then switched on.
    fn set_up(&mut self) {
        let [low, high] = self.divisor.to_le_bytes();
        for (register, value) in [
            (LINE_CONTROL, ENHANCED_LATCH),
            (ENHANCED, ENHANCED_ON),
            (LINE_CONTROL, EIGHT_BITS_NO_PARITY_ONE_STOP),
            (INTERRUPT_ENABLE, 0),
            (MODEM_CONTROL, READY),
            (LINE_CONTROL, ENHANCED_LATCH),
            (ENHANCED, 0),
            (LINE_CONTROL, DIVISOR_LATCH),
            (DATA, low),
            (INTERRUPT_ENABLE, high),
            (FIFO_CONTROL, FIFO_ON_AND_EMPTIED | FIFO_OF_64),
            (LINE_CONTROL, EIGHT_BITS_NO_PARITY_ONE_STOP),
            (FIFO_CONTROL, FIFO_ON_AND_EMPTIED),
        ] {
            self.io.write(register, value);
        }
        self.fifo = self.io.read(INTERRUPT_IDENTITY) & FIFO;
    }

    /// How many bytes the FIFO takes, from what the chip says of itself: nothing is sent to find out. Where it
    /// says nothing, fewer are taken for sure.
    fn find_fifo(&mut self) -> usize {
        self.io.write(LINE_CONTROL, ENHANCED_LATCH);
        // Others show what they always do, which is not 0 with the FIFO on.
        let is_enhanced = self.io.read(ENHANCED) == 0;
        self.io.write(LINE_CONTROL, EIGHT_BITS_NO_PARITY_ONE_STOP);
        match self.fifo {
            FIFO => 64,
            FIFO_IS_ON if is_enhanced => 32,
            FIFO_IS_ON => 16,
            _ => 1,
        }
    }

    /// As far as it can be told without touching what comes and goes: the divisor shows only where it hides the data.
    fn is_as_set_up(&mut self) -> bool {
        self.io.read(LINE_CONTROL) == EIGHT_BITS_NO_PARITY_ONE_STOP
            && self.io.read(INTERRUPT_ENABLE) & INTERRUPTS == 0
            && self.io.read(MODEM_CONTROL) & MODEM == READY
            && self.io.read(INTERRUPT_IDENTITY) & FIFO == self.fifo
    }

    /// The next byte received, if there is one.
    pub fn receive(&mut self) -> Option<u8> {
        let has_data = self.line_status() & HAS_DATA != 0;
        has_data.then(|| self.io.read(DATA))
    }

    /// Bytes that [`Self::send`] takes now: a FIFO full if it is empty, else none.
    pub fn room(&mut self) -> usize {
        if self.line_status() & TRANSMITTER_EMPTY != 0 {
            self.fifo_bytes
        } else {
            0
        }
    }

    /// Hands a byte to the transmitter. At most [`Self::room`] of them, or they are lost.
    pub fn send(&mut self, byte: u8) {
        self.io.write(DATA, byte);
    }

    /// Errors so far.
    #[must_use]
    pub const fn errors(&self) -> LineErrors {
        self.errors
    }

    /// Reading the register clears its error bits, so each read counts them. 0 if the device is
    /// gone.
    fn line_status(&mut self) -> u8 {
        let status = self.io.read(LINE_STATUS);
        if status == NOBODY {
            return 0;
        }
        if status & OVERRUN != 0 {
            self.errors.overruns = self.errors.overruns.saturating_add(1);
        }
        if status & (FRAMING | PARITY) != 0 {
            self.errors.framing = self.errors.framing.saturating_add(1);
        }
        status
    }
}

impl<Io: RegisterIo> Transport for Uart<Io> {
    fn receive(&mut self, into: &mut [u8]) -> usize {
        let mut count = 0;
        for slot in into {
            let Some(byte) = Self::receive(self) else {
                break;
            };
            *slot = byte;
            count += 1;
        }
        count
    }

    fn room(&mut self) -> usize {
        Self::room(self)
    }

    fn send(&mut self, from: &[u8]) {
        for byte in from {
            Self::send(self, *byte);
        }
    }

    fn byte_time_ns(&self) -> u32 {
        byte_time_ns(self.speed.baud_hz)
    }

    fn rates(&self) -> Option<Rates> {
        let Speed {
            clock_hz,
            baud_hz,
            is_fixed,
        } = self.speed;
        Some(Rates {
            baud_hz,
            clock_hz,
            is_fixed,
        })
    }

    fn is_sent(&mut self) -> bool {
        self.line_status() & ALL_SENT != 0
    }

    fn set_rate(&mut self, baud_hz: u32) {
        if let Some(divisor) = divisor(self.speed.clock_hz, baud_hz) {
            self.speed.baud_hz = baud_hz;
            self.divisor = divisor;
            self.set_up();
        }
    }
}

impl<Io: RegisterIo> HostTransport for Uart<Io> {
    fn owns(&self) -> Owned {
        self.io.owns()
    }

    fn begin(&mut self) {
        self.set_up();
    }

    fn mend(&mut self) {
        if !self.is_as_set_up() {
            self.set_up();
        }
    }

    fn lead_calls(&mut self, apic_id: Option<u32>) -> bool {
        self.io.lead_interrupt(apic_id)
    }

    /// An empty transmitter calls as soon as that is asked for.
    fn set_calls(&mut self, calls: Calls) {
        let (modem, interrupts) = match calls {
            Calls::Never => (READY, 0),
            Calls::AtOnce => (READY | LETS_INTERRUPTS_THROUGH, EMPTIED),
            Calls::OnData => (READY | LETS_INTERRUPTS_THROUGH, RECEIVED),
        };
        self.io.write(MODEM_CONTROL, modem);
        self.io.write(INTERRUPT_ENABLE, interrupts);
    }

    fn has_come(&mut self) -> bool {
        self.line_status() & HAS_DATA != 0
    }

    fn patience_ns(&self) -> u64 {
        self.fifo_bytes as u64 * u64::from(byte_time_ns(self.speed.baud_hz)) / 2
    }
}

/// Whether there is a UART: its scratch register keeps what is written to it, and the line status is possible. It is left as it
/// was.
pub fn is_there(io: &mut impl RegisterIo) -> bool {
    let before = io.read(SCRATCH);
    let keeps = [0x5a, 0xa5].into_iter().all(|value| {
        io.write(SCRATCH, value);
        io.read(SCRATCH) == value
    });
    io.write(SCRATCH, before);
    keeps && io.read(LINE_STATUS) != NOBODY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{Chip, FakePorts};

    const COM1: u16 = 0x3f8;

    fn at(baud_hz: u32) -> Speed {
        Speed {
            clock_hz: 1_843_200,
            baud_hz,
            is_fixed: false,
        }
    }

    fn uart_of(chip: Chip) -> Uart<FakePorts> {
        let mut ports = FakePorts::new(COM1);
        ports.chip = chip;
        Uart::init(ports, at(9600)).unwrap()
    }

    fn uart() -> Uart<FakePorts> {
        uart_of(Chip::Fifo16)
    }

    #[test]
    fn init_sets_speed_format_and_fifo_and_no_interrupts() {
        for (chip, fifo_bytes) in [
            (Chip::NoFifo, 1),
            (Chip::Fifo16, 16),
            (Chip::Enhanced32, 32),
            (Chip::Fifo64, 64),
        ] {
            let mut uart = uart_of(chip);
            assert_eq!(uart.io.divisor, 12);
            let registers = uart.io.registers;
            assert_eq!(registers[usize::from(INTERRUPT_ENABLE)], 0);
            assert_eq!(registers[usize::from(LINE_CONTROL)], 3);
            assert_eq!(registers[usize::from(FIFO_CONTROL)] & !0x20, 7);
            assert_eq!(registers[usize::from(MODEM_CONTROL)], 3);
            assert_eq!(uart.io.enhanced, 0);
            assert_eq!(uart.room(), fifo_bytes, "{chip:?}");
        }
    }

    #[test]
    fn a_fifo_full_is_sent_and_nothing_lost() {
        for chip in [Chip::NoFifo, Chip::Fifo16, Chip::Enhanced32, Chip::Fifo64] {
            let mut uart = uart_of(chip);
            let room = uart.room();
            for _ in 0..3 {
                uart.io.transmitter_empty = true;
                Transport::send(&mut uart, &[1; 64][..room]);
            }
            assert_eq!(
                (uart.io.sent.len(), uart.io.lost),
                (3 * room, 0),
                "{chip:?}"
            );
            uart.send(1);
            assert_eq!(uart.io.lost, 1, "it takes no more");
        }
    }

    #[test]
    fn extras_of_a_chip_that_were_left_on_are_switched_off() {
        let mut ports = FakePorts::new(COM1);
        ports.chip = Chip::Enhanced32;
        // Flow control of both kinds; asleep.
        ports.enhanced = 0xda;
        ports.registers[usize::from(INTERRUPT_ENABLE)] = 0x10;
        let uart = Uart::init(ports, at(115_200)).unwrap();
        assert_eq!(uart.io.enhanced, 0);
        assert_eq!(uart.io.registers[usize::from(INTERRUPT_ENABLE)], 0);
        assert_eq!(uart.fifo_bytes, 32);
    }

    #[test]
    fn what_somebody_changed_is_mended_and_nothing_else_is_written() {
        let mut uart = uart();
        let writes = uart.io.writes;
        uart.mend();
        assert_eq!(uart.io.writes, writes);
        for (register, value) in [
            (LINE_CONTROL, 0x83),
            (LINE_CONTROL, 0x02),
            (FIFO_CONTROL, 0),
            (INTERRUPT_ENABLE, 5),
            (MODEM_CONTROL, 0x13),
        ] {
            uart.io.write(register, value);
            uart.mend();
            assert_eq!(uart.io.divisor, 12);
            let registers = &uart.io.registers[..5];
            assert_eq!(registers, [0, 0, 7, 3, 3], "{register} {value}");
            assert_eq!(uart.room(), 16);
        }
        // The divisor is looked at by nobody, and set when the line begins.
        uart.io.divisor = 1;
        uart.mend();
        assert_eq!(uart.io.divisor, 1);
        uart.begin();
        assert_eq!(uart.io.divisor, 12);
    }

    #[test]
    fn it_calls_when_it_is_told_to_and_is_as_set_up_afterwards() {
        let mut uart = uart();
        let registers = |uart: &Uart<FakePorts>| {
            [INTERRUPT_ENABLE, MODEM_CONTROL].map(|it| uart.io.registers[usize::from(it)])
        };
        for (calls, expected) in [
            (Calls::OnData, [1, 0x0b]),
            (Calls::AtOnce, [2, 0x0b]),
            (Calls::Never, [0, 3]),
        ] {
            uart.set_calls(calls);
            assert_eq!(registers(&uart), expected, "{calls:?}");
        }
        assert!(uart.is_as_set_up());
        assert!(!uart.lead_calls(Some(1)), "these ports lead nowhere");
        assert!(!uart.has_come());
        uart.io.incoming.push_back(1);
        assert!(uart.has_come());
        // Half of sixteen bytes at 9600 bits in a second.
        assert_eq!(uart.patience_ns(), 8 * 1_041_666);
    }

    #[test]
    fn the_rate_is_changed_once_all_is_sent_and_stays_changed() {
        let mut uart = uart();
        uart.send(7);
        assert!(!uart.is_sent());
        uart.io.transmitter_empty = true;
        assert!(uart.is_sent());
        uart.set_rate(115_200);
        assert_eq!((uart.io.divisor, uart.byte_time_ns()), (1, 86_805));
        uart.io.write(LINE_CONTROL, 0);
        uart.mend();
        assert_eq!(uart.io.divisor, 1);
        // One that its clock does not make.
        uart.set_rate(230_400);
        assert_eq!(uart.io.divisor, 1);
        let rates = Transport::rates(&uart).map(|it| (it.baud_hz, it.clock_hz, it.is_fixed));
        assert_eq!(rates, Some((115_200, 1_843_200, false)));
    }

    #[test]
    fn a_missing_uart_is_reported() {
        let mut ports = FakePorts::new(COM1);
        ports.missing = true;
        let refused = Uart::init(ports, at(115_200)).err();
        assert_eq!(refused, Some(UartError::Missing));
    }

    #[test]
    fn impossible_speeds_are_refused_before_anything_is_written() {
        let mut ports = FakePorts::new(COM1);
        ports.missing = true;
        let speed = Speed {
            clock_hz: 1_843_200,
            baud_hz: 230_400,
            is_fixed: false,
        };
        let rates = baud::Rates {
            clock_hz: 1_843_200,
        };
        let baud_hz = 230_400;
        let refused = Uart::init(ports, speed).err();
        assert_eq!(refused, Some(UartError::BadSpeed { baud_hz, rates }));
        let fast = Speed {
            clock_hz: 16 * 921_600,
            ..speed
        };
        let uart = Uart::init(FakePorts::new(COM1), fast).unwrap();
        assert_eq!((uart.io.divisor, uart.byte_time_ns()), (4, 43_402));
    }

    #[test]
    fn bytes_come_in_order() {
        let mut uart = uart();
        assert_eq!(uart.receive(), None);
        uart.io.incoming.extend([1, 0, 255]);
        let received = [(); 4].map(|()| uart.receive());
        assert_eq!(received, [Some(1), Some(0), Some(255), None]);
    }

    #[test]
    fn there_is_room_for_a_fifo_full_once_all_is_sent() {
        let mut uart = uart();
        assert_eq!(uart.room(), 16);
        uart.send(7);
        uart.send(8);
        assert_eq!(uart.room(), 0);
        assert_eq!(uart.io.sent, [7, 8]);
        uart.io.transmitter_empty = true;
        assert_eq!(uart.room(), 16);
    }

    #[test]
    fn line_errors_are_counted_once_whoever_reads_them() {
        let mut uart = uart();
        uart.io.line_errors = OVERRUN;
        uart.room();
        uart.room();
        uart.io.line_errors = FRAMING | PARITY;
        uart.receive();
        let expected = LineErrors {
            overruns: 1,
            framing: 1,
        };
        assert_eq!(uart.errors(), expected);
    }

    #[test]
    fn errors_of_the_time_before_do_not_count() {
        let mut ports = FakePorts::new(COM1);
        ports.line_errors = OVERRUN;
        let uart = Uart::init(ports, at(115_200)).unwrap();
        assert_eq!(uart.errors(), LineErrors::default());
    }

    #[test]
    fn as_a_transport_it_moves_what_there_is_and_what_fits() {
        let mut uart = uart();
        uart.io.incoming.extend([1, 2, 3]);
        let mut into = [0; 2];
        assert_eq!(Transport::receive(&mut uart, &mut into), 2);
        assert_eq!(into, [1, 2]);
        assert_eq!(Transport::receive(&mut uart, &mut into), 1);
        assert_eq!(Transport::receive(&mut uart, &mut into), 0);
        assert_eq!(Transport::room(&mut uart), 16);
        Transport::send(&mut uart, &[9; 16]);
        assert_eq!(Transport::room(&mut uart), 0);
        assert_eq!(uart.io.sent, [9; 16]);
        assert_eq!(uart.byte_time_ns(), 1_041_666);
        let owned = uart.owns();
        assert_eq!(
            [0x3f7, 0x3f8, 0x3ff, 0x400].map(|port| owned.ports.contains(port)),
            [false, true, true, false]
        );
    }

    #[test]
    fn a_uart_that_vanished_gives_and_takes_nothing() {
        let mut uart = uart();
        uart.io.missing = true;
        assert_eq!(uart.receive(), None);
        assert_eq!(uart.room(), 0);
    }
}
