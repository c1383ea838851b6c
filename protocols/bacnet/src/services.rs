//! Services: what requests ask and answers say, clauses 13, 15 and 16.
//!
//! Each is a struct that is a [`crate::tag::Message`]: the bytes that stand in an APDU behind the
//! number of the service. Numbers of the standard's productions (clause 21) are those of the context tags.

mod cov;
mod device;
mod discovery;
mod event;
mod failure;
mod range;
mod read;
mod write;

pub use cov::{CovNotification, SubscribeCov, SubscribeCovProperty, SubscriptionTerms};
pub use device::{DeviceCommunicationControl, PASSWORD_LETTERS_MAX, ReinitializeDevice, TimeSynchronization};
pub use discovery::{IAm, IHave, Wanted, WhoHas, WhoIs};
pub use event::{
    AcknowledgeAlarm, AlarmSummary, EventNotification, EventSummary, GetAlarmSummaryAck, GetEventInformation,
    GetEventInformationAck,
};
pub use failure::{ErrorDetail, ServiceError};
pub use range::{LogDatum, LogRecord, Range, ReadRange, ReadRangeAck, ResultFlags};
pub use read::{
    PropertyOutcome, ReadAccess, ReadAccessResult, ReadProperty, ReadPropertyAck, ReadPropertyMultiple,
    ReadPropertyMultipleAck,
};
pub use write::{WriteAccess, WriteProperty, WritePropertyMultiple};

use crate::Error;
use crate::names::PropertyIdentifier;
use crate::tag::{Message, Reader, Writer, unsigned};
use crate::value::{ObjectId, Value, exact, read_list, write_list};

/// The index that stands for all elements of an array: it is left out.
pub type ArrayIndex = Option<u32>;

/// A property, or an element of one: `BACnetPropertyReference`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PropertyReference {
    /// The property.
    pub property: PropertyIdentifier,
    /// Which element of an array; 0 is the number of elements.
    pub index: ArrayIndex,
}

/// A property and its value: `BACnetPropertyValue`.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyValue {
    /// The property.
    pub reference: PropertyReference,
    /// Its value.
    pub values: Vec<Value>,
    /// At which priority it is written, 1 to 16.
    pub priority: Option<u8>,
}

impl PropertyReference {
    /// A whole property.
    pub const fn whole(property: PropertyIdentifier) -> PropertyReference {
        PropertyReference { property, index: None }
    }

    /// An element of an array.
    pub const fn element(property: PropertyIdentifier, index: u32) -> PropertyReference {
        PropertyReference { property, index: Some(index) }
    }

    /// Writes it at these places.
    pub(crate) fn write_at(self, writer: &mut Writer, first: u8) {
        writer.context_unsigned(first, u64::from(self.property.number()));
        writer.context_unsigned_option(first + 1, self.index);
    }

    /// Takes it from these places.
    pub(crate) fn read_at(reader: &mut Reader<'_>, first: u8) -> Result<PropertyReference, Error> {
        let property = PropertyIdentifier::new(reader.context_unsigned32(first)?);
        Ok(PropertyReference { property, index: reader.context_unsigned32_option(first + 1)? })
    }
}

impl Message for PropertyReference {
    fn write(&self, writer: &mut Writer) {
        self.write_at(writer, 0);
    }

    fn read(reader: &mut Reader<'_>) -> Result<PropertyReference, Error> {
        PropertyReference::read_at(reader, 0)
    }
}

impl Message for PropertyValue {
    fn write(&self, writer: &mut Writer) {
        self.reference.write(writer);
        write_list(writer, 2, &self.values);
        writer.context_unsigned_option(3, self.priority.map(u32::from));
    }

    fn read(reader: &mut Reader<'_>) -> Result<PropertyValue, Error> {
        Ok(PropertyValue {
            reference: PropertyReference::read(reader)?,
            values: read_list(reader, 2)?,
            priority: read_priority(reader, 3)?,
        })
    }
}

/// A priority of 1 to 16, if it stands here.
fn read_priority(reader: &mut Reader<'_>, number: u8) -> Result<Option<u8>, Error> {
    let Some(bytes) = reader.context_option(number)? else { return Ok(None) };
    let value = unsigned(bytes)?;
    match u8::try_from(value) {
        Ok(priority @ 1..=16) => Ok(Some(priority)),
        _ => Err(Error::Invalid { what: "a priority", value }),
    }
}

fn read_object(reader: &mut Reader<'_>, number: u8) -> Result<ObjectId, Error> {
    Ok(ObjectId::from_bytes(exact(reader.context(number)?, "an object identifier")?))
}

fn write_object(writer: &mut Writer, number: u8, object: ObjectId) {
    writer.context(number, &object.to_bytes());
}

/// Takes messages until a list ends.
fn read_until_closing<M: Message>(reader: &mut Reader<'_>, number: u8) -> Result<Vec<M>, Error> {
    let mut messages = Vec::new();
    while !reader.is_closing(number) {
        messages.push(M::read(reader)?);
    }
    reader.closing(number)?;
    Ok(messages)
}
