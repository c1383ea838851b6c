//! Node-to-node framing and the versioned encoding of records and messages.
//!
//! This crate knows bytes: how a record looks in the journal and on the wire, and how a link between two
//! nodes is cut into frames. It has no socket and no file. Whatever a decoder is given, it answers with a
//! value or a [`WireError`]; it never panics and never allocates more than a small multiple of its input.
//!
//! - [`record`]: one journal record as bytes; the layout of samples is made for hundreds of thousands per
//!   second;
//! - [`frame`]: header, length and checksum around everything that is sent;
//! - [`hello`]: what each side says first, and the protocol version both can speak;
//! - [`probe`]: round trip and clock offset of a path.
//!
//! # Versions
//! A node of version N talks to one of N-1: [`negotiate`] picks the smaller protocol, and nothing newer is sent
//! on that connection. Should a newer peer send a frame of an unknown kind all the same, it is checked, counted
//! and left out ([`FrameReader::skipping_unknown`]); from a peer that is not newer it ends the connection.
//! Every record starts with its kind and the version of its layout; fields of the rarely written kinds are
//! numbered, so that an older reader skips what it does not know. A test pins the bytes of every kind.
#![warn(missing_docs)]

pub mod error;
pub mod frame;
pub mod hello;
pub mod probe;
pub mod record;
mod samples;
mod value;
mod varint;

pub use error::WireError;
pub use frame::{
    FRAME_BODY_MAX, FRAME_CONTROL_MAX, FRAME_HEADER_BYTES, FrameReader, FrameRef, Kind, write_frame,
};
pub use hello::{Channel, Hello, PROTOCOL, PROTOCOL_MIN, PeerKind, PluginCode, PluginLibrary, negotiate};
pub use probe::{Measured, Probe};
pub use record::{RECORD_BYTES_MAX, RecordKind};
