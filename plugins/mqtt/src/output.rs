//! From writes to messages. Writes of one batch to items of the same topic with a `json` cell become one message.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use crate::config::Settings;
use crate::ids::Ids;
use crate::item::Spec;
use crate::jsonpath::Path;
use crate::packet::Qos;
use crate::payload::{self, Format, Kind, Value};
use crate::session::{Answers, Message, Outcome, Receipt};

/// All items that write.
#[derive(Debug)]
pub struct Outputs {
    /// By item. Hubs write items in their order, so the next one is mostly the one after the last.
    targets: Vec<Target>,
    hint: usize,
    /// The encoded keys of all targets, side by side.
    keys: Vec<u8>,
    topics: Vec<Topic>,
    names: HashMap<Rc<str>, u32>,
    include_timestamp: bool,
    touched: Vec<u32>,
    block: u64,
    size_max: usize,
}

#[derive(Debug)]
struct Target {
    item: u32,
    topic: u32,
    place: Place,
    kind: Kind,
    format: Format,
    qos: Qos,
    retain: bool,
    /// Block in which the item was written last; 0 for none.
    block: u64,
}

#[derive(Debug)]
enum Place {
    /// The payload is the value.
    Whole,
    /// `,"key":` in the top-level object, at this place of the keys.
    Key(Range<u32>),
    /// Deeper.
    Path(Box<Path>),
}

#[derive(Debug)]
struct Topic {
    name: Rc<str>,
    /// Whether items of the topic lie deeper than one key, which needs a tree.
    is_deep: bool,
    text: Vec<u8>,
    tree: serde_json::Value,
    ids: Ids,
    block: u64,
    qos: Qos,
    retain: bool,
    deadline_ns: i64,
}

/// What is common to the writes of a batch.
#[derive(Clone)]
pub struct Batch {
    /// Who wants the answers.
    pub to: Rc<dyn Answers>,
    /// Epoch of the batch, if messages carry it.
    pub epoch: Option<u64>,
    /// Milliseconds since 1970 UTC.
    pub unix_ms: i64,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Outputs {
    /// Builds the tables for `items`.
    pub fn build(items: impl Iterator<Item = (u32, impl Borrow<Spec>)>, settings: &Settings) -> Self {
        let mut outputs = Self {
            targets: Vec::new(),
            hint: 0,
            keys: Vec::new(),
            topics: Vec::new(),
            names: HashMap::new(),
            include_timestamp: settings.include_timestamp,
            touched: Vec::new(),
            block: 0,
            size_max: (settings.packet_size_bytes_max as usize / 2).min(BLOCK_BYTES_MAX),
        };
        for (item, spec) in items {
            let spec = spec.borrow();
            let Some(name) = &spec.topic else { continue };
            let topic = outputs.topic(name);
            let place = match &spec.json {
                None => Place::Whole,
                Some(path) => {
                    if let Some(key) = path.as_key() {
                        let start = offset(&outputs.keys);
                        outputs.keys.push(b',');
                        let written = payload::write_json(&Value::Str(key.into()), &mut outputs.keys);
                        debug_assert!(written.is_ok(), "a string has a JSON form");
                        outputs.keys.push(b':');
                        Place::Key(start..offset(&outputs.keys))
                    } else {
                        outputs.topics[topic as usize].is_deep = true;
                        Place::Path(Box::new(path.clone()))
                    }
                }
            };
            let Spec { kind, format, qos, retain, .. } = *spec;
            outputs.targets.push(Target { item, topic, place, kind, format, qos, retain, block: 0 });
        }
        outputs.targets.sort_by_key(|target| target.item);
        outputs.targets.shrink_to_fit();
        outputs.keys.shrink_to_fit();
        outputs
    }

    fn position(&mut self, item: u32) -> Option<usize> {
        let is_next = self.targets.get(self.hint).is_some_and(|target| target.item == item);
        let index = if is_next {
            self.hint
        } else {
            self.targets.binary_search_by_key(&item, |target| target.item).ok()?
        };
        self.hint = index + 1;
        Some(index)
    }

    fn topic(&mut self, name: &str) -> u32 {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let name: Rc<str> = name.into();
        let number = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
        self.topics.push(Topic {
            name: Rc::clone(&name),
            is_deep: false,
            text: Vec::new(),
            tree: serde_json::Value::Null,
            ids: Ids::default(),
            block: 0,
            qos: Qos::AtMostOnce,
            retain: false,
            deadline_ns: i64::MAX,
        });
        self.names.insert(name, number);
        number
    }

    /// Takes one write of a batch. Messages that are complete go to `send`; [`Outputs::finish`] completes the others.
    pub fn write(
        &mut self,
        batch: &Batch,
        id: u64,
        item: u32,
        value: &Value,
        deadline_ns: i64,
        send: &mut impl FnMut(Message),
    ) {
        let Some(index) = self.position(item) else {
            batch.to.answer(&id.into(), Outcome::Invalid);
            return;
        };
        let target = &mut self.targets[index];
        let converted;
        let value = if target.kind.is_of(value) {
            value
        } else if let Ok(value) = target.kind.apply(value.clone()) {
            converted = value;
            &converted
        } else {
            batch.to.answer(&id.into(), Outcome::Invalid);
            return;
        };
        let topic = &mut self.topics[target.topic as usize];
        if matches!(target.place, Place::Whole) {
            // Order within the topic: what was collected before leaves before.
            topic.complete(batch, self.include_timestamp, send);
            let mut text = Vec::new();
            if payload::encode(target.format, value, &mut text).is_err() {
                batch.to.answer(&id.into(), Outcome::Invalid);
                return;
            }
            send(Message {
                topic: Rc::clone(&topic.name),
                payload: text.into(),
                qos: target.qos,
                retain: target.retain,
                epoch: batch.epoch,
                deadline_ns,
                receipt: Some(Receipt { to: Rc::clone(&batch.to), ids: id.into() }),
            });
            return;
        }
        // The same key twice: both values must be seen, so the first block is complete.
        let is_repeated = !topic.ids.is_empty() && target.block == topic.block;
        if is_repeated || topic.text.len() > self.size_max {
            topic.complete(batch, self.include_timestamp, send);
        }
        if topic.ids.is_empty() {
            self.block += 1;
            topic.block = self.block;
            topic.deadline_ns = i64::MAX;
            topic.qos = Qos::AtMostOnce;
            topic.retain = false;
            self.touched.push(target.topic);
        }
        if topic.place(&target.place, &self.keys, value).is_err() {
            batch.to.answer(&id.into(), Outcome::Invalid);
            return;
        }
        target.block = topic.block;
        topic.qos = topic.qos.max(target.qos);
        topic.retain |= target.retain;
        topic.deadline_ns = topic.deadline_ns.min(deadline_ns);
        topic.ids.push(id);
    }

    /// Ends a batch.
    pub fn finish(&mut self, batch: &Batch, send: &mut impl FnMut(Message)) {
        for index in self.touched.drain(..) {
            self.topics[index as usize].complete(batch, self.include_timestamp, send);
        }
    }
}

impl Topic {
    fn place(&mut self, place: &Place, keys: &[u8], value: &Value) -> Result<(), payload::Error> {
        match place {
            Place::Whole => Ok(()),
            Place::Key(key) if !self.is_deep => {
                let before = self.text.len();
                self.text.extend_from_slice(&keys[key.start as usize..key.end as usize]);
                if before == 0 {
                    self.text[0] = b'{';
                }
                payload::write_json(value, &mut self.text).inspect_err(|_| self.text.truncate(before))
            }
            Place::Key(key) => {
                // The key was encoded by `build` between a comma and a colon.
                let key: String = serde_json::from_slice(&keys[key.start as usize + 1..key.end as usize - 1])
                    .map_err(|_| payload::Error::Format)?;
                let value = tree_of(value)?;
                if !self.tree.is_object() {
                    self.tree = serde_json::Value::Object(serde_json::Map::new());
                }
                self.tree[key] = value;
                Ok(())
            }
            Place::Path(path) => {
                let value = tree_of(value)?;
                path.place(&mut self.tree, value);
                Ok(())
            }
        }
    }

    fn complete(&mut self, batch: &Batch, include_timestamp: bool, send: &mut impl FnMut(Message)) {
        if self.ids.is_empty() {
            return;
        }
        if self.is_deep {
            if include_timestamp && self.tree.is_object() {
                self.tree[TIMESTAMP_KEY] = batch.unix_ms.into();
            }
            self.text = std::mem::take(&mut self.tree).to_string().into_bytes();
        } else {
            if include_timestamp {
                self.text.extend_from_slice(format!(",\"{TIMESTAMP_KEY}\":{}", batch.unix_ms).as_bytes());
            }
            self.text.push(b'}');
        }
        let capacity = self.text.len() + self.text.len() / 8;
        let payload = std::mem::replace(&mut self.text, Vec::with_capacity(capacity));
        let ids = std::mem::take(&mut self.ids);
        send(Message {
            topic: Rc::clone(&self.name),
            payload: payload.into(),
            qos: self.qos,
            retain: self.retain,
            epoch: batch.epoch,
            deadline_ns: self.deadline_ns,
            receipt: Some(Receipt { to: Rc::clone(&batch.to), ids }),
        });
    }
}

/// Items are numbered with 32 bits, and 4 GiB of their keys do not fit a process.
fn offset(keys: &[u8]) -> u32 {
    u32::try_from(keys.len()).unwrap_or(u32::MAX)
}

fn tree_of(value: &Value) -> Result<serde_json::Value, payload::Error> {
    let mut text = Vec::new();
    payload::write_json(value, &mut text)?;
    serde_json::from_slice(&text).map_err(|_| payload::Error::Format)
}

/// Key of the time in messages with `include_timestamp`.
const TIMESTAMP_KEY: &str = "ts";
/// A block larger than this is no longer friendly to brokers.
const BLOCK_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[derive(Default)]
    struct Log(RefCell<Vec<(Vec<u64>, Outcome)>>);

    impl Answers for Log {
        fn answer(&self, ids: &Ids, outcome: Outcome) {
            self.0.borrow_mut().push((ids.iter().collect(), outcome));
        }
    }

    fn spec(topic: &str, json: &str, qos: Qos) -> Spec {
        Spec {
            filter: None,
            topic: Some(topic.to_owned()),
            kind: Kind::Any,
            format: if json.is_empty() { Format::Number } else { Format::Json },
            json: (!json.is_empty()).then(|| Path::parse(json).unwrap()),
            qos,
            retain: false,
            key: None,
            key_path: None,
        }
    }

    /// Topic, payload, number of writes, `QoS`.
    type Sent = (String, String, usize, Qos);

    fn run(specs: &[Spec], extra: &str, writes: &[(u32, Value)]) -> (Vec<Sent>, Rc<Log>) {
        let config: crate::config::Config =
            serde_json::from_str(&format!(r#"{{"broker":"b"{extra}}}"#)).unwrap();
        let mut outputs = Outputs::build((0..).zip(specs), &config.validate("m").unwrap());
        let log = Rc::new(Log::default());
        let batch = Batch { to: Rc::clone(&log) as Rc<dyn Answers>, epoch: None, unix_ms: 17 };
        let mut sent = Vec::new();
        let mut send = |message: Message| {
            let text = String::from_utf8(message.payload.to_vec()).unwrap();
            sent.push((message.topic.to_string(), text, message.receipt.unwrap().ids.len(), message.qos));
        };
        for (id, (item, value)) in (0..).zip(writes) {
            outputs.write(&batch, id, *item, value, i64::MAX, &mut send);
        }
        outputs.finish(&batch, &mut send);
        (sent, log)
    }

    #[test]
    fn writes_of_a_batch_to_one_topic_become_one_message() {
        let specs: Vec<_> = (0..125).map(|i| spec("block", &format!("r{i}"), Qos::AtLeastOnce)).collect();
        let writes: Vec<_> = (0..125).map(|i| (i, Value::I64(i.into()))).collect();
        let (sent, _) = run(&specs, "", &writes);
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].2, sent[0].3), (125, Qos::AtLeastOnce));
        assert!(sent[0].1.starts_with(r#"{"r0":0,"r1":1,"#), "{}", sent[0].1);
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&sent[0].1).unwrap();
        assert_eq!(object.len(), 125);
    }

    #[test]
    fn a_repeated_key_starts_a_new_message_so_that_no_value_is_hidden() {
        let specs = [spec("t", "a", Qos::AtLeastOnce), spec("t", "b", Qos::ExactlyOnce)];
        let writes = [(0, Value::I64(1)), (1, Value::I64(2)), (0, Value::I64(3))];
        let (sent, _) = run(&specs, "", &writes);
        let texts: Vec<_> = sent.iter().map(|(_, text, _, qos)| (text.as_str(), *qos)).collect();
        assert_eq!(texts, [(r#"{"a":1,"b":2}"#, Qos::ExactlyOnce), (r#"{"a":3}"#, Qos::AtLeastOnce)]);
    }

    #[test]
    fn nested_places_and_timestamps_are_written() {
        let specs = [spec("t", "$.a.b", Qos::AtLeastOnce), spec("t", "c\"", Qos::AtLeastOnce)];
        let (sent, _) = run(
            &specs,
            r#","include_timestamp":true"#,
            &[(0, Value::Bool(true)), (1, Value::Str("x".into()))],
        );
        assert_eq!(sent[0].1, r#"{"a":{"b":true},"c\"":"x","ts":17}"#);
        let (sent, _) = run(&specs[1..], r#","include_timestamp":true"#, &[(0, Value::I64(1))]);
        assert_eq!(sent[0].1, r#"{"c\"":1,"ts":17}"#);
    }

    #[test]
    fn values_that_cannot_be_sent_are_answered_and_leave_the_others_alone() {
        let specs = [
            spec("t", "a", Qos::AtLeastOnce),
            spec("t", "b", Qos::AtLeastOnce),
            spec("n", "", Qos::AtLeastOnce),
        ];
        let writes = [(0, Value::F64(f64::NAN)), (1, Value::I64(2)), (2, Value::Null), (9, Value::Null)];
        let (sent, log) = run(&specs, "", &writes);
        assert_eq!(sent, [("t".to_owned(), r#"{"b":2}"#.to_owned(), 1, Qos::AtLeastOnce)]);
        let refused: Vec<_> = log.0.borrow().iter().map(|(ids, outcome)| (ids[0], *outcome)).collect();
        assert_eq!(refused, [(0, Outcome::Invalid), (2, Outcome::Invalid), (3, Outcome::Invalid)]);
    }
}
