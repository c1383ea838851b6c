//! Thrift's compact protocol, as far as a Parquet file needs it: writing.

use crate::bytes::{put_i64, put_sized, put_u64};

pub(super) const FIELD_STOP: u8 = 0;
const TRUE: u8 = 1;
const INT: u8 = 5;
const LONG: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Writes one struct and those inside; fields come with rising numbers.
pub(super) struct Compact<'a> {
    out: &'a mut Vec<u8>,
    last: i16,
    outer: Vec<i16>,
}

impl<'a> Compact<'a> {
    pub(super) const fn new(out: &'a mut Vec<u8>) -> Compact<'a> {
        Compact { out, last: 0, outer: Vec::new() }
    }

    pub(super) fn int(&mut self, field: i16, value: i64) {
        self.field(field, INT);
        put_i64(self.out, value);
    }

    pub(super) fn long(&mut self, field: i16, value: u64) {
        self.field(field, LONG);
        put_i64(self.out, value.cast_signed());
    }

    pub(super) fn text(&mut self, field: i16, text: &str) {
        self.field(field, BINARY);
        put_sized(self.out, text.as_bytes());
    }

    pub(super) fn truth(&mut self, field: i16) {
        self.field(field, TRUE);
    }

    pub(super) fn begin(&mut self, field: i16) {
        self.field(field, STRUCT);
        self.element();
    }

    /// A struct of a list begins.
    pub(super) fn element(&mut self) {
        self.outer.push(self.last);
        self.last = 0;
    }

    pub(super) fn end(&mut self) {
        self.out.push(FIELD_STOP);
        self.last = self.outer.pop().unwrap_or(0);
    }

    pub(super) fn list(&mut self, field: i16, kind: u8, length: usize) {
        self.field(field, LIST);
        match u8::try_from(length) {
            Ok(length) if length < 15 => self.out.push(length << 4 | kind),
            Ok(_) | Err(_) => {
                self.out.push(0xf0 | kind);
                put_u64(self.out, length as u64);
            }
        }
    }

    pub(super) fn bare_int(&mut self, value: i64) {
        put_i64(self.out, value);
    }

    pub(super) fn bare_text(&mut self, text: &str) {
        put_sized(self.out, text.as_bytes());
    }

    fn field(&mut self, field: i16, kind: u8) {
        // No struct here has numbers that are further apart than a nibble tells.
        let step = u8::try_from(field - self.last).unwrap_or(0) & 0x0f;
        self.out.push(step << 4 | kind);
        self.last = field;
    }
}
