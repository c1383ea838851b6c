//! Character strings: clause 20.2.9.

use std::borrow::Cow;

use crate::Error;

/// In which character set a text is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Charset(pub u8);

impl Charset {
    /// ISO 10646 (UTF-8), what everyone should send. Its number was that of ANSI X3.4 in early editions.
    pub const UTF_8: Charset = Charset(0);
    /// IBM/Microsoft DBCS, whose first two bytes name the code page.
    pub const DBCS: Charset = Charset(1);
    /// JIS X 0208.
    pub const JIS_X_0208: Charset = Charset(2);
    /// ISO 10646 (UCS-4).
    pub const UCS_4: Charset = Charset(3);
    /// ISO 10646 (UCS-2).
    pub const UCS_2: Charset = Charset(4);
    /// ISO 8859-1.
    pub const LATIN_1: Charset = Charset(5);
}

/// A text as it was sent, so that writing it again gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    charset: Charset,
    bytes: Vec<u8>,
}

impl Text {
    /// In UTF-8.
    pub fn new(text: &str) -> Text {
        Text { charset: Charset::UTF_8, bytes: text.as_bytes().to_vec() }
    }

    /// In another character set, for devices that know no other. None if it has no place for one of the
    /// characters, or is none of those that can be written.
    pub fn in_charset(text: &str, charset: Charset) -> Option<Text> {
        let bytes = match charset {
            Charset::UTF_8 => text.as_bytes().to_vec(),
            Charset::LATIN_1 => text.chars().map(u8::try_from).collect::<Result<Vec<u8>, _>>().ok()?,
            Charset::UCS_2 => {
                let units = text.chars().map(|letter| u16::try_from(u32::from(letter)));
                units.collect::<Result<Vec<u16>, _>>().ok()?.into_iter().flat_map(u16::to_be_bytes).collect()
            }
            Charset::UCS_4 => text.chars().flat_map(|letter| u32::from(letter).to_be_bytes()).collect(),
            _ => return None,
        };
        Some(Text { charset, bytes })
    }

    /// Its character set.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// Its bytes in that character set.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it says. Many devices send ISO 8859-1 and call it UTF-8, so what is not valid UTF-8 is read as such.
    /// Of a character set that is not known, what is ASCII is shown, and `\u{fffd}` for all else.
    pub fn to_str(&self) -> Cow<'_, str> {
        match self.charset {
            Charset::UTF_8 => match std::str::from_utf8(&self.bytes) {
                Ok(text) => Cow::Borrowed(text),
                Err(_) => Cow::Owned(latin_1(&self.bytes)),
            },
            Charset::LATIN_1 => Cow::Owned(latin_1(&self.bytes)),
            Charset::UCS_2 => {
                // Surrogate pairs are not UCS-2, but are what systems send that mean UTF-16.
                let units = self.bytes.chunks(2).map(|pair| match pair {
                    [high, low] => u16::from_be_bytes([*high, *low]),
                    _ => 0xfffd,
                });
                Cow::Owned(char::decode_utf16(units).map(|unit| unit.unwrap_or('\u{fffd}')).collect())
            }
            Charset::UCS_4 => {
                let letters = self.bytes.chunks(4).map(|four| {
                    let number = four.try_into().map(u32::from_be_bytes).ok();
                    number.and_then(char::from_u32).unwrap_or('\u{fffd}')
                });
                Cow::Owned(letters.collect())
            }
            _ => {
                let shown = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { '\u{fffd}' };
                Cow::Owned(self.bytes.iter().map(shown).collect())
            }
        }
    }

    /// Reads the character set and what follows it.
    ///
    /// # Errors
    /// If there is no character set.
    pub fn from_bytes(bytes: &[u8]) -> Result<Text, Error> {
        let (&charset, bytes) =
            bytes.split_first().ok_or(Error::Length { what: "a character string", length: 0 })?;
        Ok(Text { charset: Charset(charset), bytes: bytes.to_vec() })
    }

    /// The character set and the text.
    pub fn to_bytes(&self) -> Vec<u8> {
        [&[self.charset.0], self.bytes.as_slice()].concat()
    }
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_set_says_the_same() {
        for charset in [Charset::UTF_8, Charset::LATIN_1, Charset::UCS_2, Charset::UCS_4] {
            let text = Text::in_charset("Zulufttemperatur °C é", charset).unwrap();
            assert_eq!(text.to_str(), "Zulufttemperatur °C é");
            assert_eq!(Text::from_bytes(&text.to_bytes()), Ok(text));
        }
        assert_eq!(Text::in_charset("Ω", Charset::LATIN_1), None);
        assert_eq!(Text::in_charset("😀", Charset::UCS_2), None);
        assert_eq!(Text::in_charset("a", Charset::DBCS), None);
    }

    #[test]
    fn what_is_called_utf_8_and_is_not_is_read_as_latin_1() {
        let text = Text::from_bytes(&[0, b'2', b'1', 0xb0]).unwrap();
        assert_eq!(text.to_str(), "21°");
        assert_eq!(text.to_bytes(), [0, b'2', b'1', 0xb0]);
    }

    #[test]
    fn broken_texts_are_shown_with_gaps() {
        assert_eq!(Text::from_bytes(&[4, 0, b'a', 0xd8, 0, 1]).unwrap().to_str(), "a\u{fffd}\u{fffd}");
        assert_eq!(Text::from_bytes(&[3, 0, 0, 0]).unwrap().to_str(), "\u{fffd}");
        assert_eq!(Text::from_bytes(&[2, b'a', 0x80]).unwrap().to_str(), "a\u{fffd}");
        assert!(Text::from_bytes(&[]).is_err());
    }
}
