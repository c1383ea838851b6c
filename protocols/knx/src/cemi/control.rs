//! The two control fields of a telegram.
//!
//! ```text
//! field 1:  F 0 R B P P A C      field 2:  G H H H E E E E
//! ```
//! F standard frame, R do not repeat, B no system broadcast, P priority, A acknowledgment asked, C error; G group address,
//! H hop count, E extended frame format. Standard: `03_06_03`, §4.1.4.3.2; `03_02_02`, §2.2.2 and §2.2.5.3.

use crate::Error;

/// The priority of a telegram, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// For the management of devices.
    System,
    /// Alarms.
    Urgent,
    /// Short telegrams that must not wait.
    Normal,
    /// All else.
    #[default]
    Low,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Priority; 4] = [Priority::System, Priority::Urgent, Priority::Normal, Priority::Low];

    const fn bits(self) -> u8 {
        match self {
            Priority::System => 0b00,
            Priority::Normal => 0b01,
            Priority::Urgent => 0b10,
            Priority::Low => 0b11,
        }
    }

    const fn from_bits(bits: u8) -> Priority {
        match bits & 0b11 {
            0b00 => Priority::System,
            0b01 => Priority::Normal,
            0b10 => Priority::Urgent,
            _ => Priority::Low,
        }
    }
}

/// Priority, hop count and flags of a telegram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of the wire")]
pub struct Control {
    /// The R bit as it is on the wire. In a request: the medium shall not repeat the frame on errors. In an indication:
    /// this frame is no repetition.
    pub do_not_repeat: bool,
    /// A system broadcast, which media with domain addresses send to all domains.
    pub is_system_broadcast: bool,
    /// How urgent it is.
    pub priority: Priority,
    /// An acknowledgment on the bus is asked for.
    pub is_ack_requested: bool,
    /// In a confirmation: the telegram was not sent, or nobody acknowledged it on the bus.
    pub is_error: bool,
    /// How many couplers it may still pass, 0 to 7; 7 passes all of them and is not counted down.
    pub hop_count: u8,
}

impl Default for Control {
    /// Low priority, six hops: `BC E0` to a group, as other clients send.
    fn default() -> Control {
        Control {
            do_not_repeat: true,
            is_system_broadcast: false,
            priority: Priority::Low,
            is_ack_requested: false,
            is_error: false,
            hop_count: 6,
        }
    }
}

impl Control {
    pub(super) fn decode([first, second]: [u8; 2]) -> Result<(Control, bool), Error> {
        let format = second & EXTENDED_FORMAT;
        if format != 0 {
            // LTE frames have zones where others have a group address.
            return Err(Error::Invalid { what: "the extended frame format", got: u32::from(format) });
        }
        let control = Control {
            do_not_repeat: first & DO_NOT_REPEAT != 0,
            is_system_broadcast: first & NO_SYSTEM_BROADCAST == 0,
            priority: Priority::from_bits(first >> 2),
            is_ack_requested: first & ACK_REQUESTED != 0,
            is_error: first & ERROR != 0,
            hop_count: second >> 4 & HOP_COUNT_MAX,
        };
        Ok((control, second & GROUP != 0))
    }

    pub(super) fn encode(self, is_standard_frame: bool, is_group: bool) -> Result<[u8; 2], Error> {
        if self.hop_count > HOP_COUNT_MAX {
            return Err(Error::Invalid { what: "a hop count", got: u32::from(self.hop_count) });
        }
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let first = flag(is_standard_frame, STANDARD_FRAME)
            | flag(self.do_not_repeat, DO_NOT_REPEAT)
            | flag(!self.is_system_broadcast, NO_SYSTEM_BROADCAST)
            | self.priority.bits() << 2
            | flag(self.is_ack_requested, ACK_REQUESTED)
            | flag(self.is_error, ERROR);
        Ok([first, flag(is_group, GROUP) | self.hop_count << 4])
    }
}

const STANDARD_FRAME: u8 = 0x80;
const DO_NOT_REPEAT: u8 = 0x20;
const NO_SYSTEM_BROADCAST: u8 = 0x10;
const ACK_REQUESTED: u8 = 0x02;
const ERROR: u8 = 0x01;
const GROUP: u8 = 0x80;
const EXTENDED_FORMAT: u8 = 0x0f;
const HOP_COUNT_MAX: u8 = 7;
