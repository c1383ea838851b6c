//! The golden files of the protocols, and which of them are frozen.

use std::fmt::Debug;
use std::path::Path;

use twinhub_versions::{Golden, Goldens};
use twinhub_wire::{PROTOCOL, PROTOCOL_MIN};

/// Protocols that are in the field: their files never change again.
const FROZEN: &[(u16, u32)] = &[(1, 0x58cc_0656)];

pub(crate) fn goldens() -> Goldens {
    Goldens::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/protocol"), FROZEN)
}

pub(crate) fn versions() -> std::ops::RangeInclusive<u16> {
    PROTOCOL_MIN..=PROTOCOL
}

/// Checks what is written against the golden bytes, and what is read from them against the golden meaning.
pub(crate) fn check<T: Debug>(version: u16, name: &str, bytes: Vec<u8>, read: impl Fn(&[u8]) -> T) {
    let read = read(&bytes);
    goldens().check(version, name, &Golden::new(bytes, &read)).unwrap_or_else(|error| panic!("{error}"));
}

/// Every protocol but the newest is in the field. So is the newest once it is released: freeze it then.
#[test]
fn protocols_in_the_field_have_not_changed() {
    for version in PROTOCOL_MIN..PROTOCOL {
        goldens().frozen(version).unwrap_or_else(|error| panic!("{error}"));
    }
}
