//! Words of point lists, and what they mean.

use crate::imported::Access;

/// A table of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Coil,
    Discrete,
    Input,
    Holding,
}

impl Area {
    /// As the plugin has it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Area::Coil => "co",
            Area::Discrete => "di",
            Area::Input => "ir",
            Area::Holding => "hr",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Area> {
        let word = word.trim().to_ascii_lowercase();
        [Area::Coil, Area::Discrete, Area::Input, Area::Holding].into_iter().find(|area| area.word() == word)
    }

    /// By the digit in front of addresses that begin with 1.
    pub(super) fn from_digit(digit: &str) -> Option<Area> {
        Some(match digit.trim() {
            "0" => Area::Coil,
            "1" => Area::Discrete,
            "3" => Area::Input,
            "4" => Area::Holding,
            _ => return None,
        })
    }

    pub(super) const fn is_bits(self) -> bool {
        matches!(self, Area::Coil | Area::Discrete)
    }

    pub(super) const fn is_writable(self) -> bool {
        matches!(self, Area::Coil | Area::Holding)
    }
}

/// The table of a function code or its name, and whether the function writes. Codes: "MODBUS Application Protocol
/// Specification V1.1b3", section 6.
pub(super) fn function(text: &str) -> Option<(Area, bool)> {
    let plain = plain(text);
    let code = plain.trim_start_matches("fc").trim_start_matches("0x").trim_start_matches('0');
    Some(match code {
        "1" => (Area::Coil, false),
        "2" => (Area::Discrete, false),
        "3" => (Area::Holding, false),
        "4" => (Area::Input, false),
        "5" | "15" => (Area::Coil, true),
        "6" | "16" | "22" | "23" => (Area::Holding, true),
        _ if plain.contains("discrete") || plain.contains("contact") || plain == "di" || plain == "1x" => {
            (Area::Discrete, false)
        }
        _ if plain.contains("coil") || plain == "co" || plain == "0x" => (Area::Coil, false),
        _ if plain.contains("holding") || plain == "hr" || plain == "4x" => (Area::Holding, false),
        _ if plain.contains("input") || plain == "ir" || plain == "3x" => (Area::Input, false),
        _ => return None,
    })
}

/// The type as the plugin has it; `count` registers for texts.
pub(super) fn type_name(text: &str, count: Option<u16>) -> Option<String> {
    let plain = plain(text);
    let plain =
        ORDERS.iter().fold(plain, |plain, (word, _)| plain.strip_suffix(word).unwrap_or(&plain).to_owned());
    let known = TYPES.iter().find(|(_, words)| words.contains(&plain.as_str())).map(|(name, _)| *name);
    // `int` with two registers is one of 32 bits.
    let wider = match (known, count) {
        (Some("int16"), Some(2)) => Some("int32"),
        (Some("uint16"), Some(2)) => Some("uint32"),
        (Some("int16"), Some(4)) => Some("int64"),
        (Some("uint16"), Some(4)) => Some("uint64"),
        (Some("float32"), Some(4)) => Some("float64"),
        (other, _) => other,
    };
    let is_text = ["string", "ascii", "char", "text", "utf8"].iter().any(|word| plain.starts_with(word));
    let bytes = count.and_then(|count| count.checked_mul(2)).filter(|bytes| is_text && *bytes > 0);
    wider.map(str::to_owned).or_else(|| bytes.map(|bytes| format!("string({bytes})")))
}

/// Order of words and bytes, if the text has one.
pub(super) fn order(text: &str) -> Option<&'static str> {
    let plain = plain(text);
    ORDERS.iter().find(|(word, _)| plain.ends_with(word)).map(|(_, order)| *order)
}

/// Access, if the text says it.
pub(super) fn access(text: &str) -> Option<Access> {
    Some(match plain(text).as_str() {
        "r" | "ro" | "read" | "readonly" | "lesen" => Access::Read,
        "w" | "wo" | "write" | "writeonly" | "schreiben" | "wc" => Access::Write,
        "rw" | "wr" | "readwrite" | "rwc" | "lesenschreiben" => Access::ReadWrite,
        _ => return None,
    })
}

pub(super) fn is_true(text: &str) -> bool {
    matches!(plain(text).as_str(), "1" | "t" | "true" | "y" | "yes" | "j" | "ja" | "x")
}

/// A number with point or comma, as the items file has it.
pub(super) fn number(text: &str) -> Option<String> {
    let text = text.trim().replace(',', ".");
    text.parse::<f64>().ok().filter(|number| number.is_finite() && !text.is_empty()).map(|_| text)
}

fn plain(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Letters stand in the order of transmission, A is the most significant byte.
const ORDERS: [(&str, &str); 15] = [
    ("abcd", "ABCD"),
    ("cdab", "CDAB"),
    ("badc", "BADC"),
    ("dcba", "DCBA"),
    ("bigendianbyteswap", "BADC"),
    ("littleendianbyteswap", "CDAB"),
    ("bigendian", "ABCD"),
    ("littleendian", "DCBA"),
    ("highwordfirst", "ABCD"),
    ("lowwordfirst", "CDAB"),
    ("mswfirst", "ABCD"),
    ("lswfirst", "CDAB"),
    ("wordswap", "CDAB"),
    ("swapped", "CDAB"),
    ("byteswap", "BADC"),
];
const TYPES: [(&str, &[&str]); 11] = [
    ("bool", &["bool", "boolean", "bit", "digital", "binary"]),
    (
        "int16",
        &[
            "int16", "s16", "i16", "sint16", "short", "int", "signed", "integer", "int16s", "16bitint",
            "signed16",
        ],
    ),
    ("uint16", &["uint16", "u16", "word", "ushort", "uint", "unsigned", "int16u", "16bituint", "unsigned16"]),
    ("int32", &["int32", "s32", "i32", "sint32", "dint", "long", "int32s", "32bitint", "signed32"]),
    ("uint32", &["uint32", "u32", "udint", "dword", "ulong", "int32u", "32bituint", "unsigned32"]),
    ("int64", &["int64", "s64", "i64", "lint", "sint64", "int64s", "signed64"]),
    ("uint64", &["uint64", "u64", "ulint", "lword", "int64u", "unsigned64"]),
    ("float32", &["float32", "f32", "float", "real", "single", "ieee754", "32bitfloat"]),
    ("float64", &["float64", "f64", "double", "lreal", "64bitfloat"]),
    ("bcd16", &["bcd16", "bcd"]),
    ("bcd32", &["bcd32"]),
];
