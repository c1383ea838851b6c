//! Roles of an instance.

use crate::constants::role;

/// What an instance may do, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Nothing is open.
    Cold,
    /// The session is open, there is no traffic.
    Warm,
    /// Inputs run, outputs are silent.
    Hot,
    /// Acting.
    Active,
}

impl Role {
    /// From the number of the contract.
    pub const fn from_raw(raw: u32) -> Option<Self> {
        match raw {
            role::COLD => Some(Self::Cold),
            role::WARM => Some(Self::Warm),
            role::HOT => Some(Self::Hot),
            role::ACTIVE => Some(Self::Active),
            _ => None,
        }
    }

    /// The number of the contract.
    pub const fn raw(self) -> u32 {
        match self {
            Self::Cold => role::COLD,
            Self::Warm => role::WARM,
            Self::Hot => role::HOT,
            Self::Active => role::ACTIVE,
        }
    }
}
