//! KNX without I/O: bytes in, bytes out, and state machines that are told the time.
//!
//! This crate knows the KNX standard and nothing of the hub. It has no socket, clock, thread or randomness of its own:
//! whoever uses it brings datagrams, a [`Moment`] and a seed, and carries out what it is handed.
//!
//! - [`address`]: individual and group addresses;
//! - [`cemi`]: the telegrams themselves, in the common external message interface;
//! - [`ip`]: KNXnet/IP frames, and the framing of a TCP stream;
//! - [`dpt`]: datapoint types, from payload to value and back;
//! - [`tunnel`]: the client of a tunnelling connection;
//! - [`routing`]: sending and receiving over multicast;
//! - [`secure`]: both of them with KNX IP Secure, and groups with Data Secure;
//! - [`keyring`]: the keys of a project, as the ETS exports them.
//!
//! # Bytes from outside
//! Whatever a decoder is given, it answers with a value or an [`Error`]; it never panics, and allocates no more than a
//! small multiple of its input. Lengths are checked strictly. Where devices in the field are known to be careless, a
//! decoder is lenient, and a comment at that place says why.
//!
//! # State machines
//! They have `handle_input(input, now)` and `poll_output()`. After each input the owner drains `poll_output` until it
//! gives `Timeout`, then waits for the next input or for that moment, whichever is first, and hands in `Wakeup` for the
//! latter. `now` never goes back.
//!
//! # Citations
//! A document of the standard is named by volume, part and chapter (`03_08_04`) with the version that was looked up.
//! Paragraphs are given where they could be verified, and left out elsewhere.
#![warn(missing_docs)]

pub mod address;
pub mod cemi;
pub mod dpt;
pub mod error;
pub mod ip;
pub mod keyring;
mod reader;
pub mod routing;
pub mod secure;
pub mod time;
pub mod tunnel;

pub use address::{GroupAddress, GroupStyle, IndividualAddress};
pub use cemi::{Apdu, Cemi, LData, Payload, Priority};
pub use dpt::{Dpt, DptId};
pub use error::Error;
pub use routing::{Routing, RoutingConfig};
pub use time::Moment;
pub use tunnel::{Tunnel, TunnelConfig};
