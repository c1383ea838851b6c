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
        code::NOT_FOUND => "there is nothing of this name",
        code::FULL => "a limit of what may be kept is reached",
        code::STATE_VERSION => "the plugin does not know this state version",
        _ => "the device reported an error",
    }
}

/// Puts names in the place of ranks: the sentences of role changes say `node 0`, people say `main`.
pub(crate) fn with_names(text: &str, name_of: impl Fn(u8) -> Option<String>) -> String {
    let mut said = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(NODE) {
        let (before, from) = rest.split_at(at);
        let after = &from[NODE.len()..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        said.push_str(before);
        let starts_word = !before.ends_with(|letter: char| letter.is_alphanumeric());
        match after[..digits].parse().ok().and_then(&name_of).filter(|_| starts_word) {
            Some(name) => said.push_str(&name),
            None => said.push_str(&from[..NODE.len() + digits]),
        }
        rest = &after[digits..];
    }
    said.push_str(rest);
    said
}

const NODE: &str = "node ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_become_names_and_all_else_stays() {
        let names = ["main", "backup"];
        let say = |text| with_names(text, |rank| names.get(usize::from(rank)).map(ToString::to_string));
        assert_eq!(say("node 1 silent for 2028 ms, limit 750 ms"), "backup silent for 2028 ms, limit 750 ms");
        assert_eq!(say("switchover to node 1 on node 0"), "switchover to backup on main");
        for same in
            ["no active node found in 1 ms", "node 7 is active", "supernode 1", "node ", "", "node 999"]
        {
            assert_eq!(say(same), same);
        }
    }
}
