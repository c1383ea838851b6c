//! Rows as EDE files.

use std::collections::BTreeMap;

use super::names;
use crate::imported::{Access, Finding, Place, Project, Row, Severity};
use crate::text::one_line;

/// The files, and what could not be written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ede {
    /// The object list (`…_EDE.csv`).
    pub objects: String,
    /// The texts of states (`…_StateTexts.csv`); empty if no row has any.
    pub state_texts: String,
    /// Rows and units that the format cannot hold.
    pub findings: Vec<Finding>,
}

/// Writes rows in layout 2.3. Of the project, name, devices and time of the last change are taken.
pub fn write(rows: &[Row], project: &Project) -> Ede {
    let mut ede = Ede::default();
    let mut states: BTreeMap<String, usize> = BTreeMap::new();
    let head: [&[&str]; 8] = [
        &["# Engineering-Data-Exchange - B.I.G.-EU"],
        &["PROJECT_NAME", &project.name],
        &["VERSION_OF_REFERENCEFILE", "1"],
        &["TIMESTAMP_OF_LAST_CHANGE", &project.last_modified],
        &["AUTHOR_OF_LAST_CHANGE", AUTHOR],
        &["VERSION_OF_LAYOUT", "2.3"],
        &KINDS,
        &COLUMNS,
    ];
    for cells in head {
        line(&mut ede.objects, cells);
    }
    for device in &project.devices {
        let instance = device.address.as_str();
        let name = if device.name.is_empty() { instance } else { &device.name };
        let mut cells = [""; COLUMNS.len()];
        cells[..6].copy_from_slice(&[name, instance, name, "8", instance, &device.description]);
        line(&mut ede.objects, &cells);
    }
    for row in rows {
        object(row, &mut states, &mut ede);
    }
    if !states.is_empty() {
        line(
            &mut ede.state_texts,
            &["# Reference Number", "Text 1 or Inactive-Text", "Text 2 or Active-Text"],
        );
        let mut listed: Vec<(&String, &usize)> = states.iter().collect();
        listed.sort_by_key(|(_, reference)| **reference);
        for (texts, reference) in listed {
            let reference = reference.to_string();
            let texts = texts.split('|').map(|text| text.split_once('=').map_or(text, |(_, text)| text));
            let cells: Vec<&str> = std::iter::once(reference.as_str()).chain(texts).collect();
            line(&mut ede.state_texts, &cells);
        }
    }
    ede
}

fn object(row: &Row, states: &mut BTreeMap<String, usize>, ede: &mut Ede) {
    let mut tell = |what: String, remedy: &str| {
        let place = Place { element: Some(row.path.clone()), ..Place::default() };
        ede.findings.push(Finding { severity: Severity::Warning, place, what, remedy: remedy.to_owned() });
    };
    let Some((device, kind, instance)) = parse(&row.address) else {
        let what =
            format!("`{}` is not the present value of an object, and is left out", one_line(&row.address));
        tell(what, "the format has objects only");
        return;
    };
    let unit = names::unit_code(&row.unit).filter(|_| !row.unit.is_empty());
    if unit.is_none() && !row.unit.is_empty() {
        tell(
            format!("the unit `{}` has no code that is known, and is left out", row.unit),
            "write its code by hand",
        );
    }
    let next = states.len() + 1;
    let reference = Some(row.cell("states")).filter(|texts| !texts.is_empty());
    let reference = reference.map(|texts| states.entry(texts.to_owned()).or_insert(next).to_string());
    let own = row.path.rsplit('/').next().unwrap_or_default();
    let name = Some(row.cell("object_name")).filter(|name| !name.is_empty()).unwrap_or(own);
    let numbers = [device, kind, instance].map(|number| number.to_string());
    let unit = unit.map(|code| code.to_string()).unwrap_or_default();
    let mut cells = [""; COLUMNS.len()];
    cells[..6].copy_from_slice(&[&row.path, &numbers[0], name, &numbers[1], &numbers[2], &row.description]);
    cells[9] = if row.access == Access::Read { "N" } else { "Y" };
    cells[10] = if row.cell("mode") == "poll" { "N" } else { "Y" };
    cells[13] = reference.as_deref().unwrap_or_default();
    cells[14] = &unit;
    line(&mut ede.objects, &cells);
}

/// Device, type and instance of `DEVICE/TYPE:INSTANCE`.
fn parse(address: &str) -> Option<(u32, u32, u32)> {
    let (device, object) = address.split_once('/')?;
    let object = object.strip_suffix("/present-value").unwrap_or(object);
    let (kind, instance) = object.split_once([':', ','])?;
    let number = |text: &str| text.trim().parse().ok().filter(|number| *number <= super::INSTANCE_MAX);
    Some((number(device)?, names::type_number(kind.trim())?, number(instance)?))
}

fn line(out: &mut String, cells: &[&str]) {
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(';');
        }
        let cell = one_line(cell);
        if cell.contains([';', '"']) {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&cell);
        }
    }
    out.push_str("\r\n");
}

/// Who writes: by this name a reader knows that keynames are paths.
pub(super) const AUTHOR: &str = "Twinhub";
const COLUMNS: [&str; 16] = [
    "# keyname",
    "device obj.-instance",
    "object-name",
    "object-type",
    "object-instance",
    "description",
    "present-value-default",
    "min-present-value",
    "max-present-value",
    "settable",
    "supports COV",
    "hi-limit",
    "low-limit",
    "state-text-reference",
    "unit-code",
    "vendor-specific-address",
];
const KINDS: [&str; COLUMNS.len()] = [
    "# mandatory",
    "mandatory",
    "mandatory",
    "mandatory",
    "mandatory",
    "optional",
    "optional",
    "optional",
    "optional",
    "optional",
    "optional",
    "optional",
    "optional",
    "optional",
    "optional",
    "optional",
];
