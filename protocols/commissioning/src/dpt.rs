//! Datapoint types, as projects and exports write them, and what a size or an old name says of one.

use std::fmt;

use crate::imported::Row;

/// A datapoint type: main number, and sub number if it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dpt {
    pub(crate) main: u16,
    pub(crate) sub: Option<u16>,
}

impl Dpt {
    pub(crate) const fn new(main: u16, sub: u16) -> Dpt {
        Dpt { main, sub: Some(sub) }
    }

    pub(crate) const fn of_main(main: u16) -> Dpt {
        Dpt { main, sub: None }
    }

    /// Writes the type into a row, and its unit if the row has none.
    pub(crate) fn put_into(self, row: &mut Row) {
        row.set("dpt", self.to_string());
        if row.unit.is_empty() {
            self.unit().clone_into(&mut row.unit);
        }
    }

    /// The unit that the standard gives this type, of those that are met most.
    pub(crate) fn unit(self) -> &'static str {
        let Some(sub) = self.sub else { return "" };
        UNITS
            .iter()
            .find(|(main, known, _)| (*main, *known) == (self.main, sub))
            .map_or("", |(_, _, unit)| unit)
    }
}

impl fmt::Display for Dpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sub {
            Some(sub) => write!(f, "{}.{sub:03}", self.main),
            None => write!(f, "{}", self.main),
        }
    }
}

/// All types of a list such as `DPST-5-1 DPT-5`, in its order, each once; and the words that are none.
pub(crate) fn parse_list(text: &str) -> (Vec<Dpt>, Vec<&str>) {
    let (mut types, mut strange) = (Vec::new(), Vec::new());
    for word in text.split([' ', ',', ';', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
        match parse(word) {
            Some(dpt) if !types.contains(&dpt) => types.push(dpt),
            Some(_) => {}
            None => strange.push(word),
        }
    }
    (types, strange)
}

/// The one type that a list names: its first with a sub number, else its first. `DPST-5-1 DPT-5` is 5.001.
pub(crate) fn first_of(types: &[Dpt]) -> Option<Dpt> {
    types.iter().find(|dpt| dpt.sub.is_some()).or(types.first()).copied()
}

/// `DPST-9-1`, `DPT-9`, `9.001`, `DPT9.001`; `None` if it is none of them.
pub(crate) fn parse(word: &str) -> Option<Dpt> {
    let upper = word.trim().to_ascii_uppercase();
    let number = ["DPST", "DPT"].iter().find_map(|prefix| upper.strip_prefix(prefix)).unwrap_or(&upper);
    let number = number.trim_start_matches(['-', '_', ' ']);
    let (main, sub) = match number.split_once(['.', '-']) {
        Some((main, "*" | "X" | "XX" | "XXX")) => (main, None),
        Some((main, sub)) => (main, Some(sub)),
        None => (number, None),
    };
    let read = |digits: &str| {
        let is_number = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| is_number)
    };
    let main = read(main).filter(|main| *main > 0)?;
    Some(Dpt { main, sub: sub.map(read).map_or(Some(None), |sub| sub.map(Some))? })
}

/// What a number of bits suggests. Only one, two and four bits leave little choice.
pub(crate) fn of_size(bits: u32) -> Option<Dpt> {
    Some(match bits {
        1 => Dpt::new(1, 1),
        2 => Dpt::new(2, 1),
        4 => Dpt::new(3, 7),
        8 => Dpt::new(5, 1),
        16 => Dpt::new(9, 1),
        24 => Dpt::new(10, 1),
        32 => Dpt::of_main(14),
        64 => Dpt::new(19, 1),
        112 => Dpt::new(16, 1),
        _ => return None,
    })
}

/// The type of an EIB Interworking Standard number, the names that were used before datapoint types; and whether it is
/// the only one with that number. Counters are signed or not, which the number does not say.
pub(crate) fn of_eis(number: u32) -> Option<(Dpt, bool)> {
    Some(match number {
        1 => (Dpt::new(1, 1), true),
        2 => (Dpt::new(3, 7), true),
        3 => (Dpt::new(10, 1), true),
        4 => (Dpt::new(11, 1), true),
        5 => (Dpt::of_main(9), true),
        6 => (Dpt::new(5, 1), true),
        7 => (Dpt::new(1, 8), true),
        8 => (Dpt::new(2, 1), true),
        9 => (Dpt::of_main(14), true),
        10 => (Dpt::of_main(7), false),
        11 => (Dpt::of_main(12), false),
        12 => (Dpt::of_main(15), true),
        13 => (Dpt::of_main(4), true),
        14 => (Dpt::of_main(5), false),
        15 => (Dpt::new(16, 1), true),
        _ => return None,
    })
}

/// Units of `03_07_02` Datapoint Types.
const UNITS: [(u16, u16, &str); 44] = [
    (5, 1, "%"),
    (5, 3, "°"),
    (5, 4, "%"),
    (6, 1, "%"),
    (7, 5, "s"),
    (7, 6, "min"),
    (7, 7, "h"),
    (7, 11, "mm"),
    (7, 12, "mA"),
    (7, 13, "lx"),
    (7, 600, "K"),
    (8, 10, "%"),
    (9, 1, "°C"),
    (9, 2, "K"),
    (9, 3, "K/h"),
    (9, 4, "lx"),
    (9, 5, "m/s"),
    (9, 6, "Pa"),
    (9, 7, "%"),
    (9, 8, "ppm"),
    (9, 10, "s"),
    (9, 11, "ms"),
    (9, 20, "mV"),
    (9, 21, "mA"),
    (9, 22, "W/m²"),
    (9, 23, "K/%"),
    (9, 24, "kW"),
    (9, 25, "l/h"),
    (9, 26, "l/m²"),
    (9, 27, "°F"),
    (9, 28, "km/h"),
    (12, 1200, "l"),
    (12, 1201, "m³"),
    (13, 2, "m³/h"),
    (13, 10, "Wh"),
    (13, 13, "kWh"),
    (14, 19, "A"),
    (14, 27, "V"),
    (14, 31, "J"),
    (14, 33, "Hz"),
    (14, 56, "W"),
    (14, 58, "Pa"),
    (14, 68, "°C"),
    (29, 10, "Wh"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_in_every_spelling() {
        for (text, shown) in [
            ("DPST-1-1", "1.001"),
            ("DPT-9", "9"),
            ("9.001", "9.001"),
            ("DPT 14.056", "14.056"),
            ("dpt9.xxx", "9"),
            ("DPST-232-600", "232.600"),
            ("DPST-12-1200", "12.1200"),
        ] {
            assert_eq!(parse(text).map(|dpt| dpt.to_string()).as_deref(), Some(shown), "{text}");
        }
        for text in ["", "DPT", "DPST-", "DPST-1-", "DPT-0", "x", "1.001.2", "DPT-123456", "EIS 1", "1.-1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn of_a_list_the_most_exact_one_counts() {
        let (types, strange) = parse_list("DPT-5 DPST-5-1, DPST-5-1 none");
        assert_eq!((first_of(&types), types.len(), strange), (Some(Dpt::new(5, 1)), 2, vec!["none"]));
        assert_eq!(Dpt::new(5, 1).unit(), "%");
    }
}
