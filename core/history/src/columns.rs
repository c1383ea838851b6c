//! Values one below the other, in as few bytes as their kind allows.

mod bits;
pub(crate) mod floats;
pub(crate) mod integers;
pub(crate) mod values;
