//! A real-time clock.

extern crate alloc;

use crate::port::{Owned, RegisterIo};
use crate::rtc::PORTS;
use alloc::vec::Vec;

/// Index and data port of 128 cells, or of nothing.
#[derive(Clone, Debug)]
pub struct FakeRtc {
    /// What is at each index.
    pub cells: [u8; 128],
    /// What was written to the index port.
    pub indices: Vec<u8>,
    /// A second passes at the so many-th read from now.
    pub ticks_at_read: Option<u32>,
    is_there: bool,
}

impl FakeRtc {
    /// One that stands at second, minute, hour, day, month and year, in decimal half bytes and 24 hours.
    #[must_use]
    pub fn at(time: [u8; 6]) -> Self {
        let mut cells = [0; 128];
        for (at, value) in [0, 2, 4, 7, 8, 9].into_iter().zip(time) {
            cells[at] = value;
        }
        cells[0x0a] = 0x26;
        cells[0x0b] = 0x02;
        cells[0x0d] = 0x80;
        Self {
            cells,
            indices: Vec::new(),
            ticks_at_read: None,
            is_there: true,
        }
    }

    /// Ports at which nobody answers.
    #[must_use]
    pub fn none() -> Self {
        Self {
            is_there: false,
            ..Self::at([0; 6])
        }
    }

    fn cell(&mut self) -> Option<&mut u8> {
        let index = self.indices.last()? & 0x7f;
        self.cells.get_mut(usize::from(index))
    }
}

impl RegisterIo for FakeRtc {
    fn read(&mut self, register: u8) -> u8 {
        if !self.is_there || register != 1 {
            return u8::MAX;
        }
        if let Some(left) = self.ticks_at_read {
            self.ticks_at_read = left.checked_sub(1);
            if left == 0 {
                self.cells[0] += 1;
            }
        }
        self.cell().map_or(u8::MAX, |cell| *cell)
    }

    fn write(&mut self, register: u8, value: u8) {
        match register {
            0 => self.indices.push(value),
            1 => {
                if let Some(cell) = self.cell() {
                    *cell = value;
                }
            }
            _ => {}
        }
    }

    fn owns(&self) -> Owned {
        Owned {
            ports: PORTS,
            ..Owned::default()
        }
    }
}
