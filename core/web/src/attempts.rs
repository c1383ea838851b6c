//! Wrong passwords: who gave too many has to wait, longer each time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
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
    last: Instant,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<BTreeMap<Who, Wrong>>);

impl Attempts {
    /// How long somebody has to wait, if at all.
    pub(crate) fn wait(&self, address: IpAddr, user: &str, now: Instant) -> Option<Duration> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = |who: &Who| {
            let wrong = known.get(who)?;
            let end = wrong.last + pause(wrong.count, limit_of(who))?;
            end.checked_duration_since(now).filter(|left| !left.is_zero())
        };
        let (address, user) = keys(address, user);
        left(&address).max(left(&user))
    }

    /// A password was wrong.
    pub(crate) fn wrong(&self, address: IpAddr, user: &str, now: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + 2 > limits::LOGIN_REMEMBERED_MAX {
            known.retain(|_, wrong| now.duration_since(wrong.last) < limits::LOGIN_MEMORY);
        }
        let (address, user) = keys(address, user);
        for who in [address, user] {
            while known.len() >= limits::LOGIN_REMEMBERED_MAX && !known.contains_key(&who) {
                let Some(oldest) =
                    known.iter().min_by_key(|(_, wrong)| wrong.last).map(|(who, _)| who.clone())
                else {
                    break;
                };
                known.remove(&oldest);
            }
            let wrong = known.entry(who).or_insert(Wrong { count: 0, last: now });
            let is_forgotten = now.duration_since(wrong.last) >= limits::LOGIN_MEMORY;
            wrong.count = if is_forgotten { 1 } else { wrong.count.saturating_add(1) };
            wrong.last = now;
        }
    }

    /// A password was right: this address and user begin anew.
    pub(crate) fn right(&self, address: IpAddr, user: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (address, user) = keys(address, user);
        known.remove(&address);
        known.remove(&user);
    }
}

fn keys(address: IpAddr, user: &str) -> (Who, Who) {
    (Who::Address(address.to_canonical()), Who::User(user.chars().take(NAME_LETTERS_MAX).collect()))
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

    #[test]
    fn each_further_wrong_password_doubles_the_wait_up_to_a_limit() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 1..limits::LOGIN_ATTEMPTS_FREE {
            attempts.wrong(HERE, "ada", now);
        }
        assert_eq!(attempts.wait(HERE, "ada", now), None);
        let mut seen = Vec::new();
        for _ in 0..4 {
            attempts.wrong(HERE, "ada", now);
            seen.push(attempts.wait(HERE, "ada", now).unwrap().as_secs());
        }
        assert_eq!(seen, [1, 2, 4, 8]);
        for _ in 0..60 {
            attempts.wrong(HERE, "ada", now);
        }
        assert_eq!(attempts.wait(HERE, "ada", now), Some(limits::LOGIN_WAIT_MAX));
        assert_eq!(
            attempts.wait(HERE, "bob", now),
            Some(limits::LOGIN_WAIT_MAX),
            "the address waits for any user"
        );
        assert_eq!(
            attempts.wait(THERE, "ada", now),
            Some(limits::LOGIN_WAIT_USER_MAX),
            "nobody is locked out for long"
        );
        assert_eq!(attempts.wait(HERE, "ada", now + limits::LOGIN_WAIT_MAX), None);
    }

    #[test]
    fn a_right_password_and_time_forget() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..limits::LOGIN_ATTEMPTS_FREE + 3 {
            attempts.wrong(HERE, "ada", now);
        }
        let later = now + limits::LOGIN_MEMORY;
        attempts.wrong(HERE, "ada", later);
        assert_eq!(attempts.wait(HERE, "ada", later), None);
        for _ in 0..limits::LOGIN_ATTEMPTS_FREE + 3 {
            attempts.wrong(HERE, "ada", now);
        }
        attempts.right(HERE, "ada");
        assert_eq!(attempts.wait(HERE, "ada", now), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for number in 0..2 * limits::LOGIN_REMEMBERED_MAX {
            attempts.wrong(HERE, &format!("user{number}"), now);
        }
        assert!(attempts.0.lock().unwrap().len() <= limits::LOGIN_REMEMBERED_MAX);
    }
}
