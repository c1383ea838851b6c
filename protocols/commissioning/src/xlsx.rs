//! Sheets of a workbook (`.xlsx`, Office Open XML), as rows of text.
//!
//! Only what a table needs is read: names of sheets, texts, and numbers as they are stored, without formats; of a
//! formula its last result. Structure: ECMA-376 part 1, `SpreadsheetML`.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::imported::Place;
use crate::table::Cells;
use crate::text::decode;
use crate::xml::{Step, Xml};
use crate::zip::{Archive, Budget};

/// A sheet.
#[derive(Debug)]
pub(crate) struct Sheet {
    /// Its name on the tab.
    pub(crate) name: String,
    /// Its rows, with the numbers that the program shows.
    pub(crate) rows: Vec<Cells<'static>>,
}

/// Whether bytes may be a workbook: it is a ZIP archive.
pub(crate) fn is_workbook(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Reads all sheets.
pub(crate) fn read(name: &str, bytes: &[u8], budget: &mut Budget) -> Result<Vec<Sheet>, Error> {
    let archive = Archive::open(name, bytes)?;
    let mut targets = BTreeMap::new();
    walk(&archive, "xl/_rels/workbook.xml.rels", budget, |element, xml, start| {
        if element == "Relationship" && start {
            targets.insert(xml.attribute("Id"), xml.attribute("Target"));
        }
        Ok(())
    })?;
    let mut listed = Vec::new();
    walk(&archive, "xl/workbook.xml", budget, |element, xml, start| {
        if element == "sheet" && start {
            listed.push((xml.attribute("name"), xml.attribute("id")));
        }
        Ok(())
    })?;
    let texts = shared(&archive, budget)?;
    let mut sheets = Vec::new();
    for (name, id) in listed {
        let Some(target) = targets.get(&id) else { continue };
        let path = target.strip_prefix('/').map_or_else(|| format!("xl/{target}"), str::to_owned);
        let rows = rows(&archive, &path, &texts, budget)?;
        sheets.push(Sheet { name, rows });
    }
    Ok(sheets)
}

/// An element with its attributes and the text within it.
struct Here {
    attributes: crate::xml::Attributes,
    text: String,
    place: Place,
}

impl Here {
    /// An attribute, with or without the prefix of a name space.
    fn attribute(&self, name: &str) -> String {
        self.attributes.find_local(name).unwrap_or_default().to_owned()
    }
}

/// Hands over starts (with attributes) and ends (with text) of all elements.
fn walk(
    archive: &Archive<'_>,
    path: &str,
    budget: &mut Budget,
    mut take: impl FnMut(&str, &Here, bool) -> Result<(), Error>,
) -> Result<(), Error> {
    let bytes = archive.unpack(path, None, budget)?;
    let (text, _) = decode(&bytes);
    let name = archive.place(path);
    let mut xml = Xml::new(&name, &text, budget.limits().depth_max).with_text();
    let mut open: Vec<String> = Vec::new();
    while let Some(step) = xml.step()? {
        match step {
            Step::Start(element) => {
                let found = element.name().into_owned();
                let here = Here {
                    attributes: xml.attributes(&element)?,
                    text: String::new(),
                    place: Place::file(&name),
                };
                take(&found, &here, true)?;
                open.push(found);
            }
            Step::End => {
                let found = open.pop().unwrap_or_default();
                let here = Here {
                    attributes: crate::xml::Attributes::default(),
                    text: xml.take_text(),
                    place: Place::file(&name),
                };
                take(&found, &here, false)?;
            }
        }
    }
    Ok(())
}

/// Texts that cells refer to; of a text in several styles all parts, but not how it is pronounced.
fn shared(archive: &Archive<'_>, budget: &mut Budget) -> Result<Vec<String>, Error> {
    let mut texts: Vec<String> = Vec::new();
    if !archive.has(SHARED) {
        return Ok(texts);
    }
    let mut is_sound = false;
    walk(archive, SHARED, budget, |element, here, start| {
        match (element, start) {
            ("si", true) => texts.push(String::new()),
            ("rPh", _) => is_sound = start,
            ("t", false) if !is_sound => {
                if let Some(last) = texts.last_mut() {
                    last.push_str(&here.text);
                }
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(texts)
}

fn rows(
    archive: &Archive<'_>,
    path: &str,
    texts: &[String],
    budget: &mut Budget,
) -> Result<Vec<Cells<'static>>, Error> {
    let mut rows: Vec<(u32, Vec<String>)> = Vec::new();
    let (mut column, mut kind, mut value) = (0, String::new(), String::new());
    let (mut cells, mut bytes) = (0_usize, 0_usize);
    walk(archive, path, budget, |element, here, start| {
        match (element, start) {
            ("row", true) => {
                let next = rows.last().map_or(1, |(line, _)| line.saturating_add(1));
                rows.push((here.attribute("r").parse().unwrap_or(next), Vec::new()));
            }
            ("c", true) => {
                let next = rows.last().map_or(0, |(_, row)| row.len());
                column = column_of(&here.attribute("r")).unwrap_or(next);
                kind = here.attribute("t");
                value.clear();
            }
            ("v" | "t", false) => value.push_str(&here.text),
            ("c", false) => {
                let text = match kind.as_str() {
                    "s" => value
                        .trim()
                        .parse()
                        .ok()
                        .and_then(|at: usize| texts.get(at))
                        .cloned()
                        .unwrap_or_default(),
                    _ => std::mem::take(&mut value),
                };
                let Some((_, row)) = rows.last_mut() else { return Ok(()) };
                cells += column.saturating_sub(row.len()) + 1;
                bytes += text.len();
                if column >= COLUMNS_MAX || cells > CELLS_MAX || bytes > BYTES_MAX {
                    return Err(Error::TooMuch {
                        place: here.place.clone(),
                        what: "the size of the sheet in cells",
                        limit: CELLS_MAX as u64,
                        remedy: "remove what is not part of the table, or save it as CSV",
                    });
                }
                row.resize(row.len().max(column + 1), String::new());
                row[column] = text;
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(rows.into_iter().map(|(line, cells)| Cells::of(line, cells)).collect())
}

/// `C7` is in column 2.
fn column_of(reference: &str) -> Option<usize> {
    let letters = reference.bytes().take_while(u8::is_ascii_uppercase);
    let number = letters.take(4).fold(0, |number, letter| number * 26 + usize::from(letter - b'A') + 1);
    number.checked_sub(1)
}

const SHARED: &str = "xl/sharedStrings.xml";
const COLUMNS_MAX: usize = 1024;
const CELLS_MAX: usize = 4_000_000;
/// Of all texts of a sheet: a shared one counts wherever it is.
const BYTES_MAX: usize = 128 << 20;
