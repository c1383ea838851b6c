//! Alarms and events: AcknowledgeAlarm (clause 13.5), the notifications, GetAlarmSummary and
//! GetEventInformation.
//!
//! Of a notification, what all events have in common is read; the event values, which differ between event
//! types, stay [`Value`]s.

use super::{read_object, write_object};
use crate::Error;
use crate::names::{EventState, EventType, NotifyType};
use crate::shapes::TimeStamp;
use crate::tag::{Message, Reader, Writer, unsigned32};
use crate::value::{BitString, ObjectId, Text, Value, exact, number, read_list, write_list};

/// An object tells that its state changed, or that this was acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub struct EventNotification {
    /// For which of the recipient's processes.
    pub process: u32,
    /// The device.
    pub device: ObjectId,
    /// The object.
    pub object: ObjectId,
    /// When.
    pub time_stamp: TimeStamp,
    /// The notification class.
    pub class: u32,
    /// How urgent, 0 being the most.
    pub priority: u8,
    /// What kind of event.
    pub event_type: EventType,
    /// A text for people.
    pub message: Option<Text>,
    /// Alarm, event or acknowledgment.
    pub notify_type: NotifyType,
    /// Whether it is to be acknowledged; not told of acknowledgments.
    pub needs_acknowledgment: Option<bool>,
    /// The state before; not told of acknowledgments.
    pub from: Option<EventState>,
    /// The state after.
    pub to: EventState,
    /// What belongs to that kind of event.
    pub values: Option<Vec<Value>>,
}

impl Message for EventNotification {
    fn write(&self, writer: &mut Writer) {
        writer.context_unsigned(0, u64::from(self.process));
        write_object(writer, 1, self.device);
        write_object(writer, 2, self.object);
        write_time_stamp(writer, 3, self.time_stamp);
        writer.context_unsigned(4, u64::from(self.class));
        writer.context_unsigned(5, u64::from(self.priority));
        writer.context_unsigned(6, u64::from(self.event_type.number()));
        if let Some(message) = &self.message {
            writer.context(7, &message.to_bytes());
        }
        writer.context_unsigned(8, u64::from(self.notify_type.number()));
        if let Some(needs_acknowledgment) = self.needs_acknowledgment {
            writer.context_boolean(9, needs_acknowledgment);
        }
        writer.context_unsigned_option(10, self.from.map(EventState::number));
        writer.context_unsigned(11, u64::from(self.to.number()));
        if let Some(values) = &self.values {
            write_list(writer, 12, values);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<EventNotification, Error> {
        Ok(EventNotification {
            process: reader.context_unsigned32(0)?,
            device: read_object(reader, 1)?,
            object: read_object(reader, 2)?,
            time_stamp: read_time_stamp(reader, 3)?,
            class: reader.context_unsigned32(4)?,
            priority: read_octet(reader, 5)?,
            event_type: EventType::new(reader.context_unsigned32(6)?),
            message: reader.context_option(7)?.map(Text::from_bytes).transpose()?,
            notify_type: NotifyType::new(reader.context_unsigned32(8)?),
            needs_acknowledgment: reader.context_boolean_option(9)?,
            from: reader.context_unsigned32_option(10)?.map(EventState::new),
            to: EventState::new(reader.context_unsigned32(11)?),
            values: if reader.is_opening(12) { Some(read_list(reader, 12)?) } else { None },
        })
    }
}

/// Somebody has seen an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgeAlarm {
    /// Of which process of the one who acknowledges.
    pub process: u32,
    /// The object.
    pub object: ObjectId,
    /// The state that is acknowledged.
    pub state: EventState,
    /// When the object came into that state, exactly as it was notified.
    pub time_stamp: TimeStamp,
    /// Who acknowledges.
    pub source: Text,
    /// When.
    pub acknowledged_at: TimeStamp,
}

impl Message for AcknowledgeAlarm {
    fn write(&self, writer: &mut Writer) {
        writer.context_unsigned(0, u64::from(self.process));
        write_object(writer, 1, self.object);
        writer.context_unsigned(2, u64::from(self.state.number()));
        write_time_stamp(writer, 3, self.time_stamp);
        writer.context(4, &self.source.to_bytes());
        write_time_stamp(writer, 5, self.acknowledged_at);
    }

    fn read(reader: &mut Reader<'_>) -> Result<AcknowledgeAlarm, Error> {
        Ok(AcknowledgeAlarm {
            process: reader.context_unsigned32(0)?,
            object: read_object(reader, 1)?,
            state: EventState::new(reader.context_unsigned32(2)?),
            time_stamp: read_time_stamp(reader, 3)?,
            source: Text::from_bytes(reader.context(4)?)?,
            acknowledged_at: read_time_stamp(reader, 5)?,
        })
    }
}

/// Which objects are in alarm; the request has no parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GetAlarmSummaryAck {
    /// The objects.
    pub summaries: Vec<AlarmSummary>,
}

/// One object in alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlarmSummary {
    /// The object.
    pub object: ObjectId,
    /// Its state.
    pub state: EventState,
    /// Which of its changes to offnormal, fault and normal were acknowledged.
    pub acknowledged: BitString,
}

impl Message for GetAlarmSummaryAck {
    fn write(&self, writer: &mut Writer) {
        for summary in &self.summaries {
            Value::Object(summary.object).write(writer);
            Value::Enumerated(summary.state.number()).write(writer);
            Value::Bits(summary.acknowledged.clone()).write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<GetAlarmSummaryAck, Error> {
        let mut summaries = Vec::new();
        while !reader.is_empty() {
            let object = exact(reader.application(number::OBJECT)?, "an object identifier")?;
            summaries.push(AlarmSummary {
                object: ObjectId::from_bytes(object),
                state: EventState::new(unsigned32(reader.application(number::ENUMERATED)?)?),
                acknowledged: BitString::from_bytes(reader.application(number::BITS)?)?,
            });
        }
        Ok(GetAlarmSummaryAck { summaries })
    }
}

/// Asks which objects are not normal, or have changes that were not acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GetEventInformation {
    /// The last object of the answer before, to go on from there.
    pub after: Option<ObjectId>,
}

impl Message for GetEventInformation {
    fn write(&self, writer: &mut Writer) {
        if let Some(object) = self.after {
            write_object(writer, 0, object);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<GetEventInformation, Error> {
        let after = if reader.is_empty() { None } else { Some(read_object(reader, 0)?) };
        Ok(GetEventInformation { after })
    }
}

/// Which objects these are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GetEventInformationAck {
    /// The objects.
    pub summaries: Vec<EventSummary>,
    /// Whether there are more than fit.
    pub has_more: bool,
}

/// One such object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSummary {
    /// The object.
    pub object: ObjectId,
    /// Its state.
    pub state: EventState,
    /// Which of its changes to offnormal, fault and normal were acknowledged.
    pub acknowledged: BitString,
    /// When it last came to offnormal, fault and normal.
    pub time_stamps: [TimeStamp; 3],
    /// Alarm or event.
    pub notify_type: NotifyType,
    /// Which of these changes are notified.
    pub enabled: BitString,
    /// How urgent these changes are.
    pub priorities: [u32; 3],
}

impl Message for EventSummary {
    fn write(&self, writer: &mut Writer) {
        write_object(writer, 0, self.object);
        writer.context_unsigned(1, u64::from(self.state.number()));
        writer.context(2, &self.acknowledged.to_bytes());
        writer.opening(3);
        for time_stamp in &self.time_stamps {
            time_stamp.write(writer);
        }
        writer.closing(3);
        writer.context_unsigned(4, u64::from(self.notify_type.number()));
        writer.context(5, &self.enabled.to_bytes());
        writer.opening(6);
        for priority in self.priorities {
            Value::Unsigned(u64::from(priority)).write(writer);
        }
        writer.closing(6);
    }

    fn read(reader: &mut Reader<'_>) -> Result<EventSummary, Error> {
        let object = read_object(reader, 0)?;
        let state = EventState::new(reader.context_unsigned32(1)?);
        let acknowledged = BitString::from_bytes(reader.context(2)?)?;
        reader.opening(3)?;
        let time_stamps = [TimeStamp::read(reader)?, TimeStamp::read(reader)?, TimeStamp::read(reader)?];
        reader.closing(3)?;
        let notify_type = NotifyType::new(reader.context_unsigned32(4)?);
        let enabled = BitString::from_bytes(reader.context(5)?)?;
        reader.opening(6)?;
        let mut priorities = [0; 3];
        for priority in &mut priorities {
            *priority = unsigned32(reader.application(number::UNSIGNED)?)?;
        }
        reader.closing(6)?;
        Ok(EventSummary { object, state, acknowledged, time_stamps, notify_type, enabled, priorities })
    }
}

impl Message for GetEventInformationAck {
    fn write(&self, writer: &mut Writer) {
        writer.opening(0);
        for summary in &self.summaries {
            summary.write(writer);
        }
        writer.closing(0);
        writer.context_boolean(1, self.has_more);
    }

    fn read(reader: &mut Reader<'_>) -> Result<GetEventInformationAck, Error> {
        reader.opening(0)?;
        let summaries = super::read_until_closing(reader, 0)?;
        let has_more = crate::tag::boolean(reader.context(1)?)?;
        Ok(GetEventInformationAck { summaries, has_more })
    }
}

fn write_time_stamp(writer: &mut Writer, number: u8, time_stamp: TimeStamp) {
    writer.opening(number);
    time_stamp.write(writer);
    writer.closing(number);
}

fn read_time_stamp(reader: &mut Reader<'_>, number: u8) -> Result<TimeStamp, Error> {
    reader.opening(number)?;
    let time_stamp = TimeStamp::read(reader)?;
    reader.closing(number)?;
    Ok(time_stamp)
}

fn read_octet(reader: &mut Reader<'_>, number: u8) -> Result<u8, Error> {
    let value = reader.context_unsigned(number)?;
    u8::try_from(value).map_err(|_| Error::Invalid { what: "a number of 8 bits", value })
}
