//! Values of datapoint types.

use std::collections::BTreeMap;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One bit.
    Bool(bool),
    /// A whole number, also that of an enumeration.
    Integer(i64),
    /// A number with a fraction, also a scaled one.
    Float(f64),
    /// A text.
    Text(String),
    /// A structure.
    Fields(Fields),
}

/// The value of one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// One bit.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
}

/// Named fields. A field that the sender marks as invalid is not there, and one that is not there is sent as invalid,
/// where the type has a mark for it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(BTreeMap<String, Scalar>);

impl Fields {
    /// None yet.
    pub const fn new() -> Fields {
        Fields(BTreeMap::new())
    }

    /// With this field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Scalar>) -> Fields {
        self.set(name, value);
        self
    }

    /// Sets a field.
    pub fn set(&mut self, name: &str, value: impl Into<Scalar>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// The field, if it is there.
    pub fn get(&self, name: &str) -> Option<Scalar> {
        self.0.get(name).copied()
    }

    /// All fields by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Scalar)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

impl Value {
    /// The number, if it is one without a fraction.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            Value::Float(value) => whole(*value),
            Value::Bool(_) | Value::Text(_) | Value::Fields(_) => None,
        }
    }

    /// The number, if it is one.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Integer(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            Value::Bool(_) | Value::Text(_) | Value::Fields(_) => None,
        }
    }

    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Value::Bool(_) => "true or false",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::Fields(_) => "named fields",
        }
    }
}

impl Scalar {
    /// The number, if it is one without a fraction.
    pub fn as_integer(self) -> Option<i64> {
        match self {
            Scalar::Integer(value) => Some(value),
            Scalar::Float(value) => whole(value),
            Scalar::Bool(_) => None,
        }
    }

    /// The number, if it is one.
    pub fn as_float(self) -> Option<f64> {
        match self {
            Scalar::Integer(value) => Some(value as f64),
            Scalar::Float(value) => Some(value),
            Scalar::Bool(_) => None,
        }
    }

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Scalar::Bool(_) => "true or false",
            Scalar::Integer(_) => "a whole number",
            Scalar::Float(_) => "a number",
        }
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Scalar {
        Scalar::Bool(value)
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Scalar {
        Scalar::Integer(value)
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Scalar {
        Scalar::Float(value)
    }
}

/// A float that is a whole number which `i64` can hold exactly.
fn whole(value: f64) -> Option<i64> {
    let is_whole = value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0;
    is_whole.then_some(value as i64)
}
