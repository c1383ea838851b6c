//! The arithmetic of a link: what stands between the item that drives and the item that is driven.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Moment, Value};

/// How a link changes a value on its way, in this order: `map`, `invert`, `scale` and `offset`, `clamp`;
/// then `deadband` and `min_interval` decide whether it is passed on at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Convert {
    /// Factor; 1 if none.
    pub scale: Option<f64>,
    /// Summand, after scaling.
    pub offset: Option<f64>,
    /// Negates a bool, or swaps zero and one.
    pub invert: bool,
    /// Replaces values by their text form.
    pub map: BTreeMap<String, Value>,
    /// Smallest and greatest result.
    pub clamp: Option<(f64, f64)>,
    /// Passes only what differs by more than this from what was passed last.
    pub deadband: Option<f64>,
    /// Passes at most one value in this time; the newest one waits for its end.
    pub min_interval: Option<Duration>,
}

/// Why a value could not be converted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// Arithmetic on something that is no number.
    #[error("a {kind} value is no number, so `{step}` cannot be applied")]
    NotANumber {
        /// The value's kind.
        kind: &'static str,
        /// The step of the conversion.
        step: &'static str,
    },
}

impl Convert {
    /// Whether this passes every value unchanged.
    pub fn is_identity(&self) -> bool {
        *self == Convert::default()
    }

    /// The converted value.
    ///
    /// # Errors
    /// [`ConvertError::NotANumber`] if a number is needed and there is none.
    pub fn apply(&self, value: &Value) -> Result<Value, ConvertError> {
        if !self.map.is_empty()
            && let Some(mapped) = self.map.get(&value.to_string())
        {
            return Ok(mapped.clone());
        }
        let value = if self.invert { invert(value)? } else { value.clone() };
        if self.scale.is_none() && self.offset.is_none() && self.clamp.is_none() {
            return Ok(value);
        }
        let number = value
            .as_f64()
            .ok_or(ConvertError::NotANumber { kind: value.kind(), step: "scale, offset or clamp" })?;
        let scaled = number * self.scale.unwrap_or(1.0) + self.offset.unwrap_or(0.0);
        let clamped = self.clamp.map_or(scaled, |(low, high)| scaled.max(low).min(high));
        Ok(Value::F64(clamped))
    }

    /// Whether `value` differs enough from `last` to be passed on.
    pub fn is_outside_deadband(&self, last: &Value, value: &Value) -> bool {
        match (self.deadband, last.as_f64(), value.as_f64()) {
            (Some(band), Some(last), Some(value)) => {
                (value - last).abs() > band || value.is_nan() != last.is_nan()
            }
            _ => true,
        }
    }

    /// When the next value may be passed if one was passed at `last`.
    pub fn next_allowed(&self, last: Moment) -> Moment {
        self.min_interval.map_or(last, |interval| last + interval)
    }
}

fn invert(value: &Value) -> Result<Value, ConvertError> {
    match value {
        Value::Bool(value) => Ok(Value::Bool(!value)),
        Value::I64(value) => Ok(Value::I64(i64::from(*value == 0))),
        Value::U64(value) => Ok(Value::U64(u64::from(*value == 0))),
        Value::F64(value) => Ok(Value::F64(if *value == 0.0 { 1.0 } else { 0.0 })),
        Value::Null | Value::Str(_) | Value::Bytes(_) | Value::Time(_) | Value::Json(_) => {
            Err(ConvertError::NotANumber { kind: value.kind(), step: "invert" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_applied_in_order() {
        let convert =
            Convert { scale: Some(0.1), offset: Some(-5.0), clamp: Some((0.0, 10.0)), ..Convert::default() };
        assert_eq!(convert.apply(&Value::U64(100)), Ok(Value::F64(5.0)));
        assert_eq!(convert.apply(&Value::U64(1000)), Ok(Value::F64(10.0)));
        assert_eq!(convert.apply(&Value::I64(-3)), Ok(Value::F64(0.0)));
    }

    #[test]
    fn a_mapped_value_skips_the_arithmetic() {
        let map = BTreeMap::from([("open".to_owned(), Value::Bool(true))]);
        let convert = Convert { map, scale: Some(2.0), ..Convert::default() };
        assert_eq!(convert.apply(&Value::Str("open".into())), Ok(Value::Bool(true)));
        assert!(convert.apply(&Value::Str("shut".into())).is_err());
    }

    #[test]
    fn an_unchanged_type_stays_when_nothing_is_calculated() {
        assert_eq!(Convert::default().apply(&Value::U64(u64::MAX)), Ok(Value::U64(u64::MAX)));
        let inverted = Convert { invert: true, ..Convert::default() };
        assert_eq!(inverted.apply(&Value::Bool(false)), Ok(Value::Bool(true)));
    }

    #[test]
    fn the_deadband_passes_only_real_changes() {
        let convert = Convert { deadband: Some(0.5), ..Convert::default() };
        assert!(!convert.is_outside_deadband(&Value::F64(20.0), &Value::F64(20.5)));
        assert!(convert.is_outside_deadband(&Value::F64(20.0), &Value::F64(20.6)));
        assert!(convert.is_outside_deadband(&Value::F64(20.0), &Value::F64(f64::NAN)));
        assert!(convert.is_outside_deadband(&Value::Null, &Value::F64(20.0)));
    }
}
