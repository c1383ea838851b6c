//! From bytes to characters.

use std::borrow::Cow;

/// How a file turned out to be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8, with or without mark.
    Utf8,
    /// UTF-16 with its mark.
    Utf16,
    /// Windows-1252, of which ISO-8859-1 is a part as far as printed characters go.
    Windows1252,
}

/// The text of a file. What is no UTF-8 and has no mark of UTF-16 is Windows-1252: so exports of Western Windows are.
pub(crate) fn decode(bytes: &[u8]) -> (Cow<'_, str>, Encoding) {
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return (utf16(rest, u16::from_le_bytes).into(), Encoding::Utf16);
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return (utf16(rest, u16::from_be_bytes).into(), Encoding::Utf16);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.into(), Encoding::Utf8),
        Err(_) => (bytes.iter().copied().map(windows_1252).collect::<String>().into(), Encoding::Windows1252),
    }
}

/// One line without line ends, tabs and other control characters; spaces at the ends are gone, and rows of them are one.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if !word.is_empty() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    line
}

fn utf16(bytes: &[u8], order: fn([u8; 2]) -> u16) -> String {
    let (pairs, _) = bytes.as_chunks::<2>();
    char::decode_utf16(pairs.iter().map(|pair| order(*pair)))
        .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn windows_1252(byte: u8) -> char {
    match byte {
        0x80..=0x9f => UPPER_CONTROLS[usize::from(byte - 0x80)],
        other => char::from(other),
    }
}

/// 0x80 to 0x9f of Windows-1252, as the Unicode Consortium's mapping table has them; five are not assigned.
const UPPER_CONTROLS: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_bytes_tell_the_encoding() {
        let umlauts = "Küche";
        let little: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(umlauts.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let big: Vec<u8> =
            [0xfe, 0xff].into_iter().chain(umlauts.encode_utf16().flat_map(u16::to_be_bytes)).collect();
        let cases: [(&[u8], Encoding); 5] = [
            (umlauts.as_bytes(), Encoding::Utf8),
            (b"\xef\xbb\xbfK\xc3\xbcche", Encoding::Utf8),
            (b"K\xfcche", Encoding::Windows1252),
            (&little, Encoding::Utf16),
            (&big, Encoding::Utf16),
        ];
        for (bytes, encoding) in cases {
            assert_eq!(decode(bytes), (umlauts.into(), encoding), "{bytes:?}");
        }
        assert_eq!(decode(b"\x80 20 \xb0C").0, "€ 20 °C");
    }

    #[test]
    fn a_name_over_two_lines_becomes_one() {
        assert_eq!(one_line(" Licht\r\n  Küche\t1 "), "Licht Küche 1");
        assert_eq!(one_line("\u{0}\u{7f}"), "");
    }
}
