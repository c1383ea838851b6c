//! Events between interfaces, for readers and operators.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_deliveries::{Book, Given};
use twinhub_model::Timestamp;

use super::{Author, Handle};
use crate::engine::deliveries::DeliveryOrder;
use crate::error::CommandError;
use crate::exchange::Exchange;
use crate::inbox::Job;
use crate::instance::Port;
use crate::view::{DeliveryView, EventCounts};
use crate::words;

/// An engine that is taking over answers within this.
const PATIENCE: Duration = Duration::from_secs(10);

impl Handle {
    /// Events that wait, are dead or are for nobody, of all groups or one; those of an interface if one is named, whether it
    /// gave them or is to do them.
    pub fn deliveries(
        &self,
        state: Option<&str>,
        interface: Option<&str>,
        group: Option<&str>,
    ) -> Vec<DeliveryView> {
        let mut seen = BTreeSet::new();
        let mut rows = Vec::new();
        for (id, port) in &self.0.ports {
            if group.is_none_or(|wanted| wanted == id) && seen.insert(id.clone()) {
                port.exchange.read(|book| list(book, id, &mut rows));
            }
        }
        rows.retain(|row: &DeliveryView| {
            state.is_none_or(|wanted| wanted == row.state)
                && interface.is_none_or(|wanted| wanted == row.from || wanted == row.to)
        });
        rows
    }

    /// Has an event that cannot be delivered tried again, or drops it.
    ///
    /// # Errors
    /// [`CommandError`] if this node does not act, or there is no such event.
    pub async fn order_delivery(&self, author: &Author, id: &str, again: bool) -> Result<(), CommandError> {
        let unknown = || CommandError::UnknownDelivery { id: id.to_owned() };
        let (group, number) = id.rsplit_once('-').ok_or_else(unknown)?;
        let number = number.parse().map_err(|_| unknown())?;
        let inbox = self.0.inboxes.get(group).ok_or_else(unknown)?;
        if self.0.shared.group(group).active != Some(self.0.shared.rank) {
            return Err(self.0.shared.not_active(group));
        }
        let name = self.exchange(group).and_then(|exchange| {
            exchange.read(|book| {
                book.find_dead(number).map(|(to, dead)| format!("{} to `{to}`", dead.given.name))
            })
        });
        let (reply, answer) = oneshot::channel();
        inbox.push(Job::Delivery(DeliveryOrder { number, id: id.to_owned(), again, reply }));
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(CommandError::Stopping),
            Err(_) => return Err(CommandError::Timeout { seconds: PATIENCE.as_secs() }),
        }
        let verb = if again { "repeated" } else { "dropped" };
        self.note(author, format!("{verb} the delivery of event {}", name.unwrap_or_default())).await;
        Ok(())
    }

    fn exchange(&self, group: &str) -> Option<Arc<Exchange>> {
        let port = self.0.ports.iter().find(|(id, _)| id == group)?;
        Some(Arc::clone(&port.1.exchange))
    }
}

/// What an interface has to do with events.
pub(super) fn counts(port: &Port) -> EventCounts {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &port.counters;
    let (waiting, dead) = port.exchange.read(|book| book.counts(&port.setup.id));
    EventCounts {
        given: count(&counters.events_given),
        doubled: count(&counters.events_doubled),
        refused: count(&counters.events_refused),
        delivered: count(&counters.events_delivered),
        redelivered: count(&counters.events_redelivered),
        waiting: waiting as u64,
        dead: dead as u64,
    }
}

fn list(book: &Book, group: &str, rows: &mut Vec<DeliveryView>) {
    for to in book.interfaces() {
        for (number, dead) in book.dead(to) {
            rows.push(DeliveryView {
                state: "dead".to_owned(),
                dead_at: Some(Timestamp(dead.at_ns).to_string()),
                cause: words::contract_code(dead.code).to_owned(),
                ..row(group, number, to, &dead.given)
            });
        }
        for (number, waiting) in book.waiting(to) {
            rows.push(DeliveryView { state: "waiting".to_owned(), ..row(group, number, to, &waiting.given) });
        }
    }
    for head in book.unlinked() {
        rows.push(DeliveryView {
            group: group.to_owned(),
            state: "unlinked".to_owned(),
            from: head.name.source.clone(),
            stream: head.name.stream.clone(),
            event: head.name.id.clone(),
            key: head.key.clone(),
            bytes: head.bytes,
            given_at: Timestamp(head.at_ns).to_string(),
            ..DeliveryView::default()
        });
    }
}

fn row(group: &str, number: u64, to: &str, given: &Given) -> DeliveryView {
    DeliveryView {
        id: format!("{group}-{number}"),
        group: group.to_owned(),
        from: given.name.source.clone(),
        stream: given.name.stream.clone(),
        event: given.name.id.clone(),
        to: to.to_owned(),
        key: given.key.clone(),
        bytes: given.payload.len() as u64,
        given_at: Timestamp(given.at_ns).to_string(),
        ..DeliveryView::default()
    }
}
