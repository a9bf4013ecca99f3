//! What is different in each of Intel's gigabit cards that are programmed alike.
//!
//! Sources: Intel, "82574 GbE Controller Family Datasheet" (82574L): "Software Reset" 4.6.1, "Registers" 10.2; Intel, "Ethernet
//! Connection I217", "I218" and "I219" datasheets: the registers of the part in the chip set; Intel, "PCI/PCI-X Family of
//! Gigabit Ethernet Controllers Software Developer's Manual" (8254x): "MDI Control Register" 13.4.8, "EEPROM Read Register" 13.4.4,
//! "Ethernet Address" 5.6.1. What no datasheet tells, the
//! public drivers do (Linux, `drivers/net/ethernet/intel/e1000e`): how long a reset is waited for, whose the PHY is meanwhile,
//! and that an I219 whose rings are not empty at a reset may stop for good.

use crate::transport::net::card::{CardIo, Mac, comes};

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
const EERD: u32 = 0x0014;
const CTRL_EXT: u32 = 0x0018;
const MDIC: u32 = 0x0020;
const RCTL: u32 = 0x0100;
const RXDCTL: u32 = 0x2828;
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

/// A word of the card's own memory is to be read, and was.
const EERD_START: u32 = 1 << 0;
const EERD_DONE: u32 = 1 << 4;

const MDIC_WRITE: u32 = 1 << 26;
const MDIC_READ: u32 = 2 << 26;
const MDIC_READY: u32 = 1 << 28;
const MDIC_ERROR: u32 = 1 << 30;
/// Of a PHY's control register (IEEE 802.3, 22.2.4.1), which is its first.
const PHY_POWER_DOWN: u32 = 1 << 11;
const PHY_NEGOTIATE: u32 = 1 << 12 | 1 << 9;

/// How long is waited: for what the card reads and writes to be over, for its PHY, for its settings from its own memory, and for
/// the PHY's behind those.
const MASTER_US: u32 = 80_000;
const PHY_LOOK_US: u32 = 1000;
const PHY_LOOKS: u32 = 100;
const MDIC_US: u32 = 10_000;
const SETTINGS_US: u32 = 10_000;
const SETTINGS_OF_PHY_US: u32 = 25_000;
/// The chip set's part need not say that it is done.
const INIT_US: u32 = 200_000;
/// What is under way comes to its end.
const REST_US: u32 = 10_000;
/// What the I219 takes to fetch what it sends, and what it receives into.
pub(super) const SENDING_US: u32 = 250;
const FETCHING_US: u32 = 150;

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

    /// The address in the card's own memory, where that can be read in this way and nobody did before.
    pub(super) fn stored_mac(self, io: &mut impl CardIo) -> Option<Mac> {
        if self != Self::Pci {
            return None;
        }
        let mut mac = Mac::default();
        for (word, bytes) in (0_u32..).zip(mac.chunks_exact_mut(2)) {
            io.set_register(EERD, EERD_START | word << 8);
            if !comes(io, SETTINGS_US, |io| io.register(EERD) & EERD_DONE != 0) {
                return None;
            }
            let [_, _, low, high] = io.register(EERD).to_le_bytes();
            bytes.copy_from_slice(&[low, high]);
        }
        Some(mac)
    }

    /// A reset may stop it for good as long as something is in its rings.
    pub(super) fn wants_empty_rings(self) -> bool {
        self == Self::ChipSet219
    }

    /// What has to be done before a reset, while nothing is received or sent. The PHY is software's during it, where that can be
    /// had: it is the firmware's behind it.
    pub(super) fn before_reset(self, io: &mut impl CardIo) {
        if self == Self::Pci {
            return;
        }
        let control = io.register(CTRL);
        io.set_register(CTRL, control | CTRL_MASTER_DISABLE);
        comes(io, MASTER_US, |io| {
            io.register(STATUS) & STATUS_MASTER_ENABLE == 0
        });
        io.wait_us(REST_US);
        own_phy(io);
    }

    /// The card is not looked at for so long after a reset was begun: a look may stop it.
    pub(super) const fn reset_us(self) -> u32 {
        match self {
            Self::Pci | Self::Express => 1,
            Self::ChipSet | Self::ChipSet219 => 20_000,
        }
    }

    /// What has to be done after one. False if the card does not come back; the chip set's part need not say that it has.
    pub(super) fn after_reset(self, io: &mut impl CardIo) -> bool {
        if self != Self::Pci {
            disown_phy(io);
        }
        match self {
            Self::Pci => true,
            Self::Express => {
                let is_back = comes(io, SETTINGS_US, |io| {
                    io.register(EECD) & EECD_AUTO_READ_DONE != 0
                });
                // Those of the PHY begin only now.
                io.wait_us(SETTINGS_OF_PHY_US);
                is_back
            }
            Self::ChipSet | Self::ChipSet219 => {
                comes(io, INIT_US, |io| {
                    io.register(STATUS) & STATUS_INIT_DONE != 0
                });
                let status = io.register(STATUS);
                io.set_register(STATUS, status & !(STATUS_INIT_DONE | STATUS_PHY_RESET));
                true
            }
        }
    }

    /// It has a driver from now on.
    pub(super) fn take(self, io: &mut impl CardIo) {
        if self == Self::Pci {
            return;
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
    }

    /// It has none.
    pub(super) fn give_back(self, io: &mut impl CardIo) {
        if self != Self::Pci {
            let told = io.register(CTRL_EXT);
            io.set_register(CTRL_EXT, told & !CTRL_EXT_DRIVER);
        }
    }

    /// A driver that leaves a card may have put its PHY to sleep.
    pub(super) fn wake_phy(self, io: &mut impl CardIo) {
        let is_shared = self != Self::Pci;
        if is_shared && !own_phy(io) {
            return;
        }
        let place = match self {
            Self::Pci | Self::Express => 1 << 21,
            Self::ChipSet | Self::ChipSet219 => 2 << 21,
        };
        io.set_register(MDIC, MDIC_READ | place);
        if is_ready(io) {
            let told = io.register(MDIC);
            if told & MDIC_ERROR == 0 && told & PHY_POWER_DOWN != 0 {
                let control = told & 0xffff & !PHY_POWER_DOWN | PHY_NEGOTIATE;
                io.set_register(MDIC, MDIC_WRITE | place | control);
                is_ready(io);
            }
        }
        if is_shared {
            disown_phy(io);
        }
    }
}

/// The PHY has done what it was told.
fn is_ready(io: &impl CardIo) -> bool {
    comes(io, MDIC_US, |io| io.register(MDIC) & MDIC_READY != 0)
}

/// Takes the PHY from the card's firmware, as soon as that lets it go. False, and it is not asked for any more, if it does not.
fn own_phy(io: &mut impl CardIo) -> bool {
    for _ in 0..PHY_LOOKS {
        let owner = io.register(EXTCNF_CTRL);
        io.set_register(EXTCNF_CTRL, owner | PHY_OWNED);
        if io.register(EXTCNF_CTRL) & PHY_OWNED != 0 {
            return true;
        }
        io.wait_us(PHY_LOOK_US);
    }
    disown_phy(io);
    false
}

fn disown_phy(io: &mut impl CardIo) {
    let owner = io.register(EXTCNF_CTRL);
    io.set_register(EXTCNF_CTRL, owner & !PHY_OWNED);
}

/// The I219 is to fetch one descriptor at a time.
pub(super) fn read_singly(io: &mut impl CardIo) {
    let multiple = io.register(FEXTNVM11);
    io.set_register(FEXTNVM11, multiple | MULTIPLE_READS_OFF);
}

/// Lets it fetch all buffers that it was given for what it receives, and receive no more.
pub(super) fn fetch_all(io: &mut impl CardIo) {
    let fetching = io.register(RXDCTL);
    io.set_register(RXDCTL, fetching & !RXDCTL_THRESHOLDS | RXDCTL_FLUSH);
    let receiving = io.register(RCTL);
    io.set_register(RCTL, receiving | RCTL_EN);
    io.wait_us(FETCHING_US);
    io.set_register(RCTL, receiving & !RCTL_EN);
}
