//! Which protocols this process speaks.

use twinhub_wire::{PROTOCOL, PROTOCOL_MIN};

use crate::error::StartError;

/// Makes a process speak an older protocol than it could: how the tests of rolling upgrades get a peer of the
/// version before. A site has no use for it, since peers agree on the older protocol by themselves.
const VARIABLE: &str = "TWINHUB_PROTOCOL_MAX";

/// The newest protocol that this process speaks.
pub(crate) fn newest() -> Result<u16, StartError> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(PROTOCOL) };
    parse(&text.to_string_lossy())
}

fn parse(text: &str) -> Result<u16, StartError> {
    let wanted = text.trim().parse().ok().filter(|wanted| (PROTOCOL_MIN..=PROTOCOL).contains(wanted));
    wanted.ok_or_else(|| {
        StartError::Config(format!(
            "{VARIABLE} is `{text}`, but this version speaks protocols {PROTOCOL_MIN} to {PROTOCOL}; unset it"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_protocols_of_this_version_can_be_asked_for() {
        assert_eq!(parse(" 1").unwrap(), 1);
        assert_eq!(parse(&PROTOCOL.to_string()).unwrap(), PROTOCOL);
        for wrong in ["", "0", "3", "65536", "two", "-1"] {
            let text = parse(wrong).unwrap_err().to_string();
            assert!(text.contains("protocols 1 to 2") && text.contains(wrong), "{text}");
        }
    }
}
