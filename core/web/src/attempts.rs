//! Wrong passwords: who gave too many has to wait, longer each time.
//!
//! An attempt counts from when it begins: however many passwords are said at once, no more are compared than if they
//! had been said one after the other.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::limits;

/// Who has to wait.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Address(IpAddr),
    User(String),
}

#[derive(Debug, Clone, Copy)]
struct Wrong {
    count: u32,
    /// Attempts of which is not known yet whether they are right.
    open: u32,
    last: Instant,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Right,
    Wrong,
    /// It was not compared, since whoever asked has to wait.
    Limited,
}

impl Outcome {
    const ALL: [Outcome; 3] = [Outcome::Right, Outcome::Wrong, Outcome::Limited];

    /// The label of the metric.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Outcome::Right => "ok",
            Outcome::Wrong => "failed",
            Outcome::Limited => "limited",
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    known: Mutex<BTreeMap<Who, Wrong>>,
    counts: [AtomicU64; Outcome::ALL.len()],
}

/// One attempt; if nobody says how it ended, it does not count.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    attempts: &'a Attempts,
    who: Vec<Who>,
}

impl Attempts {
    /// Begins an attempt for `user`, from an address if that one is to be counted.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn begin(
        &self,
        address: Option<IpAddr>,
        user: &str,
        now: Instant,
    ) -> Result<Attempt<'_>, Duration> {
        let user = Who::User(user.chars().take(NAME_LETTERS_MAX).collect());
        let who: Vec<Who> =
            address.map(|address| Who::Address(address.to_canonical())).into_iter().chain([user]).collect();
        let mut known = self.lock();
        if let Some(wait) = who.iter().filter_map(|who| wait(who, known.get(who)?, now)).max() {
            drop(known);
            self.count(Outcome::Limited);
            return Err(wait);
        }
        for who in &who {
            make_room(&mut known, who, now);
            let entry = known.entry(who.clone()).or_insert(Wrong { count: 0, open: 0, last: now });
            entry.open = entry.open.saturating_add(1);
        }
        drop(known);
        Ok(Attempt { attempts: self, who })
    }

    /// How many ended how.
    pub(crate) fn counts(&self) -> [(Outcome, u64); Outcome::ALL.len()] {
        Outcome::ALL.map(|outcome| (outcome, self.counts[outcome as usize].load(Ordering::Relaxed)))
    }

    fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Who, Wrong>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// The password was wrong. The address, if it has to wait for the first time.
    pub(crate) fn wrong(self, now: Instant) -> Option<IpAddr> {
        self.attempts.count(Outcome::Wrong);
        let mut known = self.attempts.lock();
        let mut waits = None;
        for who in &self.who {
            let wrong = known.entry(who.clone()).or_insert(Wrong { count: 0, open: 0, last: now });
            let is_forgotten = now.duration_since(wrong.last) >= limits::LOGIN_MEMORY;
            wrong.count = if is_forgotten { 1 } else { wrong.count.saturating_add(1) };
            wrong.last = now;
            if let (Who::Address(address), Some(pause)) = (who, pause(wrong.count, limit_of(who))) {
                let (count, wait_s) = (wrong.count, pause.as_secs());
                tracing::warn!(%address, count, wait_s, "wrong passwords or codes: this address has to wait");
                waits = waits.or((count == limits::LOGIN_ATTEMPTS_FREE).then_some(*address));
            }
        }
        waits
    }

    /// The password was right: this address and user begin anew.
    pub(crate) fn right(self) {
        self.attempts.count(Outcome::Right);
        let mut known = self.attempts.lock();
        for who in &self.who {
            if let Some(wrong) = known.get_mut(who) {
                wrong.count = 0;
            }
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut known = self.attempts.lock();
        for who in &self.who {
            let Some(wrong) = known.get_mut(who) else { continue };
            wrong.open = wrong.open.saturating_sub(1);
            if wrong.open == 0 && wrong.count == 0 {
                known.remove(who);
            }
        }
    }
}

/// How long somebody has to wait, if at all.
fn wait(who: &Who, wrong: &Wrong, now: Instant) -> Option<Duration> {
    if let Some(pause) = pause(wrong.count, limit_of(who)) {
        let left = (wrong.last + pause).checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_some() {
            return left;
        }
    }
    // What is under way may turn out to be wrong.
    let free = limits::LOGIN_ATTEMPTS_FREE.saturating_sub(wrong.count).max(1);
    (wrong.open >= free).then_some(limits::LOGIN_WAIT_FIRST)
}

/// Forgets what is old, and the oldest if that is not enough; attempts that are under way stay.
fn make_room(known: &mut BTreeMap<Who, Wrong>, who: &Who, now: Instant) {
    if known.len() < limits::LOGIN_REMEMBERED_MAX || known.contains_key(who) {
        return;
    }
    known.retain(|_, wrong| wrong.open > 0 || now.duration_since(wrong.last) < limits::LOGIN_MEMORY);
    while known.len() >= limits::LOGIN_REMEMBERED_MAX {
        let closed = known.iter().filter(|(_, wrong)| wrong.open == 0);
        let Some(oldest) = closed.min_by_key(|(_, wrong)| wrong.last).map(|(who, _)| who.clone()) else {
            // As many as there are connections are under way.
            return;
        };
        known.remove(&oldest);
    }
}

const fn limit_of(who: &Who) -> Duration {
    match who {
        Who::Address(_) => limits::LOGIN_WAIT_MAX,
        Who::User(_) => limits::LOGIN_WAIT_USER_MAX,
    }
}

/// How long to wait after so many wrong passwords.
fn pause(count: u32, limit: Duration) -> Option<Duration> {
    let excess = count.checked_sub(limits::LOGIN_ATTEMPTS_FREE)?;
    let factor = 1_u32.checked_shl(excess).unwrap_or(u32::MAX);
    Some(limits::LOGIN_WAIT_FIRST.saturating_mul(factor).min(limit))
}

/// Letters of a name that are remembered.
const NAME_LETTERS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn wait_of(attempts: &Attempts, address: IpAddr, user: &str, now: Instant) -> Option<Duration> {
        attempts.begin(Some(address), user, now).err()
    }

    /// As many wrong passwords, each said after the wait for the one before.
    fn say_wrong(attempts: &Attempts, count: u32, now: Instant) -> Instant {
        (0..count).fold(now, |now, _| {
            let now = now + wait_of(attempts, HERE, "ada", now).unwrap_or_default();
            attempts.begin(Some(HERE), "ada", now).unwrap().wrong(now);
            now
        })
    }

    #[test]
    fn each_further_wrong_password_doubles_the_wait_up_to_a_limit() {
        let attempts = Attempts::default();
        let mut now = say_wrong(&attempts, limits::LOGIN_ATTEMPTS_FREE - 1, Instant::now());
        assert_eq!(wait_of(&attempts, HERE, "ada", now), None);
        let mut seen = Vec::new();
        for _ in 0..4 {
            now = say_wrong(&attempts, 1, now);
            seen.push(wait_of(&attempts, HERE, "ada", now).unwrap().as_secs());
        }
        assert_eq!(seen, [1, 2, 4, 8]);
        now = say_wrong(&attempts, 10, now);
        assert_eq!(wait_of(&attempts, HERE, "ada", now), Some(limits::LOGIN_WAIT_MAX));
        assert_eq!(
            wait_of(&attempts, HERE, "bob", now),
            Some(limits::LOGIN_WAIT_MAX),
            "the address waits for any user"
        );
        assert_eq!(
            wait_of(&attempts, THERE, "ada", now),
            Some(limits::LOGIN_WAIT_USER_MAX),
            "nobody is locked out for long"
        );
        assert_eq!(wait_of(&attempts, HERE, "ada", now + limits::LOGIN_WAIT_MAX), None);
    }

    #[test]
    fn passwords_said_at_once_are_no_more_than_one_after_the_other() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        let free: Vec<_> = (0..limits::LOGIN_ATTEMPTS_FREE)
            .map(|_| attempts.begin(Some(HERE), "ada", now).unwrap())
            .collect();
        assert!(
            wait_of(&attempts, HERE, "bob", now).is_some() && wait_of(&attempts, THERE, "ada", now).is_some()
        );
        assert_eq!(wait_of(&attempts, THERE, "bob", now), None);
        for attempt in free {
            attempt.wrong(now);
        }
        let later = now + limits::LOGIN_WAIT_FIRST;
        let one = attempts.begin(Some(HERE), "ada", later).unwrap();
        assert!(wait_of(&attempts, HERE, "ada", later).is_some(), "one at a time from here on");
        drop(one);
        assert_eq!(wait_of(&attempts, HERE, "ada", later), None, "what was not compared does not count");
        let counts = attempts.counts().map(|(_, count)| count);
        assert_eq!(counts, [0, u64::from(limits::LOGIN_ATTEMPTS_FREE), 3]);
    }

    #[test]
    fn a_right_password_and_time_forget() {
        let attempts = Attempts::default();
        let now = say_wrong(&attempts, limits::LOGIN_ATTEMPTS_FREE + 3, Instant::now());
        let later = now + limits::LOGIN_MEMORY;
        attempts.begin(Some(HERE), "ada", later).unwrap().wrong(later);
        assert_eq!(wait_of(&attempts, HERE, "ada", later), None);
        let now = say_wrong(&attempts, limits::LOGIN_ATTEMPTS_FREE + 3, later) + limits::LOGIN_WAIT_MAX;
        attempts.begin(Some(HERE), "ada", now).unwrap().right();
        assert!(attempts.lock().is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..limits::LOGIN_REMEMBERED_MAX + 100 {
            attempts.begin(None, &format!("user{number}"), now).unwrap().wrong(now);
        }
        assert!(attempts.lock().len() <= limits::LOGIN_REMEMBERED_MAX);
    }
}
