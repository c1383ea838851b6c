//! Datapoint types as xknx understands them, payload by payload.
//!
//! Each payload is decoded on both sides and the values are compared; what each side encodes of its own value is compared
//! octet by octet, and xknx encodes our values. Types of one octet are tried whole, of two octets in steps of five over the
//! whole range (of several sub types of one main number, the first), all others bit by bit and with random octets. Where xknx differs on purpose, the rule
//! stands in [`is_left_out`] or [`theirs_of`] with its reason; the types that xknx does not know are listed.

#![expect(clippy::unwrap_used, reason = "clippy knows test functions, not their helpers")]

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use twinhub_knx_protocol::dpt::{Fields, Scalar, Value, definitions};
use twinhub_knx_protocol::{Dpt, DptId, Error, Payload};
use twinhub_peers::XknxTypes;

#[test]
fn xknx_decodes_and_encodes_every_type_that_it_knows_as_this_crate_does() {
    let mut xknx = XknxTypes::start().unwrap();
    let (mut unknown, mut mains, mut known) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut differences = Vec::new();
    for row in definitions() {
        let Some(sub) = row.sub else { continue };
        let dpt = Dpt::find(DptId::new(row.main, sub)).unwrap();
        let payloads = payloads(&dpt, mains.insert(row.main));
        let name = dpt.id().to_string();
        let questions: Vec<Json> =
            payloads.iter().map(|payload| json!({ "dpt": name, "payload": raw(payload) })).collect();
        if xknx.ask(&questions[..1]).unwrap()[0] == json!({ "unknown": true }) {
            unknown.insert(dpt.id());
            continue;
        }
        known += 1;
        let answers = xknx.ask(&questions).unwrap();
        let mut ours = Vec::new();
        for (payload, answer) in payloads.iter().zip(&answers) {
            if let Some(difference) = difference(&dpt, payload, answer) {
                differences.push(format!("{name} {}: {difference}", raw(payload)));
            }
            if let Ok(value) = dpt.decode(payload.as_bytes())
                && let Ok(encoded) = dpt.encode(&value)
                && let Some(json) = plain(&value)
                && is_exact(&dpt, payload)
            {
                ours.push((encoded, json));
            }
        }
        let questions: Vec<Json> =
            ours.iter().map(|(_, value)| json!({ "dpt": name, "value": value })).collect();
        for ((encoded, value), answer) in ours.iter().zip(xknx.ask(&questions).unwrap()) {
            let is_unknown_number = dpt.id().main == 20 && answer.get("error").is_some();
            if !is_unknown_number && answer.get("payload").map(as_number) != Some(as_number(&raw(encoded))) {
                differences.push(format!("{name}: of {value} ours {}, xknx {answer}", raw(encoded)));
            }
        }
    }
    assert_eq!(differences, Vec::<String>::new());
    assert_eq!((known, mains.len()), (KNOWN, MAINS), "another version of xknx, or other types");
    let unknown_mains: BTreeSet<u16> = unknown.iter().map(|id| id.main).collect();
    assert_eq!(unknown_mains, BTreeSet::from(MAINS_WITH_UNKNOWN), "{unknown:?}");
    assert!(
        !unknown.iter().any(|id| (1..=4).contains(&id.main) || (7..=14).contains(&id.main)),
        "{unknown:?}"
    );
}

/// What differs, if anything does.
fn difference(dpt: &Dpt, payload: &Payload, answer: &Json) -> Option<String> {
    if is_left_out(dpt, payload) {
        return None;
    }
    let ours = match (dpt.decode(payload.as_bytes()), answer.get("value")) {
        // No value on both sides. xknx refuses what is outside of a type's range also when it is received; here a
        // received number is handed on as the device says it, and only sending is refused.
        (Err(_), None) => return None,
        (Ok(value), None) if dpt.encode(&value).is_err() => return None,
        // xknx knows the numbers of an enumeration and has scenes up to 64; here other numbers are handed on.
        (Ok(_), None) if matches!(dpt.id().main, 17 | 20) => return None,
        // A float that is none.
        (Err(Error::DptNoValue { .. }), Some(theirs)) if theirs == "nan" => return None,
        (Ok(Value::Float(value)), Some(Json::String(_))) if !value.is_finite() => return None,
        (Ok(value), None) => return Some(format!("only ours is {value:?}, xknx {answer}")),
        (Err(error), Some(theirs)) => return Some(format!("only xknx decodes, {theirs}; ours: {error}")),
        (Ok(value), Some(theirs)) => {
            if !is_same(dpt, &value, theirs) {
                return Some(format!("ours {value:?}, xknx {theirs}"));
            }
            value
        }
    };
    if !is_exact(dpt, payload) {
        return None;
    }
    let again = dpt.encode(&ours).map(|payload| raw(&payload));
    match again {
        Ok(again) if as_number(&again) == as_number(&answer["again"]) => None,
        again => Some(format!("encoded again: ours {again:?}, xknx {}", answer["again"])),
    }
}

/// Payloads that the two do not mean to understand alike.
fn is_left_out(dpt: &Dpt, payload: &Payload) -> bool {
    let bytes = payload.as_bytes();
    match (dpt.id().main, dpt.id().sub) {
        // Not ASCII: xknx puts a replacement, here the character is handed on.
        (4, Some(1)) | (16, Some(0)) => {
            bytes.iter().any(|byte| *byte >= 0x80) || has_text_behind_end(bytes) || bytes == [0]
        }
        // Here a text ends at its first zero, in xknx zeros are left out.
        (4 | 16, _) => has_text_behind_end(bytes) || bytes == [0],
        _ => false,
    }
}

fn has_text_behind_end(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes[end..].iter().any(|byte| *byte != 0)
}

/// Whether what xknx encodes of its own value is what it decoded.
fn is_exact(dpt: &Dpt, payload: &Payload) -> bool {
    match (dpt.id().main, dpt.id().sub) {
        // xknx rounds to whole percents and degrees, to seven digits, and cuts hundredths off; it does not know the factor
        // of 13.002.
        // Its scenes begin with 1, and the two bits above are no part of them.
        (5, Some(1 | 3)) | (14 | 17 | 18, _) | (8, Some(10)) | (13, Some(2)) => false,
        // 0 to 2047 times 2^15 has two forms for some numbers; each side chooses one.
        (9, _) => dpt
            .decode(payload.as_bytes())
            .and_then(|value| dpt.encode(&value))
            .is_ok_and(|again| again == *payload),
        _ => true,
    }
}

fn is_same(dpt: &Dpt, ours: &Value, theirs: &Json) -> bool {
    let scale = |value: f64| if dpt.id() == DptId::new(13, 2) { value * 10_000.0 } else { value };
    match ours {
        Value::Bool(value) => as_float(theirs) == Some(f64::from(u8::from(*value))),
        Value::Integer(value) if dpt.id().main == 17 => theirs.as_i64() == Some(value + 1),
        Value::Integer(value) => {
            theirs.as_i64() == Some(*value)
                || as_float(theirs).is_some_and(|theirs| theirs.to_string() == value.to_string())
        }
        Value::Float(value) => {
            // What xknx rounds to is the largest difference.
            let limit = match dpt.id().main {
                5 => 0.5,
                14 => value.abs() * 1e-6,
                _ => value.abs() * 1e-9 + 1e-9,
            };
            as_float(theirs).is_some_and(|theirs| (theirs - scale(*value)).abs() <= limit)
        }
        Value::Text(text) => theirs.as_str() == Some(text),
        Value::Fields(fields) => has_same_fields(dpt, fields, theirs),
    }
}

/// Each of our fields is there with its value, and one that is not there is none in xknx.
fn has_same_fields(dpt: &Dpt, fields: &Fields, theirs: &Json) -> bool {
    dpt.field_names().into_iter().all(|name| {
        let theirs = theirs_of(dpt, name, theirs);
        match fields.get(name) {
            None => theirs.is_none(),
            Some(Scalar::Bool(value)) => theirs == Some(f64::from(u8::from(value))),
            Some(scalar) => match (scalar.as_float(), theirs) {
                (Some(value), Some(theirs)) => (value - theirs).abs() <= value.abs() * 1e-4 + 1e-4,
                _ => false,
            },
        }
    })
}

/// The field as xknx names it, in our unit.
fn theirs_of(dpt: &Dpt, name: &str, theirs: &Json) -> Option<f64> {
    let field = |name: &str| as_float(&theirs[name]);
    match (dpt.id().main, name) {
        (10 | 19, "minute") => field("minutes"),
        (10 | 19, "second") => field("seconds"),
        (18, "scene") => field("scene_number").map(|scene| scene - 1.0),
        (19, "clock_synchronized") => field("external_sync"),
        (19, "clock_reliable") => field("source_reliable"),
        (19, "summer_time") => field("dst"),
        (235, "energy_wh") => field("energy"),
        (242, "x") => as_float(&theirs["color"][0]),
        (242, "y") => as_float(&theirs["color"][1]),
        (242 | 249, "brightness") => field("brightness").map(|octet| octet / 2.55),
        (249, "time_ms") => field("fade_time").map(|seconds| seconds * 1000.0),
        (_, name) => field(name),
    }
}

fn as_float(json: &Json) -> Option<f64> {
    let json = json.get("enum").unwrap_or(json);
    json.as_bool().map_or_else(|| json.as_f64(), |value| Some(f64::from(u8::from(value))))
}

/// A small payload is a number in one place and a bool in another.
fn as_number(payload: &Json) -> Json {
    payload.as_bool().map_or_else(|| payload.clone(), |value| json!(u8::from(value)))
}

/// A value without fields, as xknx takes it.
fn plain(value: &Value) -> Option<Json> {
    match value {
        Value::Bool(value) => Some(json!(value)),
        Value::Integer(value) => Some(json!(value)),
        Value::Float(value) if value.is_finite() => Some(json!(value)),
        Value::Text(value) if value.is_ascii() => Some(json!(value)),
        Value::Float(_) | Value::Text(_) | Value::Fields(_) => None,
    }
}

fn raw(payload: &Payload) -> Json {
    match payload {
        Payload::Small(value) => json!(value),
        Payload::Bytes(bytes) => json!(bytes),
    }
}

/// Payloads of the length that the type has.
fn payloads(dpt: &Dpt, is_first: bool) -> Vec<Payload> {
    let is_length = |length: &usize| {
        [0, 1, 0x21, 0xff]
            .iter()
            .any(|octet| !matches!(dpt.decode(&vec![*octet; *length]), Err(Error::DptLength { .. })))
    };
    let length = (1..=14).find(is_length).unwrap();
    let small = dpt.decode(&[0]).and_then(|value| dpt.encode(&value));
    if let (1, Ok(Payload::Small(_))) = (length, small) {
        let bits = match dpt.id().main {
            1 => 1,
            2 | 23 => 2,
            _ => 4,
        };
        return (0..1u8 << bits).map(Payload::Small).collect();
    }
    let all: Vec<Vec<u8>> = match length {
        1 => (0..=u8::MAX).map(|octet| vec![octet]).collect(),
        2 if is_first => (0..=u16::MAX).step_by(5).map(|word| word.to_be_bytes().to_vec()).collect(),
        _ => {
            let bits = (0..length * 8).map(|bit| {
                let mut octets = vec![0; length];
                octets[bit / 8] |= 0x80 >> (bit % 8);
                octets
            });
            let mut random = Random(1);
            let random = (0..RANDOM).map(|_| (0..length).map(|_| random.octet()).collect());
            let ends = [vec![0; length], vec![0xff; length], vec![0x21; length]];
            ends.into_iter().chain(bits).chain(random).collect()
        }
    };
    all.into_iter().map(Payload::Bytes).collect()
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn octet(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.to_be_bytes()[0]
    }
}

/// Payloads of random octets of each type.
const RANDOM: usize = 400;
/// Types that xknx 4.0.0 knows, of those in the table.
const KNOWN: usize = 212;
/// Main numbers in the table.
const MAINS: usize = 44;
/// Main numbers of which xknx 4.0.0 does not know every sub number of the table, or none.
const MAINS_WITH_UNKNOWN: [u16; 22] =
    [5, 6, 15, 20, 21, 22, 23, 24, 25, 26, 27, 28, 206, 217, 219, 221, 222, 225, 230, 237, 238, 240];
