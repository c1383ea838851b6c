//! Which plugin code may run.
//!
//! `plugins.lock` beside `twinhub.toml` names the libraries that a site trusts: id, version, SHA-256, and the publisher
//! whose signature the library must have. [`judge`] is given the bytes of a library, what it says of itself and its
//! signature, and answers with a [`Verdict`] or with a [`Refusal`], before any of its code is mapped.
//!
//! - Without `plugins.lock` every library is taken as it is: [`Verdict::Unlocked`].
//! - With it a library needs an entry with its hash, and the signature of the publisher that the entry names:
//!   [`Verdict::Trusted`]. Signatures are those of minisign, in a file `LIBRARY.minisig` beside the library.
//! - An unsigned library runs only if an entry allows that hash by `allow_unsigned = true`, and only isolated:
//!   [`Verdict::Allowed`].
//!
//! [`agreement`] compares what two nodes run.
//!
//! Nothing here opens a file or knows a plugin: texts and bytes go in, verdicts come out.
#![warn(missing_docs)]

mod agreement;
mod edit;
mod entry;
mod form;
mod hosting;
mod lock;
mod refusal;
mod signature;
mod verdict;

pub use agreement::{Agreement, Code, LibraryCode, agreement};
pub use edit::{EMPTY, NewEntry, with_content, with_entry, with_publisher};
pub use entry::{Entry, Grant};
pub use form::schema;
pub use hosting::Hosting;
pub use lock::{LOCK_BYTES_MAX, Lock, Publisher};
pub use refusal::{Refusal, Why};
pub use signature::{KeyFault, PublicKey, SIGNATURE_BYTES_MAX, SignatureFault, signature_path, verify};
pub use twinhub_config::LOCK_FILE;
pub use verdict::{Candidate, Verdict, judge};
