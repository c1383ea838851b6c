//! Reading: ReadProperty (clause 15.5) and ReadPropertyMultiple (clause 15.7).

use super::{ErrorDetail, PropertyReference, ServiceError, read_object, read_until_closing, write_object};
use crate::Error;
use crate::tag::{Message, Reader, Writer};
use crate::value::{ObjectId, Value, read_list, write_list};

/// Asks for one property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadProperty {
    /// Of this object.
    pub object: ObjectId,
    /// This property.
    pub reference: PropertyReference,
}

impl Message for ReadProperty {
    fn write(&self, writer: &mut Writer) {
        write_object(writer, 0, self.object);
        self.reference.write_at(writer, 1);
    }

    fn read(reader: &mut Reader<'_>) -> Result<ReadProperty, Error> {
        Ok(ReadProperty {
            object: read_object(reader, 0)?,
            reference: PropertyReference::read_at(reader, 1)?,
        })
    }
}

/// The value of one property.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadPropertyAck {
    /// What was asked.
    pub read: ReadProperty,
    /// Its value.
    pub values: Vec<Value>,
}

impl Message for ReadPropertyAck {
    fn write(&self, writer: &mut Writer) {
        self.read.write(writer);
        write_list(writer, 3, &self.values);
    }

    fn read(reader: &mut Reader<'_>) -> Result<ReadPropertyAck, Error> {
        Ok(ReadPropertyAck { read: ReadProperty::read(reader)?, values: read_list(reader, 3)? })
    }
}

/// Asks for properties of objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadPropertyMultiple {
    /// Which.
    pub accesses: Vec<ReadAccess>,
}

/// Properties of one object: `ReadAccessSpecification`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadAccess {
    /// The object.
    pub object: ObjectId,
    /// Its properties.
    pub properties: Vec<PropertyReference>,
}

impl Message for ReadPropertyMultiple {
    fn write(&self, writer: &mut Writer) {
        for access in &self.accesses {
            write_object(writer, 0, access.object);
            writer.opening(1);
            for reference in &access.properties {
                reference.write(writer);
            }
            writer.closing(1);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<ReadPropertyMultiple, Error> {
        let mut accesses = Vec::new();
        while !reader.is_empty() {
            let object = read_object(reader, 0)?;
            reader.opening(1)?;
            accesses.push(ReadAccess { object, properties: read_until_closing(reader, 1)? });
        }
        Ok(ReadPropertyMultiple { accesses })
    }
}

/// The values of properties of objects, in the order in which they were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReadPropertyMultipleAck {
    /// For each object.
    pub results: Vec<ReadAccessResult>,
}

/// The values of properties of one object: `ReadAccessResult`.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadAccessResult {
    /// The object.
    pub object: ObjectId,
    /// Its properties.
    pub outcomes: Vec<PropertyOutcome>,
}

/// The value of a property, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct PropertyOutcome {
    /// The property.
    pub reference: PropertyReference,
    /// Its value.
    pub values: Result<Vec<Value>, ServiceError>,
}

impl Message for PropertyOutcome {
    fn write(&self, writer: &mut Writer) {
        self.reference.write_at(writer, 2);
        match &self.values {
            Ok(values) => write_list(writer, 4, values),
            Err(error) => {
                writer.opening(5);
                error.write(writer);
                writer.closing(5);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<PropertyOutcome, Error> {
        let reference = PropertyReference::read_at(reader, 2)?;
        if !reader.is_opening(5) {
            return Ok(PropertyOutcome { reference, values: Ok(read_list(reader, 4)?) });
        }
        reader.opening(5)?;
        let error = ServiceError::read(reader)?;
        reader.closing(5)?;
        Ok(PropertyOutcome { reference, values: Err(error) })
    }
}

impl Message for ReadPropertyMultipleAck {
    fn write(&self, writer: &mut Writer) {
        for result in &self.results {
            write_object(writer, 0, result.object);
            writer.opening(1);
            for outcome in &result.outcomes {
                outcome.write(writer);
            }
            writer.closing(1);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<ReadPropertyMultipleAck, Error> {
        let mut results = Vec::new();
        while !reader.is_empty() {
            let object = read_object(reader, 0)?;
            // A device without a property may leave out the whole list.
            let outcomes = if reader.is_opening(1) {
                reader.opening(1)?;
                read_until_closing(reader, 1)?
            } else {
                Vec::new()
            };
            results.push(ReadAccessResult { object, outcomes });
        }
        Ok(ReadPropertyMultipleAck { results })
    }
}

impl From<ServiceError> for ErrorDetail {
    fn from(error: ServiceError) -> ErrorDetail {
        ErrorDetail { error, place: Vec::new() }
    }
}
