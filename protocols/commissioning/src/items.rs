//! Rows as the CSV of the hub, in both directions.
//!
//! The header is `path,address,type,access,unit,description`, columns of the rows follow in the order of their names.
//! What the hub itself checks in an items file is not checked here: this reads lists that the hub has taken.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::imported::{Access, Place, Row};
use crate::table::Table;
use crate::text::decode;

/// Columns of every items file.
pub const COLUMNS: [&str; 6] = ["path", "address", "type", "access", "unit", "description"];

/// Writes rows.
pub fn write(rows: &[Row]) -> String {
    let further: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.columns.keys().map(String::as_str)).collect();
    let columns: Vec<&str> = COLUMNS.into_iter().chain(further).collect();
    let mut out = String::new();
    line(&mut out, columns.iter().copied());
    for row in rows {
        line(&mut out, columns.iter().map(|column| row.cell(column)));
    }
    out
}

/// Reads rows that [`write()`] or somebody's editor wrote.
///
/// # Errors
/// [`Error::Malformed`] with the line.
pub fn read(name: &str, bytes: &[u8]) -> Result<Vec<Row>, Error> {
    let (text, _) = decode(bytes);
    let mut table = Table::new(name, &text, ',');
    let Some(header) = table.next_row()? else { return Ok(Vec::new()) };
    for column in &COLUMNS[..4] {
        if !header.iter().any(|cell| cell == *column) {
            let remedy = format!("write the header {}", COLUMNS.join(","));
            return Err(Error::malformed(
                Place::line(name, 1),
                format!("column `{column}` is missing"),
                remedy,
            ));
        }
    }
    let mut rows = Vec::new();
    while let Some(cells) = table.next_row()? {
        if cells.is_blank() {
            continue;
        }
        let place = || Place::line(name, cells.line);
        if cells.len() != header.len() {
            let what = format!("the row has {} cells, the header has {}", cells.len(), header.len());
            return Err(Error::malformed(place(), what, "put a cell with a comma into quotation marks"));
        }
        let named =
            header.iter().enumerate().map(|(at, column)| (column.to_owned(), cells.get(at).to_owned()));
        let mut columns: BTreeMap<String, String> = named.filter(|(_, text)| !text.is_empty()).collect();
        let mut take = |column: &str| columns.remove(column).unwrap_or_default();
        let word = take("access");
        let Some(access) = Access::from_word(&word) else {
            return Err(Error::malformed(place(), format!("`{word}` is no access"), "write r, w or rw"));
        };
        rows.push(Row {
            path: take("path"),
            address: take("address"),
            type_name: take("type"),
            access,
            unit: take("unit"),
            description: take("description"),
            columns,
        });
    }
    Ok(rows)
}

fn line<'a>(out: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            out.push(',');
        }
        let is_plain = !cell.contains([',', '"', '\n', '\r']) && cell.trim() == cell;
        if is_plain {
            out.push_str(cell);
        } else {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        }
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            cells in prop::collection::vec(("[!-~]{1,9}", "[ -~äöü]{0,12}", 0..3_usize), 0..8),
        ) {
            let mut rows = Vec::new();
            for (path, text, access) in cells {
                let access = [Access::Read, Access::Write, Access::ReadWrite][access];
                let text = text.trim().to_owned();
                let mut row = Row { path: path.clone(), address: path, access, description: text.clone(), ..Row::default() };
                row.set("dpt", text);
                rows.push(row);
            }
            prop_assert_eq!(read("items.csv", write(&rows).as_bytes()).unwrap(), rows);
        }

        #[test]
        fn hostile_bytes_are_rows_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let head = b"path,address,type,access\n".as_slice();
            drop(read("x", &bytes));
            drop(read("x", &[head, &bytes].concat()));
        }
    }
}
