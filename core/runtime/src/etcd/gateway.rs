//! What is said to etcd's JSON gateway, and what its answers mean. Keys and values are base64, 64-bit numbers
//! are texts, and what is zero, false or empty is left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::arbiter::Compare;

/// One key as a range shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Vec<u8>,
    pub(super) revision: u64,
    pub(super) value: Vec<u8>,
}

/// Where the groups of a cluster are.
pub(super) fn prefix(cluster: u64) -> String {
    format!("/twinhub/{cluster:016x}/")
}

/// The body of `/v3/kv/range` for every key with this prefix, linearizable.
pub(super) fn range(prefix: &str, limit: usize) -> Json {
    let mut end = prefix.as_bytes().to_vec();
    // The prefix ends in a slash: the byte after it ends the range.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    json!({ "key": STANDARD.encode(prefix), "range_end": STANDARD.encode(end), "limit": limit.to_string() })
}

/// The keys in the answer to [`range`]; `None` if it is no such answer.
pub(super) fn entries(answer: &Json) -> Option<Vec<Entry>> {
    answer.get("header")?;
    let Some(listed) = answer.get("kvs") else { return Some(Vec::new()) };
    listed.as_array()?.iter().map(entry).collect()
}

fn entry(found: &Json) -> Option<Entry> {
    let bytes = |name| match found.get(name) {
        Some(text) => STANDARD.decode(text.as_str()?).ok(),
        None => Some(Vec::new()),
    };
    Some(Entry { key: bytes("key")?, revision: number(found.get("mod_revision")?)?, value: bytes("value")? })
}

/// The body of `/v3/kv/txn` that puts a value if the key is still as it was seen.
pub(super) fn put_if(key: &str, compare: &Compare, value: &[u8]) -> Json {
    let key = STANDARD.encode(key);
    let conditions = match compare {
        Compare::Absent => {
            json!([{ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" }])
        }
        Compare::Same { revision, value } => json!([
            { "key": key, "target": "MOD", "result": "EQUAL", "mod_revision": revision.to_string() },
            { "key": key, "target": "VALUE", "result": "EQUAL", "value": STANDARD.encode(value) },
        ]),
    };
    json!({
        "compare": conditions,
        "success": [{ "request_put": { "key": key, "value": STANDARD.encode(value) } }],
    })
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Written { revision: u64 },
    Refused,
}

/// The answer to [`put_if`]; `None` if it is no such answer.
pub(super) fn outcome(answer: &Json) -> Option<Outcome> {
    let revision = number(answer.get("header")?.get("revision")?)?;
    let succeeded = match answer.get("succeeded") {
        Some(succeeded) => succeeded.as_bool()?,
        None => false,
    };
    Some(if succeeded { Outcome::Written { revision } } else { Outcome::Refused })
}

fn number(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_of_a_real_etcd_are_understood() {
        let answer = json!({ "header": { "cluster_id": "14841639068965178418", "revision": "7", "raft_term": "2" },
            "kvs": [{ "key": "L2E=", "create_revision": "2", "mod_revision": "7", "version": "6", "value": "AQI=" }],
            "count": "1" });
        let expected = Entry { key: b"/a".to_vec(), revision: 7, value: vec![1, 2] };
        assert_eq!(entries(&answer), Some(vec![expected]));
        assert_eq!(entries(&json!({ "header": { "revision": "7" } })), Some(vec![]));
        assert_eq!(entries(&json!({ "error": "etcdserver: request timed out", "code": 14 })), None);
        let written = json!({ "header": { "revision": "8" }, "succeeded": true, "responses": [] });
        assert_eq!(outcome(&written), Some(Outcome::Written { revision: 8 }));
        assert_eq!(outcome(&json!({ "header": { "revision": "8" } })), Some(Outcome::Refused));
        assert_eq!(outcome(&json!({ "error": "etcdserver: no leader" })), None, "unknown is no refusal");
    }

    proptest! {
        #[test]
        fn hostile_answers_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200),
                                               key in ".{0,8}", text in ".{0,30}") {
            if let Ok(answer) = serde_json::from_slice::<Json>(&bytes) {
                drop((entries(&answer), outcome(&answer)));
            }
            for answer in [
                json!({ "header": { "revision": text }, "succeeded": text }),
                json!({ "header": {}, "kvs": [{ "key": text, "mod_revision": text, "value": key }] }),
                json!({ "header": text, "kvs": text }),
            ] {
                let is_written = matches!(outcome(&answer), Some(Outcome::Written { .. }));
                prop_assert!(!is_written);
                drop(entries(&answer));
            }
        }
    }
}
