//! Tags, and reading and writing what stands behind them: clause 20.2.1.
//!
//! Every piece of a service begins with a tag: number, class (*application*: the number is the data type;
//! *context*: the number is the place in the service), and the length of what follows, or that it opens or
//! closes a list. [`Reader`] and [`Writer`] are the only places that know these octets.
//!
//! # Bounds
//! A reader never allocates by a length it was told, only by bytes that are there. Lists within lists are read
//! to a depth of [`DEPTH_MAX`], and one message makes at most [`VALUES_MAX`] values.

use crate::Error;

/// How deep lists may be nested. The deepest structure of the standard needs fewer than ten.
pub const DEPTH_MAX: usize = 24;
/// How many values, nested ones included, one message may have.
pub const VALUES_MAX: usize = 65_536;

/// What a tag says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag {
    /// A value of the data type of this number; of a boolean, the length is the value.
    Application {
        /// Data type, clause 20.2.1.4.
        number: u8,
        /// Bytes that follow.
        length: u32,
    },
    /// A value whose data type follows from its place.
    Context {
        /// Place.
        number: u8,
        /// Bytes that follow.
        length: u32,
    },
    /// The beginning of a list.
    Opening {
        /// Place.
        number: u8,
    },
    /// The end of a list.
    Closing {
        /// Place.
        number: u8,
    },
}

/// Reads bytes from the front.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    values_left: usize,
}

impl<'a> Reader<'a> {
    /// Of these bytes.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, values_left: VALUES_MAX }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What is left, without taking it.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// # Errors
    /// [`Error::Trailing`] if something is left.
    pub fn finish(&self) -> Result<(), Error> {
        match self.bytes.len() {
            0 => Ok(()),
            count => Err(Error::Trailing { count }),
        }
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err(Error::Truncated { missing: count - self.bytes.len() });
        };
        self.bytes = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn octet(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, the most significant first.
    pub fn octets2(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, the most significant first.
    pub fn octets4(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// A number of bytes that is known beforehand.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Takes a tag.
    ///
    /// # Errors
    /// If it is cut off, or names a length that is not there.
    pub fn tag(&mut self) -> Result<Tag, Error> {
        let first = self.octet()?;
        let is_context = first & 0x08 != 0;
        let number = match first >> 4 {
            15 => self.octet()?,
            number => number,
        };
        let length = match first & 0x07 {
            6 if is_context => return Ok(Tag::Opening { number }),
            7 if is_context => return Ok(Tag::Closing { number }),
            6 | 7 => return Err(Error::Tag { expected: "a tag", got: first }),
            5 => match self.octet()? {
                254 => u32::from(self.octets2()?),
                255 => self.octets4()?,
                length => u32::from(length),
            },
            length => u32::from(length),
        };
        if is_context { Ok(Tag::Context { number, length }) } else { Ok(Tag::Application { number, length }) }
    }

    /// The next tag, without taking it; none at the end.
    pub fn peek(&self) -> Result<Option<Tag>, Error> {
        if self.is_empty() { Ok(None) } else { self.clone().tag().map(Some) }
    }

    /// Whether a list with this number begins here.
    pub fn is_opening(&self, number: u8) -> bool {
        self.peek() == Ok(Some(Tag::Opening { number }))
    }

    /// Whether a list with this number ends here.
    pub fn is_closing(&self, number: u8) -> bool {
        self.peek() == Ok(Some(Tag::Closing { number }))
    }

    /// Takes the beginning of a list.
    pub fn opening(&mut self, number: u8) -> Result<(), Error> {
        self.expect(Tag::Opening { number }, "the beginning of a list")
    }

    /// Takes the end of a list.
    pub fn closing(&mut self, number: u8) -> Result<(), Error> {
        self.expect(Tag::Closing { number }, "the end of a list")
    }

    /// The bytes behind this context tag.
    pub fn context(&mut self, number: u8) -> Result<&'a [u8], Error> {
        self.context_option(number)?.ok_or_else(|| self.unexpected("another context tag"))
    }

    /// The bytes behind this context tag, if it stands here.
    pub fn context_option(&mut self, number: u8) -> Result<Option<&'a [u8]>, Error> {
        match self.peek()? {
            Some(Tag::Context { number: found, length }) if found == number => {
                self.tag()?;
                self.take(size(length)).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The bytes behind an application tag of this data type.
    pub fn application(&mut self, number: u8) -> Result<&'a [u8], Error> {
        match self.peek()? {
            Some(Tag::Application { number: found, length }) if found == number => {
                self.tag()?;
                self.take(size(length))
            }
            _ => Err(self.unexpected("another data type")),
        }
    }

    /// An unsigned number behind this context tag.
    pub fn context_unsigned(&mut self, number: u8) -> Result<u64, Error> {
        unsigned(self.context(number)?)
    }

    /// An unsigned number of 32 bits behind this context tag.
    pub fn context_unsigned32(&mut self, number: u8) -> Result<u32, Error> {
        unsigned32(self.context(number)?)
    }

    /// The same, if the tag stands here.
    pub fn context_unsigned32_option(&mut self, number: u8) -> Result<Option<u32>, Error> {
        self.context_option(number)?.map(unsigned32).transpose()
    }

    /// A boolean behind this context tag, if it stands here.
    pub fn context_boolean_option(&mut self, number: u8) -> Result<Option<bool>, Error> {
        self.context_option(number)?.map(boolean).transpose()
    }

    /// The error that something else stands here.
    pub(crate) fn unexpected(&self, expected: &'static str) -> Error {
        match self.bytes.first() {
            Some(&got) => Error::Tag { expected, got },
            None => Error::Truncated { missing: 1 },
        }
    }

    /// Counts one more value.
    pub(crate) fn count_value(&mut self) -> Result<(), Error> {
        let limit = Error::TooMany { what: "values", max: VALUES_MAX };
        self.values_left = self.values_left.checked_sub(1).ok_or(limit)?;
        Ok(())
    }

    fn expect(&mut self, tag: Tag, expected: &'static str) -> Result<(), Error> {
        if self.peek()? != Some(tag) {
            return Err(self.unexpected(expected));
        }
        self.tag().map(|_| ())
    }
}

/// Writes bytes one behind the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// With nothing in it.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// One byte.
    pub fn octet(&mut self, octet: u8) {
        self.bytes.push(octet);
    }

    /// A tag.
    pub fn tag(&mut self, tag: Tag) {
        match tag {
            Tag::Application { number, length } => self.first(number, 0x00, length),
            Tag::Context { number, length } => self.first(number, 0x08, length),
            Tag::Opening { number } => self.head(number, 0x0e),
            Tag::Closing { number } => self.head(number, 0x0f),
        }
    }

    /// The beginning of a list.
    pub fn opening(&mut self, number: u8) {
        self.tag(Tag::Opening { number });
    }

    /// The end of a list.
    pub fn closing(&mut self, number: u8) {
        self.tag(Tag::Closing { number });
    }

    /// Bytes behind a context tag.
    pub fn context(&mut self, number: u8, bytes: &[u8]) {
        self.tag(Tag::Context { number, length: length(bytes) });
        self.raw(bytes);
    }

    /// Bytes behind an application tag.
    pub fn application(&mut self, number: u8, bytes: &[u8]) {
        self.tag(Tag::Application { number, length: length(bytes) });
        self.raw(bytes);
    }

    /// An unsigned number behind a context tag.
    pub fn context_unsigned(&mut self, number: u8, value: u64) {
        self.context(number, unsigned_bytes(&value.to_be_bytes()));
    }

    /// The same, if there is one.
    pub fn context_unsigned_option(&mut self, number: u8, value: Option<u32>) {
        if let Some(value) = value {
            self.context_unsigned(number, u64::from(value));
        }
    }

    /// A boolean behind a context tag.
    pub fn context_boolean(&mut self, number: u8, value: bool) {
        self.context(number, &[u8::from(value)]);
    }

    fn first(&mut self, number: u8, class: u8, length: u32) {
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=4), _) => self.head(number, class | short),
            (Ok(short @ 5..=253), _) => {
                self.head(number, class | 5);
                self.octet(short);
            }
            (_, Ok(middle)) => {
                self.head(number, class | 5);
                self.octet(254);
                self.raw(&middle.to_be_bytes());
            }
            (_, Err(_)) => {
                self.head(number, class | 5);
                self.octet(255);
                self.raw(&length.to_be_bytes());
            }
        }
    }

    fn head(&mut self, number: u8, low: u8) {
        if number < 15 {
            self.octet(number << 4 | low);
        } else {
            self.octet(0xf0 | low);
            self.octet(number);
        }
    }
}

/// A whole message or a part of one that has a form of its own.
pub trait Message: Sized {
    /// Appends its bytes.
    fn write(&self, writer: &mut Writer);

    /// Takes it from the front.
    ///
    /// # Errors
    /// If the bytes are none.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error>;

    /// Its bytes.
    fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.into_bytes()
    }

    /// Reads it from exactly these bytes.
    ///
    /// # Errors
    /// If the bytes are none, or more.
    fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let message = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(message)
    }
}

/// Clause 20.2.4: one to eight bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> Result<u64, Error> {
    // Zeros before the number are not forbidden.
    let significant = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    if bytes.is_empty() || significant.len() > 8 {
        return Err(Error::Length { what: "an unsigned number", length: bytes.len() });
    }
    Ok(significant.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// An unsigned number that must fit in 32 bits.
pub(crate) fn unsigned32(bytes: &[u8]) -> Result<u32, Error> {
    let value = unsigned(bytes)?;
    u32::try_from(value).map_err(|_| Error::Invalid { what: "a number of 32 bits", value })
}

/// Clause 20.2.3, behind a context tag: one byte.
pub(crate) fn boolean(bytes: &[u8]) -> Result<bool, Error> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        [other] => Err(Error::Invalid { what: "a boolean", value: u64::from(*other) }),
        other => Err(Error::Length { what: "a boolean", length: other.len() }),
    }
}

/// The bytes of an unsigned number without zeros before it, at least one.
pub(crate) fn unsigned_bytes(bytes: &[u8; 8]) -> &[u8] {
    let zeros = bytes.iter().take(7).take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// A length on the wire as one in memory.
pub(crate) fn size(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("no message has four gigabytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_written_as_the_standard_shows_them() {
        let cases: [(Tag, &[u8]); 7] = [
            (Tag::Application { number: 2, length: 1 }, &[0x21]),
            (Tag::Application { number: 7, length: 5 }, &[0x75, 5]),
            (Tag::Context { number: 14, length: 253 }, &[0xed, 253]),
            (Tag::Context { number: 15, length: 254 }, &[0xfd, 15, 254, 0, 254]),
            (Tag::Context { number: 1, length: 65_536 }, &[0x1d, 255, 0, 1, 0, 0]),
            (Tag::Opening { number: 3 }, &[0x3e]),
            (Tag::Closing { number: 254 }, &[0xff, 254]),
        ];
        for (tag, bytes) in cases {
            let mut writer = Writer::new();
            writer.tag(tag);
            assert_eq!(writer.into_bytes(), bytes);
            assert_eq!(Reader::new(bytes).tag(), Ok(tag));
        }
    }

    #[test]
    fn an_unsigned_number_has_one_to_eight_significant_bytes() {
        assert_eq!(unsigned(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 2]), Ok(258));
        assert_eq!(unsigned(&[255; 8]), Ok(u64::MAX));
        assert!(unsigned(&[]).is_err());
        assert!(unsigned(&[1; 9]).is_err());
        assert_eq!(unsigned_bytes(&0_u64.to_be_bytes()), [0]);
    }

    #[test]
    fn a_length_that_is_not_there_takes_no_memory() {
        let mut reader = Reader::new(&[0x65, 255, 255, 255, 255, 255]);
        assert_eq!(reader.application(6), Err(Error::Truncated { missing: size(u32::MAX) }));
    }
}
