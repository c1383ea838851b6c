//! Point lists of Modbus devices, as manufacturers and other tools write them.
//!
//! There is no standard for these lists, so columns are found by their names, of which each has several that are usual
//! (English and German). Needed is one with the number. What the number means follows from its form and its column:
//!
//! - `hr:100`, `ir:`, `co:`, `di:`: as the plugin has it, counted from 0;
//! - `40001`, `400001`: table by the first digit (0, 1, 3, 4), counted from 1, unless a column names another table;
//! - `4x00001`, `4:00001`: the same, with the table apart;
//! - `0x0064`, `64h`: hexadecimal, counted from 0, with a column for the table or the function code;
//! - other numbers: with a column for the table; counted from 1 if their column is called register, else from 0. That is
//!   the custom of meters, whose manuals have both, but not all keep to it: a finding tells what was assumed.
//!
//! `.3` behind a register is a bit of it. Access is what its column says, or the function code if that writes; coils and
//! holding registers of which nothing is said are only read, so that nothing is written by mistake.

mod words;

use std::collections::BTreeMap;

use words::Area;

use crate::error::Error;
use crate::format::{Collector, File, Options, only};
use crate::imported::{Access, Imported, Place, Row};
use crate::table::{Cells, Table, separator_of};
use crate::text::{decode, one_line};

/// Reads one file.
pub(crate) fn read(files: &[File<'_>], options: &Options) -> Result<Imported, Error> {
    let (name, bytes) = only(files, "give the CSV file with the points")?;
    let (text, _) = decode(bytes);
    let mut table = Table::new(name, &text, separator_of(&text));
    let mut collector = Collector::new(options);
    let mut reader = None;
    while let Some(row) = table.next_row()? {
        match &mut reader {
            None => reader = Reader::of(name, &row),
            Some(_) if row.is_blank() || row.get(0).starts_with('#') => {}
            Some(reader) => reader.point(&row, &mut collector)?,
        }
    }
    let Some(reader) = reader else {
        let remedy = "name the columns in a line of their own, for example name,address,function,type,order,scale,unit";
        return Err(Error::malformed(Place::file(name), "no line has a column for the address", remedy));
    };
    reader.finish(&mut collector);
    Ok(collector.finish())
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Name,
    Group,
    Address,
    Register,
    Table,
    Type,
    Count,
    Order,
    Swap,
    Scale,
    Offset,
    Unit,
    Description,
    Access,
    Writable,
    Device,
    Bit,
    Poll,
    Min,
    Max,
}

struct Reader<'a> {
    name: &'a str,
    columns: BTreeMap<Column, usize>,
    /// How many plain numbers were counted from the base of their column.
    assumed: u32,
    /// How many points are read only because nothing is said.
    silent: u32,
}

/// Where a point is.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spot {
    area: Area,
    start: u16,
    bit: Option<u8>,
    is_assumed: bool,
}

impl<'a> Reader<'a> {
    /// A reader of a table whose header this row is; none if it is none.
    fn of(name: &'a str, header: &Cells<'_>) -> Option<Reader<'a>> {
        let mut columns = BTreeMap::new();
        for (at, cell) in header.iter().enumerate() {
            let plain: String =
                cell.chars().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect();
            if let Some((column, _)) = COLUMNS.iter().find(|(_, names)| names.contains(&plain.as_str())) {
                columns.entry(*column).or_insert(at);
            }
        }
        let is_header = columns.contains_key(&Column::Address) || columns.contains_key(&Column::Register);
        is_header.then_some(Reader { name, columns, assumed: 0, silent: 0 })
    }

    fn cell<'c>(&self, row: &'c Cells<'_>, column: Column) -> &'c str {
        self.columns.get(&column).map_or("", |at| row.get(*at))
    }

    fn point(&mut self, row: &Cells<'_>, collector: &mut Collector) -> Result<(), Error> {
        let place = Place::line(self.name, row.line);
        let table = self.cell(row, Column::Table);
        let function = words::function(table);
        let (text, is_register) = match self.cell(row, Column::Address) {
            "" => (self.cell(row, Column::Register), true),
            text => (text, false),
        };
        let (device, text) = text.split_once('/').unwrap_or((self.cell(row, Column::Device), text));
        let spot =
            match spot(text.trim(), self.cell(row, Column::Bit), function.map(|(area, _)| area), is_register)
            {
                Ok(spot) => spot,
                Err(what) => {
                    let remedy =
                        "write for example 40001, 4x00001 or hr:0, or name the table in a column `function`";
                    collector.error(place, format!("`{}`: {what}", one_line(text)), remedy);
                    return Ok(());
                }
            };
        self.assumed += u32::from(spot.is_assumed);
        let item = self.row(row, &place, device, spot, function, collector);
        let names = [self.cell(row, Column::Group), self.cell(row, Column::Name)];
        let own = if names[1].is_empty() { self.cell(row, Column::Description) } else { names[1] };
        collector.row(&place, &[names[0], own], item)
    }

    fn row(
        &mut self,
        row: &Cells<'_>,
        place: &Place,
        device: &str,
        spot: Spot,
        function: Option<(Area, bool)>,
        collector: &mut Collector,
    ) -> Row {
        let bit = spot.bit.map(|bit| format!(".{bit}")).unwrap_or_default();
        let device = device.parse::<u8>().map(|unit| format!("{unit}/")).unwrap_or_default();
        let mut item = Row {
            address: format!("{device}{}:{}{bit}", spot.area.word(), spot.start),
            unit: one_line(self.cell(row, Column::Unit)),
            description: one_line(self.cell(row, Column::Description)),
            ..Row::default()
        };
        let written = self.cell(row, Column::Type);
        let count = self.cell(row, Column::Count).parse().ok();
        if spot.bit.is_some() || spot.area.is_bits() {
            "bool".clone_into(&mut item.type_name);
        } else if let Some(name) = words::type_name(written, count) {
            item.type_name = name;
        } else {
            let what = format!("{}: `{}` is no type that is known", item.address, one_line(written));
            collector.warn(place.clone(), what, "write the column `type`; without it a register is a uint16");
        }
        let swap = if words::is_true(self.cell(row, Column::Swap)) { "CDAB" } else { "" };
        let orders = [self.cell(row, Column::Order), written].map(words::order);
        item.set("order", orders.into_iter().flatten().next().unwrap_or(swap));
        item.access = self.access(row, spot.area, function);
        for (column, name) in
            [(Column::Scale, "scale"), (Column::Offset, "offset"), (Column::Min, "min"), (Column::Max, "max")]
        {
            let text = self.cell(row, column);
            match words::number(text) {
                Some(number) => item.set(name, number),
                None if text.is_empty() => {}
                None => {
                    let what = format!("{}: `{}` is no number for `{name}`", item.address, one_line(text));
                    collector.warn(place.clone(), what, "write a number such as 0.1");
                }
            }
        }
        let poll = self.cell(row, Column::Poll);
        let is_duration =
            poll.starts_with(|letter: char| letter.is_ascii_digit()) && poll.ends_with(['s', 'm', 'h']);
        item.set("poll", if is_duration { poll } else { "" });
        item
    }

    fn access(&mut self, row: &Cells<'_>, area: Area, function: Option<(Area, bool)>) -> Access {
        if !area.is_writable() {
            return Access::Read;
        }
        let writable = self.cell(row, Column::Writable);
        let said = words::access(self.cell(row, Column::Access))
            .or_else(|| words::is_true(writable).then_some(Access::ReadWrite))
            .or_else(|| function.filter(|(_, is_write)| *is_write).map(|_| Access::ReadWrite));
        let is_silent = said.is_none() && writable.is_empty();
        self.silent += u32::from(is_silent);
        said.unwrap_or(Access::Read)
    }

    fn finish(self, collector: &mut Collector) {
        if self.assumed > 0 {
            let base = u8::from(!self.columns.contains_key(&Column::Address));
            let what = format!(
                "{} numbers were taken as counted from {base}, by the name of their column",
                self.assumed
            );
            let remedy =
                "compare one with the manual; a column `address` counts from 0, a column `register` from 1";
            collector.warn(Place::file(self.name), what, remedy);
        }
        if self.silent > 0 {
            let what = format!(
                "{} coils or registers are `r`, since the file does not say who writes them",
                self.silent
            );
            collector.note(Place::file(self.name), what, "write `rw` where the hub is to write");
        }
    }
}

/// Where a text says that a point is.
fn spot(text: &str, bit: &str, area: Option<Area>, is_register: bool) -> Result<Spot, &'static str> {
    let (text, bit) = match text.split_once('.') {
        Some((text, bit)) => (text.trim(), bit.trim()),
        None => (text, bit),
    };
    let found = match bit {
        "" => None,
        digits => Some(digits.parse().ok().filter(|bit| *bit < 16_u8).ok_or("the bit is not 0 to 15")?),
    };
    let at = |area: Area, start: Option<u32>, is_assumed: bool| {
        let start =
            start.and_then(|start| u16::try_from(start).ok()).ok_or("the number is not 0 to 65535")?;
        Ok(Spot { area, start, bit: found.filter(|_| !area.is_bits()), is_assumed })
    };
    let decimal = |digits: &str| {
        let is_number = (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u32>().ok().filter(|_| is_number)
    };
    if let Some((table, number)) = text.split_once([':', 'x', 'X']) {
        if let Some(area) = Area::from_word(table) {
            return at(area, decimal(number), false);
        }
        // `0x` is both coil and hexadecimal: coils have at least five digits, and none that is a letter.
        let modicon =
            Area::from_digit(table).filter(|_| table != "0" || text.contains(':') || number.len() >= 5);
        if let (Some(area), Some(number)) = (modicon, decimal(number)) {
            return at(area, number.checked_sub(1), false);
        }
    }
    let hexadecimal = text.strip_prefix("0x").or(text.strip_prefix("0X")).or(text.strip_suffix(['h', 'H']));
    if let Some(digits) = hexadecimal {
        let number = u32::from_str_radix(digits, 16).map_err(|_| "this is no hexadecimal number")?;
        return at(area.ok_or("it names no table")?, Some(number), false);
    }
    let number = decimal(text).ok_or("this is no address")?;
    let named = text.get(..1).and_then(Area::from_digit).filter(|_| text.len() >= 5);
    match (named, area) {
        (Some(named), None) => {
            at(named, text.get(1..).and_then(decimal).and_then(|number| number.checked_sub(1)), false)
        }
        // Zeros in front may be no more than zeros.
        (Some(named), Some(area)) if named == area && named != Area::Coil => {
            at(named, text.get(1..).and_then(decimal).and_then(|number| number.checked_sub(1)), false)
        }
        (_, Some(area)) if is_register => at(area, number.checked_sub(1), true),
        (_, Some(area)) => at(area, Some(number), true),
        (None, None) => Err("it names no table"),
    }
}

/// Usual names without anything but letters and digits, in small letters.
const COLUMNS: [(Column, &[&str]); 20] = [
    (
        Column::Name,
        &[
            "name",
            "label",
            "tag",
            "tagname",
            "variable",
            "point",
            "pointname",
            "signal",
            "parameter",
            "bezeichnung",
        ],
    ),
    (Column::Group, &["group", "category", "gruppe"]),
    (
        Column::Address,
        &[
            "address",
            "addr",
            "adresse",
            "modbusaddress",
            "startaddress",
            "registeraddress",
            "element",
            "startadresse",
        ],
    ),
    (
        Column::Register,
        &["register", "reg", "registernumber", "registernr", "modbusregister", "modicon", "modiconaddress"],
    ),
    (
        Column::Table,
        &[
            "function",
            "functioncode",
            "fc",
            "table",
            "registertype",
            "regtype",
            "area",
            "funktion",
            "funktionscode",
            "objecttype",
        ],
    ),
    (Column::Type, &["type", "datatype", "format", "dataformat", "sttype", "encoding", "typ", "datentyp"]),
    (
        Column::Count,
        &["count", "size", "length", "words", "registers", "quantity", "anzahl", "numberofregisters"],
    ),
    (Column::Order, &["order", "wordorder", "byteorder", "endian", "endianness"]),
    (Column::Swap, &["swap", "wordswap", "swapwords"]),
    (
        Column::Scale,
        &["scale", "factor", "multiplier", "gain", "scaling", "k", "faktor", "skalierung", "scalefactor"],
    ),
    (Column::Offset, &["offset", "q"]),
    (Column::Unit, &["unit", "units", "einheit", "engineeringunit", "engunit"]),
    (Column::Description, &["description", "comment", "beschreibung", "kommentar", "remark", "note", "text"]),
    (Column::Access, &["access", "rw", "action", "mode", "zugriff", "permission", "readwrite"]),
    (Column::Writable, &["writable", "writeable", "write"]),
    (Column::Device, &["unitid", "slave", "slaveid", "slaveaddress", "station", "stationnumber", "deviceid"]),
    (Column::Bit, &["bit", "bitnumber", "bitnr"]),
    (Column::Poll, &["poll", "pollinterval", "interval"]),
    (Column::Min, &["min", "minimum"]),
    (Column::Max, &["max", "maximum"]),
];

#[cfg(test)]
mod tests;
