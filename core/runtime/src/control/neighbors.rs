//! Other nodes and the witness as events: heard, not heard any more, ended.

use std::collections::BTreeMap;

use twinhub_model::{Event, Moment, Severity};
use twinhub_redundancy::{PeerView, VoterId};
use twinhub_trust::{Code, agreement};
use twinhub_wire::{Kind, PluginCode};

use super::Control;
use crate::clock;
use crate::peer::PeerInfo;
use crate::trust::nodes;

/// What was told of each.
pub(super) type Neighbors = BTreeMap<VoterId, Told>;

/// How a node or the witness stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Heard,
    Silent,
    Ended,
}

impl Control {
    /// Tells what has changed since the last time. One group is enough: a node is heard by all of its machine.
    pub(super) fn tell_neighbors(&mut self, name: &str, now: Moment) {
        if name != self.shared.first_group() {
            return;
        }
        let Some(group) = self.groups.get(name) else { return };
        let lease = group.machine.setup().timers.lease;
        let mut changed = Vec::new();
        for (voter, peer) in group.machine.peers().iter() {
            let is_linked = self.links.range((*voter, 0)..=(*voter, u8::MAX)).next().is_some();
            let is_heard = match voter {
                VoterId::Node(_) => peer.heard.is_some_and(|heard| now.since(heard) < lease),
                // A standby has no reason to talk to it.
                VoterId::Witness => is_linked,
            };
            let seen = match (is_heard, is_dead(peer)) {
                (true, false) => Told::Heard,
                (_, true) => Told::Ended,
                (false, false) => Told::Silent,
            };
            let before = self.neighbors.get(voter).copied();
            let is_news = match (before, seen) {
                // Who was never heard is in status, with the error of each path; who has ended falls silent, too.
                (None, Told::Silent | Told::Ended) | (Some(Told::Ended), Told::Silent) => false,
                (before, seen) => before != Some(seen),
            };
            if is_news {
                changed.push((*voter, seen, before));
            }
        }
        for (voter, seen, before) in changed {
            self.neighbors.insert(voter, seen);
            let who = self.shared.name_of_voter(voter);
            let (severity, code, text) = match (seen, before) {
                (Told::Heard, None) => (Severity::Info, "TH-PEER-101", format!("`{who}` is heard")),
                (Told::Heard, Some(_)) => (Severity::Info, "TH-PEER-101", format!("`{who}` is heard again")),
                (Told::Silent, _) => {
                    let why = self.shared.why_unreachable(voter);
                    (Severity::Error, "TH-PEER-102", format!("`{who}` is not heard any more: {why}"))
                }
                (Told::Ended, _) => {
                    let text = format!("the process of `{who}` has ended: its supervisor or itself said so");
                    (Severity::Warning, "TH-PEER-103", text)
                }
            };
            self.tell_of(&who, severity, code, &text);
        }
    }

    /// This node runs other plugins: those are told who are connected; who comes later finds it in the hello.
    pub(super) fn tell_plugins(&mut self) {
        let Some(code) = &self.code else { return };
        let frame = code.set(&self.shared.code());
        let nodes = self.links.iter().filter(|((peer, _), _)| peer.node().is_some());
        for (_, link) in nodes.filter(|(_, link)| link.protocol >= Kind::Plugins.since()) {
            // A full queue is a dead path, and the next one begins with a hello.
            drop(link.sender.try_send(frame.clone()));
        }
        let known: Vec<(VoterId, Code)> = self
            .agreements
            .keys()
            .filter_map(|peer| Some((*peer, self.shared.info(*peer)?.plugins?)))
            .collect();
        for (peer, theirs) in known {
            self.compare_code(peer, &theirs);
        }
    }

    /// Another node runs other plugins now.
    pub(super) fn hear_plugins(&mut self, peer: VoterId, body: &[u8]) {
        match PluginCode::decode(body) {
            Ok(told) => {
                let theirs = nodes::heard(&told);
                self.compare_code(peer, &theirs);
                self.shared.hear_plugins(peer, theirs);
            }
            Err(error) => {
                self.shared.count_unreadable(peer);
                let peer = self.shared.say(&peer);
                tracing::debug!(peer, %error, "unreadable code of plugins");
            }
        }
    }

    /// A node that is heard says which plugins it trusts and runs.
    pub(super) fn compare_plugins(&mut self, peer: VoterId, info: &PeerInfo) {
        if let Some(theirs) = &info.plugins {
            self.compare_code(peer, theirs);
        }
    }

    fn compare_code(&mut self, peer: VoterId, theirs: &Code) {
        let now = agreement(&self.shared.code(), theirs);
        let before = self.agreements.insert(peer, now.clone());
        let who = self.shared.name_of_voter(peer);
        if let Some((severity, code, text)) = nodes::news(&who, before.as_ref(), &now) {
            self.tell_of(&who, severity, code, &text);
        }
    }

    /// An event about another node; an engine writes it.
    fn tell_of(&self, who: &str, severity: Severity, code: &str, text: &str) {
        let event =
            Event { severity, source: who.into(), code: code.into(), text: text.into(), at: clock::utc() };
        if let Some(group) = self.groups.get(self.shared.first_group()) {
            group.inbox.push(event.into());
        }
    }
}

/// Whether the process that it runs, as far as is known, is one that was reported dead or left in order.
fn is_dead(peer: &PeerView) -> bool {
    let process = peer.heartbeat.as_ref().map(|heartbeat| heartbeat.incarnation).or(peer.process);
    process.is_some_and(|process| peer.dead.is_some_and(|dead| dead >= process))
}
