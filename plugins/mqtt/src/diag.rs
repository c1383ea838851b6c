//! What helps to find a fault: what this node knows of its connection anyway, without secrets.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::Version;
use crate::link::{Link, Role};
use crate::packet::ConnAck;
use crate::succession::Beginning;

/// What is noted on the way.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    attempts: u64,
    connections: u64,
    /// Since when there is a connection, or none.
    since: Option<Instant>,
    ack: Option<ConnAck>,
    beginning: Option<Beginning>,
    last_error: Option<(Instant, String)>,
    /// Filters that the broker refused on this connection.
    refused: Vec<String>,
    messages_received: u64,
    messages_sent: u64,
    receipts_owed: usize,
    pub(crate) acted_last: bool,
}

impl Notes {
    pub(crate) fn attempt(&mut self, beginning: Beginning) {
        self.attempts += 1;
        self.beginning = Some(beginning);
    }

    pub(crate) fn waits(&mut self) {
        self.beginning = Some(Beginning::Later);
    }

    pub(crate) fn connected(&mut self, ack: &ConnAck) {
        self.connections += 1;
        self.since = Some(Instant::now());
        self.ack = Some(ack.clone());
        self.refused.clear();
    }

    /// The connection, or the attempt, ended; with an error unless the role wanted it.
    pub(crate) fn ended(&mut self, error: Option<&str>) {
        if self.ack.take().is_some() || self.since.is_none() {
            self.since = Some(Instant::now());
        }
        self.receipts_owed = 0;
        if let Some(error) = error {
            let text = error.chars().take(ERROR_CHARS_MAX).collect();
            self.last_error = Some((Instant::now(), text));
        }
    }

    pub(crate) fn refused(&mut self, filters: &[String]) {
        let room = REFUSED_MAX.saturating_sub(self.refused.len());
        self.refused.extend(filters.iter().take(room).cloned());
    }

    pub(crate) fn received(&mut self) {
        self.messages_received += 1;
    }

    pub(crate) fn sent(&mut self) {
        self.messages_sent += 1;
    }

    pub(crate) fn owes(&mut self, receipts: usize) {
        self.receipts_owed = receipts;
    }
}

impl Link {
    /// The diagnosis.
    pub fn diagnosis(&self) -> Value {
        let (settings, notes, session) = (&self.settings, self.notes.borrow(), self.session.borrow());
        let (waiting, in_flight) = session.depth();
        let (counts, inputs) = (session.counts(), self.input_counts());
        let seconds = |at: Instant| at.elapsed().as_secs();
        let ack = notes.ack.as_ref();
        json!({
            "role": match self.role() {
                Role::Cold => "cold",
                Role::Warm => "warm",
                Role::Hot => "hot",
                Role::Active => "active",
            },
            "epoch": self.epoch(),
            "broker": format!("{}:{}", settings.host, settings.port),
            "tls": settings.tls.is_some(),
            "version": match settings.version {
                Version::V3 => "3.1.1",
                Version::V5 => "5",
            },
            "client_id": settings.client_id,
            "connection": {
                "is_connected": ack.is_some(),
                "since_s": notes.since.map(seconds),
                "attempts": notes.attempts,
                "connections": notes.connections,
                "last_error": notes.last_error.as_ref().map(|(_, text)| text),
                "last_error_ago_s": notes.last_error.as_ref().map(|(at, _)| seconds(*at)),
            },
            "session": {
                "persistent": settings.persistent,
                "shared": settings.is_session_shared,
                "was_present": ack.map(|ack| ack.session_present),
                "began": notes.beginning.map(|beginning| match beginning {
                    Beginning::Resumed => "resumed",
                    Beginning::Fresh => "fresh",
                    Beginning::Passing => "passing",
                    Beginning::Later => "waits",
                }),
                "this_node_acted_last": notes.acted_last,
                "filters": session.subscribed.len(),
                "filters_refused": notes.refused,
            },
            "limits_of_broker": ack.map(|ack| json!({
                "receive_max": ack.receive_max,
                "keep_alive_s": ack.keep_alive_s,
                "packet_size_max": ack.packet_size_max,
                "qos_max": ack.qos_max,
            })),
            "messages": {
                "received": notes.messages_received,
                "receipts_owed": notes.receipts_owed,
                "duplicates": counts.duplicates,
                "unmatched": inputs.unmatched,
                "undecodable_values": inputs.undecodable,
                "sent": notes.messages_sent,
                "waiting": waiting,
                "in_flight": in_flight,
                "resent": counts.resent,
                "in_doubt": counts.in_doubt,
                "refused_for_want_of_room": counts.overflow,
            },
        })
    }
}

/// Texts of a broker are bounded.
const ERROR_CHARS_MAX: usize = 400;
/// Refused filters that are named.
const REFUSED_MAX: usize = 20;
