//! Group addresses as the ETS exports them to CSV.
//!
//! The ETS offers the name in one or three columns, the address in one or three, a header or none, and tab, semicolon
//! or comma between. The header is in the language of the ETS. So columns are found by what stands in them: those of
//! the address first, names before them, and behind them "Central", "Unfiltered", description, datapoint type and
//! security, as far as there are that many (exports of ETS 4, 5 and 6 that integrators have published).
//!
//! A group above has `-` in the place of what is below it (`1/2/-`); in three columns these are empty.

use std::collections::BTreeMap;

use crate::dpt;
use crate::error::Error;
use crate::ets_xml;
use crate::format::{Collector, File, Options, only};
use crate::group::{self, Style};
use crate::imported::{Access, Imported, Place, Row};
use crate::table::{Cells, Table, separator_of};
use crate::text::decode;

/// Reads one file.
pub(crate) fn read(files: &[File<'_>], options: &Options) -> Result<Imported, Error> {
    let (name, bytes) = only(files, "give the CSV file that the ETS has exported")?;
    let (text, _) = decode(bytes);
    if text.trim_start().starts_with('<') {
        return ets_xml::read(name, &text, options);
    }
    let mut table = Table::new(name, &text, separator_of(&text));
    let mut rows = Vec::new();
    while let Some(row) = table.next_row()? {
        if !row.is_blank() {
            rows.push(row);
        }
    }
    let Some(layout) = Layout::find(&rows) else {
        let what = "no column has group addresses such as 1/2/3";
        let remedy = "export group addresses from the ETS as CSV, with the address in one or three columns";
        return Err(Error::malformed(Place::file(name), what, remedy));
    };
    let mut reader = Reader { name, layout, mains: BTreeMap::new(), middles: BTreeMap::new() };
    let mut collector = Collector::new(options);
    for (index, row) in rows.iter().enumerate() {
        reader.row(index, row, &mut collector)?;
    }
    without_flags(name, &mut collector);
    Ok(collector.finish())
}

/// Where things stand.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    /// The first column of the address; names are before it.
    address: usize,
    /// In how many columns the address is.
    width: usize,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Entry {
    Main(u16),
    Middle(u16, u16),
    Group(u16, Style),
}

struct Reader<'a> {
    name: &'a str,
    layout: Layout,
    mains: BTreeMap<u16, String>,
    middles: BTreeMap<(u16, u16), String>,
}

impl Layout {
    fn find(rows: &[Cells<'_>]) -> Option<Layout> {
        let with = |address, width| Layout { address, width };
        let has = |layout: Layout| rows.iter().any(|row| matches!(layout.entry(row), Some(Entry::Group(..))));
        let columns = rows.iter().map(Cells::len).max().unwrap_or(0).min(COLUMNS_SEARCHED);
        // With slashes nothing else can be meant; a number alone may also be part of an address, or a name.
        let slashed =
            (1..columns).find(|at| rows.iter().any(|row| has_slash(row.get(*at))) && has(with(*at, 1)));
        let split = || {
            let widths = [3, 2].into_iter();
            let mut places = widths.flat_map(|width| (1..=3).map(move |at| with(at, width)));
            places
                .find(|layout| has(*layout) && rows.iter().skip(1).all(|row| layout.is_number_or_empty(row)))
        };
        let free = || {
            let mut places = (1..=3).map(|at| with(at, 1));
            places
                .find(|layout| has(*layout) && rows.iter().skip(1).all(|row| layout.is_number_or_empty(row)))
        };
        slashed.map(|at| with(at, 1)).or_else(split).or_else(free)
    }

    fn is_number_or_empty(self, row: &Cells<'_>) -> bool {
        (self.address..self.address + self.width).all(|at| {
            let cell = row.get(at);
            cell.is_empty() || cell == "-" || cell.bytes().all(|byte| byte.is_ascii_digit())
        })
    }

    fn entry(self, row: &Cells<'_>) -> Option<Entry> {
        let joined;
        let text = if self.width == 1 {
            row.get(self.address)
        } else {
            let parts: Vec<&str> = (self.address..self.address + self.width).map(|at| row.get(at)).collect();
            joined = parts.join("/");
            &joined
        };
        let text = text.trim_end_matches(['/', '-']);
        let place = |text: &str| text.parse::<u16>().ok();
        let missing = if self.width == 1 {
            let whole = row.get(self.address);
            whole.matches('/').count().saturating_sub(text.matches('/').count())
        } else {
            (self.width - 1).saturating_sub(text.matches('/').count())
        };
        match (missing, text.split_once('/')) {
            (0, _) => group::parse(text).map(|(raw, style)| Entry::Group(raw, style)),
            (_, None) => place(text).filter(|main| *main < 32).map(Entry::Main),
            (_, Some((main, middle))) => {
                let (main, middle) = (place(main)?, place(middle)?);
                (main < 32 && middle < 8).then_some(Entry::Middle(main, middle))
            }
        }
    }
}

impl Reader<'_> {
    fn row(&mut self, index: usize, row: &Cells<'_>, collector: &mut Collector) -> Result<(), Error> {
        let place = Place::line(self.name, row.line);
        let names: Vec<&str> = (0..self.layout.address).map(|at| row.get(at)).collect();
        let own = names.iter().rev().copied().find(|name| !name.is_empty()).unwrap_or_default();
        match self.layout.entry(row) {
            // The header is the only row that needs no address.
            None if index == 0 => Ok(()),
            None => {
                let what = "the row has no group address";
                collector.error(place, what, "write an address such as 1/2/3, or remove the row");
                Ok(())
            }
            Some(Entry::Main(main)) => {
                self.mains.insert(main, own.to_owned());
                Ok(())
            }
            Some(Entry::Middle(main, middle)) => {
                self.middles.insert((main, middle), own.to_owned());
                Ok(())
            }
            Some(Entry::Group(raw, style)) => self.group(&place, raw, style, row, &names, collector),
        }
    }

    fn group(
        &mut self,
        place: &Place,
        raw: u16,
        style: Style,
        row: &Cells<'_>,
        names: &[&str],
        collector: &mut Collector,
    ) -> Result<(), Error> {
        collector.style_of(style);
        let behind = self.layout.address + self.layout.width;
        let mut levels: Vec<&str> = names.to_vec();
        let own = levels.pop().unwrap_or_default();
        let known = |name: Option<&String>, at: usize| {
            let written = levels.get(at).copied().unwrap_or_default();
            if written.is_empty() { name.cloned().unwrap_or_default() } else { written.to_owned() }
        };
        let main = known(self.mains.get(&(raw >> 11)), 0);
        let middle = match style {
            Style::ThreeLevel => known(self.middles.get(&(raw >> 11, raw >> 8 & 7)), 1),
            Style::TwoLevel | Style::Free => String::new(),
        };
        let types: Vec<&str> =
            (behind..row.len()).map(|at| row.get(at)).filter(|cell| is_type(cell)).collect();
        let mut item = Row {
            address: style.show(raw),
            access: Access::ReadWrite,
            description: crate::text::one_line(row.get(behind + DESCRIPTION_BEHIND)),
            ..Row::default()
        };
        match dpt::first_of(&dpt::parse_list(types.first().copied().unwrap_or_default()).0) {
            Some(dpt) => dpt.put_into(&mut item),
            None => collector.warn(place.clone(), format!("{} has no datapoint type", item.address), NO_TYPE),
        }
        if is_type(&item.description) {
            item.description = String::new();
        }
        collector.row(place, &[&main, &middle, own], item)
    }
}

fn has_slash(cell: &str) -> bool {
    cell.contains('/')
        && cell
            .split('/')
            .all(|part| part == "-" || part.is_empty() || part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `DPST-1-1` or `DPT-1`; a word that only might be a type is a description.
fn is_type(cell: &str) -> bool {
    let mut words = cell.split([' ', ',']).filter(|word| !word.is_empty()).peekable();
    words.peek().is_some()
        && words
            .all(|word| (word.starts_with("DPST-") || word.starts_with("DPT-")) && dpt::parse(word).is_some())
}

/// Tells once that access is not known.
pub(crate) fn without_flags(name: &str, collector: &mut Collector) {
    let what = "this format does not say which addresses are read and which are written";
    collector.note(Place::file(name), what, "import the project file, or set `access` where `rw` is wrong");
}

/// What to do about a missing type.
pub(crate) const NO_TYPE: &str = "give it one in the ETS, or write the column `dpt` in the items file";
/// "Central" and "Unfiltered" are before it.
const DESCRIPTION_BEHIND: usize = 2;
const COLUMNS_SEARCHED: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::imported::Severity;

    fn import(bytes: &[u8]) -> Imported {
        read(&[("ga.csv", bytes)], &Options::default()).unwrap()
    }

    fn shown(imported: &Imported) -> Vec<String> {
        let rows = imported.rows.iter();
        rows.map(|row| format!("{} = {} {} {}", row.path, row.address, row.cell("dpt"), row.description))
            .collect()
    }

    const ROWS: [&str; 2] =
        ["Licht/EG/Küche Decke = 1/2/3 1.001 am Fenster", "Licht/EG/1-2-4 = 1/2/4 5.001 "];

    #[test]
    fn all_layouts_give_the_same_rows() {
        let one_one = "\u{feff}\"Group name\";\"Address\";\"Central\";\"Unfiltered\";\"Description\";\"DatapointType\";\"Security\"\r\n\
            \"Licht\";\"1/-/-\";\"\";\"\";\"\";\"\";\"Auto\"\r\n\"EG\";\"1/2/-\";\"\";\"\";\"\";\"\";\"Auto\"\r\n\
            \"Küche\r\nDecke\";\"1/2/3\";\"\";\"\";\"am Fenster\";\"DPST-1-1\";\"Auto\"\r\n\
            \"\";\"1/2/4\";\"\";\"\";\"\";\"DPST-5-1 DPT-5\";\"Auto\"\r\n";
        let three_one = "Hauptgruppe,Mittelgruppe,Untergruppe,Adresse,Zentral,Durchlassen,Beschreibung,Datenpunkttyp\n\
            Licht,,,1/-/-,,,,\n ,EG,,1/2/-,,,,\n , ,Küche Decke,1/2/3,,,am Fenster,DPST-1-1\n,,,1/2/4,,,,DPST-5-1\n";
        let three_three = "Licht\t\t\t1\t\t\t\t\t\t\n\tEG\t\t1\t2\t\t\t\t\t\n\
            \t\tKüche Decke\t1\t2\t3\t\t\tam Fenster\tDPST-1-1\n\t\t\t1\t2\t4\t\t\t\tDPT-5 DPST-5-1\n";
        let one_three = "\"Group name\",\"Main\",\"Middle\",\"Sub\",\"Central\",\"Unfiltered\",\"Description\",\"DatapointType\"\n\
            Licht,1,,,,,,\nEG,1,2,,,,,\nKüche Decke,1,2,3,,,am Fenster,DPST-1-1\n,1,2,4,,,,DPST-5-1\n";
        for text in [one_one, three_one, three_three, one_three] {
            assert_eq!(shown(&import(text.as_bytes())), ROWS, "{text}");
        }
        let latin: Vec<u8> =
            three_one.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect();
        assert_eq!(shown(&import(&latin)), ROWS);
    }

    #[test]
    fn two_levels_and_free_addresses_are_read() {
        let two = import(b"Main;Sub;Address;Central;Unfiltered;Description;DatapointType\nLicht;;1/-;;;;\n;Flur;1/515;;;;DPT-1\n");
        assert_eq!(
            (shown(&two), two.project.group_style.as_str()),
            (vec!["Licht/Flur = 1/515 1 ".to_owned()], "two-level")
        );
        let free = import(
            b"Group name;Address;Central;Unfiltered;Description;DatapointType\nFlur;2563;;;;DPST-1-1\n",
        );
        assert_eq!(
            (shown(&free), free.project.group_style.as_str()),
            (vec!["Flur = 2563 1.001 ".to_owned()], "free")
        );
    }

    #[test]
    fn what_is_missing_is_told_with_its_line() {
        let imported = import(b"Group name;Address\nFlur;1/2/3\nstray;nothing\n");
        let told: Vec<_> = imported.findings.iter().map(|found| (found.severity, found.place.line)).collect();
        assert_eq!(told, [(Severity::Warning, Some(2)), (Severity::Error, Some(3)), (Severity::Note, None)]);
        let error = read(&[("x.csv", b"a;b\nx;y\n")], &Options::default()).unwrap_err();
        assert!(error.to_string().starts_with("x.csv: no column has group addresses"), "{error}");
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_rows_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in "([0-9/;,\t\"\n\r-]|DPST|DPT|[a-zü ]){0,120}",
        ) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(imported) = read(&[("x", bytes)], &Options::default()) {
                    prop_assert!(imported.rows.iter().all(|row| group::parse(&row.address).is_some()));
                }
            }
        }
    }
}
