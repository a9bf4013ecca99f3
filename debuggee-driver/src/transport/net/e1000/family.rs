//! What is different in each of Intel's gigabit cards that are programmed alike.
//!
//! Sources: Intel, "82574 GbE Controller Family Datasheet" (82574L): "Software Reset" 4.6.1, "Registers" 10.2; Intel, "Ethernet
//! Connection I217", "I218" and "I219" datasheets: the registers of the part in the chip set; Intel, "PCI/PCI-X Family of
//! Gigabit Ethernet Controllers Software Developer's Manual" (8254x): "MDI Control Register" 13.4.8. What no datasheet tells of
//! the I219, its public drivers do: rings that are not empty at a reset can stop it for good.

use crate::transport::net::card::CardIo;

/// Intel, on the PCI bus.
pub const VENDOR: u16 = 0x8086;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 82540EM and 82545EM, on PCI.
    Pci,
    /// 82574L, on PCI Express.
    Express,
    /// I217 and I218, in the chip set.
    ChipSet,
    /// I219, likewise.
    ChipSet219,
}

const CTRL: u32 = 0x0000;
const STATUS: u32 = 0x0008;
const EECD: u32 = 0x0010;
const CTRL_EXT: u32 = 0x0018;
const MDIC: u32 = 0x0020;
const RCTL: u32 = 0x0100;
const RXDCTL: u32 = 0x2828;
const TDH: u32 = 0x3810;
const TDT: u32 = 0x3818;
const TXDCTL: u32 = 0x3828;
const TARC0: u32 = 0x3840;
const FEXTNVM11: u32 = 0x5bbc;
const EXTCNF_CTRL: u32 = 0x0f00;

const CTRL_ASDE: u32 = 1 << 5;
const CTRL_SLU: u32 = 1 << 6;
/// No more reads and writes of memory, and whether some are under way.
const CTRL_MASTER_DISABLE: u32 = 1 << 2;
const STATUS_MASTER_ENABLE: u32 = 1 << 19;
/// The chip set's part has set itself up behind a reset, and the reset of its PHY was seen.
const STATUS_INIT_DONE: u32 = 1 << 9;
const STATUS_PHY_RESET: u32 = 1 << 10;
/// The settings were read from the card's own memory.
const EECD_AUTO_READ_DONE: u32 = 1 << 9;
/// Tells the management firmware that the card has a driver.
const CTRL_EXT_DRIVER: u32 = 1 << 28;
/// Reserved ones, which have to be set.
const TXDCTL_SET: u32 = 1 << 22;
const TARC0_SET_EXPRESS: u32 = 1 << 26;
const TARC0_SET_CHIP_SET: u32 = 1 << 23 | 1 << 24 | 1 << 26 | 1 << 27;
const MULTIPLE_READS_OFF: u32 = 1 << 13;
/// Descriptors are fetched in advance and counted singly: 31, as long as one is left.
const RXDCTL_THRESHOLDS: u32 = 0x3fff;
const RXDCTL_FLUSH: u32 = 0x1f | 1 << 8 | 1 << 24;
const RCTL_EN: u32 = 1 << 1;
/// The PHY is software's, not the firmware's, meanwhile.
const PHY_OWNED: u32 = 1 << 5;

const MDIC_WRITE: u32 = 1 << 26;
const MDIC_READ: u32 = 2 << 26;
const MDIC_READY: u32 = 1 << 28;
const MDIC_ERROR: u32 = 1 << 30;
/// Of a PHY's control register (IEEE 802.3, 22.2.4.1), which is its first.
const PHY_POWER_DOWN: u32 = 1 << 11;
const PHY_NEGOTIATE: u32 = 1 << 12 | 1 << 9;

/// Looks at a register that is to change: each takes about a microsecond, and what is waited for some hundreds at most.
const LOOKS: u32 = 10_000;
/// Reads of a register that take the 150 us which the I219 needs to fetch what is in its rings.
const FLUSH_LOOKS: u32 = 300;

impl Family {
    /// Which one a card is, by its identifier.
    #[must_use]
    pub const fn of(device: u16) -> Option<Self> {
        match device {
            0x100e | 0x100f => Some(Self::Pci),
            0x10d3 | 0x10f6 => Some(Self::Express),
            // LM and V of I217, and of I218 with its second and third revisions.
            0x153a | 0x153b | 0x155a | 0x1559 | 0x15a0..=0x15a3 => Some(Self::ChipSet),
            // LM and V of I219: those of the chip sets from Sunrise Point to Alder Point.
            0x156f
            | 0x1570
            | 0x15b7..=0x15b9
            | 0x15bb..=0x15be
            | 0x15d6..=0x15d8
            | 0x15df..=0x15e3
            | 0x0d4c..=0x0d4f
            | 0x0d53
            | 0x0d55
            | 0x15f4
            | 0x15f5
            | 0x15f9..=0x15fc
            | 0x1a1c..=0x1a1f => Some(Self::ChipSet219),
            _ => None,
        }
    }

    /// Registers of the table of multicast addresses.
    pub(super) const fn multicast_registers(self) -> u32 {
        match self {
            Self::Pci | Self::Express => 128,
            Self::ChipSet | Self::ChipSet219 => 32,
        }
    }

    /// What CTRL has for a link: it is up, at the speed that the PHY found.
    pub(super) const fn link(self) -> u32 {
        match self {
            Self::Pci | Self::Express => CTRL_SLU | CTRL_ASDE,
            Self::ChipSet | Self::ChipSet219 => CTRL_SLU,
        }
    }

    /// Gaps between frames that the manuals recommend for copper.
    pub(super) const fn gaps(self) -> u32 {
        let first = match self {
            Self::Pci => 10,
            Self::Express | Self::ChipSet | Self::ChipSet219 => 8,
        };
        first | 8 << 10 | 6 << 20
    }

    /// What has to be done before a reset, while nothing is received.
    pub(super) fn before_reset(self, io: &mut impl CardIo) {
        if self == Self::Pci {
            return;
        }
        if self == Self::ChipSet219 {
            empty_rings(io);
        }
        let control = io.register(CTRL);
        io.set_register(CTRL, control | CTRL_MASTER_DISABLE);
        becomes(io, STATUS, STATUS_MASTER_ENABLE, 0);
    }

    /// What has to be done after one. False if the card does not come back; the chip set's part need not say that it has.
    pub(super) fn after_reset(self, io: &mut impl CardIo) -> bool {
        let is_back = match self {
            Self::Pci => true,
            Self::Express => becomes(io, EECD, EECD_AUTO_READ_DONE, EECD_AUTO_READ_DONE),
            Self::ChipSet | Self::ChipSet219 => {
                becomes(io, STATUS, STATUS_INIT_DONE, STATUS_INIT_DONE);
                let status = io.register(STATUS);
                io.set_register(STATUS, status & !(STATUS_INIT_DONE | STATUS_PHY_RESET));
                true
            }
        };
        if self == Self::Pci || !is_back {
            return is_back;
        }
        let mut set = |at, bits| {
            let value = io.register(at);
            io.set_register(at, value | bits);
        };
        set(CTRL_EXT, CTRL_EXT_DRIVER);
        set(TXDCTL, TXDCTL_SET);
        match self {
            Self::Pci | Self::Express => set(TARC0, TARC0_SET_EXPRESS),
            Self::ChipSet | Self::ChipSet219 => set(TARC0, TARC0_SET_CHIP_SET),
        }
        true
    }

    /// A driver that leaves a card may have put its PHY to sleep.
    pub(super) fn wake_phy(self, io: &mut impl CardIo) {
        let is_shared = matches!(self, Self::ChipSet | Self::ChipSet219);
        if is_shared {
            let owner = io.register(EXTCNF_CTRL);
            io.set_register(EXTCNF_CTRL, owner | PHY_OWNED);
            if !becomes(io, EXTCNF_CTRL, PHY_OWNED, PHY_OWNED) {
                return;
            }
        }
        let place = if is_shared { 2 << 21 } else { 1 << 21 };
        io.set_register(MDIC, MDIC_READ | place);
        if becomes(io, MDIC, MDIC_READY, MDIC_READY) {
            let told = io.register(MDIC);
            if told & MDIC_ERROR == 0 && told & PHY_POWER_DOWN != 0 {
                let control = told & 0xffff & !PHY_POWER_DOWN | PHY_NEGOTIATE;
                io.set_register(MDIC, MDIC_WRITE | place | control);
                becomes(io, MDIC, MDIC_READY, MDIC_READY);
            }
        }
        if is_shared {
            let owner = io.register(EXTCNF_CTRL);
            io.set_register(EXTCNF_CTRL, owner & !PHY_OWNED);
        }
    }
}

/// Waits until these bits of a register have this value, so long as that may take; whether they have.
fn becomes(io: &impl CardIo, at: u32, bits: u32, value: u32) -> bool {
    (0..LOOKS).any(|_| io.register(at) & bits == value)
}

/// Lets the card have what is in its rings, so that none is left.
fn empty_rings(io: &mut impl CardIo) {
    let multiple = io.register(FEXTNVM11);
    io.set_register(FEXTNVM11, multiple | MULTIPLE_READS_OFF);
    let _ = (0..LOOKS).any(|_| io.register(TDH) == io.register(TDT));
    let fetching = io.register(RXDCTL);
    io.set_register(RXDCTL, fetching & !RXDCTL_THRESHOLDS | RXDCTL_FLUSH);
    let receiving = io.register(RCTL);
    io.set_register(RCTL, receiving | RCTL_EN);
    (0..FLUSH_LOOKS).for_each(|_| {
        io.register(STATUS);
    });
    io.set_register(RCTL, receiving & !RCTL_EN);
}
