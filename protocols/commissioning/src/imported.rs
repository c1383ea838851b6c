//! What an import hands out.

use std::collections::BTreeMap;
use std::fmt;

/// What was read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Imported {
    /// The rows; the same files give the same rows in the same order.
    pub rows: Vec<Row>,
    /// What was noticed, in the order in which it was.
    pub findings: Vec<Finding>,
    /// How many more findings there were than [`Limits::findings_max`](crate::Limits::findings_max).
    pub findings_left_out: usize,
    /// What the file says of the project.
    pub project: Project,
}

/// A row of an items file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Its name within its interface.
    pub path: String,
    /// The address as the plugin of the interface reads it.
    pub address: String,
    /// The type; empty if the plugin decides.
    pub type_name: String,
    /// Which way values go.
    pub access: Access,
    /// The unit, empty if there is none.
    pub unit: String,
    /// The description.
    pub description: String,
    /// Columns of the plugin and of the hub beyond these, by name; none of them empty.
    pub columns: BTreeMap<String, String>,
}

impl Row {
    /// Sets a column, unless the text is empty.
    pub fn set(&mut self, column: &str, text: impl Into<String>) {
        let text = text.into();
        if !text.is_empty() {
            self.columns.insert(column.to_owned(), text);
        }
    }

    /// A column's text, whichever column it is; empty if there is none.
    pub fn cell(&self, column: &str) -> &str {
        match column {
            "path" => &self.path,
            "address" => &self.address,
            "type" => &self.type_name,
            "access" => self.access.word(),
            "unit" => &self.unit,
            "description" => &self.description,
            other => self.columns.get(other).map_or("", String::as_str),
        }
    }
}

/// Which way values go, seen from the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Access {
    /// `r`
    Read,
    /// `w`
    Write,
    /// `rw`
    #[default]
    ReadWrite,
}

impl Access {
    /// As the items file has it.
    pub const fn word(self) -> &'static str {
        match self {
            Access::Read => "r",
            Access::Write => "w",
            Access::ReadWrite => "rw",
        }
    }

    /// From the word of an items file.
    pub fn from_word(word: &str) -> Option<Access> {
        [Access::Read, Access::Write, Access::ReadWrite].into_iter().find(|access| access.word() == word)
    }

    /// From what is possible; neither of both counts as both, since nothing is known.
    pub(crate) const fn from_ways(is_read: bool, is_written: bool) -> Access {
        match (is_read, is_written) {
            (true, false) => Access::Read,
            (false, true) => Access::Write,
            (true, true) | (false, false) => Access::ReadWrite,
        }
    }
}

/// Something that was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What it is.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}; {}", self.severity.word(), self.place, self.what, self.remedy)
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing to do; good to know.
    Note,
    /// A guess was made, or the row has to be completed.
    Warning,
    /// Something of the file is not among the rows.
    Error,
}

impl Severity {
    /// `note`, `warning` or `error`.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Where something is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// The file; one within an archive follows behind `!`.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<u32>,
    /// The element of an XML file, or the cell of a sheet.
    pub element: Option<String>,
}

impl Place {
    /// A whole file.
    pub fn file(file: &str) -> Place {
        Place { file: file.to_owned(), line: None, element: None }
    }

    /// A line of a file.
    pub fn line(file: &str, line: u32) -> Place {
        Place { file: file.to_owned(), line: Some(line), element: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(element) = &self.element {
            write!(f, " ({element})")?;
        }
        Ok(())
    }
}

/// What a file says of its project; what it does not say is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Project {
    /// The project's name.
    pub name: String,
    /// How group addresses are written: `three-level`, `two-level` or `free`.
    pub group_style: String,
    /// Version of the file's schema or layout.
    pub schema_version: String,
    /// The program that wrote the file.
    pub tool: String,
    /// When the project was last changed, as the file says it.
    pub last_modified: String,
    /// Devices, in the order of their addresses.
    pub devices: Vec<Device>,
}

/// A device of the project.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Device {
    /// Individual address, or instance of a BACnet device.
    pub address: String,
    /// Its name in the project.
    pub name: String,
    /// Who made it.
    pub manufacturer: String,
    /// What is ordered to get one.
    pub order_number: String,
    /// What the project says of it.
    pub description: String,
    /// Building parts from the outside to the inside, joined by `/`.
    pub location: String,
}
