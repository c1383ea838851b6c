//! Words for the contract's numbers.

use twinhub_contract::{code, role, state};

/// The role's word.
pub(crate) const fn role_name(role: u32) -> &'static str {
    match role {
        role::COLD => "cold",
        role::WARM => "warm",
        role::HOT => "hot",
        role::ACTIVE => "active",
        _ => "unknown",
    }
}

/// The interface state's word.
pub(crate) const fn interface_state(state: u32) -> &'static str {
    match state {
        state::STOPPED => "stopped",
        state::CONNECTING => "connecting",
        state::OK => "ok",
        state::DEGRADED => "degraded",
        state::FAULT => "fault",
        state::SUPPRESSED => "suppressed",
        _ => "unknown",
    }
}

/// What a result code says.
pub(crate) const fn contract_code(code: i32) -> &'static str {
    match code {
        code::OK => "ok",
        code::PENDING => "pending",
        code::PANIC => "the plugin panicked",
        code::AGAIN => "the plugin is busy",
        code::STALE_EPOCH => "the epoch is over",
        code::INVALID => "the plugin refused the value or the item",
        code::STOPPED => "the plugin is stopped",
        code::UNSUPPORTED => "the plugin does not support it",
        code::NOT_ACTIVE => "the plugin is not active",
        code::TIMEOUT => "the device did not answer in time",
        code::CONFIG => "the plugin refused its settings",
        code::BUSY => "the device is held by another",
        code::EXPIRED => "its deadline passed before it was sent",
        code::STATE_VERSION => "the plugin does not know this state version",
        _ => "the device reported an error",
    }
}
