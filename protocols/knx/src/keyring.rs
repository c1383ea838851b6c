//! Keyrings: the `.knxkeys` files that the ETS exports, with the keys of a project.
//!
//! A keyring is XML. Its secrets are encrypted with a key that comes from the password of the export, and all of it is
//! signed with the same, so a wrong password and a changed file are the same finding. Nothing is taken from a file whose
//! signature is wrong.
//!
//! ```text
//! Keyring: Created, Signature
//! ├ Backbone: MulticastAddress, Latency, Key
//! ├ Interface: IndividualAddress, Type, Host, UserID, Password, Authentication
//! │ └ Group: Address, Senders
//! ├ GroupAddresses / Group: Address, Key
//! └ Devices / Device: IndividualAddress, ToolKey, ManagementPassword, Authentication, SequenceNumber
//! ```
//! The format is that of the ETS; no document of the standard describes it. What is not known is signed over, and else not
//! looked at: the ETS adds to the format from version to version.
//!
//! ```no_run
//! use twinhub_knx_protocol::keyring::Keyring;
//! use twinhub_knx_protocol::secure::{Secret, SecureTunnel};
//! use twinhub_knx_protocol::TunnelConfig;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let bytes = [];
//! let keyring = Keyring::read(&bytes, &Secret::from("password of the export"))?;
//! let interface = "1.1.241".parse()?;
//! let session = keyring.session(interface, [0; 6])?;
//! let config = TunnelConfig { address: Some(interface), ..TunnelConfig::tcp() };
//! let tunnel = SecureTunnel::new(config).with_session(session);
//! # Ok(())
//! # }
//! ```

mod element;
mod error;
mod signature;

pub use error::KeyringError;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use roxmltree::{Document, ParsingOptions};
use sha2::{Digest, Sha256};

use crate::secure::ccm::Block;
use crate::secure::data::{DataConfig, Protection};
use crate::secure::routing::GroupConfig;
use crate::secure::{Key, Secret, SessionConfig};
use crate::{GroupAddress, IndividualAddress};
use element::Element;

/// The longest keyring that is read: that of a project with tens of thousands of groups is a tenth of it.
pub const KEYRING_BYTES_MAX: usize = 32 << 20;

/// All of a keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyring {
    /// The name of the project.
    pub project: String,
    /// When it was exported, as the ETS writes it.
    pub created: String,
    /// The ETS that exported it.
    pub created_by: String,
    /// Secure multicast, if the project has it.
    pub backbone: Option<Backbone>,
    /// Tunnels and other interfaces.
    pub interfaces: Vec<Interface>,
    /// Keys of groups.
    pub groups: BTreeMap<GroupAddress, Key>,
    /// Devices; only the export of a whole project has them.
    pub devices: Vec<Device>,
}

/// Secure multicast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backbone {
    /// The group of the routers.
    pub multicast: Option<Ipv4Addr>,
    /// The latency tolerance.
    pub latency_ms: Option<u16>,
    /// The key; a project without secure routing has none.
    pub key: Option<Key>,
}

/// What an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceKind {
    /// A tunnel of a gateway.
    Tunneling,
    /// A USB interface.
    Usb,
    /// Something else, as the file calls it.
    Other(String),
}

/// A tunnel or another interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// What it is.
    pub kind: InterfaceKind,
    /// Its address: that of the client.
    pub address: Option<IndividualAddress>,
    /// The gateway it is of.
    pub host: Option<IndividualAddress>,
    /// The user of its session.
    pub user: Option<u8>,
    /// The user's password.
    pub password: Option<Secret>,
    /// The authentication code of the gateway.
    pub authentication: Option<Secret>,
    /// The protected groups that it has to do with, and who may send to them.
    pub groups: BTreeMap<GroupAddress, Vec<IndividualAddress>>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its address.
    pub address: IndividualAddress,
    /// The key of its management.
    pub tool_key: Option<Key>,
    /// The password of its management, that of user 1.
    pub management_password: Option<Secret>,
    /// Its authentication code.
    pub authentication: Option<Secret>,
    /// Its sequence number at the export; 0 if there is none.
    pub sequence: u64,
}

impl Keyring {
    /// Reads the bytes of a file. Takes tens of milliseconds at least: the password is hashed many times over.
    ///
    /// # Errors
    /// If the password is wrong, the file was changed, or something in it is not as the ETS writes it.
    pub fn read(bytes: &[u8], password: &Secret) -> Result<Keyring, KeyringError> {
        if bytes.len() > KEYRING_BYTES_MAX {
            return Err(KeyringError::TooLong { bytes: bytes.len(), max: KEYRING_BYTES_MAX });
        }
        let text = str::from_utf8(bytes).map_err(|error| KeyringError::NotText {
            line: bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count(),
        })?;
        let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).map_err(|error| {
            let place = error.pos();
            KeyringError::Xml { line: place.row, column: place.col, detail: error.to_string() }
        })?;
        let root = Element::new(document.root_element());
        if root.name() != "Keyring" {
            return Err(KeyringError::NotKeyring { found: root.name().chars().take(40).collect() });
        }
        let key = Key::derive(password.as_str().as_bytes(), b"1.keyring.ets.knx.org");
        signature::verify(&root, &key)?;
        let created = root.text("Created")?.to_owned();
        let mut vector: Block = [0; 16];
        vector.copy_from_slice(&Sha256::digest(created.as_bytes())[..16]);
        Reading { cipher: Cipher { key, vector } }.keyring(&root, created)
    }

    /// The interface with this address.
    pub fn interface(&self, address: IndividualAddress) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.address == Some(address))
    }

    /// The tunnels of a gateway.
    pub fn tunnels(&self, host: IndividualAddress) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(move |interface| {
            interface.kind == InterfaceKind::Tunneling && interface.host == Some(host)
        })
    }

    /// What a session for this tunnel begins with. Derives two keys, which takes tens of milliseconds.
    ///
    /// # Errors
    /// If there is no such tunnel, or the keyring lacks its user or password.
    pub fn session(&self, tunnel: IndividualAddress, serial: [u8; 6]) -> Result<SessionConfig, KeyringError> {
        let lacks = |what| KeyringError::Lacks { what, interface: tunnel };
        let interface = self.interface(tunnel).ok_or_else(|| lacks("the interface"))?;
        let user = interface.user.ok_or_else(|| lacks("the user"))?;
        let password = interface.password.as_ref().ok_or_else(|| lacks("the password"))?;
        let of_host = || self.devices.iter().find(|device| Some(device.address) == interface.host);
        let code = interface
            .authentication
            .as_ref()
            .or_else(|| of_host().and_then(|host| host.authentication.as_ref()));
        let unusable = |source| KeyringError::Unusable { interface: tunnel, source };
        let device_key = code.map(Key::of_device).transpose().map_err(unusable)?;
        let user_key = Key::of_user(password).map_err(unusable)?;
        Ok(SessionConfig::new(user, user_key, device_key, serial))
    }

    /// What secure multicast begins with. `None` if the project has none. The other arguments are those of
    /// [`GroupConfig::new`].
    pub fn group(&self, serial: [u8; 6], timer_ms: u64, seed: u64) -> Option<GroupConfig> {
        let backbone = self.backbone.as_ref()?;
        let config = GroupConfig::new(backbone.key.clone()?, serial, timer_ms, seed);
        let latency_ms = backbone.latency_ms.unwrap_or(config.latency_ms);
        Some(GroupConfig { latency_ms, ..config })
    }

    /// What Data Secure begins with: all groups, and all senders with what the keyring knows of their numbers. Numbers
    /// that were saved since are put in place of those that are less.
    pub fn data(&self, next: u64) -> DataConfig {
        let listed = self.interfaces.iter().flat_map(|interface| interface.groups.values().flatten());
        let mut senders: BTreeMap<IndividualAddress, u64> = listed.map(|sender| (*sender, 0)).collect();
        senders.extend(self.devices.iter().map(|device| (device.address, device.sequence)));
        DataConfig { groups: self.groups.clone(), senders, next, protection: Protection::default() }
    }
}

/// How secrets are decrypted.
struct Cipher {
    key: Key,
    vector: Block,
}

struct Reading {
    cipher: Cipher,
}

impl Reading {
    fn keyring(&self, root: &Element<'_, '_>, created: String) -> Result<Keyring, KeyringError> {
        let mut keyring = Keyring {
            project: root.attribute("Project").unwrap_or_default().to_owned(),
            created,
            created_by: root.attribute("CreatedBy").unwrap_or_default().to_owned(),
            backbone: None,
            interfaces: Vec::new(),
            groups: BTreeMap::new(),
            devices: Vec::new(),
        };
        for element in root.children() {
            match element.name() {
                "Backbone" => keyring.backbone = Some(self.backbone(&element)?),
                "Interface" => keyring.interfaces.push(self.interface(&element)?),
                "GroupAddresses" => {
                    for group in element.children().filter(|child| child.name() == "Group") {
                        let key = self.cipher.key(&group, "Key")?;
                        let Some(key) = key else { continue };
                        if keyring.groups.insert(group.parsed("Address")?, key).is_some() {
                            return Err(group.wrong("Address", "the group is there twice"));
                        }
                    }
                }
                "Devices" => {
                    for device in element.children().filter(|child| child.name() == "Device") {
                        keyring.devices.push(self.device(&device)?);
                    }
                }
                _ => {}
            }
        }
        Ok(keyring)
    }

    fn backbone(&self, element: &Element<'_, '_>) -> Result<Backbone, KeyringError> {
        Ok(Backbone {
            multicast: element.optional("MulticastAddress")?,
            latency_ms: element.optional("Latency")?,
            key: self.cipher.key(element, "Key")?,
        })
    }

    fn interface(&self, element: &Element<'_, '_>) -> Result<Interface, KeyringError> {
        let mut groups = BTreeMap::new();
        for group in element.children().filter(|child| child.name() == "Group") {
            let senders = group.attribute("Senders").unwrap_or_default().split_ascii_whitespace();
            let senders = senders
                .map(str::parse)
                .collect::<Result<_, _>>()
                .map_err(|error| group.wrong("Senders", error))?;
            groups.insert(group.parsed("Address")?, senders);
        }
        Ok(Interface {
            kind: match element.text("Type")? {
                "Tunneling" => InterfaceKind::Tunneling,
                "USB" => InterfaceKind::Usb,
                other => InterfaceKind::Other(other.to_owned()),
            },
            address: element.optional("IndividualAddress")?,
            host: element.optional("Host")?,
            user: element.optional("UserID")?,
            password: self.cipher.secret(element, "Password")?,
            authentication: self.cipher.secret(element, "Authentication")?,
            groups,
        })
    }

    fn device(&self, element: &Element<'_, '_>) -> Result<Device, KeyringError> {
        Ok(Device {
            address: element.parsed("IndividualAddress")?,
            tool_key: self.cipher.key(element, "ToolKey")?,
            management_password: self.cipher.secret(element, "ManagementPassword")?,
            authentication: self.cipher.secret(element, "Authentication")?,
            sequence: element.optional("SequenceNumber")?.unwrap_or_default(),
        })
    }
}

/// Nodes of the tree, so that a small file cannot take much memory.
const NODES_MAX: u32 = 2_000_000;

#[cfg(test)]
mod tests;
