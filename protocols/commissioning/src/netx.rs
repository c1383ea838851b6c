//! Telegram definitions of NETX servers (`nxaTelegramDefinitions.35.dat`, `….40.dat`).
//!
//! A line is a group address, with semicolons (or tabs, in an export) between its columns; comments begin with `'`. The
//! columns, of which the maker's knowledge base lists names and order: group address, gateway, priority, size, data
//! type, sign, unit, description, path, control data, alias, read on reconnect, interval of cyclic reads, persistent,
//! historical, synchronize, and two converters.
//!
//! Not verified, since no file of a site is public: how datapoint types are spelled (every usual spelling is taken), what
//! separates the levels of a path (`\` and `/` are taken), and the unit of the interval, which is left out for that.

use std::collections::BTreeSet;

use crate::dpt::{self, Dpt};
use crate::error::Error;
use crate::ets_csv::{NO_TYPE, without_flags};
use crate::format::{Collector, File, Options, only};
use crate::group;
use crate::imported::{Imported, Place, Row};
use crate::table::{Cells, Table, separator_of};
use crate::text::{decode, one_line};

/// Reads one file.
pub(crate) fn read(files: &[File<'_>], options: &Options) -> Result<Imported, Error> {
    let (name, bytes) = only(files, "give the file with the telegram definitions")?;
    let (text, _) = decode(bytes);
    let mut collector = Collector::new(options);
    let data = text.lines().find(|line| !is_comment(line) && !line.trim().is_empty()).unwrap_or_default();
    let mut table = Table::new(name, &text, separator_of(data));
    let mut rows = Vec::new();
    while let Some(row) = table.next_row()? {
        if !row.is_blank() && !is_comment(row.get(0)) {
            rows.push(row);
        }
    }
    let gateways: BTreeSet<&str> =
        rows.iter().map(|row| row.get(1)).filter(|name| !name.is_empty()).collect();
    let is_split = gateways.len() > 1;
    for row in &rows {
        definition(name, row, is_split, &mut collector)?;
    }
    if is_split {
        let listed = gateways.iter().copied().collect::<Vec<_>>().join(", ");
        let what = format!("the addresses are those of {} gateways: {}", gateways.len(), one_line(&listed));
        collector.warn(
            Place::file(name),
            what,
            "make an interface for each gateway, and move its rows to its items file",
        );
    }
    without_flags(name, &mut collector);
    Ok(collector.finish())
}

fn definition(name: &str, cells: &Cells<'_>, is_split: bool, collector: &mut Collector) -> Result<(), Error> {
    let place = Place::line(name, cells.line);
    let Some((raw, style)) = group::parse(cells.get(0)) else {
        let what = format!("`{}` is no group address", one_line(cells.get(0)));
        collector.error(
            place,
            what,
            "write an address such as 1/2/3 into the first column, or put ' before the line",
        );
        return Ok(());
    };
    collector.style_of(style);
    let mut row = Row {
        address: style.show(raw),
        unit: one_line(cells.get(UNIT)),
        description: one_line(cells.get(DESCRIPTION)),
        ..Row::default()
    };
    if let Some(dpt) = type_of(&place, &row.address, cells, collector) {
        dpt.put_into(&mut row);
    }
    let priority = match cells.get(PRIORITY).to_ascii_uppercase().as_str() {
        "SYSTEM" => "system",
        "ALARM" => "urgent",
        "HIGH" => "normal",
        _ => "",
    };
    row.set("priority", priority);
    if is_true(cells.get(READ_ON_RECONNECT)) {
        row.set("read_on_init", "true");
    }
    if is_true(cells.get(HISTORICAL)) {
        row.set("historize", "true");
    }
    if !matches!(cells.get(INTERVAL), "" | "0") {
        let what = format!("{} was read every {}", row.address, one_line(cells.get(INTERVAL)));
        collector.note(place.clone(), what, "write the column `poll` if that is still needed");
    }
    if [IN_CONVERTER, IN_CONVERTER + 1].iter().any(|at| !cells.get(*at).is_empty()) {
        let what = format!("{} has a converter, which is not imported", row.address);
        collector.warn(place.clone(), what, "make a link with `convert` instead");
    }
    let gateway = if is_split { cells.get(1) } else { "" };
    let own = [cells.get(ALIAS), cells.get(DESCRIPTION)]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default();
    let levels = cells.get(PATH).split(['\\', '/']);
    let names: Vec<&str> = std::iter::once(gateway).chain(levels).chain([own]).collect();
    collector.row(&place, &names, row)
}

fn type_of(place: &Place, address: &str, cells: &Cells<'_>, collector: &mut Collector) -> Option<Dpt> {
    let written = cells.get(DATA_TYPE);
    if let Some(dpt) = dpt::parse(written) {
        return Some(dpt);
    }
    let number =
        written.to_ascii_uppercase().strip_prefix("EIS").and_then(|number| number.trim().parse().ok());
    if let Some((dpt, is_only)) = number.and_then(dpt::of_eis) {
        // The sign, where it is written, leaves no choice; signed counters have the next main number.
        let sign = cells.get(SIGN).to_ascii_uppercase();
        if is_only || sign.starts_with('U') {
            return Some(dpt);
        }
        if sign.starts_with('S') {
            return Some(Dpt::of_main(dpt.main + 1));
        }
        let what = format!(
            "{address}: datapoint type {dpt} is a guess from `{}`, which has no sign",
            one_line(written)
        );
        collector.warn(place.clone(), what, "compare it with the ETS, and correct the column `dpt`");
        return Some(dpt);
    }
    let size = cells.get(SIZE).to_ascii_uppercase();
    let bits = [("BIT", 1), ("BYTE", 8)]
        .into_iter()
        .find_map(|(unit, factor)| size.strip_suffix(unit)?.trim().parse::<u32>().ok()?.checked_mul(factor));
    let guess = bits.and_then(dpt::of_size);
    match guess {
        Some(dpt) => collector.warn(
            place.clone(),
            format!("{address}: datapoint type {dpt} is a guess from the size `{}`", one_line(&size)),
            "compare it with the ETS, and correct the column `dpt`",
        ),
        None => collector.warn(place.clone(), format!("{address} has no datapoint type"), NO_TYPE),
    }
    guess
}

fn is_comment(cell: &str) -> bool {
    cell.trim_start().starts_with('\'')
}

fn is_true(cell: &str) -> bool {
    matches!(cell.to_ascii_uppercase().as_str(), "T" | "TRUE" | "1")
}

const PRIORITY: usize = 2;
const SIZE: usize = 3;
const DATA_TYPE: usize = 4;
const SIGN: usize = 5;
const UNIT: usize = 6;
const DESCRIPTION: usize = 7;
const PATH: usize = 8;
const ALIAS: usize = 10;
const READ_ON_RECONNECT: usize = 11;
const INTERVAL: usize = 12;
const HISTORICAL: usize = 14;
const IN_CONVERTER: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn definitions_become_rows() {
        let text = "'a comment; with more; semicolons\r\n\
            5/1;gw1;LOW;2BYTE;EIS5;;°C;Außen;Haus\\Klima;;Temperatur;T;0;F;T;F;;\r\n\
            1/2/3;gw1;ALARM;1BIT;DPT 1.001;;;Licht;;;;F;0;F;F;F;;\r\n\
            1/2/4;gw2;LOW;2BYTE;EIS10;Signed;;Zähler;;;;F;60;F;F;F;;\r\n\
            1/2/5;gw1;LOW;1BYTE;;;;Wert;;;;F;0;F;F;F;conv;\r\nnonsense;x\r\n";
        let imported = read(&[("t.dat", text.as_bytes())], &Options::default()).unwrap();
        let rows: Vec<String> = imported
            .rows
            .iter()
            .map(|row| {
                let cells = ["address", "dpt", "unit", "priority", "read_on_init", "historize"]
                    .map(|column| row.cell(column));
                format!("{} = {}", row.path, cells.join("|"))
            })
            .collect();
        assert_eq!(
            rows,
            [
                "gw1/Haus/Klima/Temperatur = 5/1|9|°C||true|true",
                "gw1/Licht = 1/2/3|1.001||urgent||",
                "gw2/Zähler = 1/2/4|8||||",
                "gw1/Wert = 1/2/5|5.001|%|||",
            ]
        );
        let told: Vec<_> =
            imported.findings.iter().map(|found| (found.severity.word(), found.place.line)).collect();
        let expected = [
            ("note", Some(4)),
            ("warning", Some(5)),
            ("warning", Some(5)),
            ("error", Some(6)),
            ("warning", None),
            ("note", None),
        ];
        assert_eq!(told, expected);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_rows_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in "(1/2/3;|EIS10|DPT|[;\t\n'0-9a-z]){0,80}",
        ) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                drop(read(&[("x", bytes)], &Options::default()));
            }
        }
    }
}
