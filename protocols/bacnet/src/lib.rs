//! BACnet/IP without I/O: bytes in, values out, and back.
//!
//! This crate knows ASHRAE 135 and nothing of the hub. It has no socket, clock, thread or randomness.
//!
//! - [`bvlc`]: the link layer of BACnet/IP, with what foreign devices and broadcast tables need;
//! - [`npdu`]: the network layer, addresses of routed networks, messages of routers;
//! - [`apdu`]: headers of the eight kinds of PDU, with their fields for segments;
//! - [`tag`]: tags, and the one reader and writer of them;
//! - [`value`]: what a property holds, read and written again without loss;
//! - [`shapes`]: structures that many properties share;
//! - [`services`]: requests and answers;
//! - [`names`]: object types, properties, units, errors and states, by number and by name;
//! - [`engine`]: transactions with retries and segments, as client and as server;
//! - [`planner`]: reading many properties with few requests;
//! - [`link`]: datagrams to and from devices, also behind routers and a BBMD;
//! - [`binding`]: where devices are;
//! - [`cov`]: subscriptions, kept and renewed;
//! - [`foreign`]: the registration at a BBMD;
//! - [`moment`]: time, as it is given to what waits.
//!
//! # Why a codec of its own
//! Two crates were read. `rustbac-core` reads nested lists by recursion as deep as a hostile frame wants, and one character
//! set; `bacnet-rs` has a decoder of COV notifications that panics on some bytes from the network.
//!
//! # Bytes from outside
//! Whatever a decoder is given, it answers with a value or an [`Error`]; it never panics, and holds no more than a small
//! multiple of its input. Lists within lists are bounded in depth.
#![warn(missing_docs)]

pub mod apdu;
pub mod binding;
pub mod bvlc;
pub mod cov;
pub mod engine;
pub mod error;
pub mod foreign;
pub mod link;
pub mod moment;
pub mod names;
pub mod npdu;
pub mod planner;
pub mod services;
pub mod shapes;
pub mod tag;
mod timers;
pub mod value;

pub use error::Error;
