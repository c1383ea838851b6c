//! Characters and texts: `03_07_02` v02.02.01, §3.4 and §3.17; those of variable length end with a zero octet.

use super::{Dpt, TEXT_BYTES_MAX};
use crate::Error;

pub(super) fn decode_character(dpt: &Dpt, bytes: &[u8]) -> Result<String, Error> {
    Ok(char::from(dpt.octet(bytes)?).to_string())
}

pub(super) fn encode_character(dpt: &Dpt, is_ascii: bool, text: &str) -> Result<Vec<u8>, Error> {
    // Zero is a character of the set.
    if text == "\0" {
        return Ok(vec![0]);
    }
    let bytes = latin1(dpt, is_ascii, text)?;
    if bytes.len() == 1 {
        Ok(bytes)
    } else {
        Err(Error::DptLength { dpt: dpt.id, expected: 1, got: bytes.len() })
    }
}

/// Fourteen octets, filled up with zeros. Those of 16.000 are read as ISO 8859-1, too: devices send umlauts in it.
pub(super) fn decode_fixed(dpt: &Dpt, bytes: &[u8]) -> Result<String, Error> {
    Ok(decode_latin1(&dpt.octets::<14>(bytes)?))
}

pub(super) fn encode_fixed(dpt: &Dpt, is_ascii: bool, text: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = latin1(dpt, is_ascii, text)?;
    if bytes.len() > 14 {
        return Err(Error::TooLong { what: "a text of 14 characters", bytes: bytes.len(), max: 14 });
    }
    bytes.resize(14, 0);
    Ok(bytes)
}

/// Up to the first zero; a missing one ends with the telegram, as some devices have it.
pub(super) fn decode_latin1(bytes: &[u8]) -> String {
    bytes.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}

pub(super) fn encode_latin1(dpt: &Dpt, text: &str) -> Result<Vec<u8>, Error> {
    ended(latin1(dpt, false, text)?)
}

pub(super) fn decode_utf8(dpt: &Dpt, bytes: &[u8]) -> Result<String, Error> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Error::DptNotText { dpt: dpt.id })?;
    Ok(text.to_owned())
}

pub(super) fn encode_utf8(dpt: &Dpt, text: &str) -> Result<Vec<u8>, Error> {
    if text.contains('\0') {
        return Err(Error::DptCharacter { dpt: dpt.id, character: '\0' });
    }
    ended(text.as_bytes().to_vec())
}

fn ended(mut bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(Error::TooLong { what: "a text", bytes: bytes.len(), max: TEXT_BYTES_MAX });
    }
    bytes.push(0);
    Ok(bytes)
}

fn latin1(dpt: &Dpt, is_ascii: bool, text: &str) -> Result<Vec<u8>, Error> {
    let max = if is_ascii { 0x7f } else { 0xff };
    text.chars()
        .map(|character| {
            let byte = u8::try_from(character).ok().filter(|byte| *byte != 0 && *byte <= max);
            byte.ok_or(Error::DptCharacter { dpt: dpt.id, character })
        })
        .collect()
}
