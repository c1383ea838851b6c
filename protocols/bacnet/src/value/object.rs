//! Object identifiers: clause 20.2.14.

use std::fmt;

use crate::names::ObjectType;

/// The largest instance, which stands for "no object" and for any device.
pub const INSTANCE_MAX: u32 = 0x3f_ffff;

/// The type of an object and its number among those of its type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(u32);

impl ObjectId {
    /// Of ten bits of type and 22 bits of instance; what goes beyond is cut off.
    pub const fn new(kind: ObjectType, instance: u32) -> ObjectId {
        ObjectId((kind.number() & 0x3ff) << 22 | instance & INSTANCE_MAX)
    }

    /// A device.
    pub const fn device(instance: u32) -> ObjectId {
        ObjectId::new(ObjectType::DEVICE, instance)
    }

    /// Its type.
    pub const fn kind(self) -> ObjectType {
        ObjectType::new(self.0 >> 22)
    }

    /// Its number among those of its type.
    pub const fn instance(self) -> u32 {
        self.0 & INSTANCE_MAX
    }

    /// From its four bytes.
    pub const fn from_bytes(bytes: [u8; 4]) -> ObjectId {
        ObjectId(u32::from_be_bytes(bytes))
    }

    /// Its four bytes.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }

    /// Reads `analog-input,3` or `0,3`, with `:` as well as with `,`.
    pub fn parse(text: &str) -> Option<ObjectId> {
        let (kind, instance) = text.split_once([',', ':'])?;
        let kind = ObjectType::parse(kind.trim()).filter(|kind| kind.number() < 1024)?;
        let instance = instance.trim().parse().ok().filter(|instance| *instance <= INSTANCE_MAX)?;
        Some(ObjectId::new(kind, instance))
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{},{}", self.kind(), self.instance())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_read_as_it_is_shown() {
        for object in [ObjectId::device(INSTANCE_MAX), ObjectId::new(ObjectType::new(1023), 0)] {
            assert_eq!(ObjectId::parse(&object.to_string()), Some(object));
        }
        assert_eq!(ObjectId::parse("analog-input:3"), Some(ObjectId::new(ObjectType::ANALOG_INPUT, 3)));
        assert_eq!(ObjectId::parse("analog-input,4194304"), None);
        assert_eq!(ObjectId::parse("1024,1"), None);
        assert_eq!(ObjectId::parse("analog-input"), None);
    }
}
