//! What helps to find a fault: what this node knows anyway, without asking the bus.

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use twinhub_plugin::Role;

use crate::config::{Mode, Settings, Transport};
use crate::inbox::Inbox;

/// The diagnosis.
pub(crate) fn document(inbox: &Inbox, settings: &Settings, role: Role) -> Value {
    let mut monitor = inbox.monitor.borrow_mut();
    let per_second = monitor.per_second();
    let (connection, counts) = (&monitor.connection, monitor.counts);
    let seconds = |at: Instant| at.elapsed().as_secs();
    let machine: Map<String, Value> =
        connection.machine.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
    let (queue, image) = (inbox.queue.borrow(), inbox.image.borrow());
    let [system, urgent, normal, low] = queue.depths();
    let (once, cycles, asked) = connection.reads;
    let (groups, groups_left_out) = monitor.groups();
    let troubles: Vec<Value> = image
        .troubles()
        .take(TROUBLES_MAX)
        .map(|(path, what)| json!({ "item": path, "trouble": what }))
        .collect();
    json!({
        "role": match role {
            Role::Cold => "cold",
            Role::Warm => "warm",
            Role::Hot => "hot",
            Role::Active => "active",
        },
        "mode": match (settings.config.mode, settings.config.transport) {
            (Mode::Routing, _) => "routing",
            (Mode::Tunnel, Transport::Udp) => "tunnel over UDP",
            (Mode::Tunnel, Transport::Tcp) => "tunnel over TCP",
        },
        "connection": {
            "is_connected": connection.address.is_some(),
            "to": connection.way,
            "gateways": settings.gateways,
            "individual_address": connection.address.map(|address| address.to_string()),
            "channel": connection.channel,
            "since_s": connection.since.map(seconds),
            "attempts": counts.attempts,
            "connections": counts.connections,
            "last_error": connection.last_error.as_ref().map(|(_, text)| text),
            "last_error_ago_s": connection.last_error.as_ref().map(|(at, _)| seconds(*at)),
            "paused_by_router": connection.is_paused_until.is_some_and(|until| until > Instant::now()),
            "reclaimed": connection.reclaimed.as_ref().map(|(channel, answer)| {
                json!({ "channel": channel, "answer": answer })
            }),
            "frames": machine,
            "datagrams_of_others": connection.foreign,
        },
        "telegrams": {
            "received": counts.received,
            "outside_of_groups": counts.filtered,
            "sent": counts.sent,
            "refused": counts.refused,
            "outcome_unknown": counts.unknown,
            "not_sent": counts.not_sent,
            "expired": counts.expired,
            "suppressed": counts.suppressed,
            "refused_for_want_of_room": counts.overflow,
            "lost_by_routers": counts.lost_by_routers,
            "answers_to_reads": counts.answers,
        },
        "bus": {
            "telegrams_per_second": (per_second * 10.0).round() / 10.0,
            "load_percent": (per_second / LINE_PER_SECOND * 100.0).round(),
            "groups_seen": groups,
            "telegrams_to_further_groups": groups_left_out,
        },
        "queue": {
            "system": system,
            "urgent": urgent,
            "normal": normal,
            "low": low,
            "under_way": connection.under_way,
            "limit": settings.config.queue,
        },
        "reads": {
            "planned": once,
            "in_cycles": cycles,
            "waiting_for_an_answer": asked,
            "asked": counts.reads_asked,
            "answered": counts.reads_answered,
            "unanswered": counts.reads_unanswered,
        },
        "items": image.len(),
        "troubles": troubles,
    })
}

/// What a TP line carries; a share of it is an estimate, since telegrams differ in length.
const LINE_PER_SECOND: f64 = 50.0;
/// Items with trouble that are named.
const TROUBLES_MAX: usize = 100;
