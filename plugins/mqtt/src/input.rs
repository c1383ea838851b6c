//! From received messages to values of items.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};

use crate::item::Spec;
use crate::jsonpath::{Extractor, Path};
use crate::packet::Qos;
use crate::payload::{self, Format, Kind, Value};
use crate::topic::{self, Router};

/// A value for an item.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The item.
    pub item: u32,
    /// Its value, or why the payload has none.
    pub value: Result<Value, payload::Error>,
    /// The broker had kept the message: it is a picture, not a change.
    pub is_snapshot: bool,
    /// Several topics lead to this item, so that each message counts.
    pub is_event: bool,
    /// Whether it is the read-back image of an output.
    pub is_mirror: bool,
}

/// What the messages seen were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that no item wants.
    pub unmatched: u64,
    /// Values that could not be read from their payload.
    pub undecodable: u64,
}

/// All items that read, by topic.
#[derive(Debug, Default)]
pub struct Inputs {
    router: Router<Entry>,
    filters: BTreeMap<String, (Qos, bool)>,
    mirror_filters: BTreeMap<String, (Qos, bool)>,
    found: Vec<(Target, Value)>,
    counts: Counts,
}

#[derive(Debug)]
struct Entry {
    filter: Box<str>,
    all: Group,
    by_capture: HashMap<Box<str>, Group>,
    by_path: Vec<ByPath>,
    mirror: Group,
}

#[derive(Debug)]
struct ByPath {
    path: Path,
    extractor: Extractor<()>,
    groups: HashMap<Box<str>, Group>,
}

/// Items that read the same payload.
#[derive(Debug, Default)]
struct Group {
    plain: Vec<Target>,
    json: Extractor<Target>,
    json_items: Vec<Target>,
}

#[derive(Debug, Clone, Copy)]
struct Target {
    item: u32,
    format: Format,
    kind: Kind,
    is_event: bool,
    is_mirror: bool,
}

impl Inputs {
    /// Builds the tables for `items`. With `mirror`, written topics with `QoS` 1 or 2 are read back too.
    pub fn build(items: impl Iterator<Item = (u32, impl Borrow<Spec>)>, mirror: bool) -> Self {
        let mut inputs = Self::default();
        for (item, spec) in items {
            let spec = spec.borrow();
            if let Some(filter) = &spec.filter {
                inputs.add_input(item, filter, spec);
            }
            if let Some(topic) = &spec.topic
                && mirror
                && spec.qos > Qos::AtMostOnce
                && spec.filter.as_ref() != Some(topic)
            {
                let target =
                    Target { item, format: spec.format, kind: spec.kind, is_event: false, is_mirror: true };
                inputs.router.entry(topic, || Entry::new(topic)).mirror.add(target, spec.json.as_ref());
                want(&mut inputs.mirror_filters, topic, spec.qos, true);
            }
        }
        let read = &inputs.filters;
        inputs.mirror_filters.retain(|topic, _| !read.contains_key(topic));
        inputs
    }

    fn add_input(&mut self, item: u32, filter: &str, spec: &Spec) {
        let is_event = topic::is_wildcard(filter) && spec.key.is_none();
        let target = Target { item, format: spec.format, kind: spec.kind, is_event, is_mirror: false };
        let entry = self.router.entry(filter, || Entry::new(filter));
        let group = match (&spec.key, &spec.key_path) {
            (None, _) => &mut entry.all,
            (Some(key), None) => entry.by_capture.entry(key.as_str().into()).or_default(),
            (Some(key), Some(path)) => {
                let index = entry.by_path.iter().position(|by| by.path == *path).unwrap_or_else(|| {
                    let mut extractor = Extractor::default();
                    extractor.add(path, ());
                    entry.by_path.push(ByPath { path: path.clone(), extractor, groups: HashMap::new() });
                    entry.by_path.len() - 1
                });
                entry.by_path[index].groups.entry(key.as_str().into()).or_default()
            }
        };
        group.add(target, spec.json.as_ref());
        want(&mut self.filters, filter, spec.qos, false);
    }

    /// Filters of items that read.
    pub fn filters(&self) -> &BTreeMap<String, (Qos, bool)> {
        &self.filters
    }

    /// Topics of items that only write, for the read-back image.
    pub fn mirror_filters(&self) -> &BTreeMap<String, (Qos, bool)> {
        &self.mirror_filters
    }

    /// Appends the values of a message to `updates`; false if no item has its topic. `with_mirror` includes items that
    /// only write.
    pub fn read(
        &mut self,
        topic: &str,
        payload: &[u8],
        retain: bool,
        with_mirror: bool,
        updates: &mut Vec<Update>,
    ) -> bool {
        let Self { router, found, counts, .. } = self;
        let mut has_entry = false;
        router.matches(topic, &mut |entry: &Entry| {
            has_entry = true;
            let mut out = Out { payload, retain, found, counts, updates };
            entry.all.read(&mut out);
            if with_mirror {
                entry.mirror.read(&mut out);
            }
            if !entry.by_capture.is_empty()
                && let Some(key) = topic::capture(&entry.filter, topic)
                && let Some(group) = entry.by_capture.get(key.as_str())
            {
                group.read(&mut out);
            }
            for by_path in &entry.by_path {
                let mut keys = Vec::new();
                if by_path.extractor.run(payload, &mut keys).is_err() {
                    out.counts.undecodable += 1;
                }
                let Some(key) = keys.pop().and_then(|((), key)| Kind::Text.apply(key).ok()) else { continue };
                if let Value::Str(key) = key
                    && let Some(group) = by_path.groups.get(&key)
                {
                    group.read(&mut out);
                }
            }
        });
        self.counts.unmatched += u64::from(!has_entry);
        has_entry
    }

    /// Numbers since the tables were built.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

fn want(filters: &mut BTreeMap<String, (Qos, bool)>, filter: &str, qos: Qos, no_local: bool) {
    match filters.get_mut(filter) {
        Some(known) => known.0 = known.0.max(qos),
        None => {
            filters.insert(filter.to_owned(), (qos, no_local));
        }
    }
}

struct Out<'a> {
    payload: &'a [u8],
    retain: bool,
    found: &'a mut Vec<(Target, Value)>,
    counts: &'a mut Counts,
    updates: &'a mut Vec<Update>,
}

impl Out<'_> {
    fn give(&mut self, target: Target, value: Result<Value, payload::Error>) {
        let value = value.and_then(|value| target.kind.apply(value));
        self.counts.undecodable += u64::from(value.is_err());
        let Target { item, is_event, is_mirror, .. } = target;
        self.updates.push(Update { item, value, is_snapshot: self.retain, is_event, is_mirror });
    }
}

impl Entry {
    fn new(filter: &str) -> Self {
        Self {
            filter: filter.into(),
            all: Group::default(),
            by_capture: HashMap::new(),
            by_path: Vec::new(),
            mirror: Group::default(),
        }
    }
}

impl Group {
    fn add(&mut self, target: Target, json: Option<&Path>) {
        match (json, target.format) {
            (Some(path), _) => {
                self.json.add(path, target);
                self.json_items.push(target);
            }
            (None, Format::Raw | Format::Number | Format::Bool | Format::Text | Format::Json) => {
                self.plain.push(target);
            }
        }
    }

    fn read(&self, out: &mut Out<'_>) {
        for target in &self.plain {
            out.give(*target, payload::decode(target.format, out.payload));
        }
        if self.json_items.is_empty() {
            return;
        }
        let mut found = std::mem::take(out.found);
        match self.json.run(out.payload, &mut found) {
            Ok(()) => {
                for (target, value) in found.drain(..) {
                    out.give(target, Ok(value));
                }
            }
            Err(_) => {
                for target in &self.json_items {
                    out.give(*target, Err(payload::Error::Format));
                }
            }
        }
        *out.found = found;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(filter: &str, json: &str, key: &str, key_path: &str) -> Spec {
        Spec {
            filter: Some(filter.to_owned()),
            topic: None,
            kind: Kind::Any,
            format: if json.is_empty() { Format::Number } else { Format::Json },
            json: (!json.is_empty()).then(|| Path::parse(json).unwrap()),
            qos: Qos::AtLeastOnce,
            retain: false,
            key: (!key.is_empty()).then(|| key.to_owned()),
            key_path: (!key_path.is_empty()).then(|| Path::parse(key_path).unwrap()),
        }
    }

    fn read(inputs: &mut Inputs, topic: &str, payload: &str) -> Vec<(u32, Option<Value>)> {
        let mut updates = Vec::new();
        inputs.read(topic, payload.as_bytes(), false, true, &mut updates);
        let mut found: Vec<_> = updates.into_iter().map(|update| (update.item, update.value.ok())).collect();
        found.sort_by_key(|(item, _)| *item);
        found
    }

    #[test]
    fn one_message_updates_all_items_of_its_topic() {
        let specs = [spec("t", "a", "", ""), spec("t", "$.b[1]", "", ""), spec("t", "missing", "", "")];
        let mut inputs = Inputs::build((0..).zip(&specs), false);
        assert_eq!(
            read(&mut inputs, "t", r#"{"a":1,"b":[0,2.5]}"#),
            [(0, Some(Value::I64(1))), (1, Some(Value::F64(2.5)))]
        );
        assert_eq!(read(&mut inputs, "t", "{"), [(0, None), (1, None), (2, None)]);
        assert_eq!(inputs.counts().undecodable, 3);
        assert_eq!(inputs.filters().len(), 1);
    }

    #[test]
    fn a_wildcard_feeds_items_by_the_part_it_stands_for() {
        let specs =
            [spec("s/+/t", "", "room1", ""), spec("s/+/t", "", "room2", ""), spec("s/+/t", "", "", "")];
        let mut inputs = Inputs::build((0..).zip(&specs), false);
        assert_eq!(read(&mut inputs, "s/room2/t", "7"), [(1, Some(Value::I64(7))), (2, Some(Value::I64(7)))]);
        assert_eq!(read(&mut inputs, "s/room9/t", "7"), [(2, Some(Value::I64(7)))]);
        assert_eq!(inputs.filters().len(), 1, "one subscription for all");
        assert_eq!(read(&mut inputs, "other", "7"), []);
        assert_eq!(inputs.counts().unmatched, 1);
    }

    #[test]
    fn a_wildcard_feeds_items_by_a_key_in_the_payload() {
        let specs = [spec("gw/#", "$.v", "17", "$.id"), spec("gw/#", "$.v", "x", "$.id")];
        let mut inputs = Inputs::build((0..).zip(&specs), false);
        assert_eq!(read(&mut inputs, "gw/any", r#"{"id":17,"v":true}"#), [(0, Some(Value::Bool(true)))]);
        assert_eq!(read(&mut inputs, "gw", r#"{"id":"x","v":1}"#), [(1, Some(Value::I64(1)))]);
        assert_eq!(read(&mut inputs, "gw", "garbage"), []);
    }

    #[test]
    fn mirror_reads_back_written_topics_with_receipts_only() {
        let mut reliable = spec("x", "", "", "");
        reliable.filter = None;
        reliable.topic = Some("out".to_owned());
        let mut loose = reliable.clone();
        loose.topic = Some("loose".to_owned());
        loose.qos = Qos::AtMostOnce;
        let specs = [reliable, loose];
        let mut inputs = Inputs::build((0..).zip(&specs), true);
        assert_eq!(inputs.mirror_filters().keys().collect::<Vec<_>>(), ["out"]);
        assert_eq!(read(&mut inputs, "out", "3"), [(0, Some(Value::I64(3)))]);
        let mut updates = Vec::new();
        inputs.read("out", b"3", false, false, &mut updates);
        assert!(updates.is_empty());
    }
}
