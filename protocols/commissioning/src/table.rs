//! Tables of separated text: what is between separators, with its line.

use std::borrow::Cow;

use crate::error::Error;
use crate::imported::Place;

/// Cuts a text into rows. Quotation marks hold separators and line ends; within, a mark is written twice. A mark that
/// is not at the start of a cell is a character like any other: tools write inches that way.
pub(crate) struct Table<'a> {
    name: &'a str,
    text: &'a str,
    separator: char,
    at: usize,
    line: u32,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Cells<'a> {
    /// The line in which it begins.
    pub(crate) line: u32,
    cells: Vec<Cow<'a, str>>,
}

impl Cells<'static> {
    /// A row of a sheet.
    pub(crate) fn of(line: u32, cells: Vec<String>) -> Cells<'static> {
        Cells { line, cells: cells.into_iter().map(Cow::Owned).collect() }
    }
}

impl Cells<'_> {
    /// A cell without spaces around; empty if the row is shorter.
    pub(crate) fn get(&self, index: usize) -> &str {
        self.cells.get(index).map_or("", |cell| cell.trim())
    }

    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// All cells without spaces around.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.cells.iter().map(|cell| cell.trim())
    }

    /// Whether nothing stands in any of them.
    pub(crate) fn is_blank(&self) -> bool {
        self.iter().all(str::is_empty)
    }
}

impl<'a> Table<'a> {
    /// A table called `name` in messages.
    pub(crate) fn new(name: &'a str, text: &'a str, separator: char) -> Table<'a> {
        Table { name, text, separator, at: 0, line: 1 }
    }

    /// The next row; none behind the last one.
    pub(crate) fn next_row(&mut self) -> Result<Option<Cells<'a>>, Error> {
        if self.at >= self.text.len() {
            return Ok(None);
        }
        let mut row = Cells { line: self.line, cells: Vec::new() };
        loop {
            if row.cells.len() >= CELLS_MAX {
                return Err(Error::TooMuch {
                    place: Place::line(self.name, row.line),
                    what: "cells in a row",
                    limit: CELLS_MAX as u64,
                    remedy: "check that the separators are those of a table",
                });
            }
            row.cells.push(self.next_cell()?);
            let rest = &self.text[self.at..];
            if let Some(rest) = rest.strip_prefix(self.separator) {
                self.at = self.text.len() - rest.len();
                continue;
            }
            let rest = rest.strip_prefix('\r').unwrap_or(rest);
            let rest = rest.strip_prefix('\n').unwrap_or(rest);
            self.at = self.text.len() - rest.len();
            self.line = self.line.saturating_add(1);
            return Ok(Some(row));
        }
    }

    fn next_cell(&mut self) -> Result<Cow<'a, str>, Error> {
        let rest = &self.text[self.at..];
        let Some(quoted) = rest.strip_prefix('"') else {
            return Ok(self.plain().into());
        };
        let mut cell = Cow::Borrowed("");
        let mut left = quoted;
        loop {
            let Some((before, after)) = left.split_once('"') else {
                let remedy =
                    "close it, or export the file again; within a cell a quotation mark is written twice";
                let place = Place::line(self.name, self.line);
                return Err(Error::malformed(place, "a quotation mark is not closed", remedy));
            };
            cell += before;
            let Some(more) = after.strip_prefix('"') else {
                left = after;
                break;
            };
            cell += "\"";
            left = more;
        }
        let lines = cell.matches('\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at = self.text.len() - left.len();
        // What follows a closed mark belongs to the cell, as spreadsheets have it.
        let behind = self.plain();
        if !behind.trim().is_empty() {
            cell += behind;
        }
        Ok(cell)
    }

    /// Up to the next separator or line end.
    fn plain(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let end = rest.find([self.separator, '\n', '\r']).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}

/// The separator of a table: that of tab, semicolon and comma which the first line that has one has most often outside
/// of quotation marks. A file without any has a comma.
pub(crate) fn separator_of(text: &str) -> char {
    for line in text.lines().take(SEPARATOR_LINES_MAX) {
        let mut counts = [('\t', 0_usize), (';', 0), (',', 0)];
        let mut is_quoted = false;
        for letter in line.chars() {
            if letter == '"' {
                is_quoted = !is_quoted;
            } else if !is_quoted {
                counts
                    .iter_mut()
                    .filter(|(separator, _)| *separator == letter)
                    .for_each(|(_, count)| *count += 1);
            }
        }
        // The first of equals: a tab is hardly ever part of a text, a comma often.
        let most = counts.iter().map(|(_, count)| *count).max().unwrap_or(0);
        if most > 0 {
            return counts.iter().find(|(_, count)| *count == most).map_or(',', |(separator, _)| *separator);
        }
    }
    ','
}

const CELLS_MAX: usize = 1024;
const SEPARATOR_LINES_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<(u32, Vec<String>)>, Error> {
        let mut table = Table::new("t.csv", text, separator_of(text));
        let mut rows = Vec::new();
        while let Some(row) = table.next_row()? {
            rows.push((row.line, row.iter().map(str::to_owned).collect()));
        }
        Ok(rows)
    }

    #[test]
    fn quoted_cells_hold_separators_line_ends_and_marks() {
        let found = rows("a;\"b;\"\"c\"\"\r\nd\";e\r\n;;\n\"x\" ;3\" pipe").unwrap();
        let expected =
            [(1, vec!["a", "b;\"c\"\r\nd", "e"]), (3, vec!["", "", ""]), (4, vec!["x", "3\" pipe"])];
        assert_eq!(found.len(), 3);
        for ((line, cells), (expected_line, expected_cells)) in found.into_iter().zip(expected) {
            assert_eq!(
                (line, cells),
                (expected_line, expected_cells.into_iter().map(str::to_owned).collect())
            );
        }
    }

    #[test]
    fn a_mark_that_is_not_closed_is_an_error_with_its_line() {
        let error = rows("a,b\nc,\"d\n").unwrap_err().to_string();
        assert!(error.starts_with("t.csv:2: a quotation mark is not closed"), "{error}");
    }

    #[test]
    fn the_separator_is_found_outside_of_quotation_marks() {
        for (text, separator) in
            [("a\tb;c", '\t'), ("\"a,b,c\";d", ';'), ("# note\na,b", ','), ("alone", ','), ("", ',')]
        {
            assert_eq!(separator_of(text), separator, "{text}");
        }
    }
}
