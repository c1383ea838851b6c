//! Engineering Data Exchange (EDE) of BACnet systems: the object list and its companions, as CSV, in both directions.
//!
//! The layout is that of the B.I.G.-EU, versions 2.0 to 2.3: lines of the project, the names of the columns behind
//! `# keyname`, then a row for each object. Beside the object list (`…_EDE`) there may be texts of states
//! (`…_StateTexts`), of units (`…_Units`) and of object types (`…_ObjTypes`, which says nothing that the standard does
//! not); which file is which follows from its name. Separators are semicolon, comma or tab. All may also be sheets of a
//! workbook (`.xlsx`).
//!
//! # What becomes of it
//! - Each object with a present value is a row with the address `DEVICE/TYPE:INSTANCE`. Its path is the object's name, or
//!   the keyname if it has none; if there are several devices, the device's name is above. A file that the hub wrote has
//!   the paths as keynames, and gives them back.
//! - `settable` makes it `rw`, else it is `r`. `supports COV` with N sets the column `mode` to `poll`.
//! - Texts of states become the column `states` (`1=Off|2=On`; states of binary objects count from 0).
//! - Limits and default values are the device's own, and are not imported.

mod names;
mod write;

use std::collections::{BTreeMap, BTreeSet};

pub use write::{Ede, write};

use crate::error::Error;
use crate::format::{Collector, File, Options};
use crate::imported::{Access, Device, Imported, Place, Row};
use crate::table::{Cells, Table, separator_of};
use crate::text::{decode, one_line};
use crate::xlsx;
use crate::zip::Budget;

/// Reads an object list and its companions.
pub(crate) fn read(files: &[File<'_>], options: &Options) -> Result<Imported, Error> {
    let mut texts = Vec::with_capacity(files.len());
    let mut parts: Vec<(String, Kind, Vec<Cells<'_>>)> = Vec::new();
    let mut budget = Budget::new(&options.limits);
    for (name, bytes) in files {
        if xlsx::is_workbook(bytes) {
            parts.extend(sheets(name, bytes, &mut budget)?);
        } else {
            texts.push((*name, decode(bytes).0));
        }
    }
    for (name, text) in &texts {
        let mut table = Table::new(name, text, separator_of(text));
        let mut rows = Vec::new();
        while let Some(row) = table.next_row()? {
            rows.push(row);
        }
        parts.push(((*name).to_owned(), kind_of(name), rows));
    }
    let (mut objects, mut states, mut units) = (None, BTreeMap::new(), BTreeMap::new());
    for (name, kind, rows) in parts {
        match kind {
            Kind::Objects if objects.is_some() => {
                let what = "give one object list (…_EDE.csv) and its companions";
                return Err(Error::TooManyFiles { count: files.len(), what });
            }
            Kind::Objects => objects = Some((name, rows)),
            Kind::StateTexts => states = coded(&rows),
            Kind::Units => units = coded(&rows),
            Kind::ObjectTypes => {}
        }
    }
    let Some((name, rows)) = objects else {
        return Err(Error::NoFile { what: "give the object list (…_EDE.csv)" });
    };
    let mut collector = Collector::new(options);
    let (columns, rows) = list(&name, rows, &mut collector)?;
    let mut reader = Reader {
        name: &name,
        columns,
        states,
        units,
        devices: BTreeMap::new(),
        is_ours: false,
        left: BTreeMap::new(),
        strange: BTreeSet::new(),
    };
    reader.is_ours = collector.project().tool == write::AUTHOR;
    reader.find_devices(&rows);
    for row in &rows {
        reader.object(row, &mut collector)?;
    }
    reader.finish(&mut collector);
    Ok(collector.finish())
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Objects,
    StateTexts,
    Units,
    ObjectTypes,
}

/// What a file is, by its name.
fn kind_of(name: &str) -> Kind {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name).to_ascii_lowercase();
    let end = file.rsplit('_').next().unwrap_or(&file);
    if end.starts_with("state") {
        Kind::StateTexts
    } else if end.starts_with("unit") {
        Kind::Units
    } else if end.starts_with("objtype") || end.starts_with("obj-type") || end.starts_with("object-type") {
        Kind::ObjectTypes
    } else {
        Kind::Objects
    }
}

/// The sheets of a workbook; those without a known name count if they have an object list.
fn sheets(
    name: &str,
    bytes: &[u8],
    budget: &mut Budget,
) -> Result<Vec<(String, Kind, Vec<Cells<'static>>)>, Error> {
    let mut parts = Vec::new();
    for sheet in xlsx::read(name, bytes, budget)? {
        let kind = kind_of(&sheet.name);
        if kind != Kind::Objects || sheet.rows.iter().any(is_header) {
            parts.push((format!("{name}!{}", sheet.name), kind, sheet.rows));
        }
    }
    Ok(parts)
}

/// Whether a row names the columns.
fn is_header(row: &Cells<'_>) -> bool {
    row.get(0).trim_start_matches('#').trim().eq_ignore_ascii_case("keyname")
}

/// Rows that begin with a number.
fn coded(rows: &[Cells<'_>]) -> BTreeMap<u32, Vec<String>> {
    let mut found = BTreeMap::new();
    for row in rows {
        if let Ok(code) = row.get(0).parse() {
            let mut texts: Vec<String> = row.iter().skip(1).map(one_line).collect();
            while texts.last().is_some_and(String::is_empty) {
                texts.pop();
            }
            found.entry(code).or_insert(texts);
        }
    }
    found
}

/// Where the columns are, by their names without anything but letters and digits.
type Columns = BTreeMap<String, usize>;

/// Lines of the project, names of columns, and the rows of objects.
fn list<'a>(
    name: &str,
    all: Vec<Cells<'a>>,
    collector: &mut Collector,
) -> Result<(Columns, Vec<Cells<'a>>), Error> {
    let mut columns = Columns::new();
    let mut rows = Vec::new();
    for row in all {
        let first = row.get(0);
        if columns.is_empty() {
            if is_header(&row) {
                columns = row.iter().enumerate().map(|(at, cell)| (plain(cell), at)).collect();
            } else {
                about(first.trim_start_matches('#').trim(), row.get(1), collector);
            }
        } else if !row.is_blank() && (!first.starts_with('#') || collector.project().tool == write::AUTHOR) {
            rows.push(row);
        }
    }
    for column in [DEVICE, TYPE, INSTANCE] {
        if !column.iter().any(|name| columns.contains_key(*name)) {
            let what = format!("there is no column `{}`", column[0]);
            let remedy = "the line that begins with `# keyname` names the columns; give the object list of the EDE files";
            return Err(Error::malformed(Place::file(name), what, remedy));
        }
    }
    Ok((columns, rows))
}

fn about(word: &str, text: &str, collector: &mut Collector) {
    let project = collector.project();
    let place = match word.to_ascii_uppercase().as_str() {
        "PROJECT_NAME" => &mut project.name,
        "VERSION_OF_LAYOUT" => &mut project.schema_version,
        "TIMESTAMP_OF_LAST_CHANGE" => &mut project.last_modified,
        "AUTHOR_OF_LAST_CHANGE" => &mut project.tool,
        _ => return,
    };
    one_line(text).clone_into(place);
}

struct Reader<'a> {
    name: &'a str,
    columns: Columns,
    states: BTreeMap<u32, Vec<String>>,
    units: BTreeMap<u32, Vec<String>>,
    /// Names of devices by their instance.
    devices: BTreeMap<u32, Device>,
    is_ours: bool,
    /// How many objects of a type were left out.
    left: BTreeMap<&'static str, u32>,
    /// Codes of units that have no text.
    strange: BTreeSet<u32>,
}

impl Reader<'_> {
    fn cell<'c>(&self, row: &'c Cells<'_>, names: &[&str]) -> &'c str {
        names.iter().find_map(|name| self.columns.get(*name)).map_or("", |at| row.get(*at))
    }

    fn number(&self, row: &Cells<'_>, names: &[&str]) -> Option<u32> {
        self.cell(row, names).parse().ok().filter(|number| *number <= INSTANCE_MAX)
    }

    fn find_devices(&mut self, rows: &[Cells<'_>]) {
        for row in rows {
            let Some(instance) = self.number(row, DEVICE) else { continue };
            let is_device = self.number(row, TYPE) == Some(names::DEVICE);
            let (name, description) = (self.cell(row, NAME), self.cell(row, DESCRIPTION));
            let about = if is_device { (one_line(name), one_line(description)) } else { Default::default() };
            let device = self
                .devices
                .entry(instance)
                .or_insert_with(|| Device { address: instance.to_string(), ..Device::default() });
            if device.name.is_empty() {
                (device.name, device.description) = about;
            }
        }
    }

    fn object(&mut self, row: &Cells<'_>, collector: &mut Collector) -> Result<(), Error> {
        let place = Place::line(self.name, row.line);
        let numbers = (self.number(row, DEVICE), self.number(row, TYPE), self.number(row, INSTANCE));
        let (Some(device), Some(kind), Some(instance)) = numbers else {
            let what = "device, object type or object instance is no number, or too large";
            collector.error(place, what, "write the numbers, for example 1002, 0 and 1");
            return Ok(());
        };
        if let Some(name) = names::without_value(kind) {
            if kind != names::DEVICE {
                *self.left.entry(name).or_default() += 1;
            }
            return Ok(());
        }
        let mut item = Row {
            address: format!("{device}/{}:{instance}", names::object_type(kind)),
            access: if is_yes(self.cell(row, SETTABLE)) { Access::ReadWrite } else { Access::Read },
            unit: self.unit(row),
            description: one_line(self.cell(row, DESCRIPTION)),
            ..Row::default()
        };
        if is_no(self.cell(row, COV)) {
            item.set("mode", "poll");
        }
        item.set("states", self.states_of(row, kind, &place, collector));
        let (keyname, name) = (self.cell(row, &["keyname"]), self.cell(row, NAME));
        let own = if name.is_empty() { keyname } else { name };
        if self.is_ours {
            let names: Vec<&str> = keyname.split('/').collect();
            item.set("object_name", if names.last() == Some(&name) { "" } else { name });
            return collector.row(&place, &names, item);
        }
        let above = self.devices.get(&device).filter(|_| self.devices.len() > 1);
        let above = above.map(|device| if device.name.is_empty() { &device.address } else { &device.name });
        let names: Vec<&str> = above.map(String::as_str).into_iter().chain([own]).collect();
        collector.row(&place, &names, item)
    }

    fn unit(&mut self, row: &Cells<'_>) -> String {
        let Some(code) = self.number(row, UNIT) else { return String::new() };
        if let Some(unit) = names::unit(code) {
            return unit.to_owned();
        }
        let text = self.units.get(&code).and_then(|texts| texts.first());
        if text.is_none() {
            self.strange.insert(code);
        }
        text.cloned().unwrap_or_default()
    }

    fn states_of(&self, row: &Cells<'_>, kind: u32, place: &Place, collector: &mut Collector) -> String {
        let Some(reference) = self.number(row, STATES) else { return String::new() };
        let Some(texts) = self.states.get(&reference) else {
            let what = format!("the texts of states {reference} are not there");
            collector.note(
                place.clone(),
                what,
                "give the file …_StateTexts.csv together with the object list",
            );
            return String::new();
        };
        let first = u32::from(!names::is_binary(kind));
        let states =
            texts.iter().zip(first..).map(|(text, state)| format!("{state}={}", text.replace('|', "-")));
        states.collect::<Vec<_>>().join("|")
    }

    fn finish(self, collector: &mut Collector) {
        for (name, count) in &self.left {
            let what = format!("{count} objects of the type {name} have no present value and are left out");
            collector.note(Place::file(self.name), what, "add a row for the property that is needed");
        }
        if !self.strange.is_empty() {
            let codes: Vec<String> = self.strange.iter().map(u32::to_string).collect();
            let what = format!("the units {} have no text", codes.join(", "));
            collector.warn(
                Place::file(self.name),
                what,
                "give the file …_Units.csv together with the object list",
            );
        }
        collector.project().devices = self.devices.into_values().collect();
    }
}

/// A name of a column without anything but letters and digits.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn is_yes(cell: &str) -> bool {
    matches!(cell.to_ascii_lowercase().as_str(), "y" | "yes" | "j" | "ja" | "true" | "1" | "x")
}

fn is_no(cell: &str) -> bool {
    matches!(cell.to_ascii_lowercase().as_str(), "n" | "no" | "nein" | "false" | "0")
}

const DEVICE: &[&str] = &["deviceobjinstance", "deviceobjectinstance", "deviceinstance"];
const TYPE: &[&str] = &["objecttype"];
const INSTANCE: &[&str] = &["objectinstance"];
const NAME: &[&str] = &["objectname"];
const DESCRIPTION: &[&str] = &["description"];
const SETTABLE: &[&str] = &["settable", "commandable"];
const COV: &[&str] = &["supportscov"];
const STATES: &[&str] = &["statetextreference"];
const UNIT: &[&str] = &["unitcode"];
/// Clause 12: an instance has 22 bits, of which the last one stands for none.
const INSTANCE_MAX: u32 = 4_194_302;

#[cfg(test)]
mod tests;
