//! Handles of another numbering in this node's handles.

use twinhub_model::{Intent, ItemId, ItemKey, Merged, Record, Sample};

use crate::table::ItemTable;

/// From handles of another dictionary to handles here.
#[derive(Debug)]
pub(crate) enum Translation {
    /// Both number alike.
    Same,
    /// By number there.
    Map(Vec<Option<ItemId>>),
}

impl Translation {
    pub(crate) fn of(entries: &[(ItemId, ItemKey)], table: &ItemTable) -> Translation {
        Translation::by(entries, &|key| table.find(key.as_str()))
    }

    /// To the handles that `find` knows.
    pub(crate) fn by(
        entries: &[(ItemId, ItemKey)],
        find: &dyn Fn(&ItemKey) -> Option<ItemId>,
    ) -> Translation {
        let size = entries.iter().map(|(item, _)| item.index() + 1).max().unwrap_or(0);
        let mut map = vec![None; size.min(entries.len().saturating_mul(4))];
        for (item, key) in entries {
            if let Some(place) = map.get_mut(item.index()) {
                *place = find(key);
            }
        }
        Translation::Map(map)
    }

    /// An item's handle here.
    pub(crate) fn item(&self, item: ItemId) -> Option<ItemId> {
        match self {
            Translation::Same => Some(item),
            Translation::Map(map) => map.get(item.index()).copied().flatten(),
        }
    }

    /// A record in this node's handles; `None` if nothing of it is an item here.
    pub(crate) fn apply(&self, record: Record) -> Option<Record> {
        if matches!(self, Translation::Same) {
            return Some(record);
        }
        let here = |item: ItemId| self.item(item);
        match record {
            Record::Samples(samples) => {
                let samples: Vec<Sample> = samples
                    .iter()
                    .filter_map(|sample| here(sample.item).map(|item| Sample { item, ..sample.clone() }))
                    .collect();
                (!samples.is_empty()).then(|| Record::Samples(samples.into()))
            }
            Record::Intent(intent) => here(intent.item).map(|item| Record::Intent(Intent { item, ..intent })),
            Record::Dictionary(_) => None,
            Record::Merged(Merged { origin, record }) => {
                self.apply(*record).map(|record| Record::Merged(Merged { origin, record: Box::new(record) }))
            }
            Record::Result(_)
            | Record::Delivered(_)
            | Record::Role(_)
            | Record::Event(_)
            | Record::Part(_) => Some(record),
        }
    }
}
