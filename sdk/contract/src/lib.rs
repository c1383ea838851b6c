//! The contract between the hub and its plugins: types, constants and the declaration, nothing that acts.
//!
//! The normative text is the C header `include/twinhub_plugin.h`. This crate mirrors it with `#[repr(C)]` types
//! ([`abi`], [`extension`]), names its numbers ([`code`] and friends), reads values that arrive through a raw
//! pointer without trusting them ([`value`]), describes the manifest a plugin carries ([`manifest`]), and packs what
//! either side hands from one of its threads to another ([`packed`]).
//!
//! A test compiles the header with the C compiler and compares every size and offset with this crate.
#![allow(unsafe_code, reason = "the contract is made of raw pointers; every block says who upholds what")]
#![warn(missing_docs)]

pub mod abi;
pub mod constants;
pub mod event;
pub mod extension;
mod instance_role;
pub mod manifest;
pub mod packed;
pub mod value;

pub use abi::{
    Batch, Entry, Host, Item, Payload, Plugin, Str, Update, Value, Write, WriteBatch, WriteResult, Writer,
};
pub use constants::{
    ABI, ABI_MAJOR, ABI_MAJOR_OLDEST, ABI_MINOR, ENTRY_SYMBOL, MAGIC, MANIFEST_SECTION, VALUE_BYTES_MAX,
    access, build, code, flag, items, kind, level, quality, role, state, wire,
};
pub use event::{Event, EventRef, event_flag};
pub use instance_role::Role;
pub use manifest::{Manifest, ManifestError};
pub use value::{ValueError, ValueRef};

/// The normative C header, as text.
pub const HEADER: &str = include_str!("../include/twinhub_plugin.h");
