//! Who answers for an address while this node does not hold it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::frames::Mac;

/// What the questions so far have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nobody has been asked lately.
    Unknown,
    /// Nobody answers.
    Free,
    /// Another node of the group answers, as its active node does.
    Peer,
    /// Somebody else answers.
    Stranger(Mac),
}

/// What the round before has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// There was none that was whole.
    None,
    Silence,
    Answer(Mac),
}

/// Collects answers round by round.
#[derive(Debug)]
pub(crate) struct Watch {
    ip: IpAddr,
    /// Where the other nodes of the group are.
    peers: BTreeMap<IpAddr, Option<Mac>>,
    asked: Option<Instant>,
    answer: Option<Mac>,
    before: Before,
}

impl Watch {
    pub(crate) fn new(ip: IpAddr, peers: impl IntoIterator<Item = IpAddr>) -> Self {
        let peers = peers.into_iter().map(|peer| (peer, None)).collect();
        Self { ip, peers, asked: None, answer: None, before: Before::None }
    }

    /// Everybody who is asked for.
    pub(crate) fn questions(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.peers.keys().copied().chain([self.ip])
    }

    /// The questions of a new round have been sent.
    pub(crate) fn on_asked(&mut self, now: Instant) {
        let is_whole = self.asked.is_some_and(|asked| now.duration_since(asked) >= ANSWER_MAX);
        if is_whole || self.answer.is_some() {
            self.before = self.answer.map_or(Before::Silence, Before::Answer);
        }
        self.asked = Some(now);
        self.answer = None;
    }

    /// Somebody says that an address is at a card. Gives whether it is the watched address, and not at a peer's.
    pub(crate) fn on_claim(&mut self, ip: IpAddr, mac: Mac) -> bool {
        if let Some(known) = self.peers.get_mut(&ip) {
            *known = Some(mac);
        }
        if ip != self.ip {
            return false;
        }
        // A stranger beside the peer that holds it is the news.
        if self.answer.is_none() || !self.is_peer(mac) {
            self.answer = Some(mac);
        }
        !self.is_peer(mac)
    }

    /// Forgets rounds: they were before this node held the address.
    pub(crate) fn forget(&mut self) {
        self.asked = None;
        self.answer = None;
        self.before = Before::None;
    }

    pub(crate) fn finding(&self, now: Instant) -> Finding {
        let Some(asked) = self.asked else { return Finding::Unknown };
        let age = now.duration_since(asked);
        let answer = match (self.answer, self.before) {
            _ if age > ROUND * 2 => return Finding::Unknown,
            (None, Before::None) if age < ANSWER_MAX => return Finding::Unknown,
            (None, Before::Answer(mac)) if age < ANSWER_MAX => Some(mac),
            (answer, _) => answer,
        };
        match answer {
            None => Finding::Free,
            Some(mac) if self.is_peer(mac) => Finding::Peer,
            Some(mac) => Finding::Stranger(mac),
        }
    }

    fn is_peer(&self, mac: Mac) -> bool {
        self.peers.values().any(|peer| *peer == Some(mac))
    }
}

/// Between two rounds.
pub(crate) const ROUND: Duration = Duration::from_secs(5);
/// Who has the address answers within this time, or does not have it.
pub(crate) const ANSWER_MAX: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 50));
    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 12));
    const CARD: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn silence_counts_only_after_everybody_had_time_to_answer() {
        let (mut watch, start) = watch();
        assert_eq!(watch.finding(start), Finding::Unknown);
        watch.on_asked(start);
        assert_eq!(watch.finding(start + ANSWER_MAX / 2), Finding::Unknown);
        assert_eq!(watch.finding(start + ANSWER_MAX), Finding::Free);
        assert_eq!(watch.finding(start + ROUND * 3), Finding::Unknown, "old knowledge");
    }

    #[test]
    fn the_round_before_counts_while_a_new_one_runs() {
        let (mut watch, start) = watch();
        watch.on_asked(start);
        watch.on_claim(PEER, CARD);
        watch.on_claim(IP, CARD);
        watch.on_asked(start + ROUND);
        assert_eq!(watch.finding(start + ROUND), Finding::Peer);
        assert_eq!(watch.finding(start + ROUND + ANSWER_MAX), Finding::Free);
    }

    #[test]
    fn a_stranger_is_told_from_a_peer_also_if_both_answer() {
        let (mut watch, start) = watch();
        watch.on_asked(start);
        assert!(!watch.on_claim(PEER, CARD));
        assert!(!watch.on_claim(IP, CARD));
        assert_eq!(watch.finding(start), Finding::Peer);
        assert!(watch.on_claim(IP, OTHER));
        assert!(!watch.on_claim(IP, CARD));
        assert_eq!(watch.finding(start), Finding::Stranger(OTHER));
        watch.forget();
        assert_eq!(watch.finding(start), Finding::Unknown);
    }

    fn watch() -> (Watch, Instant) {
        (Watch::new(IP, [PEER]), Instant::now())
    }
}
