//! What an error says: clause 18 and the productions of errors in clause 21.

use std::fmt;

use crate::Error;
use crate::names::{ErrorClass, ErrorCode};
use crate::tag::{Message, Reader, Writer, unsigned32};
use crate::value::{Value, number, read_all, write_all};

/// The class and the code of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceError {
    /// Its kind.
    pub class: ErrorClass,
    /// What it says.
    pub code: ErrorCode,
}

impl fmt::Display for ServiceError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.class, self.code)
    }
}

impl ServiceError {
    /// Of this class and code.
    pub const fn new(class: ErrorClass, code: ErrorCode) -> ServiceError {
        ServiceError { class, code }
    }
}

impl Message for ServiceError {
    fn write(&self, writer: &mut Writer) {
        Value::Enumerated(self.class.number()).write(writer);
        Value::Enumerated(self.code.number()).write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<ServiceError, Error> {
        let class = ErrorClass::new(unsigned32(reader.application(number::ENUMERATED)?)?);
        Ok(ServiceError { class, code: ErrorCode::new(unsigned32(reader.application(number::ENUMERATED)?)?) })
    }
}

/// The error of a whole service. Most have only class and code; those that write or create several things also
/// say where it happened, and have class and code in a list of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct ErrorDetail {
    /// Class and code.
    pub error: ServiceError,
    /// Where it happened, in the form of the service; empty for most.
    pub place: Vec<Value>,
}

impl Message for ErrorDetail {
    fn write(&self, writer: &mut Writer) {
        if self.place.is_empty() {
            self.error.write(writer);
        } else {
            writer.opening(0);
            self.error.write(writer);
            writer.closing(0);
            writer.raw(&write_all(&self.place));
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<ErrorDetail, Error> {
        if !reader.is_opening(0) {
            return Ok(ErrorDetail { error: ServiceError::read(reader)?, place: Vec::new() });
        }
        reader.opening(0)?;
        let error = ServiceError::read(reader)?;
        reader.closing(0)?;
        let rest = reader.take(reader.rest().len())?;
        Ok(ErrorDetail { error, place: read_all(rest)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_class_and_code_and_maybe_where() {
        let error = ServiceError::new(ErrorClass::PROPERTY, ErrorCode::UNKNOWN_PROPERTY);
        assert_eq!(error.to_string(), "property: unknown-property");
        let plain = ErrorDetail { error, place: Vec::new() };
        assert_eq!(plain.encode(), [0x91, 2, 0x91, 32]);
        assert_eq!(ErrorDetail::decode(&plain.encode()), Ok(plain));
        let place = vec![Value::List { number: 1, values: vec![Value::Null] }];
        let detailed = ErrorDetail { error, place };
        assert_eq!(ErrorDetail::decode(&detailed.encode()), Ok(detailed));
    }
}
