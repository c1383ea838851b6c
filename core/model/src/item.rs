//! Names of data points.

use std::fmt;
use std::sync::Arc;

/// The longest item key in bytes.
pub const ITEM_KEY_BYTES_MAX: usize = 512;

/// An item's dense handle on this node. Handles differ between nodes; keys do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub u32);

impl ItemId {
    /// The handle as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An item's name, `interface/path`, the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey(Arc<str>);

impl ItemKey {
    /// Checks and takes a key.
    ///
    /// # Errors
    /// [`ItemKeyError`] if the interface or the path is missing, a path segment is empty, a control
    /// character is in it, or it is longer than [`ITEM_KEY_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<ItemKey, ItemKeyError> {
        if text.len() > ITEM_KEY_BYTES_MAX {
            return Err(ItemKeyError::TooLong { bytes: text.len() });
        }
        let Some((interface, path)) = text.split_once('/') else {
            return Err(ItemKeyError::NoPath { key: text.to_owned() });
        };
        if interface.is_empty() || path.split('/').any(str::is_empty) {
            return Err(ItemKeyError::EmptySegment { key: text.to_owned() });
        }
        if text.chars().any(char::is_control) {
            return Err(ItemKeyError::ControlCharacter { key: text.escape_debug().to_string() });
        }
        Ok(ItemKey(text.into()))
    }

    /// The key of `path` in `interface`.
    ///
    /// # Errors
    /// As [`ItemKey::parse`].
    pub fn new(interface: &str, path: &str) -> Result<ItemKey, ItemKeyError> {
        ItemKey::parse(&format!("{interface}/{path}"))
    }

    /// The interface's id.
    pub fn interface(&self) -> &str {
        self.0.split_once('/').map_or("", |(interface, _)| interface)
    }

    /// The path within the interface.
    pub fn path(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, path)| path)
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no item key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemKeyError {
    /// There is no `/`.
    #[error("item key `{key}` has no path: write `interface/path`")]
    NoPath {
        /// The text.
        key: String,
    },
    /// Nothing stands before, after or between slashes.
    #[error(
        "item key `{key}` has an empty part: write `interface/path` without `//` and without `/` at an end"
    )]
    EmptySegment {
        /// The text.
        key: String,
    },
    /// A line end, tab or other control character.
    #[error("item key `{key}` contains a control character")]
    ControlCharacter {
        /// The text, escaped.
        key: String,
    },
    /// More than [`ITEM_KEY_BYTES_MAX`].
    #[error("item key has {bytes} bytes, the most is {ITEM_KEY_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_an_interface_and_a_path() {
        let key = ItemKey::parse("knx1/3/0/7").unwrap();
        assert_eq!((key.interface(), key.path()), ("knx1", "3/0/7"));
    }

    #[test]
    fn a_text_that_names_nothing_is_refused() {
        for text in ["", "plc1", "/a", "plc1/", "plc1//a", "plc1/a/", "plc1/a\nb"] {
            assert!(ItemKey::parse(text).is_err(), "{text:?}");
        }
        assert!(ItemKey::parse(&format!("a/{}", "b".repeat(ITEM_KEY_BYTES_MAX))).is_err());
    }
}
