//! Whom an extended search is meant for: search request parameters (SRP), `03_08_02`.

use super::connection::encode_structure;
use crate::Error;
use crate::reader::Reader;

/// One parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchParameter {
    /// Who does not know it, or does not fulfill it, is not to answer.
    pub is_mandatory: bool,
    /// What it selects.
    pub selection: Selection,
}

/// What a parameter selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Devices in programming mode.
    ProgrammingMode,
    /// The device with this MAC address.
    MacAddress([u8; 6]),
    /// Devices with this service family in at least this version.
    Service {
        /// The family.
        family: u8,
        /// Its version.
        version: u8,
    },
    /// Not whom, but what: the types of blocks that the answer is to have.
    Blocks(Vec<u8>),
    /// Any other parameter, kept as it is.
    Other {
        /// The type, seven bits.
        kind: u8,
        /// What follows.
        data: Vec<u8>,
    },
}

impl SearchParameter {
    pub(crate) fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<SearchParameter>, Error> {
        let mut parameters = Vec::new();
        while !reader.is_empty() {
            let mut body = reader.structure("an SRP")?;
            let kind = body.u8("the type of an SRP")?;
            let selection = match kind & !MANDATORY {
                PROGRAMMING_MODE => Selection::ProgrammingMode,
                MAC_ADDRESS => Selection::MacAddress(body.array("the MAC address of an SRP")?),
                SERVICE => {
                    let [family, version] = body.array("the service of an SRP")?;
                    Selection::Service { family, version }
                }
                BLOCKS => Selection::Blocks(body.rest().to_vec()),
                kind => Selection::Other { kind, data: body.rest().to_vec() },
            };
            body.finish("an SRP")?;
            parameters.push(SearchParameter { is_mandatory: kind & MANDATORY != 0, selection });
        }
        Ok(parameters)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (kind, data) = match &self.selection {
            Selection::ProgrammingMode => (PROGRAMMING_MODE, Vec::new()),
            Selection::MacAddress(address) => (MAC_ADDRESS, address.to_vec()),
            Selection::Service { family, version } => (SERVICE, vec![*family, *version]),
            Selection::Blocks(kinds) => {
                let mut kinds = kinds.clone();
                // The structure has an even length; type 0 asks for nothing.
                if kinds.len() % 2 != 0 {
                    kinds.push(0);
                }
                (BLOCKS, kinds)
            }
            Selection::Other { kind, .. } if kind & MANDATORY != 0 => {
                return Err(Error::Invalid { what: "the type of an SRP", got: u32::from(*kind) });
            }
            Selection::Other { kind, data } => (*kind, data.clone()),
        };
        let flag = if self.is_mandatory { MANDATORY } else { 0 };
        encode_structure("an SRP", kind | flag, &data, out)
    }
}

const MANDATORY: u8 = 0x80;
const PROGRAMMING_MODE: u8 = 0x01;
const MAC_ADDRESS: u8 = 0x02;
const SERVICE: u8 = 0x03;
const BLOCKS: u8 = 0x04;
