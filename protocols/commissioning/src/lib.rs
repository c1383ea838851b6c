//! What engineering tools export, as rows of an items file.
//!
//! Bytes of files go in, rows and findings come out. There is no file system, clock or network here: whoever uses this
//! crate reads the files, and writes what it gets.
//!
//! - [`formats`] says what can be read, [`read`] reads it: [`Imported`] has the rows, what was noticed, and what the
//!   file says of its project;
//! - [`ede::write`] writes rows as EDE files;
//! - [`items`] reads and writes rows as the CSV of the hub;
//! - [`merge`](mod@merge) joins a new import with a list that was edited by hand since the last one;
//! - [`path`] holds the rule by which names become item paths.
//!
//! # Files from outside
//! Whatever a reader is given, it answers with rows or an [`Error`]; it never panics. [`Limits`] bounds what is
//! unpacked, how many rows there may be and how many findings are kept; what goes beyond ends the import, except for
//! findings, which are counted.
//!
//! # Where the knowledge of the formats comes from
//! Each reader's module says it. None of these formats but KNX's project schema and EDE has a public specification.
#![warn(missing_docs)]

mod dpt;
pub mod ede;
pub mod error;
mod esf;
mod ets_csv;
mod ets_xml;
pub mod format;
mod group;
pub mod imported;
pub mod items;
mod knxproj;
pub mod merge;
mod modbus_csv;
mod netx;
pub mod path;
mod table;
mod text;
mod xlsx;
mod xml;
mod zip;

pub use error::Error;
pub use format::{File, Format, Limits, Options, formats, read};
pub use imported::{Access, Device, Finding, Imported, Place, Project, Row, Severity};
pub use merge::{Absent, Change, Merged, merge};
