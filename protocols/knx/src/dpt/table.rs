//! The table of datapoint types.

mod enumeration;
mod flags;
mod float;
mod simple;
mod structured;

use super::DptId;
use super::number::Kind;
use super::structure::Layout;

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Definition {
    /// The main number.
    pub main: u16,
    /// The sub number; none for the row of the main number.
    pub sub: Option<u16>,
    /// The name of the standard.
    pub name: &'static str,
    /// The unit, empty if there is none.
    pub unit: &'static str,
    /// The smallest and the largest number that is sent, where it is narrower than the format.
    pub range: Option<(f64, f64)>,
    /// How it is on the wire.
    pub(super) format: Format,
}

/// How a type is on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Format {
    /// One bit.
    Bit,
    /// Two bits.
    Action,
    /// One character, ASCII only if true.
    Character(bool),
    /// A whole number.
    Integer(Kind),
    /// A whole number that stands for its multiple; one of them may stand for none.
    Scaled { kind: Kind, factor: f64, divisor: f64, none: Option<i64> },
    /// The float of two octets.
    Float16,
    /// The float of four octets.
    Float32,
    /// An octet.
    Enumeration,
    /// Six bits of an octet.
    Scene,
    /// 14 characters, ASCII only if true.
    Text14(bool),
    /// Characters up to a zero.
    Latin1,
    /// UTF-8 up to a zero.
    Utf8,
    /// Named fields.
    Fields(&'static Layout),
}

impl Definition {
    const fn main(main: u16, name: &'static str, format: Format) -> Definition {
        Definition { main, sub: None, name, unit: "", range: None, format }
    }
}

const fn row(main: u16, sub: u16, name: &'static str, unit: &'static str, format: Format) -> Definition {
    Definition { main, sub: Some(sub), name, unit, range: None, format }
}

const fn row_in(
    main: u16,
    sub: u16,
    name: &'static str,
    unit: &'static str,
    format: Format,
    min: f64,
    max: f64,
) -> Definition {
    Definition { main, sub: Some(sub), name, unit, range: Some((min, max)), format }
}

/// All rows.
pub fn definitions() -> impl Iterator<Item = &'static Definition> {
    [simple::ROWS, float::ROWS, enumeration::ROWS, flags::ROWS, structured::ROWS].into_iter().flatten()
}

/// The row of this number, else that of its main number.
pub(super) fn find(id: DptId) -> Option<&'static Definition> {
    let row = |sub| definitions().find(|row| row.main == id.main && row.sub == sub);
    row(id.sub).or_else(|| row(None))
}
