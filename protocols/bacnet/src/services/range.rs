//! Parts of lists: ReadRange (clause 15.8), and the records of trend logs that it reads.

use super::{PropertyReference, ServiceError, read_object, write_object};
use crate::Error;
use crate::shapes::StatusFlags;
use crate::tag::{Message, Reader, Writer, unsigned, unsigned32};
use crate::value::{
    BitString, DateTime, ObjectId, Value, exact, number, read_list, signed, write_all, write_list,
};

/// Which items of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// From this place on, counted from 1; a negative count leads to those before it.
    Position {
        /// The place.
        index: u32,
        /// How many.
        count: i32,
    },
    /// From the item of this number on; a negative count leads to those before it.
    Sequence {
        /// The number.
        sequence: u32,
        /// How many.
        count: i32,
    },
    /// After this time; a negative count leads to those before it.
    Time {
        /// The time.
        at: DateTime,
        /// How many.
        count: i32,
    },
}

/// Asks for items of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRange {
    /// Of this object.
    pub object: ObjectId,
    /// This property.
    pub reference: PropertyReference,
    /// Which items; as many as fit if there is none.
    pub range: Option<Range>,
}

impl Message for ReadRange {
    fn write(&self, writer: &mut Writer) {
        write_object(writer, 0, self.object);
        self.reference.write_at(writer, 1);
        let (number, first, count) = match self.range {
            None => return,
            Some(Range::Position { index, count }) => (3, vec![Value::Unsigned(u64::from(index))], count),
            Some(Range::Sequence { sequence, count }) => {
                (6, vec![Value::Unsigned(u64::from(sequence))], count)
            }
            Some(Range::Time { at, count }) => (7, vec![Value::Date(at.date), Value::Time(at.time)], count),
        };
        let values = [first, vec![Value::Signed(i64::from(count))]].concat();
        write_list(writer, number, &values);
    }

    fn read(reader: &mut Reader<'_>) -> Result<ReadRange, Error> {
        let object = read_object(reader, 0)?;
        let reference = PropertyReference::read_at(reader, 1)?;
        let range = if reader.is_empty() { None } else { Some(Range::read(reader)?) };
        Ok(ReadRange { object, reference, range })
    }
}

impl Range {
    fn read(reader: &mut Reader<'_>) -> Result<Range, Error> {
        let (number, range) = if reader.is_opening(3) {
            reader.opening(3)?;
            let index = unsigned32(reader.application(number::UNSIGNED)?)?;
            (3, Range::Position { index, count: count(reader)? })
        } else if reader.is_opening(6) {
            reader.opening(6)?;
            let sequence = unsigned32(reader.application(number::UNSIGNED)?)?;
            (6, Range::Sequence { sequence, count: count(reader)? })
        } else {
            reader.opening(7)?;
            let at = DateTime::read(reader)?;
            (7, Range::Time { at, count: count(reader)? })
        };
        reader.closing(number)?;
        Ok(range)
    }
}

/// Where the items of an answer stand: `BACnetResultFlags`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResultFlags {
    /// The first item of the list is among them.
    pub has_first: bool,
    /// The last item of the list is among them.
    pub has_last: bool,
    /// More were asked for than fit.
    pub has_more: bool,
}

/// Items of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadRangeAck {
    /// Of this object.
    pub object: ObjectId,
    /// This property.
    pub reference: PropertyReference,
    /// Where they stand.
    pub flags: ResultFlags,
    /// How many they are.
    pub count: u32,
    /// The items; one may consist of several values.
    pub values: Vec<Value>,
    /// The number of the first of them, if they have numbers.
    pub first_sequence: Option<u32>,
}

impl Message for ReadRangeAck {
    fn write(&self, writer: &mut Writer) {
        write_object(writer, 0, self.object);
        self.reference.write_at(writer, 1);
        let flags = [self.flags.has_first, self.flags.has_last, self.flags.has_more];
        writer.context(3, &BitString::from_bits(&flags).to_bytes());
        writer.context_unsigned(4, u64::from(self.count));
        write_list(writer, 5, &self.values);
        writer.context_unsigned_option(6, self.first_sequence);
    }

    fn read(reader: &mut Reader<'_>) -> Result<ReadRangeAck, Error> {
        let object = read_object(reader, 0)?;
        let reference = PropertyReference::read_at(reader, 1)?;
        let flags = BitString::from_bytes(reader.context(3)?)?;
        Ok(ReadRangeAck {
            object,
            reference,
            flags: ResultFlags {
                has_first: flags.is_set(0),
                has_last: flags.is_set(1),
                has_more: flags.is_set(2),
            },
            count: reader.context_unsigned32(4)?,
            values: read_list(reader, 5)?,
            first_sequence: reader.context_unsigned32_option(6)?,
        })
    }
}

/// What a trend log recorded: `BACnetLogRecord` of clause 21.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// When.
    pub at: DateTime,
    /// What.
    pub datum: LogDatum,
    /// The status of what was logged.
    pub status: Option<StatusFlags>,
}

/// The kinds of what is recorded.
#[derive(Debug, Clone, PartialEq)]
pub enum LogDatum {
    /// The log itself was switched off or on, emptied, or interrupted.
    LogStatus(BitString),
    /// A value.
    Value(Value),
    /// The value could not be read.
    Failure(ServiceError),
    /// The clock was set by this many seconds; 0 if that is not known.
    ClockChange(f32),
    /// A value of another data type.
    Any(Vec<Value>),
}

impl LogRecord {
    /// Reads the records that the values of a [`ReadRangeAck`] consist of.
    ///
    /// # Errors
    /// If one of them is none.
    pub fn from_values(values: &[Value]) -> Result<Vec<LogRecord>, Error> {
        let bytes = write_all(values);
        let mut reader = Reader::new(&bytes);
        let mut records = Vec::new();
        while !reader.is_empty() {
            records.push(LogRecord::read(&mut reader)?);
        }
        Ok(records)
    }
}

impl Message for LogRecord {
    fn write(&self, writer: &mut Writer) {
        writer.opening(0);
        self.at.write(writer);
        writer.closing(0);
        writer.opening(1);
        self.datum.write(writer);
        writer.closing(1);
        if let Some(Value::Bits(flags)) = self.status.map(StatusFlags::to_value) {
            writer.context(2, &flags.to_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<LogRecord, Error> {
        reader.opening(0)?;
        let at = DateTime::read(reader)?;
        reader.closing(0)?;
        reader.opening(1)?;
        let datum = LogDatum::read(reader)?;
        reader.closing(1)?;
        let status = match reader.context_option(2)? {
            Some(bytes) => StatusFlags::from_value(&Value::Bits(BitString::from_bytes(bytes)?)),
            None => None,
        };
        Ok(LogRecord { at, datum, status })
    }
}

impl Message for LogDatum {
    fn write(&self, writer: &mut Writer) {
        match self {
            LogDatum::LogStatus(bits) => writer.context(0, &bits.to_bytes()),
            LogDatum::Value(Value::Boolean(value)) => writer.context_boolean(1, *value),
            LogDatum::Value(Value::Real(value)) => writer.context(2, &value.to_be_bytes()),
            LogDatum::Value(Value::Enumerated(value)) => writer.context_unsigned(3, u64::from(*value)),
            LogDatum::Value(Value::Unsigned(value)) => writer.context_unsigned(4, *value),
            LogDatum::Value(Value::Signed(value)) => {
                writer.context(5, crate::value::signed_bytes(&value.to_be_bytes()));
            }
            LogDatum::Value(Value::Bits(bits)) => writer.context(6, &bits.to_bytes()),
            LogDatum::Value(Value::Null) => writer.context(7, &[]),
            LogDatum::Failure(error) => {
                writer.opening(8);
                error.write(writer);
                writer.closing(8);
            }
            LogDatum::ClockChange(seconds) => writer.context(9, &seconds.to_be_bytes()),
            LogDatum::Value(other) => write_list(writer, 10, std::slice::from_ref(other)),
            LogDatum::Any(values) => write_list(writer, 10, values),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<LogDatum, Error> {
        if reader.is_opening(8) {
            reader.opening(8)?;
            let error = ServiceError::read(reader)?;
            reader.closing(8)?;
            return Ok(LogDatum::Failure(error));
        }
        if reader.is_opening(10) {
            return Ok(LogDatum::Any(read_list(reader, 10)?));
        }
        for place in 0..=9 {
            let Some(bytes) = reader.context_option(place)? else { continue };
            return Ok(match place {
                0 => LogDatum::LogStatus(BitString::from_bytes(bytes)?),
                1 => LogDatum::Value(Value::Boolean(crate::tag::boolean(bytes)?)),
                2 => LogDatum::Value(Value::Real(f32::from_be_bytes(exact(bytes, "a real number")?))),
                3 => LogDatum::Value(Value::Enumerated(unsigned32(bytes)?)),
                4 => LogDatum::Value(Value::Unsigned(unsigned(bytes)?)),
                5 => LogDatum::Value(Value::Signed(signed(bytes)?)),
                6 => LogDatum::Value(Value::Bits(BitString::from_bytes(bytes)?)),
                9 => LogDatum::ClockChange(f32::from_be_bytes(exact(bytes, "a real number")?)),
                _ => LogDatum::Value(Value::Null),
            });
        }
        Err(reader.unexpected("what was logged"))
    }
}

fn count(reader: &mut Reader<'_>) -> Result<i32, Error> {
    let value = signed(reader.application(number::SIGNED)?)?;
    i32::try_from(value).map_err(|_| Error::Invalid { what: "a count", value: value.unsigned_abs() })
}
