//! What a cluster keeps in common beside values: configuration revisions, users, tokens, sessions, and who did what.
//!
//! A [`Document`] has a kind, a name, a revision, an author, a time and a body; one that was removed stays as a mark
//! without a body, so that a removal is not undone by a node that did not hear of it. Everything that changes one is a
//! [`Change`], a record in the journal of the first group: its active node is the only writer, and every node that
//! applies the same changes in the same order has the same [`Documents`].
//!
//! ```text
//! Change -> check (the writer, before it is journaled) -> journal -> apply (every node) -> Documents
//! ```
//!
//! [`Documents::apply`] takes journal bodies and the bodies of a copy alike ([`Documents::snapshot`]). What it finds it
//! cannot take, it counts and leaves out; bytes from elsewhere never panic.
//!
//! **Merge** ([`ours_after`]): what a node changed alone before it followed another one again. Removals and revocations
//! always win; sessions join; a user, token or configuration that the writer does not have becomes a conflict, kept to be
//! looked at and not in force.
//!
//! Passwords and secrets are not in here, only what they are compared with.
#![warn(missing_docs)]

mod audit;
mod body;
mod change;
mod document;
mod entry;
mod error;
mod kind;
pub mod limits;
mod merge;
mod role;
mod state;

pub use audit::AuditEntry;
pub use body::{Body, Configuration, ConfigurationFile, Digest, PasswordHash, Session, Token, User};
pub use change::{Action, Change};
pub use document::{Conflict, Document};
pub use entry::Entry;
pub use error::{Error, Refusal};
pub use kind::Kind;
pub use merge::{Merge, ours_after};
pub use role::{Role, UnknownRole};
pub use state::{Applied, Documents};
