//! Reads the entries of a file one after the other, and finds the next one behind damage.

use std::fs::File;
use std::io;

use twinhub_model::Position;

use super::segment::{ENTRY_HEADER_BYTES, is_intact, parse_entry};
use crate::medium::read_at;

/// What stands at a place of the file.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    Entry {
        position: Position,
        offset: u64,
        body: &'a [u8],
    },
    /// Bytes that are no entry; `resume` is where the next one stands.
    Damage {
        offset: u64,
        what: &'static str,
        resume: Option<u64>,
    },
    End,
}

#[derive(Debug)]
pub(crate) struct Scanner<'f> {
    file: &'f File,
    /// Bytes of the file from `base` on.
    buffer: Vec<u8>,
    base: u64,
    /// Where in the buffer the next entry begins.
    at: usize,
    end: u64,
    block_bytes: usize,
    last: Position,
}

enum Parsed {
    Entry(Position, usize),
    End,
    Bad(&'static str),
}

impl<'f> Scanner<'f> {
    /// Reads from `offset` to `end`; only entries behind `last` count.
    pub(crate) fn new(
        file: &'f File,
        offset: u64,
        end: u64,
        last: Position,
        block_bytes: usize,
    ) -> Scanner<'f> {
        Scanner { file, buffer: Vec::new(), base: offset, at: 0, end, block_bytes, last }
    }

    pub(crate) fn step(&mut self) -> io::Result<Step<'_>> {
        let offset = self.base + self.at as u64;
        match self.parse()? {
            Parsed::End => Ok(Step::End),
            Parsed::Entry(position, bytes) => {
                let start = self.at;
                self.at += bytes;
                self.last = position;
                Ok(Step::Entry { position, offset, body: &self.buffer[start + ENTRY_HEADER_BYTES..self.at] })
            }
            Parsed::Bad(what) => {
                let resume = self.find_next()?;
                Ok(Step::Damage { offset, what, resume })
            }
        }
    }

    /// Moves to the next intact entry.
    fn find_next(&mut self) -> io::Result<Option<u64>> {
        loop {
            self.at += 1;
            match self.parse()? {
                Parsed::Entry(..) => return Ok(Some(self.base + self.at as u64)),
                Parsed::End => return Ok(None),
                Parsed::Bad(_) => {}
            }
        }
    }

    fn parse(&mut self) -> io::Result<Parsed> {
        if !self.has(1)? {
            return Ok(Parsed::End);
        }
        if !self.has(ENTRY_HEADER_BYTES)? {
            return Ok(Parsed::Bad("the file ends within the header of a record"));
        }
        let header = self.buffer[self.at..].first_chunk().expect("has() was asked for these bytes");
        let Some((position, length)) = parse_entry(header) else {
            return Ok(Parsed::Bad("no record begins here"));
        };
        let bytes = ENTRY_HEADER_BYTES + length;
        if !self.has(bytes)? {
            return Ok(Parsed::Bad("the file ends within a record"));
        }
        if !is_intact(&self.buffer[self.at..self.at + bytes]) {
            return Ok(Parsed::Bad("a record does not fit its checksum"));
        }
        if position <= self.last {
            return Ok(Parsed::Bad("a record stands behind a later one"));
        }
        Ok(Parsed::Entry(position, bytes))
    }

    /// Whether `count` bytes follow; reads them if they do.
    fn has(&mut self, count: usize) -> io::Result<bool> {
        if self.buffer.len() - self.at >= count {
            return Ok(true);
        }
        if self.base + (self.at + count) as u64 > self.end {
            return Ok(false);
        }
        self.buffer.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let left = usize::try_from(self.end - self.base).unwrap_or(usize::MAX);
        let wanted = left.min(count.max(self.block_bytes));
        let mut have = self.buffer.len();
        self.buffer.resize(wanted, 0);
        while have < wanted {
            match read_at(self.file, &mut self.buffer[have..], self.base + have as u64) {
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.buffer.truncate(have);
        Ok(have >= count)
    }
}
