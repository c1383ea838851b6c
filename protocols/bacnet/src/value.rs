//! Values of properties: clauses 20.2.2 to 20.2.19.
//!
//! A property's value is a sequence of [`Value`]s, one for most properties, many for lists and arrays, none for
//! an empty list. What has an application tag says its data type itself; what has a context tag does not, and is
//! kept as its bytes, so that constructed data of every object type, known or not, is read and written again
//! without loss. [`crate::shapes`] gives the common structures their meaning.

mod bits;
mod dates;
mod object;
mod text;

pub use bits::BitString;
pub use dates::{ANY, Date, DateTime, Time};
pub use object::{INSTANCE_MAX, ObjectId};
pub use text::{Charset, Text};

use crate::Error;
use crate::tag::{DEPTH_MAX, Message, Reader, Tag, Writer, size, unsigned, unsigned_bytes, unsigned32};

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value; written to a commandable property it gives the priority back.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number without a sign.
    Unsigned(u64),
    /// A number with a sign.
    Signed(i64),
    /// A number of single precision.
    Real(f32),
    /// A number of double precision.
    Double(f64),
    /// Bytes.
    Octets(Vec<u8>),
    /// A text.
    Text(Text),
    /// Bits.
    Bits(BitString),
    /// One of an enumeration that follows from the property.
    Enumerated(u32),
    /// A date, or a pattern of dates.
    Date(Date),
    /// A time of day, or a pattern.
    Time(Time),
    /// An object.
    Object(ObjectId),
    /// Bytes whose data type follows from their place.
    Context {
        /// The place.
        number: u8,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A list or structure at a place.
    List {
        /// The place.
        number: u8,
        /// What it consists of.
        values: Vec<Value>,
    },
}

/// Numbers of the application tags, clause 20.2.1.4.
pub(crate) mod number {
    pub(crate) const NULL: u8 = 0;
    pub(crate) const BOOLEAN: u8 = 1;
    pub(crate) const UNSIGNED: u8 = 2;
    pub(crate) const SIGNED: u8 = 3;
    pub(crate) const REAL: u8 = 4;
    pub(crate) const DOUBLE: u8 = 5;
    pub(crate) const OCTETS: u8 = 6;
    pub(crate) const TEXT: u8 = 7;
    pub(crate) const BITS: u8 = 8;
    pub(crate) const ENUMERATED: u8 = 9;
    pub(crate) const DATE: u8 = 10;
    pub(crate) const TIME: u8 = 11;
    pub(crate) const OBJECT: u8 = 12;
}

impl Value {
    /// The number that it is, whatever its type; a boolean is 0 or 1.
    pub fn as_number(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "numbers beyond 2^53 are rounded, as every float is")]
        match self {
            Value::Boolean(value) => Some(f64::from(u8::from(*value))),
            Value::Unsigned(value) => Some(*value as f64),
            Value::Signed(value) => Some(*value as f64),
            Value::Real(value) => Some(f64::from(*value)),
            Value::Double(value) => Some(*value),
            Value::Enumerated(value) => Some(f64::from(*value)),
            Value::Null
            | Value::Octets(_)
            | Value::Text(_)
            | Value::Bits(_)
            | Value::Date(_)
            | Value::Time(_)
            | Value::Object(_)
            | Value::Context { .. }
            | Value::List { .. } => None,
        }
    }

    /// The unsigned number that it is, also as an enumeration.
    pub fn as_unsigned(&self) -> Option<u64> {
        match self {
            Value::Unsigned(value) => Some(*value),
            Value::Enumerated(value) => Some(u64::from(*value)),
            Value::Null
            | Value::Boolean(_)
            | Value::Signed(_)
            | Value::Real(_)
            | Value::Double(_)
            | Value::Octets(_)
            | Value::Text(_)
            | Value::Bits(_)
            | Value::Date(_)
            | Value::Time(_)
            | Value::Object(_)
            | Value::Context { .. }
            | Value::List { .. } => None,
        }
    }

    /// The text that it is.
    pub fn as_text(&self) -> Option<&Text> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The object that it names.
    pub fn as_object(&self) -> Option<ObjectId> {
        if let Value::Object(object) = self { Some(*object) } else { None }
    }

    fn read_within(reader: &mut Reader<'_>, depth: usize) -> Result<Value, Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep { max: DEPTH_MAX });
        }
        reader.count_value()?;
        let first = reader.rest().first().copied().unwrap_or_default();
        match reader.tag()? {
            Tag::Application { number: number::BOOLEAN, length } => match length {
                0 | 1 => Ok(Value::Boolean(length == 1)),
                other => Err(Error::Invalid { what: "a boolean", value: u64::from(other) }),
            },
            Tag::Application { number, length } => {
                let bytes = reader.take(size(length))?;
                Value::from_application(number, bytes, first)
            }
            Tag::Context { number, length } => {
                Ok(Value::Context { number, bytes: reader.take(size(length))?.to_vec() })
            }
            Tag::Opening { number } => {
                let mut values = Vec::new();
                while !reader.is_closing(number) {
                    values.push(Value::read_within(reader, depth + 1)?);
                }
                reader.closing(number)?;
                Ok(Value::List { number, values })
            }
            Tag::Closing { .. } => Err(Error::Tag { expected: "a value", got: first }),
        }
    }

    fn from_application(number: u8, bytes: &[u8], first: u8) -> Result<Value, Error> {
        Ok(match number {
            number::NULL if bytes.is_empty() => Value::Null,
            number::NULL => return Err(Error::Length { what: "null", length: bytes.len() }),
            number::UNSIGNED => Value::Unsigned(unsigned(bytes)?),
            number::SIGNED => Value::Signed(signed(bytes)?),
            number::REAL => Value::Real(f32::from_be_bytes(exact(bytes, "a real number")?)),
            number::DOUBLE => Value::Double(f64::from_be_bytes(exact(bytes, "a double")?)),
            number::OCTETS => Value::Octets(bytes.to_vec()),
            number::TEXT => Value::Text(Text::from_bytes(bytes)?),
            number::BITS => Value::Bits(BitString::from_bytes(bytes)?),
            number::ENUMERATED => Value::Enumerated(unsigned32(bytes)?),
            number::DATE => Value::Date(Date::from_bytes(exact(bytes, "a date")?)),
            number::TIME => Value::Time(Time::from_bytes(exact(bytes, "a time")?)),
            number::OBJECT => Value::Object(ObjectId::from_bytes(exact(bytes, "an object identifier")?)),
            _ => return Err(Error::Tag { expected: "a known data type", got: first }),
        })
    }
}

impl Message for Value {
    fn write(&self, writer: &mut Writer) {
        match self {
            Value::Null => writer.application(number::NULL, &[]),
            Value::Boolean(value) => {
                writer.tag(Tag::Application { number: number::BOOLEAN, length: u32::from(*value) });
            }
            Value::Unsigned(value) => {
                writer.application(number::UNSIGNED, unsigned_bytes(&value.to_be_bytes()));
            }
            Value::Signed(value) => writer.application(number::SIGNED, signed_bytes(&value.to_be_bytes())),
            Value::Real(value) => writer.application(number::REAL, &value.to_be_bytes()),
            Value::Double(value) => writer.application(number::DOUBLE, &value.to_be_bytes()),
            Value::Octets(bytes) => writer.application(number::OCTETS, bytes),
            Value::Text(text) => writer.application(number::TEXT, &text.to_bytes()),
            Value::Bits(bits) => writer.application(number::BITS, &bits.to_bytes()),
            Value::Enumerated(value) => {
                writer.application(number::ENUMERATED, unsigned_bytes(&u64::from(*value).to_be_bytes()));
            }
            Value::Date(date) => writer.application(number::DATE, &date.to_bytes()),
            Value::Time(time) => writer.application(number::TIME, &time.to_bytes()),
            Value::Object(object) => writer.application(number::OBJECT, &object.to_bytes()),
            Value::Context { number, bytes } => writer.context(*number, bytes),
            Value::List { number, values } => write_list(writer, *number, values),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Value, Error> {
        Value::read_within(reader, 0)
    }
}

/// Writes values one behind the other between the tags of a list.
pub fn write_list(writer: &mut Writer, number: u8, values: &[Value]) {
    writer.opening(number);
    for value in values {
        value.write(writer);
    }
    writer.closing(number);
}

/// Takes the values between the tags of a list.
///
/// # Errors
/// If there is no such list, or one of its values is none.
pub fn read_list(reader: &mut Reader<'_>, number: u8) -> Result<Vec<Value>, Error> {
    reader.opening(number)?;
    let mut values = Vec::new();
    while !reader.is_closing(number) {
        values.push(Value::read(reader)?);
    }
    reader.closing(number)?;
    Ok(values)
}

/// Reads values up to the end of the bytes.
///
/// # Errors
/// If one of them is none.
pub fn read_all(bytes: &[u8]) -> Result<Vec<Value>, Error> {
    let mut reader = Reader::new(bytes);
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(Value::read(&mut reader)?);
    }
    Ok(values)
}

/// Writes values one behind the other.
pub fn write_all(values: &[Value]) -> Vec<u8> {
    let mut writer = Writer::new();
    for value in values {
        value.write(&mut writer);
    }
    writer.into_bytes()
}

/// Clause 20.2.5: two's complement, one to eight bytes.
pub(crate) fn signed(bytes: &[u8]) -> Result<i64, Error> {
    let filler = match bytes.first() {
        Some(first) if *first >= 0x80 => 0xff,
        Some(_) => 0,
        None => return Err(Error::Length { what: "a signed number", length: 0 }),
    };
    let mut array = [filler; 8];
    let start = 8_usize.checked_sub(bytes.len());
    let start = start.ok_or(Error::Length { what: "a signed number", length: bytes.len() })?;
    array[start..].copy_from_slice(bytes);
    Ok(i64::from_be_bytes(array))
}

/// The bytes of a signed number without those that only repeat its sign.
pub(crate) fn signed_bytes(bytes: &[u8; 8]) -> &[u8] {
    let repeats = |pair: &[u8]| (pair[0] == 0 && pair[1] < 0x80) || (pair[0] == 0xff && pair[1] >= 0x80);
    let count = bytes.windows(2).take_while(|pair| repeats(pair)).count();
    &bytes[count..]
}

/// Bytes of exactly this length.
pub(crate) fn exact<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::Length { what, length: bytes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_standard_shows_them() {
        let cases: [(Value, &[u8]); 16] = [
            (Value::Null, &[0x00]),
            (Value::Boolean(false), &[0x10]),
            (Value::Boolean(true), &[0x11]),
            (Value::Unsigned(72), &[0x21, 0x48]),
            (Value::Signed(72), &[0x31, 0x48]),
            (Value::Signed(-129), &[0x32, 0xff, 0x7f]),
            (Value::Real(72.0), &[0x44, 0x42, 0x90, 0, 0]),
            (Value::Double(72.0), &[0x55, 8, 0x40, 0x52, 0, 0, 0, 0, 0, 0]),
            (Value::Octets(vec![0x12, 0x34, 0xff]), &[0x63, 0x12, 0x34, 0xff]),
            (Value::Enumerated(0), &[0x91, 0]),
            (Value::Bits(BitString::from_bits(&[true, false, true, false, true])), &[0x82, 3, 0xa8]),
            (Value::Date(Date { year: 91, month: 1, day: 24, weekday: 4 }), &[0xa4, 0x5b, 1, 0x18, 4]),
            (
                Value::Time(Time { hour: 17, minute: 35, second: 45, hundredths: 17 }),
                &[0xb4, 0x11, 0x23, 0x2d, 0x11],
            ),
            (
                Value::Object(ObjectId::new(crate::names::ObjectType::BINARY_INPUT, 15)),
                &[0xc4, 0, 0xc0, 0, 0x0f],
            ),
            (Value::Context { number: 0, bytes: vec![1] }, &[0x09, 1]),
            (Value::List { number: 3, values: vec![Value::Null] }, &[0x3e, 0, 0x3f]),
        ];
        for (value, bytes) in cases {
            assert_eq!(value.encode(), bytes, "{value:?}");
            assert_eq!(Value::decode(bytes), Ok(value));
        }
        let text = Value::Text(Text::new("This is a BACnet string!"));
        assert_eq!(text.encode()[..4], [0x75, 0x19, 0, b'T']);
    }

    #[test]
    fn lists_within_lists_end_at_a_depth() {
        let deep = |count: usize| [vec![0x0e; count], vec![0x0f; count]].concat();
        assert!(Value::decode(&deep(DEPTH_MAX)).is_ok());
        assert_eq!(Value::decode(&deep(DEPTH_MAX + 2)), Err(Error::TooDeep { max: DEPTH_MAX }));
        assert_eq!(Value::decode(&vec![0x0e; 1_000_000]), Err(Error::TooDeep { max: DEPTH_MAX }));
    }

    #[test]
    fn values_of_one_message_are_counted() {
        let many = [vec![0x0e], vec![0; crate::tag::VALUES_MAX], vec![0x0f]].concat();
        assert!(matches!(Value::decode(&many), Err(Error::TooMany { what: "values", .. })));
    }

    #[test]
    fn signed_numbers_take_as_few_bytes_as_they_need() {
        for number in [0, 1, -1, 127, 128, -128, -129, 32_767, 32_768, i64::MAX, i64::MIN] {
            let bytes = number.to_be_bytes();
            assert_eq!(signed(signed_bytes(&bytes)), Ok(number));
        }
        assert_eq!(signed_bytes(&127_i64.to_be_bytes()).len(), 1);
        assert_eq!(signed_bytes(&128_i64.to_be_bytes()).len(), 2);
    }
}
