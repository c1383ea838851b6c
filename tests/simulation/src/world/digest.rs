//! A run in one number.

use twinhub_redundancy::{Message, VoterId};

use super::World;

impl World {
    /// Takes what happened into the digest.
    pub(super) fn digest(&mut self, who: VoterId, kind: u8, number: u64) {
        let who = who.node().map_or(u16::MAX, |node| u16::from(node.0));
        for word in [self.now, u64::from(who) << 8 | u64::from(kind), number] {
            self.digest = (self.digest.rotate_left(5) ^ word).wrapping_mul(DIGEST_FACTOR);
        }
    }

    /// The digest of the run with what came of it.
    pub(crate) fn outcome(&self) -> u64 {
        let mut all = self.digest;
        let mut take = |word: u64| all = (all.rotate_left(5) ^ word).wrapping_mul(DIGEST_FACTOR);
        let counts = self.entered.values().chain(self.won.values()).chain(self.alarms.values());
        let totals =
            [self.field.writes, self.field.newest.0, self.moves.begun, self.field.findings.len() as u64];
        counts.copied().chain(totals).for_each(&mut take);
        for site in self.sites.iter() {
            take(site.machine().map_or(u64::MAX, |machine| machine.state() as u64 | machine.epoch().0 << 8));
            [site.disk.promised.0, site.disk.last_active.0, site.position.seq, site.incarnation.0]
                .into_iter()
                .for_each(&mut take);
        }
        all
    }
}

/// Tells messages apart in the digest.
pub(super) fn kind(message: &Message) -> (u8, u64) {
    match message {
        Message::Heartbeat(heartbeat) => (heartbeat.state as u8, heartbeat.position.seq),
        Message::VoterStatus { promised, .. } => (16, promised.0),
        Message::PreVote { epoch, .. } => (17, epoch.0),
        Message::PreVoteReply { granted, remaining_ms, .. } => (18 + u8::from(*granted), *remaining_ms),
        Message::Campaign { epoch, .. } => (20, epoch.0),
        Message::Renew { epoch, .. } => (21, epoch.0),
        Message::Grant { round, .. } => (22, *round),
        Message::Refuse { remaining_ms, .. } => (23, *remaining_ms),
        Message::Transfer { token } => (24, token.epoch.0),
        Message::Resigned { incarnation, .. } => (25, incarnation.0),
        Message::RequestSwitchover { .. } => (26, 0),
        Message::SwitchoverRefused { .. } => (27, 0),
        Message::Bye { incarnation } => (28, incarnation.0),
        Message::Leave { incarnation } => (29, incarnation.0),
        Message::RequestMembers { .. } => (30, 0),
        Message::MembersRefused { .. } => (31, 0),
    }
}

/// Spreads the digest's bits (the golden ratio, as in [`Random`](crate::Random)).
const DIGEST_FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
