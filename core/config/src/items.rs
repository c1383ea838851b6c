//! Items files: CSV (RFC 4180) in both directions.
//!
//! The reader is this crate's own because every fault has to show its cell, which needs the place of each cell in
//! the text; what is written is read back by an independent reader in the tests.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use twinhub_model::ItemKey;

use crate::diagnostic::{Diagnostic, Failure, Severity, Source, with_nearest};
use crate::site::{Access, Item};

/// Columns of every items file, whatever the plugin.
pub const OWN_COLUMNS: [&str; 9] =
    ["path", "address", "type", "access", "unit", "description", "edge", "non_idempotent", "historize"];

/// Columns that make alarms of an item's limits, whatever the plugin, which does not see them.
pub const ALARM_COLUMNS: [&str; 11] = [
    "alarm_high_high",
    "alarm_high",
    "alarm_low",
    "alarm_low_low",
    "alarm_equals",
    "alarm_bad_quality",
    "alarm_deadband",
    "alarm_delay",
    "alarm_priority",
    "alarm_text",
    "alarm_area",
];

/// Reads the items of `interface` from a file called `name` in messages.
///
/// # Errors
/// [`Failure`] with everything that is wrong.
pub fn parse_csv(interface: &str, name: &str, bytes: &[u8]) -> Result<Vec<Item>, Failure> {
    let mut found = Vec::new();
    let items = read(interface, name, bytes, &mut found);
    if found.iter().any(|found| found.severity == Severity::Error) {
        Err(Failure::new(found))
    } else {
        Ok(items)
    }
}

/// Writes items as [`parse_csv`] reads them; all have to be of one interface.
pub fn write_csv(items: &[Item]) -> String {
    let columns: BTreeSet<&str> =
        items.iter().flat_map(|item| item.columns.iter().map(|(name, _)| &**name)).collect();
    let flags: [Flag; 3] = [
        ("edge", |item| item.edge),
        ("non_idempotent", |item| item.non_idempotent),
        ("historize", |item| item.historize),
    ];
    let flags: Vec<_> = flags.into_iter().filter(|(_, flag)| items.iter().any(flag)).collect();
    let mut out = String::from("path,address,type,access,unit,description");
    for (name, _) in &flags {
        out.push(',');
        out.push_str(name);
    }
    for column in &columns {
        out.push(',');
        cell(&mut out, column);
    }
    out.push('\n');
    for item in items {
        let fixed = [
            item.key.path(),
            &item.address,
            &item.type_name,
            item.access.word(),
            &item.unit,
            &item.description,
        ];
        for (index, text) in fixed.into_iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            cell(&mut out, text);
        }
        for (_, flag) in &flags {
            out.push_str(if flag(item) { ",true" } else { "," });
        }
        for column in &columns {
            out.push(',');
            cell(&mut out, item.column(column));
        }
        out.push('\n');
    }
    out
}

fn cell(out: &mut String, text: &str) {
    let is_plain = !text.contains([',', '"', '\n', '\r'])
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace);
    if is_plain {
        out.push_str(text);
        return;
    }
    out.push('"');
    for part in text.split_inclusive('"') {
        out.push_str(part);
        if part.ends_with('"') {
            out.push('"');
        }
    }
    out.push('"');
}

/// A column of `true` or nothing.
type Flag = (&'static str, fn(&Item) -> bool);

/// The same as [`parse_csv`], with faults added to `found`.
pub(crate) fn read(interface: &str, name: &str, bytes: &[u8], found: &mut Vec<Diagnostic>) -> Vec<Item> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(error) => {
            let at = error.valid_up_to();
            let source = Source::new(name, String::from_utf8_lossy(bytes).into_owned());
            let help = "save the file as \"CSV UTF-8\"; the byte here is usually a letter of Windows-1252";
            found.push(
                Diagnostic::error(format!("the file is not UTF-8: byte 0x{:02x}", bytes[at]))
                    .at(&source, at..at + '\u{fffd}'.len_utf8(), "this is no character")
                    .help(help),
            );
            return Vec::new();
        }
    };
    let source = Source::new(name, text);
    Reader { interface, source: &source, found }.items()
}

struct Reader<'a> {
    interface: &'a str,
    source: &'a Source,
    found: &'a mut Vec<Diagnostic>,
}

/// One cell: its place with quotation marks, and its text.
struct Cell<'a> {
    span: Range<usize>,
    text: std::borrow::Cow<'a, str>,
}

/// Where the columns stand.
struct Columns {
    own: [Option<usize>; OWN_COLUMNS.len()],
    plugin: Vec<(usize, Arc<str>)>,
    count: usize,
}

impl Reader<'_> {
    fn error(&mut self, span: Range<usize>, message: String, label: &str, help: impl Into<String>) {
        if self.found.len() <= Failure::SHOWN_MAX * 10 {
            self.found.push(Diagnostic::error(message).at(self.source, span, label).help(help));
        }
    }

    fn items(mut self) -> Vec<Item> {
        let mut rows = Rows { text: self.source.text(), at: 0, line: 1 };
        let Some((_, header)) = rows.next_row(&mut Vec::new()) else {
            self.error(0..0, "the items file is empty".to_owned(), "", format!("write the header {HEADER}"));
            return Vec::new();
        };
        let Some(columns) = self.header(&header) else { return Vec::new() };
        let mut items: Vec<Item> = Vec::new();
        let mut lines: HashMap<ItemKey, u32> = HashMap::new();
        let mut broken = Vec::new();
        while let Some((line, row)) = rows.next_row(&mut broken) {
            for (span, message, help) in broken.drain(..) {
                self.error(span, message, "here", help);
            }
            if row.len() == 1 && row[0].text.is_empty() {
                continue;
            }
            if items.len() >= ITEMS_MAX {
                self.error(
                    row[0].span.clone(),
                    format!("more than {ITEMS_MAX} items"),
                    "too many",
                    "split the interface",
                );
                break;
            }
            let Some(item) = self.item(&columns, &row, line) else { continue };
            if let Some(first) = lines.insert(item.key.clone(), line) {
                let message = format!("item `{}` is there twice", item.key);
                let help = format!("it is in line {first} already; give one of them another path");
                self.error(row[columns.own[0].unwrap_or(0)].span.clone(), message, "again", help);
                lines.insert(item.key.clone(), first);
                continue;
            }
            items.push(item);
        }
        for (span, message, help) in broken {
            self.error(span, message, "here", help);
        }
        items.shrink_to_fit();
        items
    }

    fn header(&mut self, header: &[Cell<'_>]) -> Option<Columns> {
        let mut columns = Columns { own: [None; OWN_COLUMNS.len()], plugin: Vec::new(), count: header.len() };
        let line = header.first().map_or(0..0, |first| first.span.start..header[header.len() - 1].span.end);
        if header.len() == 1 && (header[0].text.contains(';') || header[0].text.contains('\t')) {
            let message = "the cells are not separated by commas".to_owned();
            self.error(line, message, "", "save the file with the separator comma");
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut is_good = true;
        for (index, cell) in header.iter().enumerate() {
            let name = cell.text.trim();
            if !seen.insert(name.to_owned()) {
                let help = "remove one of the two columns";
                self.error(cell.span.clone(), format!("column `{name}` is there twice"), "again", help);
                is_good = false;
            } else if let Some(own) = OWN_COLUMNS.iter().position(|own| *own == name) {
                columns.own[own] = Some(index);
            } else if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
                let message = format!("column {} has no usable name", index + 1);
                self.error(cell.span.clone(), message, "here", "write the name of a column of the plugin");
                is_good = false;
            } else {
                columns.plugin.push((index, name.into()));
            }
        }
        for (own, name) in OWN_COLUMNS.iter().enumerate().take(REQUIRED_COLUMNS) {
            if columns.own[own].is_none() {
                let others = columns.plugin.iter().map(|(_, name)| &**name);
                let meant = crate::diagnostic::nearest(name, others)
                    .map(|meant| format!("`{meant}` may be meant; "))
                    .unwrap_or_default();
                let help = format!("{meant}write the header {HEADER} and the plugin's columns after it");
                self.error(line.clone(), format!("column `{name}` is missing"), "header", help);
                is_good = false;
            }
        }
        is_good.then_some(columns)
    }

    fn item(&mut self, columns: &Columns, row: &[Cell<'_>], line: u32) -> Option<Item> {
        if row.len() != columns.count {
            let span = row.first().map_or(0..0, |first| first.span.start..row[row.len() - 1].span.end);
            let message = format!("the row has {} cells, the header has {}", row.len(), columns.count);
            let help = if row.len() > columns.count {
                "put a cell that contains a comma into double quotes, or remove what is too much"
            } else {
                "write a comma for each empty cell"
            };
            self.error(span, message, "of the wrong length", help);
            return None;
        }
        let before = self.found.len();
        if let Some(long) = row.iter().find(|cell| cell.text.len() > CELL_BYTES_MAX) {
            let message = format!("a cell has {} bytes, the most is {CELL_BYTES_MAX}", long.text.len());
            let span = long.span.start..long.span.start + 1;
            self.error(span, message, "starts here", "a closing quotation mark may be missing");
            return None;
        }
        let own = |index: usize| columns.own[index].map(|at| &row[at]);
        let text = |index: usize| own(index).map_or("", |cell| cell.text.trim());
        let span = |index: usize| own(index).map_or(0..0, |cell| cell.span.clone());
        let key = self.key(text(0), span(0));
        let type_name = text(2);
        if !is_type(type_name) {
            let help = with_nearest(type_name, TYPES.iter().copied(), |names| {
                format!("write one of {names}, `string(n)`, a `dpt…`, or nothing: as the plugin decides")
            });
            self.error(span(2), format!("`{type_name}` is no type"), "not known", help);
        }
        let access = match text(3) {
            "r" => Access::Read,
            "w" => Access::Write,
            "rw" => Access::ReadWrite,
            other => {
                let help = "write `r` for reading, `w` for writing or `rw` for both";
                self.error(span(3), format!("`{other}` is no access"), "not known", help);
                Access::Read
            }
        };
        let edge = self.flag("edge", text(6), span(6));
        let non_idempotent = self.flag("non_idempotent", text(7), span(7));
        let historize = self.flag("historize", text(8), span(8));
        let mut plugin: Vec<(Arc<str>, String)> = columns
            .plugin
            .iter()
            .filter(|(at, _)| !row[*at].text.trim().is_empty())
            .map(|(at, name)| (Arc::clone(name), row[*at].text.trim().to_owned()))
            .collect();
        plugin.sort_unstable();
        let item = Item {
            key: key?,
            address: text(1).to_owned(),
            type_name: type_name.to_owned(),
            access,
            unit: text(4).to_owned(),
            description: text(5).to_owned(),
            columns: plugin,
            line,
            edge,
            non_idempotent,
            historize,
        };
        (self.found.len() == before).then_some(item)
    }

    fn key(&mut self, path: &str, span: Range<usize>) -> Option<ItemKey> {
        if path.is_empty() {
            self.error(
                span,
                "the item has no path".to_owned(),
                "empty",
                "write a name that is unique in this file",
            );
            return None;
        }
        if path.contains('*') {
            let help = "write a path without `*`: it stands for many items in links";
            self.error(span, format!("path `{path}` contains `*`"), "not possible", help);
            return None;
        }
        match ItemKey::new(self.interface, path) {
            Ok(key) => Some(key),
            Err(error) => {
                let help =
                    "write parts separated by `/`, without line ends, at most 512 bytes with the interface";
                self.error(span, error.to_string(), "no path", help);
                None
            }
        }
    }

    fn flag(&mut self, name: &str, text: &str, span: Range<usize>) -> bool {
        match text {
            "true" | "1" | "yes" => true,
            "" | "false" | "0" | "no" => false,
            other => {
                let help = "write `true` or `false`, or leave it empty";
                self.error(span, format!("`{other}` in column `{name}` is no flag"), "not known", help);
                false
            }
        }
    }
}

/// Cuts a text into rows and cells.
struct Rows<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

type Broken = (Range<usize>, String, &'static str);

impl<'a> Rows<'a> {
    /// The next row with its line; what breaks the rules of quotation goes into `broken`.
    fn next_row(&mut self, broken: &mut Vec<Broken>) -> Option<(u32, Vec<Cell<'a>>)> {
        if self.at >= self.text.len() {
            return None;
        }
        let line = self.line;
        let mut row = Vec::with_capacity(12);
        loop {
            row.push(self.next_cell(broken));
            match self.text.as_bytes().get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'\r') => {
                    self.at += 1 + usize::from(self.text.as_bytes().get(self.at + 1) == Some(&b'\n'));
                    break;
                }
                Some(_) => {
                    self.at += 1;
                    break;
                }
                None => break,
            }
        }
        self.line += 1;
        Some((line, row))
    }

    /// The next cell; stops at its comma, line end or the end of the text.
    fn next_cell(&mut self, broken: &mut Vec<Broken>) -> Cell<'a> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        if bytes.get(start) != Some(&b'"') {
            self.skip_to_end();
            let text = &self.text[start..self.at];
            return Cell { span: start..self.at, text: text.into() };
        }
        let mut text = String::new();
        let mut from = start + 1;
        loop {
            let Some(end) = self.text[from..].find('"').map(|at| from + at) else {
                let help =
                    "write the closing quotation mark; inside a cell a quotation mark is written twice";
                broken.push((start..start + 1, "the quotation mark is not closed".to_owned(), help));
                self.at = self.text.len();
                return Cell { span: start..self.at, text: text.into() };
            };
            text.push_str(&self.text[from..end]);
            self.line += u32::try_from(self.text[from..end].matches('\n').count()).unwrap_or(u32::MAX);
            if bytes.get(end + 1) != Some(&b'"') {
                self.at = end + 1;
                break;
            }
            text.push('"');
            from = end + 2;
        }
        let closed = self.at;
        self.skip_to_end();
        if !self.text[closed..self.at].trim().is_empty() {
            let help = "put the whole cell into quotation marks; inside, a quotation mark is written twice";
            broken.push((closed..self.at, "text follows a closing quotation mark".to_owned(), help));
        }
        Cell { span: start..self.at, text: text.into() }
    }

    fn skip_to_end(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|byte| matches!(byte, b',' | b'\n' | b'\r')).unwrap_or(rest.len());
    }
}

/// Whether a word is a type that some plugin can know.
fn is_type(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let sized = |prefix: &str| {
        lower
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix(')'))
            .is_some_and(|count| count.parse::<u16>().is_ok_and(|count| count > 0))
    };
    let is_dpt =
        ["dpst-", "dpt-", "dpt"].iter().find_map(|prefix| lower.strip_prefix(prefix)).is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit())
                && rest.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'))
        });
    text.is_empty()
        || TYPES.contains(&lower.as_str())
        || SHORT_TYPES.contains(&lower.as_str())
        || sized("string(")
        || sized("bytes(")
        || is_dpt
}

const HEADER: &str = "`path,address,type,access,unit,description`";
/// `path`, `address`, `type`, `access`.
const REQUIRED_COLUMNS: usize = 4;
const CELL_BYTES_MAX: usize = 4096;
const ITEMS_MAX: usize = 1_000_000;
const TYPES: [&str; 17] = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64",
    "bcd16", "bcd32", "string", "bytes", "time", "json",
];
const SHORT_TYPES: [&str; 19] = [
    "bit", "boolean", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "int", "float",
    "double", "number", "str", "text", "enum",
];
