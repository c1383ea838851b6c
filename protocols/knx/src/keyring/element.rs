//! Elements with their place in the file, and their encrypted attributes.

use std::fmt::Display;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;
use zeroize::Zeroizing;

use super::{Cipher, KeyringError};
use crate::secure::ccm;
use crate::secure::{Key, Secret};

/// An element.
pub(super) struct Element<'a, 'input> {
    pub(super) node: Node<'a, 'input>,
}

impl<'a, 'input> Element<'a, 'input> {
    pub(super) const fn new(node: Node<'a, 'input>) -> Element<'a, 'input> {
        Element { node }
    }

    pub(super) fn name(&self) -> &'input str {
        self.node.tag_name().name()
    }

    pub(super) fn children(&self) -> impl Iterator<Item = Element<'a, 'input>> {
        self.node.children().filter(Node::is_element).map(Element::new)
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.node.attribute(name)
    }

    pub(super) fn text(&self, name: &'static str) -> Result<&'a str, KeyringError> {
        self.attribute(name).ok_or_else(|| {
            let place = self.node.document().text_pos_at(self.node.range().start);
            KeyringError::Missing {
                line: place.row,
                column: place.col,
                element: self.name().to_owned(),
                attribute: name,
            }
        })
    }

    /// An attribute that must be there.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, name: &'static str) -> Result<T, KeyringError> {
        self.text(name)?.parse().map_err(|error| self.wrong(name, error))
    }

    /// An attribute that may be missing or empty.
    pub(super) fn optional<T: FromStr<Err: Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, KeyringError> {
        match self.attribute(name) {
            None | Some("") => Ok(None),
            Some(_) => self.parsed(name).map(Some),
        }
    }

    pub(super) fn wrong(&self, attribute: &'static str, problem: impl Display) -> KeyringError {
        let start = match self.node.attribute_node(attribute) {
            Some(attribute) => attribute.range().start,
            None => self.node.range().start,
        };
        let place = self.node.document().text_pos_at(start);
        KeyringError::Attribute {
            line: place.row,
            column: place.col,
            element: self.name().to_owned(),
            attribute,
            problem: problem.to_string(),
        }
    }

    pub(super) fn base64(&self, name: &'static str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        let Some(text) = self.attribute(name) else { return Ok(None) };
        let bytes = STANDARD.decode(text).map_err(|error| self.wrong(name, error))?;
        Ok(Some(Zeroizing::new(bytes)))
    }
}

impl Cipher {
    /// A key: one block.
    pub(super) fn key(
        &self,
        element: &Element<'_, '_>,
        name: &'static str,
    ) -> Result<Option<Key>, KeyringError> {
        let Some(bytes) = self.decrypt(element, name)? else { return Ok(None) };
        let key = bytes[..].try_into();
        let key = key.map_err(|_| element.wrong(name, format!("it has {} bytes, a key 16", bytes.len())))?;
        Ok(Some(Key::new(key)))
    }

    /// A text between eight octets of randomness and a padding whose octets are its length.
    pub(super) fn secret(
        &self,
        element: &Element<'_, '_>,
        name: &'static str,
    ) -> Result<Option<Secret>, KeyringError> {
        let Some(bytes) = self.decrypt(element, name)? else { return Ok(None) };
        if bytes.is_empty() {
            return Ok(None);
        }
        let padding = bytes.last().map_or(0, |octet| usize::from(*octet));
        let end = bytes.len().checked_sub(padding).filter(|end| padding > 0 && *end >= RANDOM_BYTES);
        let end = end.ok_or_else(|| element.wrong(name, "its padding is none"))?;
        let text = str::from_utf8(&bytes[RANDOM_BYTES..end]);
        let text = text.map_err(|_| element.wrong(name, "it is not UTF-8"))?;
        Ok(Some(Secret::from(text)))
    }

    fn decrypt(
        &self,
        element: &Element<'_, '_>,
        name: &'static str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, KeyringError> {
        let Some(mut bytes) = element.base64(name)? else { return Ok(None) };
        if bytes.len() % 16 != 0 {
            return Err(element.wrong(name, format!("it has {} bytes, no multiple of 16", bytes.len())));
        }
        ccm::cbc_decrypt(&self.key, &self.vector, &mut bytes);
        Ok(Some(bytes))
    }
}

const RANDOM_BYTES: usize = 8;
