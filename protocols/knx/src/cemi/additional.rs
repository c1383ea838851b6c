//! Additional information in front of a cEMI message (`03_06_03`, §4.1.4.3).

use crate::Error;
use crate::reader::Reader;

/// One piece of additional information.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdditionalInfo {
    /// What it is, for example [`AdditionalInfo::BUSMON_STATUS`].
    pub kind: u8,
    /// Its content, up to 252 bytes.
    pub data: Vec<u8>,
}

impl AdditionalInfo {
    /// Error flags and sequence number of a bus monitor.
    pub const BUSMON_STATUS: u8 = 0x03;
    /// Relative time stamp of two octets.
    pub const TIMESTAMP: u8 = 0x04;
    /// Relative time stamp of four octets.
    pub const TIMESTAMP_EXTENDED: u8 = 0x06;
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Vec<AdditionalInfo>, Error> {
    let length = reader.u8("the length of additional information")?;
    if length == LENGTH_RESERVED {
        return Err(Error::Invalid { what: "the length of additional information", got: u32::from(length) });
    }
    let mut reader = Reader::new(reader.take(usize::from(length), "additional information")?);
    let mut list = Vec::new();
    while !reader.is_empty() {
        let kind = reader.u8("the type of additional information")?;
        let length = reader.u8("the length of one piece of additional information")?;
        let data = reader.take(usize::from(length), "one piece of additional information")?.to_vec();
        list.push(AdditionalInfo { kind, data });
    }
    Ok(list)
}

pub(super) fn encode(list: &[AdditionalInfo], out: &mut Vec<u8>) -> Result<(), Error> {
    let bytes: usize = list.iter().map(|info| info.data.len() + 2).sum();
    let length =
        u8::try_from(bytes).ok().filter(|length| *length < LENGTH_RESERVED).ok_or(Error::TooLong {
            what: "additional information",
            bytes,
            max: usize::from(LENGTH_RESERVED) - 1,
        })?;
    out.push(length);
    for info in list {
        out.push(info.kind);
        out.push(u8::try_from(info.data.len()).expect("the whole has fewer than 255 bytes"));
        out.extend_from_slice(&info.data);
    }
    Ok(())
}

/// Reserved for an extension.
const LENGTH_RESERVED: u8 = 0xff;
