//! What the node that acts leaves for its successor, in the store of the interface.

use serde::{Deserialize, Serialize};
use twinhub_knx_protocol::cemi::PAYLOAD_BYTES_MAX;
use twinhub_knx_protocol::{GroupAddress, Payload};
use twinhub_plugin::{Code, Store};

/// The tunnel of the node that acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// Gateway as the settings write it.
    pub gateway: String,
    /// Channel of the tunnel.
    pub channel: u8,
    /// Where the gateway sent control frames to.
    pub control: String,
    /// Address on the bus.
    pub address: String,
}

/// How far the node that acts is with its first reads. It says so again and again, with another number each time: a
/// standby that sees the number change while it is connected knows that it has missed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Readings {
    /// Some are not answered yet.
    pub is_open: bool,
    /// Grows each time.
    pub number: u64,
}

/// The store, if the hub has one.
#[derive(Clone, Debug)]
pub(crate) struct Legacy(Option<Store>);

impl Legacy {
    pub(crate) const fn new(store: Option<Store>) -> Self {
        Self(store)
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.as_ref()?.get(key).ok().flatten()
    }

    /// False if it is to be tried again.
    fn put(&self, key: &str, value: &[u8]) -> bool {
        let Some(store) = &self.0 else { return true };
        match store.put(key, value) {
            Ok(()) => true,
            Err(error) if matches!(error.code(), Code::Again | Code::StaleEpoch | Code::Stopped) => false,
            Err(error) => {
                tracing::warn!(key, error = %error, "the successor will not have this");
                true
            }
        }
    }

    /// The tunnel of the node that acted last.
    pub(crate) fn slot(&self) -> Option<Slot> {
        serde_json::from_slice(&self.get(SLOT)?).ok()
    }

    pub(crate) fn keep_slot(&self, slot: &Slot) -> bool {
        serde_json::to_vec(slot).is_ok_and(|bytes| self.put(SLOT, &bytes))
    }

    /// What the node that acted last said of its reads.
    pub(crate) fn reads(&self) -> Option<Readings> {
        serde_json::from_slice(&self.get(READS)?).ok()
    }

    pub(crate) fn keep_reads(&self, reads: Readings) -> bool {
        serde_json::to_vec(&reads).is_ok_and(|bytes| self.put(READS, &bytes))
    }

    /// The value of a group that is answered.
    pub(crate) fn value(&self, group: GroupAddress) -> Option<Payload> {
        payload_of(&self.get(&value_key(group))?)
    }

    pub(crate) fn keep_value(&self, group: GroupAddress, payload: &Payload) -> bool {
        self.put(&value_key(group), &bytes_of(payload))
    }
}

/// Whether it has octets of its own, then the octets.
fn bytes_of(payload: &Payload) -> Vec<u8> {
    let mut bytes = vec![u8::from(matches!(payload, Payload::Bytes(_)))];
    bytes.extend_from_slice(payload.as_bytes());
    bytes
}

fn payload_of(bytes: &[u8]) -> Option<Payload> {
    match bytes.split_first()? {
        (0, [small @ 0..=0x3f]) => Some(Payload::Small(*small)),
        (1, bytes) if (1..=PAYLOAD_BYTES_MAX).contains(&bytes.len()) => Some(Payload::Bytes(bytes.to_vec())),
        _ => None,
    }
}

fn value_key(group: GroupAddress) -> String {
    format!("value/{}", group.0)
}

const SLOT: &str = "slot";
const READS: &str = "reads";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn payloads_survive_the_store() {
        for payload in
            [Payload::Small(0), Payload::Small(63), Payload::Bytes(vec![0]), Payload::Bytes(vec![1; 14])]
        {
            assert_eq!(payload_of(&bytes_of(&payload)), Some(payload));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_payload_or_none(bytes: Vec<u8>) {
            if let Some(payload) = payload_of(&bytes) {
                prop_assert_eq!(bytes_of(&payload), bytes);
            }
        }
    }
}
