//! All items of the interface in little room. They are kept for the day when some of them change and the tables of
//! inputs and outputs are built anew, which have what each message needs.

use std::collections::BTreeSet;

use crate::item::Spec;
use crate::jsonpath::Path;
use crate::packet::Qos;
use crate::payload::{Format, Kind};

/// Items in the order of their handles.
#[derive(Debug, Default)]
pub(crate) struct Items {
    all: Vec<Stored>,
    /// Topics and keys, side by side; neighbors with the same topic share it.
    texts: String,
    rare: Vec<Rare>,
}

/// An item, with its texts elsewhere.
#[derive(Debug, Clone, Copy)]
struct Stored {
    item: u32,
    /// Where [`FILTER`], [`TOPIC`] and [`KEY`] begin, or [`NONE`].
    starts: [u32; 3],
    lengths: [u16; 3],
    /// Place in `rare`, or [`NONE`].
    rare: u32,
    kind: Kind,
    format: Format,
    qos: Qos,
    retain: bool,
}

/// What few items have.
#[derive(Debug, Clone, Default, PartialEq)]
struct Rare {
    json: Option<Path>,
    key: Option<String>,
    key_path: Option<Path>,
    /// Texts too long for [`Stored`].
    filter: Option<String>,
    topic: Option<String>,
}

impl Items {
    /// Adds items, or puts them in the place of those with their handles.
    pub(crate) fn add(&mut self, items: impl IntoIterator<Item = (u32, Spec)>) {
        for (item, spec) in items {
            let place = if self.all.last().is_none_or(|last| last.item < item) {
                // Hubs give items in their order.
                Err(self.all.len())
            } else {
                self.all.binary_search_by_key(&item, |stored| stored.item)
            };
            let neighbor = place.unwrap_or_else(|place| place).checked_sub(1).map(|before| self.all[before]);
            let stored = self.store(item, spec, neighbor);
            match place {
                Ok(place) => self.all[place] = stored,
                Err(place) => self.all.insert(place, stored),
            }
        }
        self.all.shrink_to_fit();
        self.texts.shrink_to_fit();
    }

    /// Takes items out.
    pub(crate) fn remove(&mut self, items: &BTreeSet<u32>) {
        if !items.is_empty() {
            // Their texts go too.
            let mut rest = Self::default();
            rest.add(self.iter().filter(|(item, _)| !items.contains(item)));
            *self = rest;
        }
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Spec)> {
        self.all.iter().map(|stored| (stored.item, self.spec(stored)))
    }

    /// Items that read, with their filters.
    pub(crate) fn filters(&self) -> impl Iterator<Item = (u32, &str)> {
        let filter = |stored: &Stored| {
            let long = self.rare(stored).and_then(|rare| rare.filter.as_deref());
            self.text(stored, FILTER).or(long)
        };
        self.all.iter().filter_map(move |stored| Some((stored.item, filter(stored)?)))
    }

    fn store(&mut self, item: u32, spec: Spec, neighbor: Option<Stored>) -> Stored {
        let Spec { filter, topic, kind, format, json, qos, retain, key, key_path } = spec;
        let mut rare = Rare { key, key_path, ..Rare::default() };
        let (starts, lengths) = ([NONE; 3], [0; 3]);
        let mut stored = Stored { item, starts, lengths, rare: NONE, kind, format, qos, retain };
        rare.filter = filter.filter(|text| !self.put(&mut stored, FILTER, text, neighbor));
        rare.topic = topic.filter(|text| !self.put(&mut stored, TOPIC, text, neighbor));
        let key = json.as_ref().and_then(Path::as_key);
        if key.is_none_or(|key| !self.put(&mut stored, KEY, key, None)) {
            rare.json = json;
        }
        if rare != Rare::default() {
            stored.rare = offset(self.rare.len());
            self.rare.push(rare);
        }
        stored
    }

    /// Keeps a text; false if it is too long.
    fn put(&mut self, stored: &mut Stored, what: usize, text: &str, neighbor: Option<Stored>) -> bool {
        let Ok(length) = u16::try_from(text.len()) else { return false };
        let known = [Some(*stored), neighbor].into_iter().flatten().find_map(|other| {
            [FILTER, TOPIC]
                .into_iter()
                .find(|what| self.text(&other, *what) == Some(text))
                .map(|what| other.starts[what])
        });
        stored.starts[what] = known.unwrap_or_else(|| {
            let start = offset(self.texts.len());
            self.texts.push_str(text);
            start
        });
        stored.lengths[what] = length;
        true
    }

    fn spec(&self, stored: &Stored) -> Spec {
        let Stored { kind, format, qos, retain, .. } = *stored;
        let rare = self.rare(stored).cloned().unwrap_or_default();
        let text = |what| self.text(stored, what).map(str::to_owned);
        Spec {
            filter: text(FILTER).or(rare.filter),
            topic: text(TOPIC).or(rare.topic),
            kind,
            format,
            json: self.text(stored, KEY).map(Path::key).or(rare.json),
            qos,
            retain,
            key: rare.key,
            key_path: rare.key_path,
        }
    }

    fn text(&self, stored: &Stored, what: usize) -> Option<&str> {
        let start = stored.starts[what] as usize;
        self.texts.get(start..start + usize::from(stored.lengths[what]))
    }

    fn rare(&self, stored: &Stored) -> Option<&Rare> {
        self.rare.get(stored.rare as usize)
    }
}

/// 4 GiB of texts do not fit what a hub hands over.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}

const FILTER: usize = 0;
const TOPIC: usize = 1;
const KEY: usize = 2;
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Option<String>> {
        prop_oneof![
            Just(None),
            "[ab/é+]{0,3}".prop_map(Some),
            Just(Some("x".repeat(usize::from(u16::MAX) + 1))),
        ]
    }

    fn path() -> impl Strategy<Value = Option<Path>> {
        let parsed = |text: String| Path::parse(&text).ok();
        prop_oneof!["[a-c.é'\\]]{1,4}".prop_map(parsed), "\\$(\\.[ab]|\\[[0-9]\\]){0,3}".prop_map(parsed),]
    }

    fn spec() -> impl Strategy<Value = Spec> {
        let kind = prop_oneof![Just("u16"), Just("i64"), Just("bool"), Just("")].prop_map(Kind::parse);
        let qos = (0_u8..3).prop_map(|number| Qos::from_number(number).unwrap());
        (text(), text(), kind, path(), qos, any::<bool>(), text(), path()).prop_map(
            |(filter, topic, kind, json, qos, retain, key, key_path)| Spec {
                filter,
                topic,
                kind,
                format: kind.format(),
                json,
                qos,
                retain,
                key,
                key_path,
            },
        )
    }

    fn seen(items: &Items) -> Vec<(u32, String)> {
        items.iter().map(|(item, spec)| (item, format!("{spec:?}"))).collect()
    }

    proptest! {
        #[test]
        fn items_come_back_as_they_went_in(
            added in prop::collection::vec((0_u32..8, spec()), 0..16),
            removed in prop::collection::btree_set(0_u32..8, 0..4),
        ) {
            let mut expected = std::collections::BTreeMap::new();
            let mut items = Items::default();
            for (item, spec) in &added {
                expected.insert(*item, format!("{spec:?}"));
                items.add([(*item, spec.clone())]);
            }
            prop_assert_eq!(seen(&items), expected.clone().into_iter().collect::<Vec<_>>());
            let filters: Vec<_> = items.filters().map(|(item, text)| (item, text.to_owned())).collect();
            let wanted: Vec<_> = items.iter().filter_map(|(item, spec)| Some((item, spec.filter?))).collect();
            prop_assert_eq!(filters, wanted);
            items.remove(&removed);
            expected.retain(|item, _| !removed.contains(item));
            prop_assert_eq!(seen(&items), expected.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn ten_thousand_registers_of_one_kind_take_half_a_megabyte() {
        let spec = |register: u32| Spec {
            filter: None,
            topic: Some(format!("bench/b{}", register / 125)),
            kind: Kind::parse("u16"),
            format: Format::Json,
            json: Path::parse(&format!("r{register}")).ok(),
            qos: Qos::AtMostOnce,
            retain: false,
            key: None,
            key_path: None,
        };
        let mut items = Items::default();
        items.add((0..10_000).map(|register| (register, spec(register))));
        let bytes = items.all.capacity() * size_of::<Stored>() + items.texts.capacity();
        assert!(items.rare.is_empty() && bytes < 500_000, "{bytes}");
    }
}
