//! What went wrong, and whose fault it is.

use twinhub_contract::code;

use crate::value::{Epoch, Role};

/// Result of a plugin call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Result codes of the contract, as an author uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// Done.
    Ok,
    /// The plugin panicked or broke an invariant of its own.
    Panic,
    /// Nothing was taken or sent, try again later.
    Again,
    /// The epoch is not the current one. Nothing was sent.
    StaleEpoch,
    /// The request makes no sense: wrong type, unknown item.
    Invalid,
    /// The instance is stopped. Nothing was sent.
    Stopped,
    /// The plugin does not offer this.
    Unsupported,
    /// The instance is not active. Nothing was sent.
    NotActive,
    /// No answer in time. The outcome is unknown: the device may have acted.
    Timeout,
    /// The configuration is wrong.
    Config,
    /// The device, peer or link is at fault, or refused.
    Device,
    /// An exclusive resource is held by somebody else.
    Busy,
    /// The state snapshot has a version this plugin cannot read.
    StateVersion,
    /// The deadline passed before anything was sent.
    Expired,
    /// There is nothing of this name.
    NotFound,
    /// A limit of what may be kept is reached. Nothing was taken.
    Full,
}

impl Code {
    /// The number in the contract.
    pub const fn raw(self) -> i32 {
        match self {
            Self::Ok => code::OK,
            Self::Panic => code::PANIC,
            Self::Again => code::AGAIN,
            Self::StaleEpoch => code::STALE_EPOCH,
            Self::Invalid => code::INVALID,
            Self::Stopped => code::STOPPED,
            Self::Unsupported => code::UNSUPPORTED,
            Self::NotActive => code::NOT_ACTIVE,
            Self::Timeout => code::TIMEOUT,
            Self::Config => code::CONFIG,
            Self::Device => code::DEVICE,
            Self::Busy => code::BUSY,
            Self::StateVersion => code::STATE_VERSION,
            Self::Expired => code::EXPIRED,
            Self::NotFound => code::NOT_FOUND,
            Self::Full => code::FULL,
        }
    }
}

impl From<&Error> for Code {
    fn from(error: &Error) -> Self {
        error.code
    }
}

impl From<Error> for Code {
    fn from(error: Error) -> Self {
        error.code
    }
}

impl<T> From<std::result::Result<T, Error>> for Code {
    fn from(result: std::result::Result<T, Error>) -> Self {
        result.map_or_else(|error| error.code, |_| Self::Ok)
    }
}

impl From<Suppressed> for Code {
    fn from(suppressed: Suppressed) -> Self {
        match suppressed {
            Suppressed::StaleEpoch { .. } => Self::StaleEpoch,
            Suppressed::NotActive { .. } | Suppressed::NoLease => Self::NotActive,
            Suppressed::Stopped => Self::Stopped,
        }
    }
}

/// An error of a plugin: a code the hub acts on, and a text for people.
///
/// ```
/// use twinhub_plugin::{Code, Error};
/// let error = Error::config("port 0 is not a port");
/// assert_eq!(error.code(), Code::Config);
/// assert_eq!(error.to_string(), "port 0 is not a port");
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    code: Code,
    detail: String,
}

impl Error {
    /// An error with any code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The configuration is wrong; the operator must change it.
    pub fn config(detail: impl Into<String>) -> Self {
        Self::new(Code::Config, detail)
    }

    /// The device, peer or link is at fault.
    pub fn device(detail: impl Into<String>) -> Self {
        Self::new(Code::Device, detail)
    }

    /// No answer in time; the outcome is unknown.
    pub fn timeout(detail: impl Into<String>) -> Self {
        Self::new(Code::Timeout, detail)
    }

    /// The request makes no sense.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    /// The plugin does not offer this.
    pub fn unsupported(detail: impl Into<String>) -> Self {
        Self::new(Code::Unsupported, detail)
    }

    /// The plugin broke an invariant of its own.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Code::Panic, detail)
    }

    /// The code.
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The text.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let code = if error.kind() == std::io::ErrorKind::TimedOut { Code::Timeout } else { Code::Device };
        Self::new(code, error.to_string())
    }
}

impl From<Suppressed> for Error {
    fn from(suppressed: Suppressed) -> Self {
        Self::new(suppressed.into(), suppressed.to_string())
    }
}

/// Why an effect is not permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Suppressed {
    /// The instance is not active.
    #[error("suppressed: the role is {role:?}, not active")]
    NotActive {
        /// The role it has.
        role: Role,
    },
    /// The epoch asked for is not the current one.
    #[error("suppressed: epoch {} is not the current {}", asked.0, current.0)]
    StaleEpoch {
        /// As asked.
        asked: Epoch,
        /// The current one.
        current: Epoch,
    },
    /// The lease of the hub is not held, or it has ended.
    #[error("suppressed: the lease has ended")]
    NoLease,
    /// The instance is stopped or faulted.
    #[error("suppressed: the instance is stopped")]
    Stopped,
}

impl Suppressed {
    /// What it is counted under.
    pub(crate) fn counter(self) -> &'static str {
        match self {
            Self::NotActive { .. } => "suppressed.not_active",
            Self::StaleEpoch { .. } => "suppressed.stale_epoch",
            Self::NoLease => "suppressed.lease_ended",
            Self::Stopped => "suppressed.stopped",
        }
    }
}
