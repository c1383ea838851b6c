//! The formats, and one way to read them all.

use std::fmt;

use crate::error::Error;
use crate::group::Style;
use crate::imported::{Finding, Imported, Place, Project, Row, Severity};
use crate::path::Paths;
use crate::{ede, esf, ets_csv, knxproj, modbus_csv, netx};

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// What the command line calls it.
    pub id: &'static str,
    /// What it is, in a line.
    pub what: &'static str,
    /// How names of such files end, in small letters and without the dot.
    pub extensions: &'static [&'static str],
}

/// A file: its name as messages show it, and its bytes.
pub type File<'a> = (&'a str, &'a [u8]);

/// What the caller may say. It is shown without the password.
#[derive(Clone, Default)]
pub struct Options {
    /// The password of a protected project.
    pub password: Option<String>,
    /// How much is too much.
    pub limits: Limits,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        f.debug_struct("Options").field("password", &password).field("limits", &self.limits).finish()
    }
}

/// How much is too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub rows_max: usize,
    /// Findings that are kept; more are only counted.
    pub findings_max: usize,
    /// Bytes of all files as they come in.
    pub input_bytes_max: u64,
    /// Bytes of one file of an archive when it is unpacked.
    pub unpacked_file_bytes_max: u64,
    /// Bytes of all files of an archive that are unpacked.
    pub unpacked_bytes_max: u64,
    /// Elements of an XML file within each other.
    pub depth_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            rows_max: 200_000,
            findings_max: 10_000,
            input_bytes_max: 256 << 20,
            unpacked_file_bytes_max: 512 << 20,
            unpacked_bytes_max: 2 << 30,
            depth_max: 256,
        }
    }
}

/// The formats, in the order in which help texts show them.
pub fn formats() -> &'static [Format] {
    &FORMATS
}

/// Reads files of a format.
///
/// # Errors
/// [`Error`], if the files are not of that format, too large, damaged, or protected.
pub fn read(format: &str, files: &[File<'_>], options: &Options) -> Result<Imported, Error> {
    let Some(place) = FORMATS.iter().position(|known| known.id == format) else {
        let known: Vec<&str> = FORMATS.iter().map(|known| known.id).collect();
        return Err(Error::UnknownFormat { id: format.to_owned(), known: known.join(", ") });
    };
    let mut bytes = 0_u64;
    for (name, content) in files {
        bytes = bytes.saturating_add(content.len() as u64);
        if bytes > options.limits.input_bytes_max {
            return Err(Error::TooMuch {
                place: Place::file(name),
                what: "the size of the files in bytes",
                limit: options.limits.input_bytes_max,
                remedy: "check that it is the right file",
            });
        }
    }
    READERS[place](files, options)
}

/// What a reader gathers.
#[derive(Debug)]
pub(crate) struct Collector {
    limits: Limits,
    paths: Paths,
    imported: Imported,
}

impl Collector {
    pub(crate) fn new(options: &Options) -> Collector {
        Collector { limits: options.limits, paths: Paths::default(), imported: Imported::default() }
    }

    /// What is said of the project.
    pub(crate) fn project(&mut self) -> &mut Project {
        &mut self.imported.project
    }

    /// How the project writes group addresses; the first one that is seen counts.
    pub(crate) fn style_of(&mut self, style: Style) {
        let known = &mut self.imported.project.group_style;
        if known.is_empty() {
            style.word().clone_into(known);
        }
    }

    pub(crate) fn note(&mut self, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.find(Severity::Note, place, what.into(), remedy.into());
    }

    pub(crate) fn warn(&mut self, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.find(Severity::Warning, place, what.into(), remedy.into());
    }

    pub(crate) fn error(&mut self, place: Place, what: impl Into<String>, remedy: impl Into<String>) {
        self.find(Severity::Error, place, what.into(), remedy.into());
    }

    fn find(&mut self, severity: Severity, place: Place, what: String, remedy: String) {
        if self.imported.findings.len() < self.limits.findings_max {
            self.imported.findings.push(Finding { severity, place, what, remedy });
        } else {
            self.imported.findings_left_out += 1;
        }
    }

    /// Takes a row, whose path is made of these names.
    pub(crate) fn row(&mut self, place: &Place, names: &[&str], mut row: Row) -> Result<(), Error> {
        if self.imported.rows.len() >= self.limits.rows_max {
            return Err(Error::TooMuch {
                place: place.clone(),
                what: "the number of rows",
                limit: self.limits.rows_max as u64,
                remedy: "split the project",
            });
        }
        let made = self.paths.make(names, &row.address);
        if !made.changes.is_empty() {
            let what = format!("the path is `{}`: {}", made.path, made.changes.join(", "));
            self.note(place.clone(), what, "rename it in the source, or in the items file after the import");
        }
        row.path = made.path;
        self.imported.rows.push(row);
        Ok(())
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.imported.rows.len()
    }

    pub(crate) fn finish(mut self) -> Imported {
        self.imported.rows.shrink_to_fit();
        self.imported
    }
}

/// The only file of a format that has one.
pub(crate) fn only<'a>(files: &[File<'a>], what: &'static str) -> Result<File<'a>, Error> {
    match files {
        [] => Err(Error::NoFile { what }),
        [file] => Ok(*file),
        _ => Err(Error::TooManyFiles { count: files.len(), what }),
    }
}

type Reader = fn(&[File<'_>], &Options) -> Result<Imported, Error>;

const FORMATS: [Format; 6] = [
    Format {
        id: "knxproj",
        what: "project of ETS 4, 5 or 6, also with a password",
        extensions: &["knxproj"],
    },
    Format {
        id: "ets-csv",
        what: "group addresses as the ETS exports them to CSV or XML",
        extensions: &["csv", "txt", "xml"],
    },
    Format {
        id: "esf",
        what: "OPC export of the ETS, with sizes instead of datapoint types",
        extensions: &["esf"],
    },
    Format {
        id: "ede",
        what: "EDE object list of BACnet devices, with texts of states and units",
        extensions: &["csv", "xlsx"],
    },
    Format { id: "netx", what: "telegram definitions of a NETx server", extensions: &["dat", "csv", "txt"] },
    Format {
        id: "modbus-csv",
        what: "point list of a Modbus device, in the notations of manufacturers",
        extensions: &["csv", "txt"],
    },
];
/// In the same order.
const READERS: [Reader; FORMATS.len()] =
    [knxproj::read, ets_csv::read, esf::read, ede::read, netx::read, modbus_csv::read];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_its_id_and_wants_a_file() {
        for format in formats() {
            let error = read(format.id, &[], &Options::default()).unwrap_err();
            assert!(matches!(error, Error::NoFile { .. }), "{}: {error}", format.id);
        }
        let error = read("ets", &[], &Options::default()).unwrap_err().to_string();
        assert_eq!(error, "`ets` is no format; write one of knxproj, ets-csv, esf, ede, netx, modbus-csv");
    }

    #[test]
    fn options_are_shown_without_the_password() {
        let options = Options { password: Some("secret".to_owned()), ..Options::default() };
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn findings_beyond_the_limit_are_counted() {
        let limits = Limits { findings_max: 2, ..Limits::default() };
        let text = b"Name;Address
a;1/2/3
b;1/2/4
c;1/2/5
"
        .as_slice();
        let imported = read("ets-csv", &[("x", text)], &Options { password: None, limits }).unwrap();
        assert_eq!((imported.findings.len(), imported.findings_left_out, imported.rows.len()), (2, 2, 3));
    }
}
