//! Who is there: Who-Has and I-Have (clause 16.9), Who-Is and I-Am (clause 16.10).

use super::{read_object, write_object};
use crate::Error;
use crate::names::Segmentation;
use crate::tag::{Message, Reader, Writer, unsigned, unsigned32};
use crate::value::{INSTANCE_MAX, ObjectId, Text, Value, exact, number};

/// Asks devices to say that they are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WhoIs {
    /// Only those with an instance from the first to the last; all if there is none.
    pub range: Option<(u32, u32)>,
}

impl WhoIs {
    /// Whether a device of this instance is asked.
    pub fn asks(&self, instance: u32) -> bool {
        self.range.is_none_or(|(first, last)| (first..=last).contains(&instance))
    }
}

impl Message for WhoIs {
    fn write(&self, writer: &mut Writer) {
        write_range(writer, self.range);
    }

    fn read(reader: &mut Reader<'_>) -> Result<WhoIs, Error> {
        Ok(WhoIs { range: read_range(reader)? })
    }
}

/// A device says that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IAm {
    /// The device.
    pub device: ObjectId,
    /// The longest APDU that it takes.
    pub max_apdu: u32,
    /// What it can do with segments.
    pub segmentation: Segmentation,
    /// Its vendor's number.
    pub vendor: u32,
}

impl Message for IAm {
    fn write(&self, writer: &mut Writer) {
        Value::Object(self.device).write(writer);
        Value::Unsigned(u64::from(self.max_apdu)).write(writer);
        Value::Enumerated(self.segmentation.number()).write(writer);
        Value::Unsigned(u64::from(self.vendor)).write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<IAm, Error> {
        Ok(IAm {
            device: application_object(reader)?,
            max_apdu: unsigned32(reader.application(number::UNSIGNED)?)?,
            segmentation: Segmentation::new(unsigned32(reader.application(number::ENUMERATED)?)?),
            vendor: unsigned32(reader.application(number::UNSIGNED)?)?,
        })
    }
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The object of this identifier.
    Object(ObjectId),
    /// The object of this name.
    Name(Text),
}

/// Asks devices whether they have an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhoHas {
    /// Only those with an instance from the first to the last; all if there is none.
    pub range: Option<(u32, u32)>,
    /// The object.
    pub wanted: Wanted,
}

impl Message for WhoHas {
    fn write(&self, writer: &mut Writer) {
        write_range(writer, self.range);
        match &self.wanted {
            Wanted::Object(object) => write_object(writer, 2, *object),
            Wanted::Name(name) => writer.context(3, &name.to_bytes()),
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<WhoHas, Error> {
        let range = read_range(reader)?;
        let wanted = match reader.context_option(3)? {
            Some(name) => Wanted::Name(Text::from_bytes(name)?),
            None => Wanted::Object(read_object(reader, 2)?),
        };
        Ok(WhoHas { range, wanted })
    }
}

/// A device says that it has an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IHave {
    /// The device.
    pub device: ObjectId,
    /// The object.
    pub object: ObjectId,
    /// Its name.
    pub name: Text,
}

impl Message for IHave {
    fn write(&self, writer: &mut Writer) {
        Value::Object(self.device).write(writer);
        Value::Object(self.object).write(writer);
        Value::Text(self.name.clone()).write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<IHave, Error> {
        Ok(IHave {
            device: application_object(reader)?,
            object: application_object(reader)?,
            name: Text::from_bytes(reader.application(number::TEXT)?)?,
        })
    }
}

fn application_object(reader: &mut Reader<'_>) -> Result<ObjectId, Error> {
    Ok(ObjectId::from_bytes(exact(reader.application(number::OBJECT)?, "an object identifier")?))
}

fn write_range(writer: &mut Writer, range: Option<(u32, u32)>) {
    if let Some((first, last)) = range {
        writer.context_unsigned(0, u64::from(first));
        writer.context_unsigned(1, u64::from(last));
    }
}

fn read_range(reader: &mut Reader<'_>) -> Result<Option<(u32, u32)>, Error> {
    let Some(first) = reader.context_option(0)? else { return Ok(None) };
    Ok(Some((instance(first)?, instance(reader.context(1)?)?)))
}

fn instance(bytes: &[u8]) -> Result<u32, Error> {
    let value = unsigned(bytes)?;
    let instance = u32::try_from(value).ok().filter(|instance| *instance <= INSTANCE_MAX);
    instance.ok_or(Error::Invalid { what: "an instance", value })
}
