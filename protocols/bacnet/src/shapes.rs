//! Structures that many properties share.
//!
//! What a device sends is kept as [`Value`]s; the functions here say what they mean, and refuse what has another
//! form. Writing goes the other way. Weekly schedules are read into times and values; exception schedules,
//! which differ between editions, stay [`Value`]s, which lose nothing.

use crate::Error;
use crate::tag::{Message, Reader, Writer, unsigned};
use crate::value::{BitString, Date, DateTime, ObjectId, Time, Value, exact, number};

/// How many priorities a commandable property has: clause 19.2.
pub const PRIORITIES: usize = 16;

/// `BACnetStatusFlags` of clause 21.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four flags that are independent of each other")]
pub struct StatusFlags {
    /// Its event state is not normal.
    pub is_in_alarm: bool,
    /// Its reliability is not "no fault detected".
    pub is_faulty: bool,
    /// It was overridden at the device.
    pub is_overridden: bool,
    /// It does not follow the process.
    pub is_out_of_service: bool,
}

impl StatusFlags {
    /// None if the value is no bit string of four bits.
    pub fn from_value(value: &Value) -> Option<StatusFlags> {
        let Value::Bits(bits) = value else { return None };
        (bits.len() == 4).then(|| StatusFlags {
            is_in_alarm: bits.is_set(0),
            is_faulty: bits.is_set(1),
            is_overridden: bits.is_set(2),
            is_out_of_service: bits.is_set(3),
        })
    }

    /// As a bit string.
    pub fn to_value(self) -> Value {
        let bits = [self.is_in_alarm, self.is_faulty, self.is_overridden, self.is_out_of_service];
        Value::Bits(BitString::from_bits(&bits))
    }
}

/// What is commanded at each priority, the first being the highest.
#[derive(Debug, Clone, PartialEq)]
pub struct PriorityArray {
    slots: Vec<Value>,
}

impl PriorityArray {
    /// With nothing commanded.
    pub fn empty() -> PriorityArray {
        PriorityArray { slots: vec![Value::Null; PRIORITIES] }
    }

    /// None if there are not sixteen values.
    pub fn from_values(values: &[Value]) -> Option<PriorityArray> {
        (values.len() == PRIORITIES).then(|| PriorityArray { slots: values.to_vec() })
    }

    /// As the property has it.
    pub fn values(&self) -> &[Value] {
        &self.slots
    }

    /// What is commanded at a priority of 1 to 16.
    pub fn at(&self, priority: u8) -> Option<&Value> {
        self.slots.get(usize::from(priority).checked_sub(1)?).filter(|value| **value != Value::Null)
    }

    /// Commands a value at a priority of 1 to 16, or with [`Value::Null`] gives it back.
    ///
    /// # Errors
    /// If there is no such priority.
    pub fn set(&mut self, priority: u8, value: Value) -> Result<(), Error> {
        let slot = usize::from(priority).checked_sub(1).and_then(|place| self.slots.get_mut(place));
        *slot.ok_or(Error::Invalid { what: "a priority", value: u64::from(priority) })? = value;
        Ok(())
    }

    /// The highest priority that commands, and its value.
    pub fn effective(&self) -> Option<(u8, &Value)> {
        (1..=16).find_map(|priority| self.at(priority).map(|value| (priority, value)))
    }
}

/// The objects of an object list; none if it has something else in it.
pub fn object_list(values: &[Value]) -> Option<Vec<ObjectId>> {
    values.iter().map(Value::as_object).collect()
}

/// The pairs of dates and times; none if the values are none.
pub fn date_times(values: &[Value]) -> Option<Vec<DateTime>> {
    if !values.len().is_multiple_of(2) {
        return None;
    }
    let pairs = values.chunks(2).map(|pair| match pair {
        [Value::Date(date), Value::Time(time)] => Some(DateTime { date: *date, time: *time }),
        _ => None,
    });
    pairs.collect()
}

/// When something happened: `BACnetTimeStamp` of clause 21.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeStamp {
    /// At a time of an unknown day.
    Time(Time),
    /// After the event of the number before.
    Sequence(u64),
    /// At a time of a day.
    DateTime(DateTime),
}

impl TimeStamp {
    /// Reads one from the values of a property, such as those of event-time-stamps.
    pub fn from_value(value: &Value) -> Option<TimeStamp> {
        TimeStamp::decode(&value.encode()).ok()
    }
}

impl Message for TimeStamp {
    fn write(&self, writer: &mut Writer) {
        match self {
            TimeStamp::Time(time) => writer.context(0, &time.to_bytes()),
            TimeStamp::Sequence(sequence) => writer.context_unsigned(1, *sequence),
            TimeStamp::DateTime(moment) => {
                writer.opening(2);
                moment.write(writer);
                writer.closing(2);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<TimeStamp, Error> {
        if let Some(bytes) = reader.context_option(0)? {
            return Ok(TimeStamp::Time(Time::from_bytes(exact(bytes, "a time")?)));
        }
        if let Some(bytes) = reader.context_option(1)? {
            return Ok(TimeStamp::Sequence(unsigned(bytes)?));
        }
        reader.opening(2)?;
        let moment = DateTime::read(reader)?;
        reader.closing(2)?;
        Ok(TimeStamp::DateTime(moment))
    }
}

impl Message for DateTime {
    fn write(&self, writer: &mut Writer) {
        Value::Date(self.date).write(writer);
        Value::Time(self.time).write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<DateTime, Error> {
        let date = Date::from_bytes(exact(reader.application(number::DATE)?, "a date")?);
        let time = Time::from_bytes(exact(reader.application(number::TIME)?, "a time")?);
        Ok(DateTime { date, time })
    }
}

/// What a schedule writes in the course of one day: `BACnetDailySchedule` of clause 21.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DailySchedule {
    /// From which time on which value holds.
    pub changes: Vec<(Time, Value)>,
}

impl DailySchedule {
    /// None if the value is no day of a weekly schedule.
    pub fn from_value(value: &Value) -> Option<DailySchedule> {
        let Value::List { number: 0, values } = value else { return None };
        if !values.len().is_multiple_of(2) {
            return None;
        }
        let changes = values.chunks(2).map(|pair| match pair {
            [Value::Time(time), value] => Some((*time, value.clone())),
            _ => None,
        });
        Some(DailySchedule { changes: changes.collect::<Option<_>>()? })
    }

    /// As the property has it.
    pub fn to_value(&self) -> Value {
        let values = self.changes.iter().flat_map(|(time, value)| [Value::Time(*time), value.clone()]);
        Value::List { number: 0, values: values.collect() }
    }
}

/// The seven days of a weekly schedule, Monday first; none if the values are none.
pub fn weekly_schedule(values: &[Value]) -> Option<[DailySchedule; 7]> {
    let days: Option<Vec<DailySchedule>> = values.iter().map(DailySchedule::from_value).collect();
    days?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_flags_are_four_bits() {
        let flags = StatusFlags { is_faulty: true, is_out_of_service: true, ..StatusFlags::default() };
        assert_eq!(flags.to_value().encode(), [0x82, 4, 0b0101_0000]);
        assert_eq!(StatusFlags::from_value(&flags.to_value()), Some(flags));
        assert_eq!(StatusFlags::from_value(&Value::Bits(BitString::from_bits(&[true; 3]))), None);
        assert_eq!(StatusFlags::from_value(&Value::Null), None);
    }

    #[test]
    fn the_highest_priority_commands() {
        let mut array = PriorityArray::empty();
        array.set(16, Value::Real(1.0)).unwrap();
        array.set(8, Value::Real(2.0)).unwrap();
        assert_eq!(array.effective(), Some((8, &Value::Real(2.0))));
        array.set(8, Value::Null).unwrap();
        assert_eq!(array.effective(), Some((16, &Value::Real(1.0))));
        assert!(array.set(0, Value::Null).is_err());
        assert!(array.set(17, Value::Null).is_err());
        assert_eq!(PriorityArray::from_values(array.values()), Some(array.clone()));
        assert_eq!(PriorityArray::from_values(&array.values()[1..]), None);
    }

    #[test]
    fn time_stamps_have_three_forms() {
        let time = Time { hour: 1, minute: 2, second: 3, hundredths: 4 };
        let date = Date::of_day(2026, 1, 2).unwrap();
        for stamp in
            [TimeStamp::Time(time), TimeStamp::Sequence(70_000), TimeStamp::DateTime(DateTime { date, time })]
        {
            let bytes = stamp.encode();
            assert_eq!(TimeStamp::decode(&bytes), Ok(stamp));
            assert_eq!(TimeStamp::from_value(&Value::decode(&bytes).unwrap()), Some(stamp));
        }
    }

    #[test]
    fn a_weekly_schedule_has_seven_days() {
        let time = Time { hour: 6, minute: 0, second: 0, hundredths: 0 };
        let day = DailySchedule { changes: vec![(time, Value::Real(21.0)), (time, Value::Null)] };
        let values = vec![day.to_value(); 7];
        let week = weekly_schedule(&values).unwrap();
        assert_eq!(week.map(|day| day.to_value()).to_vec(), values);
        assert_eq!(weekly_schedule(&values[1..]), None);
        assert_eq!(DailySchedule::from_value(&Value::List { number: 0, values: vec![Value::Null] }), None);
    }
}
