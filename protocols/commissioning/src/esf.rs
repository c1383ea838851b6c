//! The OPC export of the ETS (`.esf`): the project's name, then a line for each group address.
//!
//! A line has tabs between: names of main and middle group and the address joined by dots, the name, the kind of value,
//! the priority, and further addresses that are listened to, which no row needs. The kind is a name of the EIB
//! Interworking Standard with the size (`EIS 1 'Switching' (1 Bit)`), or only a size (`Uncertain (1 Byte)`). Files are
//! written in the code page of Windows. This is known from published exports and from programs that read them.

use crate::dpt::{self, Dpt};
use crate::error::Error;
use crate::ets_csv::without_flags;
use crate::format::{Collector, File, Options, only};
use crate::group::{self, Style};
use crate::imported::{Access, Imported, Place, Row};
use crate::text::{decode, one_line};

/// Reads one file.
pub(crate) fn read(files: &[File<'_>], options: &Options) -> Result<Imported, Error> {
    let (name, bytes) = only(files, "give the .esf file that the ETS has exported for OPC")?;
    let (text, _) = decode(bytes);
    let mut collector = Collector::new(options);
    for (line, number) in text.lines().zip(1_u32..) {
        let place = Place::line(name, number);
        if number == 1 && !line.contains('\t') {
            collector.project().name = one_line(line);
        } else if !line.trim().is_empty() {
            group_line(&place, line, &mut collector)?;
        }
    }
    if collector.rows() == 0 {
        let remedy = "export the group addresses from the ETS for OPC once more";
        return Err(Error::malformed(Place::file(name), "no line has a group address", remedy));
    }
    without_flags(name, &mut collector);
    Ok(collector.finish())
}

fn group_line(place: &Place, line: &str, collector: &mut Collector) -> Result<(), Error> {
    let mut cells = line.split('\t').map(str::trim);
    let mut next = || cells.next().unwrap_or_default();
    let (levels, name, kind) = (next(), next(), next());
    let (above, address) = levels.rsplit_once('.').unwrap_or(("", levels));
    let Some((raw, found)) = group::parse(address) else {
        let what = format!("`{}` does not end with a group address", one_line(levels));
        collector.error(
            place.clone(),
            what,
            "write MAIN.MIDDLE.1/2/3 before the first tab, or remove the line",
        );
        return Ok(());
    };
    collector.style_of(found);
    let (main, middle) = match found {
        Style::ThreeLevel => above.split_once('.').unwrap_or((above, "")),
        Style::TwoLevel | Style::Free => (above, ""),
    };
    if middle.contains('.') {
        let what = format!(
            "`{}` has more dots than levels: where main and middle group part is a guess",
            one_line(above)
        );
        collector.warn(place.clone(), what, "check the path");
    }
    let mut row = Row { address: found.show(raw), access: Access::ReadWrite, ..Row::default() };
    if let Some(dpt) = type_of(place, &row.address, kind, collector) {
        dpt.put_into(&mut row);
    }
    collector.row(place, &[main, middle, name], row)
}

/// The type of a kind such as `EIS 5 'Value' (2 Byte)`; each guess is told.
fn type_of(place: &Place, address: &str, kind: &str, collector: &mut Collector) -> Option<Dpt> {
    let number = |text: &str| {
        let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).take(4).collect();
        digits.parse::<u32>().ok()
    };
    let eis = kind.strip_prefix("EIS").and_then(number).and_then(dpt::of_eis);
    if let Some((dpt, true)) = eis {
        return Some(dpt);
    }
    let bits = kind.rsplit_once('(').and_then(|(_, size)| {
        let unit = size.trim_start_matches([' ', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
        let per_unit = if unit.to_ascii_lowercase().starts_with("bit") { 1 } else { 8 };
        Some(number(size)? * per_unit)
    });
    let guess = eis.map(|(dpt, _)| dpt).or_else(|| bits.and_then(dpt::of_size));
    let remedy = "compare it with the ETS, and correct the column `dpt`";
    match guess {
        Some(dpt) => collector.warn(
            place.clone(),
            format!("{address}: datapoint type {dpt} is a guess from `{}`", one_line(kind)),
            remedy,
        ),
        None => collector.warn(
            place.clone(),
            format!("{address}: `{}` suggests no datapoint type", one_line(kind)),
            crate::ets_csv::NO_TYPE,
        ),
    }
    guess
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::imported::Severity;

    #[test]
    fn lines_become_rows_and_guesses_are_told() {
        let text = "Haus am See\r\n\
            Licht.EG.1/2/3\tK\u{fc}che\tEIS 1 'Switching' (1 Bit)\tLow\t\r\n\
            Licht.EG.1/2/4\tDimmwert\tUncertain (1 Byte)\tLow\t1/2/9\r\n\
            Licht.EG.Flur.1/2/5\tAlt\tUncertain (3 Byte)\tLow\t\r\n\
            Licht.EG.1/2/6\tSeltsam\tUncertain (6 Byte)\tLow\t\r\n\
            Licht.EG.1/9/6\tFalsch\tUncertain (1 Bit)\tLow\t\r\n";
        let bytes: Vec<u8> = text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect();
        let imported = read(&[("x.esf", &bytes)], &Options::default()).unwrap();
        assert_eq!(imported.project.name, "Haus am See");
        let rows: Vec<_> = imported.rows.iter().map(|row| (row.path.as_str(), row.cell("dpt"))).collect();
        assert_eq!(
            rows,
            [
                ("Licht/EG/Küche", "1.001"),
                ("Licht/EG/Dimmwert", "5.001"),
                ("Licht/EG.Flur/Alt", "10.001"),
                ("Licht/EG/Seltsam", ""),
            ]
        );
        let told: Vec<_> = imported.findings.iter().map(|found| (found.severity, found.place.line)).collect();
        let (note, warning, error) = (Severity::Note, Severity::Warning, Severity::Error);
        let lines = [
            (warning, Some(3)),
            (warning, Some(4)),
            (warning, Some(4)),
            (warning, Some(5)),
            (error, Some(6)),
        ];
        assert_eq!(told, [&lines[..], &[(note, None)]].concat());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_rows_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in "([0-9/.\t\n()]|EIS|Bit|Byte|[a-zü ]){0,120}",
        ) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(imported) = read(&[("x", bytes)], &Options::default()) {
                    prop_assert!(imported.rows.iter().all(|row| group::parse(&row.address).is_some()));
                }
            }
        }
    }
}
