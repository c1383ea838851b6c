//! Where the lists of items come from.

/// Where items files come from.
pub trait ItemSource {
    /// The bytes of the items file with that name, as the configuration writes it.
    ///
    /// # Errors
    /// [`ItemSourceError`].
    fn read(&self, name: &str) -> Result<Vec<u8>, ItemSourceError>;
}

/// Why an items file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ItemSourceError {
    /// There is none, or it may not be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// More than 256 MiB.
    #[error("{path} is larger than {} MiB", ITEMS_BYTES_MAX >> 20)]
    TooLarge {
        /// The file.
        path: String,
    },
}

/// The largest items file.
pub(crate) const ITEMS_BYTES_MAX: u64 = 256 << 20;
