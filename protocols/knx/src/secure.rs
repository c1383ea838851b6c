//! KNX Secure without I/O: sessions and multicast of KNX IP Secure, and telegrams of Data Secure.
//!
//! Two things that are independent of each other go by the name of KNX Secure. *IP Secure* protects frames between a
//! client and its gateway ([`session`]), and multicast between routers ([`routing`]). *Data Secure* protects what is said to a group from device to device, over
//! whatever it goes ([`data`]).
//!
//! # A secure tunnel
//! [`SecureTunnel`] puts both around a [`Tunnel`](crate::Tunnel) and takes and gives what that does, so an owner that can
//! lead a tunnel can lead a secure one. All it does besides is to bring randomness before each `Start`:
//! ```
//! use twinhub_knx_protocol::secure::{Key, PrivateKey, Secret, SecureTunnel, SessionConfig};
//! use twinhub_knx_protocol::tunnel::{Input, Output};
//! use twinhub_knx_protocol::{Moment, TunnelConfig};
//!
//! # fn main() -> Result<(), twinhub_knx_protocol::Error> {
//! let user_key = Key::of_user(&Secret::from("password of the tunnel"))?;
//! let device_key = Key::of_device(&Secret::from("authentication code"))?;
//! let session = SessionConfig::new(2, user_key, Some(device_key), [0; 6]);
//! let mut tunnel = SecureTunnel::new(TunnelConfig::tcp()).with_session(session);
//!
//! // The TCP stream is open.
//! # let random = [7; 32];
//! tunnel.set_private_key(PrivateKey::new(random)); // 32 bytes from the system
//! tunnel.handle_input(Input::Start, Moment::ZERO);
//! while let Output::Action(action) = tunnel.poll_output() {
//!     // Send frames, take telegrams: as with a tunnel that is not secure.
//! #   drop(action);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Groups of Data Secure
//! A keyring tells keys and senders. What must not be lost is in the hands of the owner: it saves how far own sequence
//! numbers may have been used before they are used, and from time to time the last valid ones of the senders.
//! ```
//! use twinhub_knx_protocol::TunnelConfig;
//! use twinhub_knx_protocol::secure::data::{DataConfig, DataSecure};
//! use twinhub_knx_protocol::secure::SecureTunnel;
//!
//! # let (groups, senders, saved) = (Default::default(), Default::default(), 4_000);
//! // With a keyring: keyring.data(saved).
//! let config = DataConfig { groups, senders, next: saved, protection: Default::default() };
//! let mut tunnel = SecureTunnel::new(TunnelConfig::tcp()).with_data(DataSecure::new(config));
//!
//! if let Some(data) = tunnel.data()
//!     && data.remaining() < 100
//! {
//!     let limit = data.next() + 1_000;
//!     // Save `limit` and wait until it is on the disk of both nodes; a restart begins there. Then:
//!     data.reserve(limit);
//! }
//! ```
//!
//! # Secrets
//! Keys and passwords are wiped when they are dropped, and hidden where a structure is printed. Codes are compared in
//! constant time.
//!
//! Standard: `03_08_09` KNX IP Secure v01.01.02 (first published as AN159); for Data Secure `03_03_07` Application Layer
//! v02.01.01, §5 (first published as AN158).

pub(crate) mod ccm;
pub mod data;
mod key;
pub mod routing;
pub mod session;
mod tunnel;
mod wrapper;

pub use data::DataSecure;
pub use key::{Key, PrivateKey, Secret};
pub use routing::SecureRouting;
pub use session::{Session, SessionConfig};
pub use tunnel::SecureTunnel;
