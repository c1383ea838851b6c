//! The signature over all elements and attributes.
//!
//! It is the first half of a SHA-256 over: for each element the octet 1, its name, and its attributes sorted by name, then
//! what is in it, then the octet 2; at last the key of the password in base64. Names and values have their length in front,
//! of which only the lowest octet counts. `xmlns` and the signature itself are left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::KeyringError;
use super::element::Element;
use crate::secure::Key;

pub(super) fn verify(root: &Element<'_, '_>, key: &Key) -> Result<(), KeyringError> {
    root.text(SIGNATURE)?;
    let given = root.base64(SIGNATURE)?.unwrap_or_default();
    let mut hash = Sha256::new();
    let mut node = root.node;
    // Not recursive: how deep a file is nested is not ours to say.
    'walk: loop {
        hash_start(&mut hash, &Element::new(node));
        if let Some(child) = node.first_element_child() {
            node = child;
            continue;
        }
        loop {
            hash.update([END]);
            if node == root.node {
                break 'walk;
            }
            if let Some(next) = node.next_sibling_element() {
                node = next;
                continue 'walk;
            }
            match node.parent() {
                Some(parent) => node = parent,
                None => break 'walk,
            }
        }
    }
    hash_text(&mut hash, &Zeroizing::new(STANDARD.encode(key.as_bytes())));
    let expected = hash.finalize();
    let is_genuine: bool = expected[..16].ct_eq(&given).into();
    if is_genuine { Ok(()) } else { Err(KeyringError::WrongPassword) }
}

fn hash_start(hash: &mut Sha256, element: &Element<'_, '_>) {
    hash.update([START]);
    hash_text(hash, element.name());
    let mut attributes: Vec<(&str, &str)> = element
        .node
        .attributes()
        .map(|attribute| (attribute.name(), attribute.value()))
        .filter(|(name, _)| *name != SIGNATURE)
        .collect();
    attributes.sort_unstable();
    for (name, value) in attributes {
        hash_text(hash, name);
        hash_text(hash, value);
    }
}

fn hash_text(hash: &mut Sha256, text: &str) {
    hash.update([text.len().to_le_bytes()[0]]);
    hash.update(text.as_bytes());
}

const SIGNATURE: &str = "Signature";
const START: u8 = 1;
const END: u8 = 2;
