//! A new import into a list that was edited since the last one.
//!
//! What an import has last written is kept beside the items file, as a file of the same form (by convention
//! `NAME.import.csv` beside `NAME.csv`): the **base**. So three lists are at hand, and each cell is judged alone:
//!
//! | base and source | base and list | |
//! |---|---|---|
//! | equal | any | the list's cell stays: somebody has edited it, or nobody |
//! | differ | equal | the source's cell is taken |
//! | differ | differ, to the same | it stays |
//! | differ | differ | a **conflict**: the list's cell stays, and it is told |
//!
//! - Rows are the same row if their address is, so they may be given other paths. Where an address is there several
//!   times in one of the lists, address and path together count.
//! - A row that is only in the list was made by hand: it stays. One that is only in the source is added.
//! - A row that somebody has deleted stays deleted. One that the source does not have stays, and in the base too: lists of
//!   several devices come one after the other. Only if it is asked for ([`Absent::Removed`]) it is removed, unless it was
//!   edited: then it stays, and that is a conflict.
//! - Without a base nothing is known of who wrote what: empty cells are filled, others stay, and each difference is a
//!   conflict.
//!
//! The list keeps its order; rows that are added stand behind the one that they follow in the source. After each merge
//! the new base is what the source has, and what stays without being there, so that the same import again changes nothing and tells no conflict twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::imported::{Access, Row};
use crate::items;

/// What comes out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    /// The new list.
    pub rows: Vec<Row>,
    /// The new base, to be kept for the next import.
    pub base: Vec<Row>,
    /// What has happened, rows in the order of the source and then those that are gone.
    pub changes: Vec<Change>,
}

impl Merged {
    /// How many changes are conflicts.
    pub fn conflicts(&self) -> usize {
        let is_conflict =
            |change: &&Change| matches!(change, Change::Conflict { .. } | Change::KeptEdited { .. });
        self.changes.iter().filter(is_conflict).count()
    }
}

/// What becomes of rows that an import wrote and the source does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// They stay: the source may be another part of the same list.
    Stays,
    /// They are removed: the source is the whole list.
    Removed,
}

/// Something that a merge did, or did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A row of the source is new.
    Added {
        /// Its path.
        path: String,
        /// Its address.
        address: String,
    },
    /// A row is not in the source any more.
    Removed {
        /// Its path.
        path: String,
        /// Its address.
        address: String,
    },
    /// The source has another cell than before.
    Changed {
        /// The row's path in the list.
        path: String,
        /// The column.
        column: String,
        /// What was there.
        from: String,
        /// What is there.
        to: String,
    },
    /// Source and list have both another cell than before; the list's stays.
    Conflict {
        /// The row's path in the list.
        path: String,
        /// The column.
        column: String,
        /// The list's cell, which stays.
        kept: String,
        /// The source's cell.
        offered: String,
    },
    /// A row that an import wrote is not in the source, and stays.
    Absent {
        /// Its path.
        path: String,
        /// Its address.
        address: String,
    },
    /// A row is not in the source any more, but was edited, and stays.
    KeptEdited {
        /// Its path.
        path: String,
        /// Its address.
        address: String,
    },
    /// A row of the source was deleted from the list, and stays deleted.
    StaysDeleted {
        /// Its path in the source.
        path: String,
        /// Its address.
        address: String,
    },
}

/// Merges what was imported into a list. `base` is that of the last merge; none if there was none.
pub fn merge(base: Option<&[Row]>, list: &[Row], source: &[Row], absent: Absent) -> Merged {
    let nothing: &[Row] = &[];
    let known = base.unwrap_or(nothing);
    let several = several(&[known, list, source]);
    let index = |rows: &'_ [Row]| -> BTreeMap<Key, usize> {
        rows.iter().enumerate().map(|(at, row)| (key(row, &several), at)).collect()
    };
    let (bases, lists, sources) = (index(known), index(list), index(source));
    let mut merged = Merged { base: source.to_vec(), ..Merged::default() };
    let mut taken: BTreeSet<String> = list.iter().map(|row| row.path.clone()).collect();
    // Rows of the list as they will be, and behind each those that are added there.
    let mut kept: Vec<Option<Row>> = list.iter().cloned().map(Some).collect();
    let mut added: BTreeMap<Option<usize>, Vec<Row>> = BTreeMap::new();
    let mut gone = Vec::new();
    for (at, row) in list.iter().enumerate() {
        let key = key(row, &several);
        let Some(old) = bases.get(&key).map(|at| &known[*at]).filter(|_| !sources.contains_key(&key)) else {
            continue;
        };
        let (path, address) = (row.path.clone(), row.address.clone());
        if absent == Absent::Stays {
            merged.base.push(old.clone());
            gone.push(Change::Absent { path, address });
        } else if row == old {
            kept[at] = None;
            // The row that comes in its place may have its path.
            taken.remove(&row.path);
            gone.push(Change::Removed { path, address });
        } else {
            gone.push(Change::KeptEdited { path, address });
        }
    }
    let mut anchor = None;
    for row in source {
        let key = key(row, &several);
        let old = bases.get(&key).map(|at| &known[*at]);
        match (lists.get(&key), old) {
            (Some(at), old) => {
                anchor = Some(*at);
                kept[*at] = Some(join(old, &list[*at], row, &mut taken, &mut merged.changes));
            }
            (None, Some(_)) => merged
                .changes
                .push(Change::StaysDeleted { path: row.path.clone(), address: row.address.clone() }),
            (None, None) => {
                let mut row = row.clone();
                row.path = free_path(&row, &taken);
                taken.insert(row.path.clone());
                merged.changes.push(Change::Added { path: row.path.clone(), address: row.address.clone() });
                added.entry(anchor).or_default().push(row);
            }
        }
    }
    merged.changes.extend(gone);
    merged.rows.extend(added.remove(&None).unwrap_or_default());
    for (at, row) in kept.into_iter().enumerate() {
        merged.rows.extend(row);
        merged.rows.extend(added.remove(&Some(at)).unwrap_or_default());
    }
    merged
}

/// What makes two rows the same row.
type Key = (String, String);

fn key(row: &Row, several: &BTreeSet<&str>) -> Key {
    let is_alone = !several.contains(row.address.as_str());
    (row.address.clone(), if is_alone { String::new() } else { row.path.clone() })
}

/// Addresses that are there several times in one of the lists.
fn several<'a>(lists: &[&'a [Row]]) -> BTreeSet<&'a str> {
    let mut several = BTreeSet::new();
    for list in lists {
        let mut seen = BTreeSet::new();
        several.extend(list.iter().map(|row| row.address.as_str()).filter(|address| !seen.insert(*address)));
    }
    several
}

/// Joins the cells of a row.
fn join(
    old: Option<&Row>,
    row: &Row,
    source: &Row,
    taken: &mut BTreeSet<String>,
    changes: &mut Vec<Change>,
) -> Row {
    let mut joined = row.clone();
    let further = [Some(row), Some(source), old].into_iter().flatten().flat_map(|row| row.columns.keys());
    let columns: BTreeSet<&str> = items::COLUMNS.into_iter().chain(further.map(String::as_str)).collect();
    for column in columns {
        let (own, offered) = (row.cell(column), source.cell(column));
        let before = old.map_or("", |old| old.cell(column));
        // Nothing was known of an access before; it is never empty.
        let is_known = old.is_some() || own.is_empty();
        if own == offered || offered == before {
            continue;
        }
        let is_free = column != "path" || !taken.contains(offered);
        if is_known && own == before && is_free {
            set(&mut joined, column, offered);
            if column == "path" {
                taken.remove(own);
                taken.insert(offered.to_owned());
            }
            changes.push(Change::Changed {
                path: row.path.clone(),
                column: column.to_owned(),
                from: own.to_owned(),
                to: offered.to_owned(),
            });
        } else {
            changes.push(Change::Conflict {
                path: row.path.clone(),
                column: column.to_owned(),
                kept: own.to_owned(),
                offered: offered.to_owned(),
            });
        }
    }
    joined
}

fn set(row: &mut Row, column: &str, text: &str) {
    let text = text.to_owned();
    match column {
        "path" => row.path = text,
        "address" => row.address = text,
        "type" => row.type_name = text,
        "access" => row.access = Access::from_word(&text).unwrap_or(row.access),
        "unit" => row.unit = text,
        "description" => row.description = text,
        other if text.is_empty() => drop(row.columns.remove(other)),
        other => drop(row.columns.insert(other.to_owned(), text)),
    }
}

/// The path of a row that is added, changed by the rule of [`path`](crate::path) if it is taken.
fn free_path(row: &Row, taken: &BTreeSet<String>) -> String {
    let with_address = || format!("{} ({})", row.path, row.address.replace(['/', '*'], "-"));
    let numbered = (2_u32..).map(|number| format!("{} {number}", with_address()));
    let mut paths = [row.path.clone(), with_address()].into_iter().chain(numbered);
    paths.find(|path| !taken.contains(path)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
