//! Telegrams in the common external message interface (cEMI).
//!
//! ```text
//! message code | length of additional info | additional info ... | service information
//! L_Data:  control 1 | control 2 | source (2) | destination (2) | length | TPDU (length + 1)
//! ```
//! The length counts the octets behind the first one of the TPDU. A frame of up to 15 is sent as a standard frame, a
//! longer one as an extended frame.
//!
//! Standard: `03_06_03` EMI/IMI v01.04.02, §4.1.4.3 (additional information, control fields), §4.1.5 (messages of the
//! data link layer); `03_02_02` Communication Medium TP1, §2.2.2 (priorities), §2.2.5.1 and §2.2.5.3 (extended frames);
//! `03_03_04` Transport Layer (TPCI); `03_03_07` Application Layer v02.01.01 (APCI).

pub mod additional;
pub mod apdu;
pub mod control;

pub use additional::AdditionalInfo;
pub use apdu::{Apdu, PAYLOAD_BYTES_MAX, Payload, Tpci, Tpdu};
pub use control::{Control, Priority};

use crate::reader::Reader;
use crate::{Error, GroupAddress, IndividualAddress};

/// The longest cEMI frame: code, 255 octets of additional information with their length, 7 of the header and a TPDU of
/// 255.
pub const CEMI_BYTES_MAX: usize = 1 + 1 + 255 + 7 + 255;

/// Which of the three messages about a telegram this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Message {
    /// The client asks that it be sent.
    Request,
    /// The gateway says what became of a request; see [`Control::is_error`].
    Confirmation,
    /// The gateway heard it on the bus.
    Indication,
}

/// Whom a telegram addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// One device.
    Individual(IndividualAddress),
    /// A group; `0/0/0` is a broadcast.
    Group(GroupAddress),
}

/// An `L_Data` message: a telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LData {
    /// Request, confirmation or indication.
    pub message: Message,
    /// Additional information, mostly none.
    pub additional: Vec<AdditionalInfo>,
    /// Priority, hop count and flags.
    pub control: Control,
    /// Who sent it; a gateway fills in [`IndividualAddress::NONE`].
    pub source: IndividualAddress,
    /// Whom it addresses.
    pub destination: Destination,
    /// What it says.
    pub tpdu: Tpdu,
}

impl LData {
    /// A request to send something to a group.
    pub fn group_request(group: GroupAddress, priority: Priority, apdu: Apdu) -> LData {
        LData {
            message: Message::Request,
            additional: Vec::new(),
            control: Control { priority, ..Control::default() },
            source: IndividualAddress::NONE,
            destination: Destination::Group(group),
            tpdu: Tpdu::Data { tpci: Tpci::Unnumbered, apdu },
        }
    }

    /// The group and what is said to it, if this is a telegram to a group. A broadcast is none.
    pub const fn group_apdu(&self) -> Option<(GroupAddress, &Apdu)> {
        match (&self.destination, &self.tpdu) {
            (Destination::Group(group), Tpdu::Data { tpci: Tpci::Unnumbered, apdu }) if group.0 != 0 => {
                Some((*group, apdu))
            }
            (Destination::Group(_) | Destination::Individual(_), _) => None,
        }
    }
}

/// A cEMI frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cemi {
    /// A telegram.
    Data(LData),
    /// `L_Busmon.ind`: what the bus monitor saw, bit by bit.
    Busmon {
        /// Status and time stamp.
        additional: Vec<AdditionalInfo>,
        /// The frame as it was on the medium, with its checksum.
        frame: Vec<u8>,
    },
    /// `L_Raw`: a frame as the medium has it.
    Raw {
        /// Request, confirmation or indication.
        message: Message,
        /// Additional information.
        additional: Vec<AdditionalInfo>,
        /// The frame as it is on the medium.
        frame: Vec<u8>,
    },
    /// Any other message, such as `M_PropRead.req` of the management of a gateway, kept as it is.
    Other {
        /// The message code.
        code: u8,
        /// All behind it.
        body: Vec<u8>,
    },
}

impl Cemi {
    /// Reads one frame, which must be all of `bytes`.
    ///
    /// # Errors
    /// If lengths do not fit, or a field has a reserved value that changes the meaning of the others.
    pub fn decode(bytes: &[u8]) -> Result<Cemi, Error> {
        if bytes.len() > CEMI_BYTES_MAX {
            return Err(Error::TooLong { what: "a cEMI frame", bytes: bytes.len(), max: CEMI_BYTES_MAX });
        }
        let mut reader = Reader::new(bytes);
        let code = reader.u8("the message code of a cEMI frame")?;
        Ok(match code {
            L_DATA_REQ => Cemi::Data(decode_data(Message::Request, &mut reader)?),
            L_DATA_CON => Cemi::Data(decode_data(Message::Confirmation, &mut reader)?),
            L_DATA_IND => Cemi::Data(decode_data(Message::Indication, &mut reader)?),
            L_BUSMON_IND => {
                Cemi::Busmon { additional: additional::decode(&mut reader)?, frame: reader.rest().to_vec() }
            }
            L_RAW_REQ => decode_raw(Message::Request, &mut reader)?,
            L_RAW_CON => decode_raw(Message::Confirmation, &mut reader)?,
            L_RAW_IND => decode_raw(Message::Indication, &mut reader)?,
            code => Cemi::Other { code, body: reader.rest().to_vec() },
        })
    }

    /// The bytes of this frame.
    ///
    /// # Errors
    /// If a part is longer than its length field can say.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(16);
        match self {
            Cemi::Data(data) => {
                out.push(match data.message {
                    Message::Request => L_DATA_REQ,
                    Message::Confirmation => L_DATA_CON,
                    Message::Indication => L_DATA_IND,
                });
                encode_data(data, &mut out)?;
            }
            Cemi::Busmon { additional, frame } => {
                out.push(L_BUSMON_IND);
                additional::encode(additional, &mut out)?;
                out.extend_from_slice(frame);
            }
            Cemi::Raw { message, additional, frame } => {
                out.push(match message {
                    Message::Request => L_RAW_REQ,
                    Message::Confirmation => L_RAW_CON,
                    Message::Indication => L_RAW_IND,
                });
                additional::encode(additional, &mut out)?;
                out.extend_from_slice(frame);
            }
            Cemi::Other { code, body } => {
                out.push(*code);
                out.extend_from_slice(body);
            }
        }
        if out.len() > CEMI_BYTES_MAX {
            return Err(Error::TooLong { what: "a cEMI frame", bytes: out.len(), max: CEMI_BYTES_MAX });
        }
        Ok(out)
    }
}

fn decode_data(message: Message, reader: &mut Reader<'_>) -> Result<LData, Error> {
    let additional = additional::decode(reader)?;
    let control = reader.array("the control fields of a telegram")?;
    // Bit 7 of the first field, standard or extended frame, is not looked at: receivers shall be tolerant towards the
    // frame format (03_06_03, §4.1.5.2.3), and devices do send short frames as extended ones.
    let (control, is_group) = Control::decode(control)?;
    let source = IndividualAddress(reader.u16("the source of a telegram")?);
    let raw = reader.u16("the destination of a telegram")?;
    let destination = if is_group {
        Destination::Group(GroupAddress(raw))
    } else {
        Destination::Individual(IndividualAddress(raw))
    };
    let length = reader.u8("the length of a telegram")?;
    if length == LENGTH_ESCAPE {
        return Err(Error::Invalid { what: "the length of a telegram", got: u32::from(length) });
    }
    let tpdu = reader.take(usize::from(length) + 1, "the TPDU of a telegram")?;
    reader.finish("a telegram")?;
    Ok(LData { message, additional, control, source, destination, tpdu: Tpdu::decode(tpdu)? })
}

fn encode_data(data: &LData, out: &mut Vec<u8>) -> Result<(), Error> {
    additional::encode(&data.additional, out)?;
    let tpdu = data.tpdu.encode()?;
    let length = tpdu.len() - 1;
    let (raw, is_group) = match data.destination {
        Destination::Group(group) => (group.0, true),
        Destination::Individual(device) => (device.0, false),
    };
    out.extend_from_slice(&data.control.encode(length <= STANDARD_LENGTH_MAX, is_group)?);
    out.extend_from_slice(&data.source.0.to_be_bytes());
    out.extend_from_slice(&raw.to_be_bytes());
    out.push(u8::try_from(length).expect("a TPDU has at most 255 bytes"));
    out.extend_from_slice(&tpdu);
    Ok(())
}

fn decode_raw(message: Message, reader: &mut Reader<'_>) -> Result<Cemi, Error> {
    let additional = additional::decode(reader)?;
    Ok(Cemi::Raw { message, additional, frame: reader.rest().to_vec() })
}

/// Longest length of a standard frame (`03_02_02`, §2.2.5.1).
const STANDARD_LENGTH_MAX: usize = 15;
/// A length that announces another format, which is not specified for use.
const LENGTH_ESCAPE: u8 = 0xff;
// Message codes: 03_06_03, §4.1.5.
const L_RAW_REQ: u8 = 0x10;
const L_DATA_REQ: u8 = 0x11;
const L_DATA_IND: u8 = 0x29;
const L_BUSMON_IND: u8 = 0x2b;
const L_RAW_IND: u8 = 0x2d;
const L_DATA_CON: u8 = 0x2e;
const L_RAW_CON: u8 = 0x2f;

#[cfg(test)]
mod tests;
