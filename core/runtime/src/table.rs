//! The item table: the present value of every item, in dense slots.
//!
//! Names are resolved to [`ItemId`] once; after that a value costs one slot access. A slot is a seqlock of
//! 40 bytes: writers of one slot exclude each other by its sequence word, readers retry. Text and structures
//! live in a side table by slot. Names and metadata stand in one text arena with an open-addressed index, so
//! that an item costs less than 128 bytes with a name of usual length (see `memory_per_item`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, PoisonError, RwLock};

use twinhub_contract::packed::{Form, Scalar};
use twinhub_model::{ItemId, ItemKey, Quality, Sample, SampleFlags, Timestamp, Value};

/// Side tables for values that do not fit a slot; sharded by item so that writers seldom meet.
const SIDE_SHARDS: usize = 16;

const KIND_NULL: u32 = 0;
const KIND_BOOL: u32 = 1;
const KIND_I64: u32 = 2;
const KIND_U64: u32 = 3;
const KIND_F64: u32 = 4;
const KIND_TIME: u32 = 5;
const KIND_SIDE: u32 = 6;

/// What the item list says of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemMeta {
    /// `r`, `w` or `rw`.
    pub access: &'static str,
    /// Type as written in the item list.
    pub type_name: String,
    /// Engineering unit.
    pub unit: String,
    /// Description.
    pub description: String,
}

/// Every item's name, metadata and present value.
#[derive(Debug)]
pub struct ItemTable {
    slots: Box<[Slot]>,
    names: Names,
    sides: Box<[Mutex<HashMap<u32, Value>>]>,
    /// Unit and description of items that were given others since the table was made.
    texts: RwLock<HashMap<u32, (String, String)>>,
}

#[derive(Debug, Default)]
struct Slot {
    sequence: AtomicU32,
    kind: AtomicU32,
    quality: AtomicU32,
    flags: AtomicU32,
    payload: AtomicU64,
    source: AtomicI64,
    server: AtomicI64,
}

impl ItemTable {
    /// A table of these items, in this order; item `n` gets handle `n`.
    pub fn new(items: impl IntoIterator<Item = (ItemKey, ItemMeta)>) -> ItemTable {
        let names = Names::build(items);
        let slots = (0..names.len()).map(|_| Slot::new()).collect();
        let sides = (0..SIDE_SHARDS).map(|_| Mutex::new(HashMap::new())).collect();
        ItemTable { slots, names, sides, texts: RwLock::default() }
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The handle of the item with this key.
    pub fn find(&self, key: &str) -> Option<ItemId> {
        self.names.find(key)
    }

    /// The key of an item.
    pub fn key(&self, item: ItemId) -> &str {
        self.names.key(item.index())
    }

    /// What the item list says of an item.
    pub fn meta(&self, item: ItemId) -> ItemMeta {
        let texts = self.texts.read().unwrap_or_else(PoisonError::into_inner);
        match texts.get(&item.0) {
            Some((unit, description)) => ItemMeta {
                unit: unit.clone(),
                description: description.clone(),
                ..self.names.meta(item.index())
            },
            None => self.names.meta(item.index()),
        }
    }

    /// Gives items these units and descriptions, and all others those with which the table was made. Nothing counts with a
    /// text: readers have the new ones from here on.
    pub(crate) fn set_texts<'a>(&self, texts: impl Iterator<Item = (&'a str, &'a str, &'a str)>) {
        let changed = texts.filter_map(|(key, unit, description)| {
            let item = self.find(key)?;
            let made = self.names.meta(item.index());
            let is_same = made.unit == unit && made.description == description;
            (!is_same).then(|| (item.0, (unit.to_owned(), description.to_owned())))
        });
        let changed = changed.collect();
        *self.texts.write().unwrap_or_else(PoisonError::into_inner) = changed;
    }

    /// Stores a sample and says whether value or quality changed. The times are always stored.
    pub fn store(
        &self,
        item: ItemId,
        value: &Value,
        quality: Quality,
        source: Timestamp,
        server: Timestamp,
        flags: SampleFlags,
    ) -> bool {
        let slot = &self.slots[item.index()];
        let sequence = slot.lock();
        let (kind, payload, side) = encode(value);
        let mut changed = slot.put(kind, payload, quality, source, server, flags);
        if side {
            let mut shard = self.side(item);
            if changed || shard.get(&item.0) != Some(value) {
                changed = true;
                shard.insert(item.0, value.clone());
            }
        }
        slot.unlock(sequence);
        changed
    }

    /// As [`ItemTable::store`] for a value that is not kept elsewhere.
    #[inline]
    pub(crate) fn store_scalar(
        &self,
        item: ItemId,
        value: Scalar,
        quality: Quality,
        source: Timestamp,
        server: Timestamp,
        flags: SampleFlags,
    ) -> bool {
        let kind = match value.form {
            Form::Null | Form::Kept => KIND_NULL,
            Form::Bool => KIND_BOOL,
            Form::I64 => KIND_I64,
            Form::U64 => KIND_U64,
            Form::F64 => KIND_F64,
            Form::Time => KIND_TIME,
        };
        let slot = &self.slots[item.index()];
        let sequence = slot.lock();
        let changed = slot.put(kind, value.bits, quality, source, server, flags);
        slot.unlock(sequence);
        changed
    }

    /// The present sample of an item.
    pub fn read(&self, item: ItemId) -> Sample {
        let slot = &self.slots[item.index()];
        loop {
            let before = slot.sequence.load(Ordering::Acquire);
            if before & 1 == 1 {
                std::hint::spin_loop();
                continue;
            }
            let kind = slot.kind.load(Ordering::Relaxed);
            let payload = slot.payload.load(Ordering::Relaxed);
            let value = if kind == KIND_SIDE {
                self.side(item).get(&item.0).cloned().unwrap_or_default()
            } else {
                decode(kind, payload)
            };
            let sample = Sample {
                item,
                value,
                quality: Quality(slot.quality.load(Ordering::Relaxed)),
                source: Timestamp(slot.source.load(Ordering::Relaxed)),
                server: Timestamp(slot.server.load(Ordering::Relaxed)),
                flags: SampleFlags(slot.flags.load(Ordering::Relaxed)),
            };
            fence(Ordering::Acquire);
            if slot.sequence.load(Ordering::Relaxed) == before {
                return sample;
            }
        }
    }

    /// Changes only the quality of an item.
    pub fn requalify(&self, item: ItemId, quality: Quality) {
        let slot = &self.slots[item.index()];
        let sequence = slot.lock();
        slot.quality.store(quality.0, Ordering::Relaxed);
        slot.unlock(sequence);
    }

    /// The quality of an item, without its value.
    pub fn quality(&self, item: ItemId) -> Quality {
        Quality(self.slots[item.index()].quality.load(Ordering::Relaxed))
    }

    /// When the hub last received the item.
    pub fn received(&self, item: ItemId) -> Timestamp {
        Timestamp(self.slots[item.index()].server.load(Ordering::Relaxed))
    }

    /// All handles.
    pub fn ids(&self) -> impl Iterator<Item = ItemId> + use<> {
        (0..u32::try_from(self.slots.len()).unwrap_or(u32::MAX)).map(ItemId)
    }

    /// Every handle with its key, for readers of this node's journal elsewhere.
    pub fn dictionary(&self) -> Vec<(ItemId, ItemKey)> {
        self.ids().filter_map(|item| ItemKey::parse(self.key(item)).ok().map(|key| (item, key))).collect()
    }

    /// Bytes that the table holds for its items, names and metadata, without side values.
    pub fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.names.bytes()
    }

    fn side(&self, item: ItemId) -> std::sync::MutexGuard<'_, HashMap<u32, Value>> {
        self.sides[item.index() % SIDE_SHARDS].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Slot {
    fn new() -> Slot {
        Slot {
            quality: AtomicU32::new(Quality::BAD_WAITING.0),
            source: AtomicI64::new(Timestamp::NONE.0),
            server: AtomicI64::new(Timestamp::NONE.0),
            ..Slot::default()
        }
    }

    /// Writes all of it but the sequence, which is locked; whether value or quality changed.
    #[inline]
    fn put(
        &self,
        kind: u32,
        payload: u64,
        quality: Quality,
        source: Timestamp,
        server: Timestamp,
        flags: SampleFlags,
    ) -> bool {
        let changed = self.kind.load(Ordering::Relaxed) != kind
            || self.quality.load(Ordering::Relaxed) != quality.0
            || self.payload.load(Ordering::Relaxed) != payload;
        self.kind.store(kind, Ordering::Relaxed);
        self.quality.store(quality.0, Ordering::Relaxed);
        self.payload.store(payload, Ordering::Relaxed);
        self.flags.store(flags.0, Ordering::Relaxed);
        self.source.store(source.0, Ordering::Relaxed);
        self.server.store(server.0, Ordering::Relaxed);
        changed
    }

    /// Makes the sequence odd; returns the odd number.
    fn lock(&self) -> u32 {
        loop {
            let sequence = self.sequence.load(Ordering::Relaxed);
            if sequence & 1 == 0
                && self
                    .sequence
                    .compare_exchange_weak(
                        sequence,
                        sequence.wrapping_add(1),
                        Ordering::Acquire,
                        Ordering::Relaxed,
                    )
                    .is_ok()
            {
                fence(Ordering::Release);
                return sequence.wrapping_add(1);
            }
            std::hint::spin_loop();
        }
    }

    fn unlock(&self, locked: u32) {
        self.sequence.store(locked.wrapping_add(1), Ordering::Release);
    }
}

/// Kind, payload, and whether the value goes to the side table.
fn encode(value: &Value) -> (u32, u64, bool) {
    match value {
        Value::Null => (KIND_NULL, 0, false),
        Value::Bool(value) => (KIND_BOOL, u64::from(*value), false),
        Value::I64(value) => (KIND_I64, value.cast_unsigned(), false),
        Value::U64(value) => (KIND_U64, *value, false),
        Value::F64(value) => (KIND_F64, value.to_bits(), false),
        Value::Time(value) => (KIND_TIME, value.cast_unsigned(), false),
        Value::Str(_) | Value::Bytes(_) | Value::Json(_) => (KIND_SIDE, 0, true),
    }
}

fn decode(kind: u32, payload: u64) -> Value {
    match kind {
        KIND_BOOL => Value::Bool(payload != 0),
        KIND_I64 => Value::I64(payload.cast_signed()),
        KIND_U64 => Value::U64(payload),
        KIND_F64 => Value::F64(f64::from_bits(payload)),
        KIND_TIME => Value::Time(payload.cast_signed()),
        _ => Value::Null,
    }
}

/// Names and metadata in one text arena.
#[derive(Debug)]
struct Names {
    text: String,
    /// Per item: where its key starts in `text`, how long key and description are, and its metadata words.
    entries: Box<[Entry]>,
    /// Type name, unit and access of items, each combination once.
    manners: Vec<Manner>,
    /// Open-addressed index from key hash to item number + 1.
    index: Box<[u32]>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    start: u32,
    key: u16,
    description: u16,
    /// Place in `manners`.
    manner: u32,
}

/// Type name, unit and access.
type Manner = (String, String, &'static str);

impl Names {
    fn build(items: impl IntoIterator<Item = (ItemKey, ItemMeta)>) -> Names {
        let mut text = String::new();
        let mut entries = Vec::new();
        let mut manners: Vec<Manner> = Vec::new();
        let mut known: HashMap<Manner, u32> = HashMap::new();
        for (key, meta) in items {
            let start = u32::try_from(text.len()).unwrap_or(u32::MAX);
            let mut description = meta.description;
            let mut end = description.len().min(usize::from(u16::MAX));
            while !description.is_char_boundary(end) {
                end -= 1;
            }
            description.truncate(end);
            text.push_str(key.as_str());
            text.push_str(&description);
            entries.push(Entry {
                start,
                key: u16::try_from(key.as_str().len()).unwrap_or(u16::MAX),
                description: u16::try_from(description.len()).unwrap_or(u16::MAX),
                manner: *known.entry((meta.type_name, meta.unit, meta.access)).or_insert_with_key(|manner| {
                    manners.push(manner.clone());
                    u32::try_from(manners.len() - 1).unwrap_or(u32::MAX)
                }),
            });
        }
        text.shrink_to_fit();
        let capacity = (entries.len() * 3 / 2).next_power_of_two().max(8);
        let mut names = Names {
            text,
            entries: entries.into_boxed_slice(),
            manners,
            index: vec![0; capacity].into_boxed_slice(),
        };
        for number in 0..names.len() {
            let mut place = names.place(hash(names.key(number).as_bytes()));
            while names.index[place] != 0 {
                place = (place + 1) % names.index.len();
            }
            names.index[place] = u32::try_from(number + 1).unwrap_or(u32::MAX);
        }
        names
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    #[expect(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
    fn place(&self, hash: u64) -> usize {
        hash as usize & (self.index.len() - 1)
    }

    fn find(&self, key: &str) -> Option<ItemId> {
        let mut place = self.place(hash(key.as_bytes()));
        loop {
            let number = self.index[place].checked_sub(1)?;
            if self.key(number as usize) == key {
                return Some(ItemId(number));
            }
            place = (place + 1) % self.index.len();
        }
    }

    fn key(&self, number: usize) -> &str {
        let entry = &self.entries[number];
        &self.text[entry.start as usize..entry.start as usize + usize::from(entry.key)]
    }

    fn meta(&self, number: usize) -> ItemMeta {
        let entry = &self.entries[number];
        let after = entry.start as usize + usize::from(entry.key);
        let (type_name, unit, access) = self.manners.get(entry.manner as usize).cloned().unwrap_or_default();
        ItemMeta {
            access,
            type_name,
            unit,
            description: self.text[after..after + usize::from(entry.description)].to_owned(),
        }
    }

    fn bytes(&self) -> usize {
        self.text.capacity() + self.entries.len() * size_of::<Entry>() + self.index.len() * size_of::<u32>()
    }
}

/// FNV-1a with a final mix, so that the low bits of similar names differ.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str]) -> ItemTable {
        ItemTable::new(names.iter().map(|name| (ItemKey::parse(name).unwrap(), meta())))
    }

    fn meta() -> ItemMeta {
        ItemMeta {
            access: "rw",
            type_name: "uint16".to_owned(),
            unit: "K".to_owned(),
            description: "größe".to_owned(),
        }
    }

    fn put(table: &ItemTable, item: ItemId, value: &Value) -> bool {
        table.store(item, value, Quality::GOOD, Timestamp(1), Timestamp(2), SampleFlags::default())
    }

    #[test]
    fn an_item_is_found_by_its_key_and_holds_what_was_stored() {
        let table = table(&["a/1", "a/2", "b/1"]);
        let item = table.find("a/2").unwrap();
        assert_eq!((item, table.key(item)), (ItemId(1), "a/2"));
        assert_eq!(table.find("a/3"), None);
        assert_eq!(table.meta(item), meta());
        table.set_texts([(table.key(item), "°C", "size"), ("unknown", "V", "")].into_iter());
        let changed = ItemMeta { unit: "°C".to_owned(), description: "size".to_owned(), ..meta() };
        assert_eq!(table.meta(item), changed);
        table.set_texts([(table.key(item), "K", "größe")].into_iter());
        assert_eq!(table.meta(item), meta());
        assert_eq!(table.read(item).quality, Quality::BAD_WAITING);
        for value in [
            Value::F64(2.5),
            Value::Str("open".into()),
            Value::Bool(true),
            Value::Json("{}".into()),
            Value::Bytes(vec![1, 2].into()),
            Value::I64(-1),
            Value::U64(u64::MAX),
            Value::Null,
        ] {
            assert!(put(&table, item, &value), "{value:?} is a change");
            assert!(!put(&table, item, &value), "{value:?} again is none");
            assert_eq!(table.read(item).value, value);
        }
    }

    #[test]
    fn only_value_and_quality_count_as_change() {
        let table = table(&["a/1"]);
        assert!(put(&table, ItemId(0), &Value::U64(1)));
        let same = |quality, source| {
            table.store(
                ItemId(0),
                &Value::U64(1),
                quality,
                Timestamp(source),
                Timestamp(9),
                SampleFlags::default(),
            )
        };
        assert!(!same(Quality::GOOD, 77));
        assert_eq!(table.read(ItemId(0)).source, Timestamp(77));
        assert!(same(Quality::BAD_NOT_CONNECTED, 78));
    }

    #[test]
    fn a_reader_never_sees_half_a_write() {
        let table = table(&["a/1"]);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for n in 0..20_000_u32 {
                        let time = Timestamp(i64::from(n));
                        table.store(
                            ItemId(0),
                            &Value::U64(u64::from(n)),
                            Quality::GOOD,
                            time,
                            time,
                            SampleFlags::default(),
                        );
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let sample = table.read(ItemId(0));
                    if let Value::U64(n) = sample.value {
                        assert_eq!(i64::try_from(n).unwrap(), sample.source.0);
                        assert_eq!(sample.source, sample.server);
                    }
                }
            });
        });
    }

    #[test]
    fn an_item_costs_at_most_128_bytes() {
        let names: Vec<String> =
            (0..100_000).map(|n| format!("plc1/building/floor-{}/room-{n:05}/temperature", n % 20)).collect();
        let items = names.iter().map(|name| (ItemKey::parse(name).unwrap(), meta()));
        let table = ItemTable::new(items);
        assert!(table.bytes() / table.len() <= 128, "{} bytes per item", table.bytes() / table.len());
        assert_eq!(table.find(&names[77_777]), Some(ItemId(77_777)));
    }
}
