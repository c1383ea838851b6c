//! Changes of values: SubscribeCOV (clause 13.14), SubscribeCOVProperty (clause 13.15), and the notifications,
//! confirmed and not, which have the same form.

use super::{PropertyReference, PropertyValue, read_object, read_until_closing, write_object};
use crate::Error;
use crate::tag::{Message, Reader, Writer};
use crate::value::{ObjectId, exact};

/// How a subscription is to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionTerms {
    /// Whether notifications are to be confirmed.
    pub is_confirmed: bool,
    /// For how long; 0 for ever.
    pub lifetime_seconds: u32,
}

/// Subscribes to an object, or ends that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscribeCov {
    /// Which of the subscriber's subscriptions it is.
    pub process: u32,
    /// The object.
    pub object: ObjectId,
    /// How; none ends it.
    pub terms: Option<SubscriptionTerms>,
}

impl Message for SubscribeCov {
    fn write(&self, writer: &mut Writer) {
        writer.context_unsigned(0, u64::from(self.process));
        write_object(writer, 1, self.object);
        write_terms(writer, self.terms);
    }

    fn read(reader: &mut Reader<'_>) -> Result<SubscribeCov, Error> {
        Ok(SubscribeCov {
            process: reader.context_unsigned32(0)?,
            object: read_object(reader, 1)?,
            terms: read_terms(reader)?,
        })
    }
}

/// Subscribes to one property of an object, or ends that.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SubscribeCovProperty {
    /// Which of the subscriber's subscriptions it is.
    pub process: u32,
    /// The object.
    pub object: ObjectId,
    /// How; none ends it.
    pub terms: Option<SubscriptionTerms>,
    /// The property.
    pub reference: PropertyReference,
    /// From which change on; the device's own choice if there is none.
    pub increment: Option<f32>,
}

impl Message for SubscribeCovProperty {
    fn write(&self, writer: &mut Writer) {
        writer.context_unsigned(0, u64::from(self.process));
        write_object(writer, 1, self.object);
        write_terms(writer, self.terms);
        writer.opening(4);
        self.reference.write(writer);
        writer.closing(4);
        if let Some(increment) = self.increment {
            writer.context(5, &increment.to_be_bytes());
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<SubscribeCovProperty, Error> {
        let process = reader.context_unsigned32(0)?;
        let object = read_object(reader, 1)?;
        let terms = read_terms(reader)?;
        reader.opening(4)?;
        let reference = PropertyReference::read(reader)?;
        reader.closing(4)?;
        let increment = match reader.context_option(5)? {
            Some(bytes) => Some(f32::from_be_bytes(exact(bytes, "an increment")?)),
            None => None,
        };
        Ok(SubscribeCovProperty { process, object, terms, reference, increment })
    }
}

/// Values of an object that changed.
#[derive(Debug, Clone, PartialEq)]
pub struct CovNotification {
    /// Which of the subscriber's subscriptions it is; 0 for those without one.
    pub process: u32,
    /// The device.
    pub device: ObjectId,
    /// The object.
    pub object: ObjectId,
    /// How long the subscription lasts; 0 for ever.
    pub seconds_left: u32,
    /// Its properties.
    pub properties: Vec<PropertyValue>,
}

impl Message for CovNotification {
    fn write(&self, writer: &mut Writer) {
        writer.context_unsigned(0, u64::from(self.process));
        write_object(writer, 1, self.device);
        write_object(writer, 2, self.object);
        writer.context_unsigned(3, u64::from(self.seconds_left));
        writer.opening(4);
        for property in &self.properties {
            property.write(writer);
        }
        writer.closing(4);
    }

    fn read(reader: &mut Reader<'_>) -> Result<CovNotification, Error> {
        let process = reader.context_unsigned32(0)?;
        let device = read_object(reader, 1)?;
        let object = read_object(reader, 2)?;
        let seconds_left = reader.context_unsigned32(3)?;
        reader.opening(4)?;
        let properties = read_until_closing(reader, 4)?;
        Ok(CovNotification { process, device, object, seconds_left, properties })
    }
}

fn write_terms(writer: &mut Writer, terms: Option<SubscriptionTerms>) {
    if let Some(terms) = terms {
        writer.context_boolean(2, terms.is_confirmed);
        writer.context_unsigned(3, u64::from(terms.lifetime_seconds));
    }
}

/// Both are left out to end a subscription; a lifetime alone is left out to have none.
fn read_terms(reader: &mut Reader<'_>) -> Result<Option<SubscriptionTerms>, Error> {
    let is_confirmed = reader.context_boolean_option(2)?;
    let lifetime_seconds = reader.context_unsigned32_option(3)?;
    match (is_confirmed, lifetime_seconds) {
        (None, None) => Ok(None),
        (Some(is_confirmed), lifetime) => {
            Ok(Some(SubscriptionTerms { is_confirmed, lifetime_seconds: lifetime.unwrap_or(0) }))
        }
        (None, Some(_)) => Err(reader.unexpected("whether notifications are confirmed")),
    }
}
