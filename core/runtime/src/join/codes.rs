//! The node's side of joining: codes that count, tickets, and what becomes of them on the disk.
//!
//! What counts is on the disk before it is said, so that a code counts once also over a crash or a restart. Civil time
//! dates codes, since nothing else goes on over a restart of the machine; one from the future does not count.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::aead::Aad;
use ring::hmac;
use serde::{Deserialize, Serialize};
use twinhub_documents::Digest;
use twinhub_model::Timestamp;

use super::{
    CODE_TIME_MAX, CODES_MAX, JoinAnswer, JoinCode, JoinError, JoinRequest, KEY_BYTES, Shared, Welcome, hex,
    key_pair, nonce, proven, random, session_key,
};
use crate::documents::secret::digest;
use crate::whole_file::write_whole;

/// Wrong proofs after which a code counts no more.
const WRONG_MAX: u32 = 5;
/// After the welcome, plugins can be fetched for so long.
const TICKET_TIME: Duration = Duration::from_secs(15 * 60);
/// A file with as many codes and tickets as there can be is shorter.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Codes that count, and tickets.
#[derive(Debug, Default)]
pub struct Codes {
    /// Where they are kept; nowhere in tests.
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Known {
    codes: Vec<Waiting>,
    tickets: Vec<Ticket>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiting {
    id: String,
    /// SHA-256 of the secret, hexadecimal.
    key: String,
    node: String,
    /// Nanoseconds since 1970.
    from: i64,
    until: i64,
    wrong: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Ticket {
    /// SHA-256, hexadecimal.
    digest: String,
    from: i64,
    until: i64,
}

/// A machine that has proven to know a code, which counts no more.
#[derive(Debug)]
pub struct Admitted {
    /// The node that it is from now on.
    pub node: String,
    code: Shared,
    theirs: Vec<u8>,
}

impl Codes {
    /// Those that are kept in `file`, if there is one. What cannot be read counts no more.
    pub fn open(file: &Path) -> Codes {
        let known = match read(file) {
            Ok(known) => known.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "join codes of before count no more");
                Known::default()
            }
        };
        Codes { file: Some(file.to_owned()), known: Mutex::new(known) }
    }

    /// A new code for a node.
    ///
    /// # Errors
    /// [`JoinError::Full`], [`JoinError::NoRandomness`], [`JoinError::NotKept`].
    pub fn make(&self, node: &str, lasts: Duration, now: Timestamp) -> Result<JoinCode, JoinError> {
        let code = JoinCode { id: random()?, secret: random()? };
        let Shared { id, key } = code.shared();
        self.change(now, |known| {
            if known.codes.len() >= CODES_MAX {
                return Err(JoinError::Full);
            }
            let until = later(now, lasts.min(CODE_TIME_MAX));
            let (id, key, node) = (hex(&id), hex(&key), node.to_owned());
            known.codes.push(Waiting { id, key, node, from: now.0, until, wrong: 0 });
            Ok(())
        })?;
        Ok(code)
    }

    /// Takes a machine's proof, and the code with it.
    ///
    /// # Errors
    /// [`JoinError::Refused`], [`JoinError::NotKept`].
    pub fn admit(&self, request: &JoinRequest, now: Timestamp) -> Result<Admitted, JoinError> {
        let admitted = self.change(now, |known| {
            let place = known.codes.iter().position(|waiting| waiting.id == request.id);
            let place = place.ok_or(JoinError::Refused)?;
            let waiting = &mut known.codes[place];
            let code = waiting.shared().ok_or(JoinError::Refused)?;
            let theirs = BASE64.decode(&request.key).unwrap_or_default();
            let proof = BASE64.decode(&request.proof).unwrap_or_default();
            let is_right = theirs.len() == KEY_BYTES
                && hmac::verify(&code.proof_key(), &proven(&code.id, &theirs), &proof).is_ok();
            if !is_right {
                waiting.wrong = waiting.wrong.saturating_add(1);
                return Ok(None);
            }
            let Waiting { node, .. } = known.codes.swap_remove(place);
            Ok(Some(Admitted { node, code, theirs }))
        })?;
        admitted.ok_or(JoinError::Refused)
    }

    /// A ticket that lets a machine fetch plugins for a while.
    ///
    /// # Errors
    /// [`JoinError::NoRandomness`], [`JoinError::NotKept`].
    pub fn ticket(&self, now: Timestamp) -> Result<String, JoinError> {
        let ticket = hex(&random::<32>()?);
        let (digest, until) = (digest(ticket.as_bytes()).to_string(), later(now, TICKET_TIME));
        self.change(now, |known| {
            if known.tickets.len() >= CODES_MAX {
                known.tickets.remove(0);
            }
            known.tickets.push(Ticket { digest, from: now.0, until });
            Ok(())
        })?;
        Ok(ticket)
    }

    /// Whether this is such a ticket.
    pub fn is_ticket(&self, ticket: &str, now: Timestamp) -> bool {
        let digest = digest(ticket.as_bytes()).to_string();
        let is_it = |kept: &Ticket| counts(kept.from, kept.until, now) && kept.digest == digest;
        self.lock().tickets.iter().any(is_it)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what counts, on the disk first.
    fn change<T>(
        &self,
        now: Timestamp,
        change: impl FnOnce(&mut Known) -> Result<T, JoinError>,
    ) -> Result<T, JoinError> {
        let mut known = self.lock();
        let mut next = known.clone();
        next.codes.retain(|waiting| counts(waiting.from, waiting.until, now) && waiting.wrong < WRONG_MAX);
        next.tickets.retain(|ticket| counts(ticket.from, ticket.until, now));
        let changed = change(&mut next)?;
        if let Some(file) = &self.file {
            let kept = serde_json::to_vec(&next)
                .map_err(io::Error::other)
                .and_then(|bytes| write_whole(file, &bytes, Some(0o600)));
            kept.map_err(|error| JoinError::NotKept { why: format!("{}: {error}", file.display()) })?;
        }
        *known = next;
        Ok(changed)
    }
}

impl Waiting {
    /// None if the file was changed by hand.
    fn shared(&self) -> Option<Shared> {
        let key = *Digest::parse(&self.key)?.bytes();
        let id = u32::from_str_radix(&self.id, 16).ok()?.to_be_bytes();
        (hex(&id) == self.id).then_some(Shared { id, key })
    }
}

impl Admitted {
    /// Seals what the machine gets.
    ///
    /// # Errors
    /// [`JoinError`] if the machine's key is none, or there are no random numbers.
    pub fn seal(self, welcome: &Welcome) -> Result<JoinAnswer, JoinError> {
        let (private, public) = key_pair()?;
        let key = session_key(&self.code, private, &self.theirs, &self.theirs, &public)
            .map_err(|_| JoinError::Refused)?;
        let mut sealed = serde_json::to_vec(welcome).map_err(|_| JoinError::Refused)?;
        key.seal_in_place_append_tag(nonce(), Aad::from(self.code.id), &mut sealed)
            .map_err(|_| JoinError::Refused)?;
        Ok(JoinAnswer { key: BASE64.encode(&public), sealed: BASE64.encode(&sealed) })
    }
}

fn read(file: &Path) -> io::Result<Option<Known>> {
    let opened = match std::fs::File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    opened.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let mut known: Known = serde_json::from_slice(&bytes)?;
    known.codes.truncate(CODES_MAX);
    known.tickets.truncate(CODES_MAX);
    Ok(Some(known))
}

fn counts(from: i64, until: i64, now: Timestamp) -> bool {
    (from..until).contains(&now.0)
}

fn later(now: Timestamp, span: Duration) -> i64 {
    now.0.saturating_add(i64::try_from(span.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{CODE_TIME, Joining, SECRET_BYTES};
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn welcome() -> Welcome {
        Welcome { site: "s".into(), node: "backup".into(), ..Welcome::default() }
    }

    fn request(code: &JoinCode) -> JoinRequest {
        Joining::begin(code).unwrap().1
    }

    #[test]
    fn a_machine_that_knows_the_code_gets_the_welcome_once() {
        let codes = Codes::default();
        let code = codes.make("backup", CODE_TIME, NOW).unwrap();
        let told = code.to_string().to_lowercase().replace('-', " ");
        let (joining, request) = Joining::begin(&JoinCode::parse(&told).unwrap()).unwrap();
        let admitted = codes.admit(&request, NOW).unwrap();
        assert_eq!(admitted.node, "backup");
        let answer = admitted.seal(&welcome()).unwrap();
        assert!(!answer.sealed.contains("backup"));
        assert_eq!(joining.open(&answer), Ok(welcome()));
        assert_eq!(codes.admit(&request, NOW).unwrap_err(), JoinError::Refused, "it counts once");
    }

    #[test]
    fn codes_and_tickets_outlive_the_process_and_their_secrets_are_not_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("joining");
        let codes = Codes::open(&file);
        let code = codes.make("backup", CODE_TIME, NOW).unwrap();
        let other = codes.make("third", CODE_TIME, NOW).unwrap();
        let ticket = codes.ticket(NOW).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&hex(&code.secret)) && !text.contains(&ticket), "{text}");
        let again = Codes::open(&file);
        assert!(again.is_ticket(&ticket, NOW));
        assert_eq!(again.admit(&request(&code), NOW).unwrap().node, "backup");
        // What was used before a crash is used after it, too, and wrong proofs are remembered.
        let wrong = JoinCode { id: other.id, secret: [7; SECRET_BYTES] };
        for _ in 0..WRONG_MAX {
            let again = Codes::open(&file);
            assert_eq!(again.admit(&request(&code), NOW).unwrap_err(), JoinError::Refused);
            assert_eq!(again.admit(&request(&wrong), NOW).unwrap_err(), JoinError::Refused);
        }
        assert_eq!(Codes::open(&file).admit(&request(&other), NOW).unwrap_err(), JoinError::Refused);
    }

    #[test]
    fn without_a_disk_no_code_is_given_or_used() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state");
        let codes = Codes::open(&folder.join("joining"));
        let code = codes.make("backup", CODE_TIME, NOW).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::write(&folder, "where the folder was").unwrap();
        assert!(matches!(codes.make("third", CODE_TIME, NOW), Err(JoinError::NotKept { .. })));
        assert!(matches!(codes.admit(&request(&code), NOW), Err(JoinError::NotKept { .. })));
        std::fs::remove_file(&folder).unwrap();
        assert_eq!(codes.admit(&request(&code), NOW).unwrap().node, "backup");
    }

    #[test]
    fn a_wrong_secret_gets_nothing_and_ends_the_code_after_a_few() {
        let codes = Codes::default();
        let code = codes.make("backup", CODE_TIME, NOW).unwrap();
        let wrong = JoinCode { id: code.id, secret: [7; SECRET_BYTES] };
        for _ in 0..WRONG_MAX {
            assert_eq!(codes.admit(&request(&wrong), NOW).unwrap_err(), JoinError::Refused);
        }
        assert_eq!(codes.admit(&request(&code), NOW).unwrap_err(), JoinError::Refused);
    }

    #[test]
    fn a_code_expires_and_codes_are_bounded() {
        let codes = Codes::default();
        let code = codes.make("backup", CODE_TIME, NOW).unwrap();
        let end = Timestamp(later(NOW, CODE_TIME));
        let early = Timestamp(NOW.0 - 1);
        assert_eq!(codes.admit(&request(&code), early).unwrap_err(), JoinError::Refused, "of the future");
        assert_eq!(codes.admit(&request(&code), end).unwrap_err(), JoinError::Refused);
        for _ in 0..CODES_MAX {
            codes.make("backup", CODE_TIME, end).unwrap();
        }
        assert_eq!(codes.make("backup", CODE_TIME, end), Err(JoinError::Full));
    }

    #[test]
    fn an_answer_of_a_stranger_or_changed_on_the_way_is_found_out() {
        let codes = Codes::default();
        let code = codes.make("backup", CODE_TIME, NOW).unwrap();
        let (joining, request) = Joining::begin(&code).unwrap();
        // It has the request, and makes up a secret.
        let theirs = BASE64.decode(&request.key).unwrap();
        let made_up = JoinCode { secret: [1; SECRET_BYTES], ..code.clone() };
        let stranger = Admitted { node: "backup".into(), code: made_up.shared(), theirs };
        assert_eq!(joining.open(&stranger.seal(&welcome()).unwrap()), Err(JoinError::Stranger));
        let (joining, request) = Joining::begin(&code).unwrap();
        let mut answer = codes.admit(&request, NOW).unwrap().seal(&welcome()).unwrap();
        let mut sealed = BASE64.decode(&answer.sealed).unwrap();
        sealed[3] ^= 1;
        answer.sealed = BASE64.encode(&sealed);
        assert_eq!(joining.open(&answer), Err(JoinError::Stranger));
    }

    #[test]
    fn a_ticket_counts_for_a_while() {
        let codes = Codes::default();
        let ticket = codes.ticket(NOW).unwrap();
        assert!(codes.is_ticket(&ticket, NOW) && !codes.is_ticket("x", NOW));
        assert!(!codes.is_ticket(&ticket, Timestamp(later(NOW, TICKET_TIME))));
    }

    proptest! {
        #[test]
        fn hostile_texts_are_refused(text in ".{0,80}", key in ".{0,60}", proof in ".{0,60}") {
            let codes = Codes::default();
            let code = codes.make("backup", CODE_TIME, NOW).unwrap();
            drop(JoinCode::parse(&text));
            let request = JoinRequest { id: hex(&code.id), key: key.clone(), proof: proof.clone() };
            prop_assert!(codes.admit(&request, NOW).is_err());
            let (joining, _) = Joining::begin(&code).unwrap();
            let answer = JoinAnswer { key, sealed: proof };
            prop_assert!(joining.open(&answer).is_err());
        }

        #[test]
        fn a_hostile_file_gives_no_code(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            id in ".{0,9}",
            key in ".{0,70}",
        ) {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("joining");
            let entry = serde_json::json!({ "codes": [
                { "id": id, "key": key, "node": "x", "from": 0, "until": i64::MAX, "wrong": 0 }
            ], "tickets": [] });
            for bytes in [bytes, entry.to_string().into_bytes()] {
                std::fs::write(&file, bytes).unwrap();
                let request = JoinRequest { id: id.clone(), key: key.clone(), proof: String::new() };
                prop_assert!(Codes::open(&file).admit(&request, NOW).is_err());
            }
        }
    }
}
