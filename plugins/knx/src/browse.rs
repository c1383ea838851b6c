//! What can be addressed: the groups that were seen, and the telegrams themselves.
//!
//! The top has two nodes, and what is below them is answered from memory: nothing is asked on the bus. `groups` lists what
//! was seen as rows of an items file; `telegrams` is the bus monitor. Its cursor is the number of the last telegram, so
//! whoever asks again with it gets what came since.

use serde_json::Value as Json;
use twinhub_knx_protocol::cemi::Destination;
use twinhub_knx_protocol::{Dpt, DptId, GroupAddress, Payload, Priority};
use twinhub_plugin::{Browse, Error, Node, Page};

use crate::config::Settings;
use crate::image::Image;
use crate::inbox::Inbox;
use crate::monitor::{Seen, Telegram};
use crate::value::text_of;

pub(crate) fn answer(inbox: &Inbox, settings: &Settings, browse: Browse) {
    let page = match (browse.parent(), browse.parent().as_str()) {
        (Json::Null, _) => top(browse.cursor(), browse.limit()),
        (_, Some("groups")) => groups(inbox, settings, browse.cursor(), browse.limit()),
        (_, Some("telegrams")) => telegrams(inbox, settings, browse.cursor(), browse.limit()),
        (other, _) => {
            Err(Error::invalid(format!("there is no {other}; there are \"groups\" and \"telegrams\"")))
        }
    };
    match page {
        Ok(page) => browse.answer(&page),
        Err(error) => browse.refuse(&error),
    }
}

fn top(cursor: &str, limit: usize) -> Result<Page, Error> {
    let begin: usize =
        if cursor.is_empty() { 0 } else { cursor.parse().map_err(|_| wrong_cursor(cursor))? };
    let all = [
        Node::new("groups").description("group addresses seen on the bus").parent("groups"),
        Node::new("telegrams").description("the last telegrams, the oldest first").parent("telegrams"),
    ];
    let end = begin.saturating_add(limit);
    let cursor = (end < all.len()).then(|| end.to_string());
    Ok(Page { nodes: all.into_iter().skip(begin).take(limit).collect(), cursor })
}

fn groups(inbox: &Inbox, settings: &Settings, cursor: &str, limit: usize) -> Result<Page, Error> {
    let after = match cursor {
        "" => None,
        text => Some(GroupAddress(text.parse().map_err(|_| wrong_cursor(text))?)),
    };
    let (monitor, image) = (inbox.monitor.borrow(), inbox.image.borrow());
    let mut page = Page::default();
    for (group, seen) in monitor.groups_after(after) {
        if page.nodes.len() >= limit.min(NODES_MAX) {
            page.cursor = page_end(&page, settings);
            break;
        }
        page.nodes.push(group_node(group, seen, &image, settings));
    }
    Ok(page)
}

/// The last group of a page.
fn page_end(page: &Page, settings: &Settings) -> Option<String> {
    let json = serde_json::to_value(page.nodes.last()?).ok()?;
    let group: GroupAddress = json.get("name")?.as_str()?.parse().ok()?;
    debug_assert_eq!(settings.show(group), json["name"]);
    Some(group.0.to_string())
}

fn group_node(group: GroupAddress, seen: &Seen, image: &Image, settings: &Settings) -> Node {
    let point = image.of_group(group);
    let name = settings.show(group);
    let guess = seen.payload.as_ref().map(guess);
    let (dpt, is_guess) = match (point, guess) {
        (Some(point), _) => (Some(point.dpt), false),
        (None, Some(id)) => (id.and_then(|id| Dpt::find(id).ok()), true),
        (None, None) => (None, false),
    };
    let value = match &seen.payload {
        None => "only read so far".to_owned(),
        Some(payload) => shown(dpt.filter(|_| !is_guess).as_ref(), payload),
    };
    let guessed = if is_guess && dpt.is_some() { ", type is a guess from its length" } else { "" };
    let times = if seen.count == 1 { "once".to_owned() } else { format!("{} times", seen.count) };
    let mut node = Node::new(name.clone())
        .description(format!("{value} from {}, seen {times}{guessed}", seen.source))
        .column("address", name)
        .column("path", point.map_or_else(|| settings.show(group), |point| point.path.to_string()));
    if let Some(dpt) = dpt {
        node = node.column("dpt", dpt.id().to_string());
        let unit = dpt.definition().unit;
        if !unit.is_empty() && !is_guess {
            node = node.column("unit", unit);
        }
    }
    node
}

/// The type that a payload of this length mostly has.
fn guess(payload: &Payload) -> Option<DptId> {
    match payload {
        Payload::Small(value) if *value <= 1 => Some(DptId::new(1, 1)),
        Payload::Small(_) => Some(DptId { main: 3, sub: None }),
        Payload::Bytes(bytes) => match bytes.len() {
            1 => Some(DptId { main: 5, sub: None }),
            2 => Some(DptId { main: 9, sub: None }),
            3 => Some(DptId::new(232, 600)),
            4 => Some(DptId { main: 14, sub: None }),
            8 => Some(DptId::new(19, 1)),
            14 => Some(DptId::new(16, 0)),
            _ => None,
        },
    }
}

/// A value, or the octets where the type is not known.
pub(crate) fn shown(dpt: Option<&Dpt>, payload: &Payload) -> String {
    if let Some(Ok(value)) = dpt.map(|dpt| dpt.decode(payload.as_bytes())) {
        return text_of(&value).chars().take(SHOWN_MAX).collect();
    }
    let octets: Vec<String> =
        payload.as_bytes().iter().take(SHOWN_MAX / 2).map(|octet| format!("{octet:02x}")).collect();
    format!("0x{}", octets.concat())
}

fn telegrams(inbox: &Inbox, settings: &Settings, cursor: &str, limit: usize) -> Result<Page, Error> {
    let after: u64 = if cursor.is_empty() { 0 } else { cursor.parse().map_err(|_| wrong_cursor(cursor))? };
    let (monitor, image) = (inbox.monitor.borrow(), inbox.image.borrow());
    let mut page = Page::default();
    for telegram in monitor.after(after).take(limit.min(NODES_MAX)) {
        // Also behind the last one: who asks again with it gets what came since, or nothing and keeps the cursor.
        page.cursor = Some(telegram.number.to_string());
        page.nodes.push(telegram_node(telegram, &image, settings));
    }
    Ok(page)
}

fn telegram_node(telegram: &Telegram, image: &Image, settings: &Settings) -> Node {
    let (destination, point) = match telegram.destination {
        Destination::Group(group) => (settings.show(group), image.of_group(group)),
        Destination::Individual(device) => (device.to_string(), None),
    };
    let value = telegram.payload.as_ref().map(|payload| shown(point.map(|point| &point.dpt), payload));
    let priority = match telegram.priority {
        Priority::System => "system",
        Priority::Urgent => "urgent",
        Priority::Normal => "normal",
        Priority::Low => "low",
    };
    let said = match &value {
        Some(value) => format!("{} {value}", telegram.service),
        None => telegram.service.to_owned(),
    };
    let (time, source) = (time_of_day(telegram.unix_ns), telegram.source);
    let mut node = Node::new(telegram.number.to_string())
        .description(format!("{time} {source} to {destination}: {said}"))
        .column("time_ns", telegram.unix_ns.to_string())
        .column("source", telegram.source.to_string())
        .column("destination", destination)
        .column("service", telegram.service)
        .column("priority", priority)
        .column("direction", if telegram.is_own { "sent" } else { "heard" });
    if let Some(value) = value {
        node = node.column("value", value);
    }
    if let Some(payload) = &telegram.payload {
        node = node.column("payload", shown(None, payload));
    }
    if let Some(point) = point {
        node = node.column("path", &*point.path).column("dpt", point.dpt.id().to_string());
    }
    node
}

/// Hours, minutes, seconds and milliseconds of the day in UTC.
fn time_of_day(unix_ns: i64) -> String {
    let ms = unix_ns.div_euclid(1_000_000).rem_euclid(86_400_000);
    format!("{:02}:{:02}:{:02}.{:03}Z", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
}

fn wrong_cursor(cursor: &str) -> Error {
    Error::invalid(format!("the cursor `{cursor}` is not of an answer before"))
}

/// Nodes in one answer: each is below 1000 bytes, and the answer below 256 KiB.
const NODES_MAX: usize = 250;
/// Characters of a value, of which a text may have 252.
const SHOWN_MAX: usize = 100;
