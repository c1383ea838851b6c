//! Why an address cannot be held.

use std::io;

/// Why an address cannot be held.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process may not.
    #[error(
        "{what} is not permitted: a floating address needs CAP_NET_ADMIN and CAP_NET_RAW; start as root, give them in \
         the unit with AmbientCapabilities=, or run `setcap cap_net_admin,cap_net_raw+ep` on the executable"
    )]
    NotPermitted {
        /// What was attempted.
        what: &'static str,
    },
    /// There is no such device.
    #[error("there is no network device `{device}`; this machine has: {known}")]
    NoDevice {
        /// As configured.
        device: String,
        /// Those there are.
        known: String,
    },
    /// No device is in the network of the address.
    #[error("no network device has an address in the network of {address}; name one with `device`")]
    NoNetwork {
        /// The address.
        address: String,
    },
    /// The system refused.
    #[error("{what}: {source}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Names what was attempted.
    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| {
            if source.kind() == io::ErrorKind::PermissionDenied {
                Error::NotPermitted { what }
            } else {
                Error::System { what, source }
            }
        }
    }
}
