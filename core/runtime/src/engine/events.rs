//! Events of the group: kept on every node, in the journal as a part.
//!
//! What happens on any thread of this node is in its [`EventLog`](crate::event_log) first. The engine that writes the
//! journal puts it there; one that follows offers it to the node that it follows, again and again until it comes back in
//! the journal.

use std::sync::Arc;
use std::time::Duration;

use twinhub_events::{BODY_BYTES_WANTED, Way};
use twinhub_model::{Epoch, Event, Moment, NodeRank, Part, Position, Record, RoleChange, Severity};
use twinhub_redundancy::Reason;
use twinhub_replica::Message;
use twinhub_wire::PROTOCOL_MIN;

use super::Engine;
use super::parts::{PIECE_BYTES_MAX, PartState};
use crate::clock;
use crate::inbox::Note;
use crate::shared::Shared;
use crate::view::RoleChangeView;

/// Events that go into the journal, or are offered, at once.
const AT_ONCE_MAX: usize = 200;
/// What is offered and has not come back is offered again after this.
const OFFER_INTERVAL: Duration = Duration::from_secs(2);

const _: () = assert!(BODY_BYTES_WANTED + 16 * 1024 <= PIECE_BYTES_MAX, "a piece of a copy takes a body");

/// The events of a group as a part that is stored and copied.
#[derive(Debug)]
pub(crate) struct EventState {
    group: String,
    shared: Arc<Shared>,
    /// When events were offered to the active node, and which was the last.
    offered: Option<(Moment, u64)>,
}

impl EventState {
    pub(crate) fn new(group: &str, shared: Arc<Shared>) -> EventState {
        EventState { group: group.to_owned(), shared, offered: None }
    }

    fn take(&self, bytes: &[u8], way: Way) -> Result<(), String> {
        let events = twinhub_events::decode(bytes).map_err(|error| error.to_string())?;
        self.shared.events.take(&self.group, events, way);
        Ok(())
    }
}

impl PartState for EventState {
    fn part(&self) -> Part {
        Part::EVENTS
    }

    fn apply(&mut self, _at: Position, body: &[u8]) -> Result<(), String> {
        self.take(body, Way::Journal)
    }

    fn pieces(&self) -> Vec<Vec<u8>> {
        twinhub_events::encode(&self.shared.events.of_group(&self.group))
    }

    /// What only this node knows is not taken away: it has happened.
    fn clear(&mut self) {
        self.shared.events.begin_copy(&self.group);
    }

    fn restore(&mut self, piece: &[u8]) -> Result<(), String> {
        self.take(piece, Way::Journal)
    }

    fn load(&mut self, piece: &[u8]) -> Result<(), String> {
        self.take(piece, Way::Stored)
    }

    fn revision(&self) -> u64 {
        self.shared.events.revision()
    }
}

impl Engine {
    /// Keeps an event for operators.
    pub(crate) fn event(&mut self, severity: Severity, source: &str, code: &str, text: &str) {
        self.note(Event {
            severity,
            source: source.into(),
            code: code.into(),
            text: text.into(),
            at: clock::utc(),
        });
    }

    /// What a thread tells that must not wait for a disk.
    pub(crate) fn on_note(&mut self, note: Note) {
        let Note { event, role } = note;
        self.note(event);
        if let Some(change) = role {
            self.shared.roles.store(&change);
        }
    }

    pub(crate) fn note(&mut self, event: Event) {
        self.shared.note_event(&self.group, event);
        self.journal_events();
    }

    /// Sees to it that what happened on this node comes to all others.
    pub(crate) fn advance_events(&mut self, now: Moment) {
        if !self.shared.events.is_pending(&self.group) {
            return;
        }
        if self.is_writer() {
            self.journal_events();
        } else {
            self.offer_events(now);
        }
    }

    pub(super) fn journal_events(&mut self) {
        if !self.is_writer() || !self.journal_ok {
            return;
        }
        let pending = self.shared.events.pending(&self.group, AT_ONCE_MAX);
        for body in twinhub_events::encode(&pending) {
            if self.append_part(Part::EVENTS, &body).is_none() {
                return;
            }
        }
    }

    /// This node does not write: the one that does is told, if it understands that.
    ///
    /// It is told in the order of the stamps, so not before this node knows which of its events the journal that it
    /// follows lacks: after a fork that shows with the copy.
    fn offer_events(&mut self, now: Moment) {
        let Some(active) = self.followed().filter(|active| self.replication.in_sync_with() == Some(*active))
        else {
            return;
        };
        if self.replication.protocol_of(active) == PROTOCOL_MIN {
            return;
        }
        let pending = self.shared.events.pending(&self.group, AT_ONCE_MAX);
        let newest = pending.iter().map(|known| known.number).max().unwrap_or(0);
        let Some(state) = self.parts.get_mut::<EventState>() else { return };
        if state.offered.is_some_and(|(at, last)| now < at + OFFER_INTERVAL && newest <= last) {
            return;
        }
        state.offered = Some((now, newest));
        for events in twinhub_events::encode(&pending) {
            self.send(active, &Message::Events { stream: 0, events });
        }
    }

    /// A node that follows this one tells what happened there.
    pub(crate) fn on_offered_events(&mut self, peer: NodeRank, events: &[u8]) {
        if !self.is_writer() || !self.journal_ok {
            return;
        }
        let offered = match twinhub_events::decode(events) {
            Ok(offered) => offered,
            Err(error) => {
                tracing::warn!(peer = self.shared.name_of(peer), %error, "events of another node");
                return;
            }
        };
        // Each node speaks for itself.
        let own = offered.iter().filter(|known| known.entry.id.node == peer).take(AT_ONCE_MAX);
        for body in twinhub_events::encode(own) {
            if self.append_part(Part::EVENTS, &body).is_none() {
                return;
            }
        }
    }

    /// Tells a node of a request that is carried over to it, if there is a way and it understands that.
    pub(crate) fn vouch(&mut self, to: NodeRank, word: Vec<u8>) -> bool {
        let can_be_told = self.replication.protocol_of(to) > PROTOCOL_MIN;
        can_be_told && self.send(to, &Message::Vouch { stream: 0, word })
    }

    /// A node carries a request over to this one.
    pub(crate) fn on_vouched(&mut self, peer: NodeRank, word: &[u8]) {
        if let Err(error) = self.shared.vouched.hear(word, clock::now()) {
            tracing::warn!(peer = self.shared.name_of(peer), error, "a request that is carried over");
        }
    }

    pub(crate) fn role_record(&mut self, epoch: Epoch, from: &str, to: &str, reason: &Reason) {
        let change = RoleChange {
            node: self.me,
            epoch,
            from: from.into(),
            to: to.into(),
            reason: reason.to_string().into(),
            at: clock::utc(),
        };
        self.append(&Record::Role(change));
    }

    /// A change of a role that another node made while it was alone: the history of each node has it.
    pub(crate) fn join_role(&self, change: &RoleChange) {
        self.shared.roles.join(&RoleChangeView {
            at: change.at.to_string(),
            group: self.group.clone(),
            node: self.shared.name_of(change.node),
            epoch: change.epoch.to_string(),
            from: change.from.to_string(),
            to: change.to.to_string(),
            reason: change.reason.to_string(),
        });
    }
}
