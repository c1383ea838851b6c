//! Rows of an items file as a plugin is given them, in little room: a plugin that is started anew gets them again.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use twinhub_config::Item;
use twinhub_config::items::ALARM_COLUMNS;
use twinhub_loader::ItemSpec;
use twinhub_model::ItemId;

use crate::table::ItemTable;

/// The rows of one interface. Path, type, unit and access stand in the item table.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    /// Names of the other columns.
    columns: Box<[Arc<str>]>,
    /// Their cells, row by row; an empty cell is a missing one.
    texts: Box<str>,
    /// Where each cell ends.
    ends: Box<[u32]>,
}

impl Rows {
    /// The rows of these items; `None` if their texts have more than 4 GiB.
    pub(crate) fn of(items: &[Item]) -> Option<Rows> {
        let is_of_plugin = |name: &&Arc<str>| !ALARM_COLUMNS.contains(&&***name);
        let names = items.iter().flat_map(|item| item.columns.iter().map(|(name, _)| name));
        let own = names.filter(is_of_plugin);
        let mut columns: Vec<Arc<str>> = vec![ADDRESS.into()];
        columns.extend(own.collect::<BTreeSet<_>>().into_iter().map(Arc::clone));
        for (name, is_set) in FLAGS {
            if items.iter().any(|item| is_set(&item)) {
                columns.push((*name).into());
            }
        }
        let mut texts = String::new();
        let mut ends = Vec::with_capacity(items.len() * columns.len());
        for item in items {
            for column in &columns {
                texts.push_str(cell(item, column));
                ends.push(u32::try_from(texts.len()).ok()?);
            }
        }
        Some(Rows { columns: columns.into(), texts: texts.into(), ends: ends.into() })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len() / self.columns.len()
    }

    /// The rows of these places, whose first item has the handle `base`.
    pub(crate) fn specs(&self, places: Range<usize>, table: &ItemTable, base: u32) -> Vec<ItemSpec> {
        places.filter_map(|place| self.spec(place, table, base)).collect()
    }

    fn spec(&self, place: usize, table: &ItemTable, base: u32) -> Option<ItemSpec> {
        let handle = u32::try_from(place).ok()?;
        let item = ItemId(base + handle);
        let meta = table.meta(item);
        let mut row = serde_json::Map::new();
        for (column, name) in self.columns.iter().enumerate() {
            let text = self.cell(place * self.columns.len() + column);
            if !text.is_empty() || **name == *ADDRESS {
                row.insert(name.to_string(), text.into());
            }
        }
        let path = table.key(item).split_once('/').map_or("", |(_, path)| path);
        row.insert("path".to_owned(), path.into());
        row.insert("type".to_owned(), meta.type_name.into());
        row.insert("access".to_owned(), meta.access.into());
        row.insert("unit".to_owned(), meta.unit.into());
        let mut access = 0;
        for (letter, bit) in [('r', twinhub_contract::access::READ), ('w', twinhub_contract::access::WRITE)] {
            access |= if meta.access.contains(letter) { bit } else { 0 };
        }
        let address_json = serde_json::Value::Object(row).to_string();
        Some(ItemSpec { handle, access, address_json, type_hint: 0, group: 0 })
    }

    fn cell(&self, number: usize) -> &str {
        let end = |number: usize| self.ends[number] as usize;
        let start = number.checked_sub(1).map_or(0, end);
        &self.texts[start..end(number)]
    }
}

/// Items of other interfaces as a plugin is given them; the first one gets the handle `first`.
pub(super) fn watched(first: u32, items: &[ItemId], table: &ItemTable) -> Vec<ItemSpec> {
    let spec = |(handle, item): (u32, &ItemId)| {
        let meta = table.meta(*item);
        let row = serde_json::json!({
            "key": table.key(*item),
            "type": meta.type_name,
            "access": meta.access,
            "unit": meta.unit,
            "description": meta.description,
        });
        let (access, address_json) = (twinhub_contract::access::READ, row.to_string());
        ItemSpec { handle, access, address_json, type_hint: 0, group: 0 }
    };
    (first..).zip(items).map(spec).collect()
}

fn cell<'a>(item: &'a Item, column: &str) -> &'a str {
    if column == ADDRESS {
        return &item.address;
    }
    match FLAGS.iter().find(|(name, _)| *name == column) {
        Some((_, is_set)) if is_set(&item) => "true",
        Some(_) => "",
        None => item.column(column),
    }
}

const ADDRESS: &str = "address";

type Flag = (&'static str, fn(&&Item) -> bool);

/// Columns of the hub that plugins see too, where they are set.
const FLAGS: &[Flag] = &[("edge", |item| item.edge), ("non_idempotent", |item| item.non_idempotent)];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::table::ItemMeta;

    const FILE: &str = "path,address,type,access,unit,description,poll,scale,non_idempotent\n\
        a/1,hr:1,u16,r,K,first,fast,,\n\
        a/2,,bool,rw,,second,,,true\n\
        b,\"x,\"\"é\",,w,,,,0.1,\n";

    #[test]
    fn a_plugin_gets_each_row_with_the_cells_that_are_not_empty() {
        let items = twinhub_config::items::parse_csv("plc1", "items.csv", FILE.as_bytes()).unwrap();
        let meta = |item: &Item| ItemMeta {
            access: item.access.word(),
            type_name: item.type_name.clone(),
            unit: item.unit.clone(),
            description: item.description.clone(),
        };
        let other = twinhub_model::ItemKey::parse("other/1").unwrap();
        let keys = items.iter().map(|item| (item.key.clone(), meta(item)));
        let table = ItemTable::new(std::iter::once((other, meta(&items[0]))).chain(keys));
        let rows = Rows::of(&items).unwrap();
        assert_eq!(rows.len(), 3);
        let specs = rows.specs(0..3, &table, 1);
        let seen: Vec<serde_json::Value> =
            specs.iter().map(|spec| serde_json::from_str(&spec.address_json).unwrap()).collect();
        let expected = [
            json!({"path": "a/1", "address": "hr:1", "type": "u16", "access": "r", "unit": "K", "poll": "fast"}),
            json!({"path": "a/2", "address": "", "type": "bool", "access": "rw", "unit": "",
                "non_idempotent": "true"}),
            json!({"path": "b", "address": "x,\"é", "type": "", "access": "w", "unit": "", "scale": "0.1"}),
        ];
        assert_eq!(seen, expected);
        let (read, write) = (twinhub_contract::access::READ, twinhub_contract::access::WRITE);
        let handles: Vec<(u32, u32)> = specs.iter().map(|spec| (spec.handle, spec.access)).collect();
        assert_eq!(handles, [(0, read), (1, read | write), (2, write)]);
        assert_eq!(rows.specs(2..3, &table, 1), specs[2..]);
    }

    #[test]
    fn an_interface_without_items_has_no_rows() {
        assert_eq!(Rows::of(&[]).unwrap().len(), 0);
    }
}
