//! Writing: WriteProperty (clause 15.9) and WritePropertyMultiple (clause 15.10).

use super::{PropertyReference, PropertyValue, read_object, read_priority, read_until_closing, write_object};
use crate::Error;
use crate::tag::{Message, Reader, Writer};
use crate::value::{ObjectId, Value, read_list, write_list};

/// Writes one property.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteProperty {
    /// Of this object.
    pub object: ObjectId,
    /// This property.
    pub reference: PropertyReference,
    /// Its value; null gives the priority back.
    pub values: Vec<Value>,
    /// At which priority, 1 to 16; for properties that are commanded, 16 if none is named.
    pub priority: Option<u8>,
}

impl Message for WriteProperty {
    fn write(&self, writer: &mut Writer) {
        write_object(writer, 0, self.object);
        self.reference.write_at(writer, 1);
        write_list(writer, 3, &self.values);
        writer.context_unsigned_option(4, self.priority.map(u32::from));
    }

    fn read(reader: &mut Reader<'_>) -> Result<WriteProperty, Error> {
        Ok(WriteProperty {
            object: read_object(reader, 0)?,
            reference: PropertyReference::read_at(reader, 1)?,
            values: read_list(reader, 3)?,
            priority: read_priority(reader, 4)?,
        })
    }
}

/// Writes properties of objects, in their order until one cannot be written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WritePropertyMultiple {
    /// Which.
    pub accesses: Vec<WriteAccess>,
}

/// Properties of one object: `WriteAccessSpecification`.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteAccess {
    /// The object.
    pub object: ObjectId,
    /// Its properties and their values.
    pub properties: Vec<PropertyValue>,
}

impl Message for WritePropertyMultiple {
    fn write(&self, writer: &mut Writer) {
        for access in &self.accesses {
            write_object(writer, 0, access.object);
            writer.opening(1);
            for property in &access.properties {
                property.write(writer);
            }
            writer.closing(1);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<WritePropertyMultiple, Error> {
        let mut accesses = Vec::new();
        while !reader.is_empty() {
            let object = read_object(reader, 0)?;
            reader.opening(1)?;
            accesses.push(WriteAccess { object, properties: read_until_closing(reader, 1)? });
        }
        Ok(WritePropertyMultiple { accesses })
    }
}
