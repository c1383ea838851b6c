//! Connections of interfaces as events: told when they come and go, once, and not again for each attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use twinhub_contract::{role, state};
use twinhub_model::{Moment, Severity};

use super::Engine;

/// A first connection may take this long to build up before that is told.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What was told last of each interface.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    told: BTreeMap<usize, Told>,
    /// Since when one builds up its connection for the first time.
    since: BTreeMap<usize, Moment>,
}

/// What was told of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Connected,
    Lost(Moment),
    NotConnected,
    Closed,
}

/// What is seen of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Up,
    /// Nothing is to be expected of it.
    Closed,
    /// It builds up, for this long.
    Trying(Duration),
    Failed,
    /// It says nothing of its connection.
    Unclear,
}

impl Told {
    /// What is to be told now, if anything is.
    fn next(told: Option<Told>, seen: Seen, now: Moment) -> Option<Told> {
        match (told, seen) {
            (Some(Told::Connected), Seen::Closed) => Some(Told::Closed),
            (Some(Told::Connected), Seen::Failed | Seen::Trying(_)) => Some(Told::Lost(now)),
            (Some(Told::Lost(_) | Told::NotConnected | Told::Closed) | None, Seen::Up) => {
                Some(Told::Connected)
            }
            (Some(Told::Closed) | None, Seen::Failed) => Some(Told::NotConnected),
            (Some(Told::Closed) | None, Seen::Trying(span)) => {
                (span >= CONNECT_MAX).then_some(Told::NotConnected)
            }
            (Some(Told::Lost(_) | Told::NotConnected), Seen::Failed | Seen::Trying(_) | Seen::Closed)
            | (Some(Told::Closed) | None, Seen::Closed)
            | (Some(Told::Connected), Seen::Up)
            | (_, Seen::Unclear) => None,
        }
    }
}

impl Engine {
    /// Tells what has changed since the last look.
    pub(crate) fn look_at_connections(&mut self, now: Moment) {
        for number in 0..self.interfaces.len() {
            let port = &self.interfaces[number].port;
            let id = port.setup.id.clone();
            let (code, cause, _) = port.status();
            let is_cold = port.role() == role::COLD;
            let is_up = !self.down.contains(&number) && !self.starting.contains(&number);
            let seen = match code {
                _ if !is_up => Seen::Unclear,
                _ if is_cold => Seen::Closed,
                state::OK | state::DEGRADED => Seen::Up,
                state::STOPPED => Seen::Closed,
                state::CONNECTING => {
                    let since = *self.connections.since.entry(number).or_insert(now);
                    Seen::Trying(now.since(since))
                }
                state::FAULT => Seen::Failed,
                _ => Seen::Unclear,
            };
            if code != state::CONNECTING {
                self.connections.since.remove(&number);
            }
            let before = self.connections.told.get(&number).copied();
            let Some(told) = Told::next(before, seen, now) else { continue };
            self.connections.told.insert(number, told);
            let cause = if cause.is_empty() { String::new() } else { format!(": {cause}") };
            let (severity, event, text) = match (told, before) {
                (Told::Connected, Some(Told::Lost(since))) => {
                    let outage = now.since(since).as_secs_f64();
                    let text = format!("interface `{id}` is connected again, after {outage:.1} s");
                    (Severity::Info, "TH-INTERFACE-101", text)
                }
                (Told::Connected, Some(Told::Connected | Told::NotConnected | Told::Closed) | None) => {
                    (Severity::Info, "TH-INTERFACE-101", format!("interface `{id}` is connected"))
                }
                (Told::Lost(_), _) => {
                    let text = format!("interface `{id}` lost its connection{cause}");
                    (Severity::Warning, "TH-INTERFACE-102", text)
                }
                (Told::NotConnected, _) => {
                    let text = format!("interface `{id}` cannot connect{cause}");
                    (Severity::Error, "TH-INTERFACE-103", text)
                }
                (Told::Closed, _) => {
                    let text = format!("interface `{id}` closed its connection in order");
                    (Severity::Info, "TH-INTERFACE-104", text)
                }
            };
            self.event(severity, &id, event, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of what is seen second by second, in single letters.
    fn story(seen: &[Seen]) -> String {
        let mut told = None;
        let mut story = String::new();
        for (second, seen) in (0..).zip(seen) {
            let next = Told::next(told, *seen, Moment::from_millis(second * 1000));
            story.push(match next {
                Some(Told::Connected) => 'c',
                Some(Told::Lost(_)) => 'l',
                Some(Told::NotConnected) => 'n',
                Some(Told::Closed) => 'x',
                None => '.',
            });
            told = next.or(told);
        }
        story
    }

    #[test]
    fn a_connection_is_told_when_it_comes_and_goes_and_not_for_each_attempt() {
        use Seen::{Closed, Failed, Unclear, Up};
        let trying = |seconds| Seen::Trying(Duration::from_secs(seconds));
        let lost_and_back = [trying(0), Up, Up, Failed, trying(0), Failed, Up];
        assert_eq!(story(&lost_and_back), ".c.l..c");
        assert_eq!(story(&[Failed, trying(1), Failed, Up]), "n..c", "it never was");
        assert_eq!(story(&[trying(9), trying(10), trying(11), Up]), ".n.c", "nobody answers");
        assert_eq!(story(&[Closed, Up, Closed, Closed, Up]), ".cx.c", "it follows, acts, follows, acts");
        assert_eq!(story(&[Up, Failed, Closed, Up]), "cl.c");
        assert_eq!(story(&[Unclear, Up, Unclear, Up]), ".c..", "a plugin that is started anew says nothing");
    }
}
