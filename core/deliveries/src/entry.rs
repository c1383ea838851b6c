//! What the journal says of events.

use std::sync::Arc;

use minicbor::{Decode, Encode};

/// What tells an event from all others of a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Name {
    /// The interface that gave it.
    #[n(0)]
    pub source: String,
    /// Its stream.
    #[n(1)]
    pub stream: String,
    /// Its id in the stream.
    #[n(2)]
    pub id: String,
}

impl Name {
    /// Of these texts.
    pub fn new(source: &str, stream: &str, id: &str) -> Name {
        Name { source: source.into(), stream: stream.into(), id: id.into() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.source.len() + self.stream.len() + self.id.len()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` of stream `{}` from `{}`", self.id, self.stream, self.source)
    }
}

/// An event as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Given {
    /// Which.
    #[n(0)]
    pub name: Name,
    /// What it is about.
    #[n(1)]
    pub key: String,
    /// What it says.
    #[cbor(n(2), with = "crate::bytes::payload")]
    pub payload: Arc<[u8]>,
    /// When, in nanoseconds since 1970 UTC.
    #[n(3)]
    pub at_ns: i64,
    /// The interfaces that it is for.
    #[n(4)]
    pub to: Vec<String>,
}

/// One thing that the journal says.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Entry {
    /// An interface gave an event.
    #[n(0)]
    Given(#[n(0)] Given),
    /// An interface has done what an event asked for.
    #[n(1)]
    Done {
        /// The event.
        #[n(0)]
        name: Name,
        /// The interface.
        #[n(1)]
        to: String,
    },
    /// It cannot be done.
    #[n(2)]
    Dead {
        /// The event.
        #[n(0)]
        name: Name,
        /// The interface that cannot.
        #[n(1)]
        to: String,
        /// Code of the contract.
        #[n(2)]
        code: i32,
        /// When that was, in nanoseconds since 1970 UTC.
        #[n(3)]
        at_ns: i64,
    },
    /// An operator wants a dead one to be tried again.
    #[n(3)]
    Again {
        /// The event.
        #[n(0)]
        name: Name,
        /// The interface.
        #[n(1)]
        to: String,
    },
    /// An operator wants it no more.
    #[n(4)]
    Dropped {
        /// The event.
        #[n(0)]
        name: Name,
        /// The interface.
        #[n(1)]
        to: String,
    },
}
