//! What one node vouches for at another: a request that it carries over.
//!
//! A node lets in whom it knows, and then asks the active node in their place. It tells that node over their own
//! connection, where both have shown their certificates, what a secret of this one request is compared with and who asks;
//! the request shows the secret. So neither a token of a node nor a password is shared, and what was seen of the request
//! is worth nothing afterwards.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use minicbor::{Decode, Encode};
use twinhub_documents::{Digest, Role};
use twinhub_model::Moment;

use crate::handle::Identity;

/// Requests that are vouched for and have not come; of more the oldest are not let in.
const WAITING_MAX: usize = 256;
/// A request comes right behind the word.
const WAIT_MAX: Duration = Duration::from_secs(30);
const NAME_BYTES_MAX: usize = 200;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Vouched {
    waiting: Mutex<BTreeMap<Digest, (Moment, Identity)>>,
}

/// What a node says to another.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Word {
    /// What the secret is compared with.
    #[n(0)]
    pub(crate) digest: Digest,
    /// Who asks.
    #[n(1)]
    pub(crate) name: String,
    /// What they may do, in its word.
    #[n(2)]
    pub(crate) role: String,
}

impl Vouched {
    /// Another node vouches.
    ///
    /// # Errors
    /// What is wrong with what it said.
    pub(crate) fn hear(&self, bytes: &[u8], now: Moment) -> Result<(), String> {
        let word: Word = minicbor::decode(bytes).map_err(|error| error.to_string())?;
        let role: Role =
            word.role.parse().map_err(|error: twinhub_documents::UnknownRole| error.to_string())?;
        if word.name.len() > NAME_BYTES_MAX {
            return Err("a name that is too long".to_owned());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (until, _)| now < *until);
        if waiting.len() >= WAITING_MAX
            && let Some(oldest) =
                waiting.iter().min_by_key(|(_, (until, _))| *until).map(|(digest, _)| *digest)
        {
            waiting.remove(&oldest);
        }
        waiting.insert(word.digest, (now + WAIT_MAX, Identity { name: word.name, role }));
        Ok(())
    }

    /// Who shows this secret; it counts once.
    pub(crate) fn take(&self, digest: &Digest, now: Moment) -> Option<Identity> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(digest).filter(|(until, _)| now < *until).map(|(_, identity)| identity)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(number: usize) -> Digest {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Digest::new(bytes)
    }

    fn word(number: usize, role: &str) -> Vec<u8> {
        let word = Word { digest: digest(number), name: "ada".to_owned(), role: role.to_owned() };
        minicbor::to_vec(word).unwrap()
    }

    #[test]
    fn a_secret_counts_once_and_not_for_long() {
        let vouched = Vouched::default();
        let now = Moment::from_millis(1000);
        for number in [1, 2] {
            vouched.hear(&word(number, "operator"), now).unwrap();
        }
        let ada = Identity { name: "ada".to_owned(), role: Role::Operator };
        assert_eq!(vouched.take(&digest(3), now), None);
        assert_eq!(vouched.take(&digest(1), now), Some(ada));
        assert_eq!(vouched.take(&digest(1), now), None);
        assert_eq!(vouched.take(&digest(2), now + WAIT_MAX), None);
    }

    #[test]
    fn many_that_never_come_are_bounded_and_the_newest_is_let_in() {
        let vouched = Vouched::default();
        for number in 0..=WAITING_MAX {
            let now = Moment::from_millis(1000 + number as u64);
            vouched.hear(&word(number, "viewer"), now).unwrap();
        }
        let now = Moment::from_millis(2000);
        assert_eq!(vouched.take(&digest(0), now), None);
        assert!(vouched.take(&digest(WAITING_MAX), now).is_some());
        assert_eq!(vouched.waiting.lock().unwrap().len(), WAITING_MAX - 1);
    }

    #[test]
    fn a_role_that_only_another_version_has_lets_nobody_in() {
        let vouched = Vouched::default();
        assert!(vouched.hear(&word(1, "emperor"), Moment::ZERO).is_err());
        assert_eq!(vouched.take(&digest(1), Moment::ZERO), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_word_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Vouched::default().hear(&bytes, Moment::ZERO));
        }
    }
}
