//! JSON paths: where in a document a value is read from or placed.
//!
//! A path is `$`, followed by `.key`, `['key']` and `[index]` steps. Text that does not begin with `$` is one key of
//! the top-level object, dots included. All paths of one topic form an [`Extractor`], which reads a document once,
//! without building a tree of it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::payload::Value;

/// Why a path was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("json path `{path}`: {problem}; help: write $.key, $.list[0] or $['odd key']")]
pub struct Error {
    path: String,
    problem: &'static str,
}

/// One step into a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Into the value of an object's key.
    Key(Box<str>),
    /// Into the element of an array.
    Index(usize),
}

/// A parsed path; empty for the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Step>);

impl Path {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |problem| Error { path: text.to_owned(), problem };
        let Some(mut rest) = text.strip_prefix('$') else {
            return match text {
                "" => Err(wrong("it is empty")),
                _ => Ok(Self::key(text)),
            };
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return Err(wrong("it has more than 32 steps"));
            }
            if let Some(tail) = rest.strip_prefix('.') {
                let end = tail.find(['.', '[']).unwrap_or(tail.len());
                if end == 0 || tail[..end].contains('*') {
                    return Err(wrong("a key is empty, or a wildcard, which is not supported"));
                }
                steps.push(Step::Key(tail[..end].into()));
                rest = &tail[end..];
            } else if let Some(tail) = rest.strip_prefix("['") {
                let (key, tail) = tail.split_once("']").ok_or_else(|| wrong("a quoted key is not closed"))?;
                steps.push(Step::Key(key.into()));
                rest = tail;
            } else if let Some(tail) = rest.strip_prefix('[') {
                let (index, tail) = tail.split_once(']').ok_or_else(|| wrong("an index is not closed"))?;
                let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
                let index = index.parse().ok().filter(|_| is_number);
                let index = index.filter(|index| *index <= INDEX_MAX);
                steps.push(Step::Index(
                    index.ok_or_else(|| wrong("an index is not a number from 0 to 65535"))?,
                ));
                rest = tail;
            } else {
                return Err(wrong("a step begins neither with a dot nor with a bracket"));
            }
        }
        Ok(Self(steps))
    }

    /// One key of the top-level object.
    pub fn key(key: &str) -> Self {
        Self(vec![Step::Key(key.into())])
    }

    /// The steps.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The key, if the path is one key of the top-level object.
    pub fn as_key(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Step::Key(key)] => Some(key),
            _ => None,
        }
    }

    /// Puts `value` at this path of `document`, making objects and arrays on the way. What stood in the way of a step
    /// is replaced.
    pub fn place(&self, document: &mut serde_json::Value, value: serde_json::Value) {
        let mut at = document;
        for step in &self.0 {
            at = match step {
                Step::Key(key) => {
                    if !at.is_object() {
                        *at = serde_json::Value::Object(serde_json::Map::new());
                    }
                    &mut at[&**key]
                }
                Step::Index(index) => {
                    if !at.is_array() {
                        *at = serde_json::Value::Array(Vec::new());
                    }
                    if let serde_json::Value::Array(list) = at
                        && list.len() <= *index
                    {
                        list.resize(index + 1, serde_json::Value::Null);
                    }
                    &mut at[*index]
                }
            };
        }
        *at = value;
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.0 {
            match step {
                Step::Key(key) => write!(f, "['{key}']")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Many paths, read from a document in one pass. `T` names who wants the value.
#[derive(Debug)]
pub struct Extractor<T> {
    root: Node<T>,
}

#[derive(Debug)]
struct Node<T> {
    wanted: Vec<T>,
    keys: HashMap<Box<str>, Node<T>>,
    indexes: BTreeMap<usize, Node<T>>,
}

impl<T> Default for Extractor<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { wanted: Vec::new(), keys: HashMap::new(), indexes: BTreeMap::new() }
    }
}

impl<T: Copy> Extractor<T> {
    /// Adds a path.
    pub fn add(&mut self, path: &Path, who: T) {
        let mut node = &mut self.root;
        for step in path.steps() {
            node = match step {
                Step::Key(key) => node.keys.entry(key.clone()).or_default(),
                Step::Index(index) => node.indexes.entry(*index).or_default(),
            };
        }
        node.wanted.push(who);
    }

    /// Reads `json` and appends what was found to `found`. If the text is not JSON to its end, nothing is appended.
    pub fn run(&self, json: &[u8], found: &mut Vec<(T, Value)>) -> Result<(), serde_json::Error> {
        let before = found.len();
        let mut reader = serde_json::Deserializer::from_slice(json);
        let result = Walk { node: &self.root, found }.deserialize(&mut reader).and_then(|()| reader.end());
        if result.is_err() {
            found.truncate(before);
        }
        result
    }
}

struct Walk<'a, T> {
    node: &'a Node<T>,
    found: &'a mut Vec<(T, Value)>,
}

impl<T: Copy> Walk<'_, T> {
    fn give(self, value: &Value) {
        for who in &self.node.wanted {
            self.found.push((*who, value.clone()));
        }
    }

    /// A whole object or array is wanted here: it is kept as text, and deeper paths are looked up in it.
    fn give_tree(self, tree: &serde_json::Value) {
        if !self.node.wanted.is_empty() {
            let value = Value::from_json(tree);
            for who in &self.node.wanted {
                self.found.push((*who, value.clone()));
            }
        }
        for (key, node) in &self.node.keys {
            if let Some(inner) = tree.get(&**key) {
                Walk { node, found: &mut *self.found }.give_tree(inner);
            }
        }
        for (index, node) in &self.node.indexes {
            if let Some(inner) = tree.get(*index) {
                Walk { node, found: &mut *self.found }.give_tree(inner);
            }
        }
    }
}

impl<'de, T: Copy> DeserializeSeed<'de> for Walk<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Copy> Visitor<'de> for Walk<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.give(&Value::Null);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.give(&Value::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.give(&Value::I64(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.give(&i64::try_from(value).map_or(Value::U64(value), Value::I64));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.give(&Value::F64(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        if !self.node.wanted.is_empty() {
            self.give(&Value::Str(value.into()));
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if !self.node.wanted.is_empty() {
            let tree = serde::Deserialize::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
            self.give_tree(&tree);
            return Ok(());
        }
        while let Some(node) = map.next_key_seed(Child(&self.node.keys))? {
            match node {
                Some(node) => map.next_value_seed(Walk { node, found: &mut *self.found })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        if !self.node.wanted.is_empty() {
            let tree = serde::Deserialize::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
            self.give_tree(&tree);
            return Ok(());
        }
        for index in 0_usize.. {
            let more = match self.node.indexes.get(&index) {
                Some(node) => seq.next_element_seed(Walk { node, found: &mut *self.found })?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(());
            }
        }
        Err(A::Error::custom("array without end"))
    }
}

/// Looks a key up without copying it.
struct Child<'a, T>(&'a HashMap<Box<str>, Node<T>>);

impl<'de, 'a, T> DeserializeSeed<'de> for Child<'a, T> {
    type Value = Option<&'a Node<T>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a, T> Visitor<'_> for Child<'a, T> {
    type Value = Option<&'a Node<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.get(key))
    }
}

/// Far below `serde_json`'s own nesting limit of 128, which bounds the recursion.
const STEPS_MAX: usize = 32;
/// Bounds the array that a written value can make.
const INDEX_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(paths: &[&str], json: &str) -> Vec<(usize, Value)> {
        let mut extractor = Extractor::default();
        for (index, path) in paths.iter().enumerate() {
            extractor.add(&Path::parse(path).unwrap(), index);
        }
        let mut found = Vec::new();
        if extractor.run(json.as_bytes(), &mut found).is_err() {
            assert!(found.is_empty());
        }
        found.sort_by_key(|(index, _)| *index);
        found
    }

    #[test]
    fn all_paths_are_read_in_one_pass() {
        let json =
            r#"{"a":{"b":[1,{"c":-2.5}],"t":"x"},"n":null,"odd.key":true,"big":18446744073709551615,"é":1}"#;
        let found =
            read(&["$.a.b[1].c", "odd.key", "$.a.t", "$['n']", "big", "$.a.b[0]", "$.missing", "é"], json);
        assert_eq!(
            found,
            [
                (0, Value::F64(-2.5)),
                (1, Value::Bool(true)),
                (2, Value::Str("x".into())),
                (3, Value::Null),
                (4, Value::U64(u64::MAX)),
                (5, Value::I64(1)),
                (7, Value::I64(1)),
            ]
        );
    }

    #[test]
    fn a_part_and_a_value_inside_it_can_both_be_wanted() {
        let found = read(&["$", "$.a", "$.a.b", "$.l", "$.l[1]"], r#"{"a":{"b":1},"l":[1,2]}"#);
        assert_eq!(found[0].1, Value::Json(r#"{"a":{"b":1},"l":[1,2]}"#.into()));
        assert_eq!(found[1].1, Value::Json(r#"{"b":1}"#.into()));
        assert_eq!(found[2].1, Value::I64(1));
        assert_eq!(found[3].1, Value::Json("[1,2]".into()));
        assert_eq!(found[4].1, Value::I64(2));
    }

    #[test]
    fn cut_or_hostile_documents_give_nothing() {
        assert!(read(&["a"], r#"{"a":1,"#).is_empty());
        assert!(read(&["a"], r#"{"a":1} x"#).is_empty());
        assert!(read(&["a"], r#"{"a":1e999}"#).is_empty());
        let deep = format!(r#"{{"a":1,"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&["a"], &deep).len(), 1, "skipped parts cost no stack");
        assert!(read(&["x"], &deep).is_empty());
    }

    #[test]
    fn wrong_paths_are_refused_with_help() {
        for bad in ["", "$.", "$[", "$[x]", "$[-1]", "$[99999999]", "$['a", "$x", "$.*", "$..a", "$[+1]"] {
            let error = Path::parse(bad).unwrap_err().to_string();
            assert!(error.contains("help:"), "{bad}: {error}");
        }
        assert!(Path::parse(&format!("${}", ".a".repeat(33))).is_err());
    }

    #[test]
    fn placing_makes_the_way() {
        let mut document = serde_json::Value::Null;
        Path::parse("$.a.l[2]").unwrap().place(&mut document, 7.into());
        Path::parse("$.a.x").unwrap().place(&mut document, true.into());
        assert_eq!(document.to_string(), r#"{"a":{"l":[null,null,7],"x":true}}"#);
    }

    proptest! {
        #[test]
        fn what_is_placed_is_read_back(steps in prop::collection::vec(
            prop_oneof!["[a-z.\\[ é]{1,6}".prop_map(|k| Step::Key(k.into())), (0_usize..20).prop_map(Step::Index)], 1..8,
        ), value in any::<i64>()) {
            let path = Path(steps);
            prop_assert_eq!(&Path::parse(&path.to_string()).unwrap(), &path);
            let mut document = serde_json::Value::Null;
            path.place(&mut document, value.into());
            let text = path.to_string();
            prop_assert_eq!(read(&[&text], &document.to_string()), vec![(0, Value::I64(value))]);
        }

        #[test]
        fn hostile_text_never_panics(path in "[$\\[\\].'a0é*-]{0,20}", json in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(path) = Path::parse(&path) {
                let mut extractor = Extractor::default();
                extractor.add(&path, 0);
                let _unused = extractor.run(&json, &mut Vec::new());
            }
        }

        #[test]
        fn hostile_json_never_panics(json in "[\\[\\]{}\",:0-9eE.+tfn\\\\u ab-]{0,200}") {
            read(&["$", "$.a", "$.a[0].b", "$[1]"], &json);
        }
    }
}
