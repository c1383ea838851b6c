//! An address that moves with the role.
//!
//! It is routing and nothing else: which node acts is decided by leases, and the [`Keeper`] asks for the lease
//! before it adds the address and again and again while it holds it. What it adds expires in the kernel by itself
//! a few seconds after the keeper has stopped renewing it, so that neither a killed nor a frozen process leaves an
//! address behind. Clients learn of a move by gratuitous ARP or unsolicited neighbor advertisements, repeated.
//!
//! An IPv4 address is looked for on the segment before it is used (RFC 5227): while this node does not hold it, the
//! keeper asks every few seconds who answers for it, so that a takeover need not wait; a stranger's answer keeps the
//! address off this node and is reported. For IPv6 the kernel's own detection counts.

mod address;
mod error;
mod frames;
mod keeper;
mod kernel;
mod orders;
mod segment;
mod watch;

pub use address::Address;
pub use error::Error;
pub use keeper::{Keeper, Report, Setup, State};
pub use kernel::{Device, find_device, missing_capabilities, remove};
