//! What changes documents.

use minicbor::{Decode, Encode};

use crate::body::Body;
use crate::document::Conflict;
use crate::kind::Kind;

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Change {
    /// Who: a user, `token NAME`, `node NAME`.
    #[n(0)]
    pub author: String,
    /// From where.
    #[n(1)]
    pub origin: String,
    /// When, in nanoseconds since 1970.
    #[n(2)]
    pub time: i64,
    /// What.
    #[n(3)]
    pub action: Action,
    /// No majority of the nodes was there, and it was ordered to do it all the same.
    #[n(4)]
    #[cbor(default)]
    pub alone: bool,
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    /// Made a document, or changed it.
    #[n(0)]
    Put {
        /// Which one.
        #[n(0)]
        name: String,
        /// What it holds.
        #[n(1)]
        body: Body,
        /// The revision it was made for: 0 if there must be none. Any if left out.
        #[n(2)]
        base: Option<u64>,
    },
    /// Removed a document, revoked a token, ended a session.
    #[n(1)]
    Remove {
        /// What.
        #[n(0)]
        kind: Kind,
        /// Which one.
        #[n(1)]
        name: String,
    },
    /// Did something that changes no document.
    #[n(2)]
    Note {
        /// What.
        #[n(0)]
        text: String,
    },
    /// Found at a merge what another node had changed alone.
    #[n(3)]
    Keep {
        /// What.
        #[n(0)]
        conflict: Conflict,
    },
    /// Has looked at a conflict and needs it no more.
    #[n(4)]
    Forget {
        /// What.
        #[n(0)]
        kind: Kind,
        /// Which one.
        #[n(1)]
        name: String,
    },
}

impl Action {
    /// What the audit list says of it.
    pub fn describe(&self) -> String {
        match self {
            Action::Put { name, body, base } => {
                let verb = if *base == Some(0) { "made" } else { "set" };
                match body {
                    Body::Configuration(configuration) => match configuration.rolled_back_to {
                        Some(revision) => format!("rolled the configuration back to revision {revision}"),
                        None => format!("applied a configuration of {} files", configuration.files.len()),
                    },
                    Body::User(user) => format!("{verb} user `{name}`, {}", user.role),
                    Body::Token(token) => format!("{verb} token `{name}`, {}", token.role),
                    Body::Session(session) => format!("logged in as `{}`", session.user),
                }
            }
            Action::Remove { kind: Kind::Session, .. } => "logged out".to_owned(),
            Action::Remove { kind: Kind::Token, name } => format!("revoked token `{name}`"),
            Action::Remove { kind: kind @ (Kind::User | Kind::Configuration), name } => {
                format!("removed {} `{name}`", kind.word())
            }
            Action::Note { text } => text.clone(),
            Action::Keep { conflict } => {
                let document = &conflict.document;
                let (kind, name, revision) = (document.kind.word(), &document.name, document.revision);
                format!(
                    "kept revision {revision} of {kind} `{name}` of node `{}` as a conflict",
                    conflict.node
                )
            }
            Action::Forget { kind, name } => format!("forgot the conflicts of {} `{name}`", kind.word()),
        }
    }
}
