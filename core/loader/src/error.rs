//! Why a library is not loaded, and why an instance refused a call.

use std::path::PathBuf;

use twinhub_contract::{ABI_MAJOR, ABI_MINOR, ManifestError, code};

/// Why whoever opens a library does not want it loaded.
pub type Refused = Box<dyn std::error::Error + Send + Sync>;

/// Why a library is not loaded. The message is one sentence that says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file cannot be read.
    #[error("plugin {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file is too large to be a plugin.
    #[error("plugin {} has {bytes} bytes, more than the limit of {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is not a shared library, or a damaged one.
    #[error("{} is not a shared library, or it is damaged; install the file again", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: object::Error,
    },
    /// The library has no manifest section.
    #[error(
        "{} has no manifest section `{}`, so it is not a Twinhub plugin",
        path.display(),
        twinhub_contract::MANIFEST_SECTION
    )]
    NoManifest {
        /// The file.
        path: PathBuf,
    },
    /// The manifest is wrong.
    #[error("plugin {} has a manifest that is not valid", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// The library is made for another major version of the contract.
    #[error(
        "plugin {} speaks contract version {major}.{minor} and this hub {ABI_MAJOR}.{ABI_MINOR}: install {}",
        path.display(),
        if *major > ABI_MAJOR { "a newer hub, or an older build of the plugin" } else { "a newer build of the plugin" }
    )]
    OtherAbi {
        /// The file.
        path: PathBuf,
        /// Major version of the plugin.
        major: u32,
        /// Minor version of the plugin.
        minor: u32,
    },
    /// A panic in the library would end the whole process.
    #[error(
        "plugin {} was built with panic=abort, a panic in it would end the hub: build it with panic=unwind, or run it in a \
         process of its own",
        path.display()
    )]
    AbortsOnPanic {
        /// The file.
        path: PathBuf,
    },
    /// Whoever opens it does not want it loaded.
    #[error(transparent)]
    Refused(Refused),
    /// The library does not export its entry.
    #[error("plugin {} does not export `{}`", path.display(), twinhub_contract::ENTRY_SYMBOL)]
    NoEntry {
        /// The file.
        path: PathBuf,
    },
    /// The entry breaks the contract.
    #[error("plugin {} has a bad entry: {what}", path.display())]
    BadEntry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The content-addressed copy cannot be made.
    #[error("plugin cache {} cannot be written", path.display())]
    Cache {
        /// Where.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The system's loader refused the library.
    #[error("plugin {} cannot be loaded", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the loader says.
        source: libloading::Error,
    },
}

/// A call that an instance refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}{}{detail}", code::name(*code), if detail.is_empty() { "" } else { ": " })]
pub struct PluginError {
    /// The call.
    pub call: &'static str,
    /// One of [`twinhub_contract::code`].
    pub code: i32,
    /// What the plugin says, may be empty.
    pub detail: String,
}

impl PluginError {
    /// An error of this call with this code; `detail` is for people.
    pub fn new(call: &'static str, code: i32, detail: impl Into<String>) -> Self {
        Self { call, code, detail: detail.into() }
    }
}
