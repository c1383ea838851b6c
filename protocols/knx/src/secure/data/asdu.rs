//! The secure APDU.

use subtle::ConstantTimeEq;

use crate::reader::Reader;
use crate::secure::Key;
use crate::secure::ccm::{self, Block};
use crate::secure::wrapper::{sequence_bytes, sequence_number};
use crate::{Apdu, Error, GroupAddress, IndividualAddress};

/// How a telegram is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Protection {
    /// Everybody can read it, nobody can change it.
    Authentication,
    /// Nobody else can read it either.
    #[default]
    Confidentiality,
}

/// The fields of the telegram that are protected with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) source: u16,
    pub(super) destination: u16,
    /// Address type and extended frame format, which is 0 here.
    pub(super) address_type: u8,
    /// The first octet without its application control.
    pub(super) tpci: u8,
}

impl Context {
    pub(super) const fn group(source: IndividualAddress, group: GroupAddress) -> Context {
        Context { source: source.0, destination: group.0, address_type: GROUP, tpci: 0 }
    }

    fn block(self, sequence: u64, end: [u8; 6]) -> Block {
        let mut block = [0; 16];
        block[..6].copy_from_slice(&sequence_bytes(sequence));
        block[6..8].copy_from_slice(&self.source.to_be_bytes());
        block[8..10].copy_from_slice(&self.destination.to_be_bytes());
        block[10..].copy_from_slice(&end);
        block
    }

    fn code(self, key: &Key, sequence: u64, additional: &[&[u8]], payload: &[u8]) -> Code {
        let [high, low] = APCI.to_be_bytes();
        let length = u8::try_from(payload.len()).expect("an APDU has at most 254 bytes");
        let block = self.block(sequence, [0, self.address_type, self.tpci | high, low, 0, length]);
        let [a, b, c, d, ..] = ccm::mac(key, &block, additional, payload);
        [a, b, c, d]
    }

    fn counter(self, sequence: u64) -> Block {
        self.block(sequence, [0, 0, 0, 0, 1, 0])
    }
}

/// A secure APDU behind its control octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asdu {
    pub(super) control: u8,
    pub(super) sequence: u64,
    secured: Vec<u8>,
    code: Code,
}

type Code = [u8; 4];

impl Asdu {
    pub(super) fn seal(
        key: &Key,
        protection: Protection,
        sequence: u64,
        context: Context,
        plain: Vec<u8>,
    ) -> Asdu {
        let mut secured = plain;
        let (control, code) = match protection {
            Protection::Authentication => {
                let mut code = context.code(key, sequence, &[&[AUTHENTICATION], &secured], &[]);
                ccm::ctr(key, &context.counter(sequence), &mut code, &mut []);
                (AUTHENTICATION, code)
            }
            Protection::Confidentiality => {
                let mut code = context.code(key, sequence, &[&[CONFIDENTIALITY]], &secured);
                ccm::ctr(key, &context.counter(sequence), &mut code, &mut secured);
                (CONFIDENTIALITY, code)
            }
        };
        Asdu { control, sequence, secured, code }
    }

    /// The plain APDU. `None` if the code is wrong.
    pub(super) fn open(self, key: &Key, protection: Protection, context: Context) -> Option<Vec<u8>> {
        let Asdu { control, sequence, mut secured, mut code } = self;
        let bare = code;
        let (expected, is_genuine) = match protection {
            Protection::Authentication => {
                ccm::ctr(key, &context.counter(sequence), &mut code, &mut []);
                let expected = context.code(key, sequence, &[&[control], &secured], &[]);
                // CCM hides the code also where it encrypts nothing. xknx sends it bare, which cannot be made
                // without the key either.
                (expected, expected.ct_eq(&bare))
            }
            Protection::Confidentiality => {
                ccm::ctr(key, &context.counter(sequence), &mut code, &mut secured);
                (context.code(key, sequence, &[&[control]], &secured), 0.into())
            }
        };
        let is_genuine: bool = (is_genuine | expected.ct_eq(&code)).into();
        is_genuine.then_some(secured)
    }

    /// How it is protected, if it is data of group communication: neither access of a tool, nor system broadcast, nor
    /// synchronization.
    pub(super) const fn protection(&self) -> Option<Protection> {
        match self.control {
            AUTHENTICATION => Some(Protection::Authentication),
            CONFIDENTIALITY => Some(Protection::Confidentiality),
            _ => None,
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Asdu, Error> {
        const WHAT: &str = "a secure APDU";
        let mut reader = Reader::new(bytes);
        let control = reader.u8(WHAT)?;
        let sequence = sequence_number(reader.array(WHAT)?);
        let needed = APDU_BYTES_MIN + CODE_BYTES;
        let left = reader.left();
        if left < needed {
            return Err(Error::Truncated { what: WHAT, needed, got: left });
        }
        let secured = reader.take(left - CODE_BYTES, WHAT)?.to_vec();
        Ok(Asdu { control, sequence, secured, code: reader.array(WHAT)? })
    }

    pub(super) fn encode(&self) -> Apdu {
        let mut data = vec![self.control];
        data.extend_from_slice(&sequence_bytes(self.sequence));
        data.extend_from_slice(&self.secured);
        data.extend_from_slice(&self.code);
        Apdu::Other { apci: APCI, data }
    }
}

/// The octets of an APDU, of which the transport control in front is zero.
pub(super) fn apdu_bytes(apdu: &Apdu) -> Result<Vec<u8>, Error> {
    let (apci, data) = apdu.parts()?;
    let bytes = 2 + data.len();
    if bytes > APDU_BYTES_MAX {
        return Err(Error::TooLong { what: "what is to be protected", bytes, max: APDU_BYTES_MAX });
    }
    Ok([&apci.to_be_bytes(), data].concat())
}

pub(super) fn apdu(bytes: &[u8]) -> Result<Apdu, Error> {
    let mut reader = Reader::new(bytes);
    let apci = reader.u16("a protected APDU")? & 0x3ff;
    Ok(Apdu::from_parts(apci, reader.rest()))
}

/// A-SecureService.
pub(super) const APCI: u16 = 0x3f1;
const GROUP: u8 = 0x80;
/// S-A_Data with authentication only; with both it is one bit more.
const AUTHENTICATION: u8 = 0x00;
const CONFIDENTIALITY: u8 = 0x10;
const CODE_BYTES: usize = 4;
const APDU_BYTES_MIN: usize = 2;
/// What fits into a telegram beside control, sequence and code.
const APDU_BYTES_MAX: usize = crate::cemi::PAYLOAD_BYTES_MAX - 1 - 6 - CODE_BYTES;
