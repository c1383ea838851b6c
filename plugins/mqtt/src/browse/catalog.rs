//! Topics that were heard, level by level, as rows of an items file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use twinhub_plugin::{Node, Page};

use crate::topic;

/// Below what is looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At the top.
    Top,
    /// Below a topic.
    Topic(String),
    /// In the JSON payload of a topic.
    Payload(String),
}

/// What was heard.
#[derive(Debug, Clone)]
pub struct Catalog {
    of: Place,
    topics: BTreeMap<String, Heard>,
    name_bytes: usize,
    sample_bytes: usize,
    /// Whether there was more than there is room for.
    is_cut: bool,
    /// Topics that are too long to be shown.
    too_long: usize,
}

/// One topic.
#[derive(Debug, Clone, Default)]
struct Heard {
    is_retained: bool,
    messages: u64,
    size: usize,
    /// The last payload, if it is not too long.
    sample: Option<Box<[u8]>>,
}

impl Place {
    /// Reads what a node said of itself.
    ///
    /// # Errors
    /// What it should be.
    pub fn parse(parent: &Value) -> Result<Self, String> {
        let of = |topic: &str| match topic::check_filter(&format!("{topic}/#")) {
            Ok(()) if !topic::is_wildcard(topic) => Ok(topic.to_owned()),
            Ok(()) => Err("a topic without `+` and `#` is wanted".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        match parent {
            Value::Null => Ok(Self::Top),
            Value::String(topic) => of(topic).map(Self::Topic),
            Value::Object(members) => match members.get(PAYLOAD).and_then(Value::as_str) {
                Some(topic) if members.len() == 1 => of(topic).map(Self::Payload),
                Some(_) | None => Err(PLACE_HELP.to_owned()),
            },
            Value::Bool(_) | Value::Number(_) | Value::Array(_) => Err(PLACE_HELP.to_owned()),
        }
    }

    /// What is subscribed to for it.
    pub fn filter(&self) -> String {
        match self {
            Self::Top => "#".to_owned(),
            Self::Topic(topic) => format!("{topic}/#"),
            Self::Payload(topic) => topic.clone(),
        }
    }

    fn prefix(&self) -> Option<&str> {
        match self {
            Self::Top => None,
            Self::Topic(topic) | Self::Payload(topic) => Some(topic),
        }
    }
}

impl Catalog {
    /// Nothing yet.
    pub fn new(of: Place) -> Self {
        Self { of, topics: BTreeMap::new(), name_bytes: 0, sample_bytes: 0, is_cut: false, too_long: 0 }
    }

    /// Takes a message; false if there is no more room.
    pub fn add(&mut self, topic: &str, payload: &[u8], is_retained: bool) -> bool {
        if topic.len() > TOPIC_BYTES_MAX {
            self.too_long += 1;
            return true;
        }
        if !self.topics.contains_key(topic) {
            if self.topics.len() >= TOPICS_MAX || self.name_bytes + topic.len() > NAME_BYTES_MAX {
                self.is_cut = true;
                return false;
            }
            self.name_bytes += topic.len();
            self.topics.insert(topic.to_owned(), Heard::default());
        }
        let Some(heard) = self.topics.get_mut(topic) else { return true };
        heard.is_retained |= is_retained;
        heard.messages += 1;
        heard.size = payload.len();
        self.sample_bytes -= heard.sample.take().map_or(0, |sample| sample.len());
        if payload.len() <= SAMPLE_BYTES_MAX && self.sample_bytes + payload.len() <= SAMPLES_BYTES_MAX {
            self.sample_bytes += payload.len();
            heard.sample = Some(payload.into());
        }
        true
    }

    /// There was more.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Topics that were heard.
    pub fn len(&self) -> usize {
        self.topics.len()
    }

    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whether it was listened for this.
    pub fn is_of(&self, place: &Place) -> bool {
        self.of == *place
    }

    /// Whether all that belongs there would be here.
    pub fn answers(&self, place: &Place) -> bool {
        if self.is_of(place) {
            return true;
        }
        let is_below = match (self.of.prefix(), place.prefix()) {
            // `#` leaves out topics that begin with `$` (MQTT 5.0, 4.7.2).
            (None, Some(topic)) => !topic.starts_with('$'),
            (Some(known), Some(topic)) => {
                topic.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            (None | Some(_), None) => false,
        };
        is_below
            && match place {
                Place::Payload(topic) => self.topics.get(topic).is_some_and(|heard| heard.sample.is_some()),
                Place::Top | Place::Topic(_) => !self.is_cut,
            }
    }

    /// The nodes there, from the one with the number `begin` on.
    pub fn page(&self, place: &Place, begin: usize, limit: usize) -> Page {
        let nodes = match place {
            Place::Top => self.level(None),
            Place::Topic(topic) => self.level(Some(topic)),
            Place::Payload(topic) => self.payload(topic),
        };
        let mut page = Page::default();
        let mut bytes = 0;
        for node in nodes.iter().skip(begin).take(limit) {
            bytes += serde_json::to_vec(node).map_or(0, |text| text.len() + 1);
            if bytes > PAGE_BYTES_MAX && !page.nodes.is_empty() {
                break;
            }
            page.nodes.push(node.clone());
        }
        let end = begin.saturating_add(page.nodes.len());
        page.cursor = (end < nodes.len()).then(|| end.to_string());
        page
    }

    fn level(&self, prefix: Option<&str>) -> Vec<Node> {
        // Of each name: what was heard of it, and how many topics are below.
        let mut names: BTreeMap<&str, (Option<&Heard>, usize)> = BTreeMap::new();
        for (topic, heard) in &self.topics {
            let rest = match prefix {
                None => topic.as_str(),
                Some(prefix) => match topic.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')) {
                    Some(rest) => rest,
                    None => continue,
                },
            };
            match rest.split_once('/') {
                None => names.entry(rest).or_default().0 = Some(heard),
                Some((name, _)) => names.entry(name).or_default().1 += 1,
            }
        }
        let mut nodes = Vec::with_capacity(names.len() + 2);
        for (name, (heard, below)) in names {
            let topic = prefix.map_or_else(|| name.to_owned(), |prefix| format!("{prefix}/{name}"));
            nodes.push(node(name, &topic, heard, below));
            if heard.and_then(Heard::document).is_some() {
                let node = Node::new(format!("{name} {{…}}")).description("values in its JSON payload");
                nodes.push(node.parent(serde_json::json!({ PAYLOAD: topic })));
            }
        }
        if prefix.is_none() {
            let text = "what the broker says of itself, if it does";
            nodes.push(Node::new("$SYS").description(text).parent("$SYS"));
        }
        if self.is_cut || self.too_long > 0 {
            let text = format!(
                "not everything: {} topics were heard, {} are longer than {TOPIC_BYTES_MAX} bytes; ask for a topic below",
                self.topics.len(),
                self.too_long
            );
            nodes.push(Node::new("…").description(text));
        }
        nodes
    }

    fn payload(&self, topic: &str) -> Vec<Node> {
        let mut nodes = Vec::new();
        if let Some(document) = self.topics.get(topic).and_then(Heard::document) {
            flatten(topic, &document, "$", &path_of(topic), 0, &mut nodes);
        }
        nodes
    }
}

impl Heard {
    /// Its payload, if that is a JSON object or array.
    fn document(&self) -> Option<Value> {
        let sample = self.sample.as_deref()?;
        let begins = sample.iter().find(|byte| !byte.is_ascii_whitespace());
        if !matches!(begins, Some(b'{' | b'[')) {
            return None;
        }
        serde_json::from_slice(sample).ok()
    }

    /// The type of the item that suits it.
    fn kind(&self) -> &'static str {
        let Some(sample) = self.sample.as_deref() else { return "string" };
        match std::str::from_utf8(sample).map(str::trim) {
            Err(_) => "bytes",
            Ok("true" | "false") => "bool",
            Ok(text) if text.parse::<f64>().is_ok_and(f64::is_finite) => "f64",
            Ok(_) if self.document().is_some() => "json",
            Ok(_) => "string",
        }
    }

    fn description(&self) -> String {
        let mut text = format!("{} messages, {} bytes", self.messages, self.size);
        if self.is_retained {
            text.insert_str(0, "retained, ");
        }
        if let Some(shown) = self.sample.as_deref().and_then(|sample| std::str::from_utf8(sample).ok()) {
            let shown: String = shown.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
            if !shown.is_empty() && write!(text, ": {shown}").is_err() {
                text.clear();
            }
        }
        text
    }
}

fn node(name: &str, topic: &str, heard: Option<&Heard>, below: usize) -> Node {
    let mut texts = Vec::new();
    texts.extend(heard.map(Heard::description));
    texts.extend((below > 0).then(|| format!("{below} topics below")));
    let mut node = Node::new(name).description(texts.join("; "));
    if let Some(heard) = heard {
        node = node.column("path", path_of(topic)).column("address", address_of(topic));
        node = node.column("type", heard.kind()).column("access", "r");
    }
    if below > 0 { node.parent(topic) } else { node }
}

/// A row for each value in a document, as far down as a JSON path is clear.
fn flatten(topic: &str, value: &Value, json: &str, path: &str, depth: usize, nodes: &mut Vec<Node>) {
    if nodes.len() >= VALUES_MAX {
        return;
    }
    match value {
        Value::Object(members) if depth < DEPTH_MAX && !members.is_empty() => {
            // A quote in a key would end it.
            for (key, value) in members.iter().filter(|(key, _)| !key.contains("']")) {
                let below = format!("{path}/{}", path_of(key));
                flatten(topic, value, &format!("{json}['{key}']"), &below, depth + 1, nodes);
            }
        }
        Value::Array(members) if depth < DEPTH_MAX && !members.is_empty() => {
            for (place, value) in members.iter().enumerate() {
                let (json, path) = (format!("{json}[{place}]"), format!("{path}/{place}"));
                flatten(topic, value, &json, &path, depth + 1, nodes);
            }
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => {
            let kind = match value {
                Value::Bool(_) => "bool",
                Value::Number(_) => "f64",
                Value::String(_) => "string",
                Value::Null | Value::Array(_) | Value::Object(_) => "json",
            };
            let shown: String = value.to_string().chars().take(SHOWN_CHARS_MAX).collect();
            let node = Node::new(json).description(shown).column("path", path);
            let node = node.column("address", address_of(topic)).column("json", json);
            nodes.push(node.column("type", kind).column("access", "r"));
        }
    }
}

/// A path for the item: no part of it is empty, and nothing in it ends a line.
fn path_of(topic: &str) -> String {
    let part = |part: &str| -> String {
        let part: String = part.chars().map(|c| if c.is_control() { '_' } else { c }).collect();
        if part.is_empty() { "_".to_owned() } else { part }
    };
    topic.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The column `address` is a template.
fn address_of(topic: &str) -> String {
    topic.replace('{', "{{").replace('}', "}}")
}

/// Where the topic stands in a parent that means a payload.
const PAYLOAD: &str = "json";
const PLACE_HELP: &str = "a parent is a topic, or {\"json\": TOPIC} for the values in its payload";
/// More topics are not kept.
pub const TOPICS_MAX: usize = 10_000;
/// A longer topic is counted and not shown.
const TOPIC_BYTES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 1024 * 1024;
/// Of a longer payload only the size is known.
const SAMPLE_BYTES_MAX: usize = 16 * 1024;
const SAMPLES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Below what an answer may have, with room for its frame.
const PAGE_BYTES_MAX: usize = 200 * 1024;
const SHOWN_CHARS_MAX: usize = 40;
/// Rows of one payload.
const VALUES_MAX: usize = 1_000;
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::item::{Row, Spec};

    fn heard(of: Place, messages: &[(&str, &str, bool)]) -> Catalog {
        let mut catalog = Catalog::new(of);
        for (topic, payload, is_retained) in messages {
            assert!(catalog.add(topic, payload.as_bytes(), *is_retained));
        }
        catalog
    }

    fn json(page: &Page) -> Value {
        serde_json::to_value(page).unwrap()
    }

    fn names(page: &Page) -> Vec<String> {
        json(page)["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["name"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn a_level_has_what_is_there_and_what_is_below() {
        let catalog = heard(
            Place::Top,
            &[
                ("site/a", "21.5", true),
                ("site/a/b", "on", false),
                ("plant", "{\"t\":1}", true),
                ("/x", "1", false),
            ],
        );
        assert_eq!(names(&catalog.page(&Place::Top, 0, 100)), ["", "plant", "plant {…}", "site", "$SYS"]);
        let page = json(&catalog.page(&Place::Topic("site".to_owned()), 0, 100));
        assert_eq!(
            page["nodes"],
            serde_json::json!([{
                "name": "a",
                "description": "retained, 1 messages, 4 bytes: 21.5; 1 topics below",
                "row": {"path": "site/a", "address": "site/a", "type": "f64", "access": "r"},
                "parent": "site/a",
            }])
        );
        assert_eq!(names(&catalog.page(&Place::Topic(String::new()), 0, 100)), ["x"]);
    }

    #[test]
    fn values_of_a_json_payload_are_rows_that_read_them() {
        let document = r#"{"a":{"b c":[1,true]},"n":"x","none":{}}"#;
        let catalog = heard(Place::Top, &[("p{1}", document, true)]);
        let place = Place::parse(&serde_json::json!({"json": "p{1}"})).unwrap();
        let page = json(&catalog.page(&place, 0, 100));
        let rows: Vec<_> = page["nodes"].as_array().unwrap().iter().map(|node| node["row"].clone()).collect();
        let jsons: Vec<_> = rows.iter().map(|row| row["json"].as_str().unwrap()).collect();
        assert_eq!(jsons, ["$['a']['b c'][0]", "$['a']['b c'][1]", "$['n']", "$['none']"]);
        let settings = serde_json::from_str::<Config>(r#"{"broker":"b"}"#).unwrap().validate("m").unwrap();
        for row in &rows {
            let cell = |name: &str| row[name].as_str().unwrap();
            let row = Row {
                path: cell("path"),
                address: cell("address"),
                kind: cell("type"),
                json: cell("json"),
                is_readable: true,
                ..Row::default()
            };
            assert_eq!(Spec::parse(&row, &settings).unwrap().filter.as_deref(), Some("p{1}"));
        }
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let topics: Vec<String> = (0..25).map(|number| format!("t/{number:02}")).collect();
        let messages: Vec<_> = topics.iter().map(|topic| (topic.as_str(), "1", true)).collect();
        let place = Place::Topic("t".to_owned());
        let catalog = heard(place.clone(), &messages);
        let (mut begin, mut all) = (0, Vec::new());
        loop {
            let page = catalog.page(&place, begin, 10);
            all.extend(names(&page));
            match page.cursor {
                Some(cursor) => begin = cursor.parse().unwrap(),
                None => break,
            }
        }
        assert_eq!(all.len(), 25);
        assert!(all.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn what_is_too_much_is_left_out_and_said() {
        let mut catalog = Catalog::new(Place::Top);
        for number in 0..TOPICS_MAX {
            assert!(catalog.add(&number.to_string(), b"", false));
        }
        assert!(!catalog.add("one more", b"", false));
        assert!(catalog.add("1", b"", false), "one that is known");
        assert!(catalog.add(&"x".repeat(TOPIC_BYTES_MAX + 1), b"", false));
        let page = catalog.page(&Place::Top, TOPICS_MAX, 1_000);
        let last = json(&page)["nodes"].as_array().unwrap().last().unwrap()["description"].clone();
        assert!(last.as_str().unwrap().contains("10000 topics were heard, 1 are longer"), "{last}");
        assert!(!catalog.answers(&Place::Topic("1".to_owned())), "there may be more below");
    }

    #[test]
    fn what_was_heard_answers_for_what_is_below_it() {
        let catalog = heard(Place::Topic("a".to_owned()), &[("a/b", "{}", true), ("a/c", "1", true)]);
        let answers = |topic: &str| catalog.answers(&Place::Topic(topic.to_owned()));
        assert_eq!([answers("a"), answers("a/b"), answers("ab"), answers("b")], [true, true, false, false]);
        assert!(catalog.answers(&Place::Payload("a/b".to_owned())) && !catalog.answers(&Place::Top));
        assert!(!heard(Place::Top, &[]).answers(&Place::Topic("$SYS".to_owned())));
    }

    proptest! {
        #[test]
        fn hostile_messages_give_pages_within_the_limits(
            messages in prop::collection::vec(("[a-c/{}$\u{0}-\u{7f}é]{1,12}", prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..60),
            documents in prop::collection::vec("[\\[\\]{}\":,a0 \u{1}]{0,30}", 0..10),
            begin: usize,
            limit in 1..50usize,
        ) {
            let mut catalog = Catalog::new(Place::Top);
            for (topic, payload, is_retained) in &messages {
                catalog.add(topic, payload, *is_retained);
            }
            for (number, document) in documents.iter().enumerate() {
                catalog.add(&format!("d/{number}"), document.as_bytes(), false);
            }
            for place in [Place::Top, Place::Topic("a".to_owned()), Place::Payload("d/0".to_owned())] {
                for begin in [0, begin] {
                    let page = catalog.page(&place, begin, limit);
                    prop_assert!(page.nodes.len() <= limit);
                    prop_assert!(serde_json::to_vec(&page).unwrap().len() <= 256 * 1024);
                }
            }
        }

        #[test]
        fn hostile_parents_are_read_or_refused(topic: String, other: String) {
            for parent in [serde_json::json!(topic), serde_json::json!({"json": topic}), serde_json::json!({other: topic}), serde_json::json!([topic])] {
                if let Ok(place) = Place::parse(&parent) {
                    prop_assert!(topic::check_filter(&place.filter()).is_ok() || place == Place::Payload(String::new()));
                }
            }
        }
    }
}
