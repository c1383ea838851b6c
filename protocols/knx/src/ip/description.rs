//! What a gateway says of itself: description information blocks (DIB), `03_08_02`.

use std::net::Ipv4Addr;

use super::connection::encode_structure;
use crate::reader::Reader;
use crate::{Error, IndividualAddress};

/// A service family and its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Family {
    /// For example [`Family::TUNNELLING`].
    pub id: u8,
    /// 2 of [`Family::TUNNELLING`] knows TCP, features and extended CRIs.
    pub version: u8,
}

impl Family {
    /// Core.
    pub const CORE: u8 = 0x02;
    /// Device management.
    pub const DEVICE_MANAGEMENT: u8 = 0x03;
    /// Tunnelling.
    pub const TUNNELLING: u8 = 0x04;
    /// Routing.
    pub const ROUTING: u8 = 0x05;
    /// KNX IP Secure.
    pub const SECURITY: u8 = 0x09;
}

/// A slot for one tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelSlot {
    /// Its address on the bus.
    pub address: IndividualAddress,
    /// It can be used at all.
    pub is_usable: bool,
    /// The client that asks may use it.
    pub is_authorized: bool,
    /// Nobody uses it.
    pub is_free: bool,
}

/// The device itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// 0x02 TP1, 0x04 PL110, 0x10 RF, 0x20 IP.
    pub medium: u8,
    /// Its programming mode is on.
    pub is_programming: bool,
    /// Its address.
    pub address: IndividualAddress,
    /// Project (12 bits) and installation (4 bits).
    pub project: u16,
    /// Its KNX serial number.
    pub serial: [u8; 6],
    /// Where it routes.
    pub multicast: Ipv4Addr,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its name, up to 30 characters of ISO 8859-1.
    pub name: String,
}

/// A description information block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dib {
    /// The device.
    Device(DeviceInfo),
    /// Services it has.
    Families(Vec<Family>),
    /// Services it has only within KNX IP Secure, with the version of the security.
    SecuredFamilies(Vec<Family>),
    /// Its addresses on the bus: the device, then those of its tunnels.
    Addresses(Vec<IndividualAddress>),
    /// Its slots for tunnels.
    Tunnelling {
        /// Longest APDU over a tunnel.
        apdu_bytes_max: u16,
        /// All slots.
        slots: Vec<TunnelSlot>,
    },
    /// Extended device information.
    Extended {
        /// Bit 0: the bus cannot be used.
        medium_status: u8,
        /// Longest APDU of the local management.
        apdu_bytes_max: u16,
        /// Device descriptor type 0 (mask version).
        descriptor: u16,
    },
    /// Any other block, kept as it is: addresses of IP, data of a manufacturer.
    Other {
        /// The type.
        kind: u8,
        /// What follows.
        data: Vec<u8>,
    },
}

impl Dib {
    /// Reads blocks until the frame ends.
    pub(crate) fn decode_all(reader: &mut Reader<'_>) -> Result<Vec<Dib>, Error> {
        let mut blocks = Vec::new();
        while !reader.is_empty() {
            blocks.push(Dib::decode(reader)?);
        }
        Ok(blocks)
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Dib, Error> {
        let mut body = reader.structure("a DIB")?;
        let dib = match body.u8("the type of a DIB")? {
            DEVICE => Dib::Device(decode_device(&mut body)?),
            FAMILIES => Dib::Families(decode_families(&mut body)?),
            SECURED_FAMILIES => Dib::SecuredFamilies(decode_families(&mut body)?),
            ADDRESSES => {
                let mut addresses = Vec::new();
                while !body.is_empty() {
                    addresses.push(IndividualAddress(body.u16("an address of a DIB")?));
                }
                Dib::Addresses(addresses)
            }
            TUNNELLING => decode_tunnelling(&mut body)?,
            EXTENDED => {
                let medium_status = body.u8("the medium status of a DIB")?;
                body.u8("the reserved octet of a DIB")?;
                Dib::Extended {
                    medium_status,
                    apdu_bytes_max: body.u16("the APDU length of a DIB")?,
                    descriptor: body.u16("the device descriptor of a DIB")?,
                }
            }
            kind => Dib::Other { kind, data: body.rest().to_vec() },
        };
        body.finish("a DIB")?;
        Ok(dib)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let (kind, data) = match self {
            Dib::Device(device) => (DEVICE, encode_device(device)?),
            Dib::Families(families) => (FAMILIES, encode_families(families)),
            Dib::SecuredFamilies(families) => (SECURED_FAMILIES, encode_families(families)),
            Dib::Addresses(addresses) => {
                (ADDRESSES, addresses.iter().flat_map(|address| address.0.to_be_bytes()).collect())
            }
            Dib::Tunnelling { apdu_bytes_max, slots } => {
                let mut data = apdu_bytes_max.to_be_bytes().to_vec();
                for slot in slots {
                    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
                    data.extend_from_slice(&slot.address.0.to_be_bytes());
                    // Reserved bits are sent as ones, as gateways do.
                    data.extend_from_slice(&[
                        0xff,
                        0xf8 | flag(slot.is_usable, SLOT_USABLE)
                            | flag(slot.is_authorized, SLOT_AUTHORIZED)
                            | flag(slot.is_free, SLOT_FREE),
                    ]);
                }
                (TUNNELLING, data)
            }
            Dib::Extended { medium_status, apdu_bytes_max, descriptor } => {
                let mut data = vec![*medium_status, 0];
                data.extend_from_slice(&apdu_bytes_max.to_be_bytes());
                data.extend_from_slice(&descriptor.to_be_bytes());
                (EXTENDED, data)
            }
            Dib::Other { kind, data } => (*kind, data.clone()),
        };
        encode_structure("a DIB", kind, &data, out)
    }
}

fn decode_device(body: &mut Reader<'_>) -> Result<DeviceInfo, Error> {
    const WHAT: &str = "a DIB of device information";
    let medium = body.u8(WHAT)?;
    let is_programming = body.u8(WHAT)? & 1 != 0;
    let address = IndividualAddress(body.u16(WHAT)?);
    let project = body.u16(WHAT)?;
    let serial = body.array(WHAT)?;
    let multicast = Ipv4Addr::from(body.array::<4>(WHAT)?);
    let mac = body.array(WHAT)?;
    let name = body.take(NAME_BYTES, WHAT)?;
    // Behind the end of the name devices leave rubbish.
    let name = name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect();
    Ok(DeviceInfo { medium, is_programming, address, project, serial, multicast, mac, name })
}

fn encode_device(device: &DeviceInfo) -> Result<Vec<u8>, Error> {
    let mut name = Vec::with_capacity(NAME_BYTES);
    for character in device.name.chars() {
        let byte = u8::try_from(character).ok().filter(|byte| *byte != 0);
        name.push(byte.ok_or(Error::Invalid { what: "a character of a name", got: u32::from(character) })?);
    }
    if name.len() > NAME_BYTES {
        return Err(Error::TooLong { what: "a name", bytes: name.len(), max: NAME_BYTES });
    }
    name.resize(NAME_BYTES, 0);
    let mut data = vec![device.medium, u8::from(device.is_programming)];
    data.extend_from_slice(&device.address.0.to_be_bytes());
    data.extend_from_slice(&device.project.to_be_bytes());
    data.extend_from_slice(&device.serial);
    data.extend_from_slice(&device.multicast.octets());
    data.extend_from_slice(&device.mac);
    data.extend_from_slice(&name);
    Ok(data)
}

fn decode_families(body: &mut Reader<'_>) -> Result<Vec<Family>, Error> {
    let mut families = Vec::new();
    while !body.is_empty() {
        let [id, version] = body.array("a service family")?;
        families.push(Family { id, version });
    }
    Ok(families)
}

fn encode_families(families: &[Family]) -> Vec<u8> {
    families.iter().flat_map(|family| [family.id, family.version]).collect()
}

fn decode_tunnelling(body: &mut Reader<'_>) -> Result<Dib, Error> {
    let apdu_bytes_max = body.u16("the APDU length of a DIB")?;
    let mut slots = Vec::new();
    while !body.is_empty() {
        let address = IndividualAddress(body.u16("the address of a tunnel slot")?);
        let status = body.array::<2>("the status of a tunnel slot")?[1];
        slots.push(TunnelSlot {
            address,
            is_usable: status & SLOT_USABLE != 0,
            is_authorized: status & SLOT_AUTHORIZED != 0,
            is_free: status & SLOT_FREE != 0,
        });
    }
    Ok(Dib::Tunnelling { apdu_bytes_max, slots })
}

const DEVICE: u8 = 0x01;
const FAMILIES: u8 = 0x02;
const ADDRESSES: u8 = 0x05;
const SECURED_FAMILIES: u8 = 0x06;
const TUNNELLING: u8 = 0x07;
const EXTENDED: u8 = 0x08;
const NAME_BYTES: usize = 30;
const SLOT_USABLE: u8 = 0x04;
const SLOT_AUTHORIZED: u8 = 0x02;
const SLOT_FREE: u8 = 0x01;
