//! The serial port of a PC, polled. In VMX-root with the core that serves the link; at boot for
//! [`Uart::init`].
//!
//! National Semiconductor PC16550D data sheet, "Registers" 8.0.

use crate::port::{HostTransport, Owned, PortRange, RegisterIo};
use wire_protocol::address::Extent;
use wire_protocol::transport::Transport;

/// The clock that the divisor divides, in baud.
pub const BASE_BAUD: u32 = 115_200;

/// Bytes that the transmit FIFO takes once it is empty.
pub const FIFO_BYTES: usize = 16;

/// Ports of a UART.
pub const PORTS: u16 = 8;

/// Start bit, eight data bits, stop bit.
const BITS_PER_BYTE: u64 = 10;

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const INTERRUPT_IDENTITY: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

/// With it set, the first two registers are the divisor.
const DIVISOR_LATCH: u8 = 0x80;
const EIGHT_BITS_NO_PARITY_ONE_STOP: u8 = 0x03;
const FIFO_ON_AND_EMPTIED: u8 = 0x07;
const FIFO_IS_ON: u8 = 0xc0;
/// Data terminal ready and request to send; without OUT2, which would let interrupts through.
const READY: u8 = 0x03;

/// Bits that every UART has in the registers for interrupts and for the modem.
const INTERRUPTS: u8 = 0x0f;
const MODEM: u8 = 0x1f;

const HAS_DATA: u8 = 1;
const OVERRUN: u8 = 1 << 1;
const PARITY: u8 = 1 << 2;
const FRAMING: u8 = 1 << 3;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// What a port reads that no device answers at.
const NOBODY: u8 = 0xff;

/// Why a port cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UartError {
    /// No UART answers.
    Missing {
        /// Where it was looked for.
        base_port: u16,
    },
    /// Not a whole fraction of [`BASE_BAUD`].
    BadSpeed {
        /// What was asked for.
        baud: u32,
    },
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
    base_port: u16,
    baud_hz: u32,
    divisor: u16,
    /// Whether it has a FIFO, as it says itself.
    fifo: u8,
    errors: LineErrors,
}

impl<Io: RegisterIo> Uart<Io> {
    /// Sets the port up: 8 bits, no parity, one stop bit, FIFO on and empty, no interrupts.
    ///
    /// # Errors
    /// No UART answers, or the speed is impossible; then nothing was written.
    pub fn init(mut io: Io, base_port: u16, baud: u32) -> Result<Self, UartError> {
        let divisor = divisor(baud).ok_or(UartError::BadSpeed { baud })?;
        if !answers(&mut io, base_port) {
            return Err(UartError::Missing { base_port });
        }
        let mut uart = Self {
            io,
            base_port,
            baud_hz: baud,
            divisor,
            fifo: 0,
            errors: LineErrors::default(),
        };
        uart.set_up();
        // Errors of the time before are not ours.
        uart.line_status();
        uart.errors = LineErrors::default();
        Ok(uart)
    }

    fn set_up(&mut self) {
        let [low, high] = self.divisor.to_le_bytes();
        for (register, value) in [
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, DIVISOR_LATCH),
            (DATA, low),
            (INTERRUPT_ENABLE, high),
            (LINE_CONTROL, EIGHT_BITS_NO_PARITY_ONE_STOP),
            (FIFO_CONTROL, FIFO_ON_AND_EMPTIED),
            (MODEM_CONTROL, READY),
        ] {
            self.io.write(self.base_port.wrapping_add(register), value);
        }
        self.fifo = self.register(INTERRUPT_IDENTITY) & FIFO_IS_ON;
    }

    /// As far as it can be told without touching what comes and goes: the divisor shows only where it hides the data.
    fn is_as_set_up(&mut self) -> bool {
        self.register(LINE_CONTROL) == EIGHT_BITS_NO_PARITY_ONE_STOP
            && self.register(INTERRUPT_ENABLE) & INTERRUPTS == 0
            && self.register(MODEM_CONTROL) & MODEM == READY
            && self.register(INTERRUPT_IDENTITY) & FIFO_IS_ON == self.fifo
    }

    fn register(&mut self, register: u16) -> u8 {
        self.io.read(self.base_port.wrapping_add(register))
    }

    /// The next byte received, if there is one.
    pub fn receive(&mut self) -> Option<u8> {
        let has_data = self.line_status() & HAS_DATA != 0;
        has_data.then(|| self.register(DATA))
    }

    /// Bytes that [`Self::send`] takes now: a FIFO full if it is empty, else none.
    pub fn room(&mut self) -> usize {
        match self.line_status() & TRANSMITTER_EMPTY {
            0 => 0,
            _ if self.fifo == FIFO_IS_ON => FIFO_BYTES,
            _ => 1,
        }
    }

    /// Hands a byte to the transmitter. At most [`Self::room`] of them, or they are lost.
    pub fn send(&mut self, byte: u8) {
        self.io.write(self.base_port.wrapping_add(DATA), byte);
    }

    /// Errors so far.
    #[must_use]
    pub const fn errors(&self) -> LineErrors {
        self.errors
    }

    /// Reading the register clears its error bits, so each read counts them. 0 if the device is
    /// gone.
    fn line_status(&mut self) -> u8 {
        let status = self.register(LINE_STATUS);
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
        let time_ns = BITS_PER_BYTE * 1_000_000_000 / u64::from(self.baud_hz.max(1));
        u32::try_from(time_ns).unwrap_or(u32::MAX)
    }
}

impl<Io: RegisterIo> HostTransport for Uart<Io> {
    fn owns(&self) -> Owned {
        Owned {
            ports: PortRange {
                first: self.base_port,
                count: PORTS,
            },
            memory: Extent::EMPTY,
        }
    }

    fn begin(&mut self) {
        self.set_up();
    }

    fn mend(&mut self) {
        if !self.is_as_set_up() {
            self.set_up();
        }
    }
}

fn divisor(baud: u32) -> Option<u16> {
    if baud == 0 || !BASE_BAUD.is_multiple_of(baud) {
        return None;
    }
    u16::try_from(BASE_BAUD / baud).ok()
}

/// Whether the scratch register keeps what is written to it, and the line status is possible.
fn answers(io: &mut impl RegisterIo, base_port: u16) -> bool {
    let scratch = base_port.wrapping_add(SCRATCH);
    let before = io.read(scratch);
    let keeps = [0x5a, 0xa5].into_iter().all(|value| {
        io.write(scratch, value);
        io.read(scratch) == value
    });
    io.write(scratch, before);
    keeps && io.read(base_port.wrapping_add(LINE_STATUS)) != NOBODY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakePorts;

    const COM1: u16 = 0x3f8;

    fn uart() -> Uart<FakePorts> {
        Uart::init(FakePorts::new(COM1), COM1, 115_200).unwrap()
    }

    #[test]
    fn init_sets_speed_format_and_fifo_and_no_interrupts() {
        let uart = Uart::init(FakePorts::new(COM1), COM1, 9600).unwrap();
        assert_eq!(uart.io.divisor, 12);
        let registers = uart.io.registers;
        assert_eq!(registers[usize::from(INTERRUPT_ENABLE)], 0);
        assert_eq!(registers[usize::from(LINE_CONTROL)], 3);
        assert_eq!(registers[usize::from(FIFO_CONTROL)], 7);
        assert_eq!(registers[usize::from(MODEM_CONTROL)], 3);
    }

    #[test]
    fn what_somebody_changed_is_mended_and_nothing_else_is_written() {
        let mut uart = Uart::init(FakePorts::new(COM1), COM1, 9600).unwrap();
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
            uart.io.write(COM1 + register, value);
            uart.mend();
            assert_eq!(uart.io.divisor, 12);
            assert_eq!(
                uart.io.registers[..5],
                [0, 0, 7, 3, 3],
                "{register} {value}"
            );
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
    fn a_missing_uart_is_reported() {
        let mut ports = FakePorts::new(COM1);
        ports.missing = true;
        let refused = Uart::init(ports, COM1, 115_200).err();
        assert_eq!(refused, Some(UartError::Missing { base_port: COM1 }));
        let elsewhere = Uart::init(FakePorts::new(COM1), 0x2f8, 115_200).err();
        assert_eq!(elsewhere, Some(UartError::Missing { base_port: 0x2f8 }));
    }

    #[test]
    fn impossible_speeds_are_refused() {
        for baud in [0, 1, 7, 115_201, 230_400] {
            let refused = Uart::init(FakePorts::new(COM1), COM1, baud).err();
            assert_eq!(refused, Some(UartError::BadSpeed { baud }));
        }
        assert_eq!(divisor(2), Some(57_600));
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
    fn a_chip_without_fifo_takes_one_byte() {
        let mut ports = FakePorts::new(COM1);
        ports.has_fifo = false;
        let mut uart = Uart::init(ports, COM1, 115_200).unwrap();
        assert_eq!(uart.room(), 1);
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
        let uart = Uart::init(ports, COM1, 115_200).unwrap();
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
        assert_eq!(uart.byte_time_ns(), 86_805);
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
