//! KNXnet/IP frames.
//!
//! ```text
//! header size 06 | version 10 | service (2) | total length (2) | body
//! ```
//! Standard: `03_08_02` Core v01.06.02 (header, HPAI, CRI, CRD, DIB, search, description, connections; error codes in
//! §7.3.4), `03_08_03` Device Management v01.07.03, `03_08_04` Tunnelling v01.07.01, `03_08_05` Routing v01.05.02,
//! `03_08_09` KNX IP Secure v01.01.02.
//!
//! Frames of KNX IP Secure are taken apart and put together; nothing is encrypted, decrypted or verified here.

pub mod connection;
pub mod description;
pub mod frame;
pub mod hpai;
pub mod search;
pub mod secure;
pub mod status;
pub mod stream;

pub use connection::{ConnectionInfo, ConnectionRequest, TunnelLayer};
pub use description::{Dib, Family, TunnelSlot};
pub use frame::{FRAME_BYTES_MAX, Feature, Frame, HEADER_BYTES, Sequenced};
pub use hpai::{HostProtocol, Hpai};
pub use search::{SearchParameter, Selection};
pub use secure::SecureFrame;
pub use status::Status;
pub use stream::StreamReader;
