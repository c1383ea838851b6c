//! Round trips, hostile bytes, and the bytes that must never change.

use proptest::prelude::*;
use twinhub_model::{Quality, SampleFlags, Value};

use super::*;

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<u64>().prop_map(Value::U64),
        any::<u64>().prop_map(|bits| Value::F64(f64::from_bits(bits))),
        any::<f32>().prop_map(|value| Value::F64(f64::from(value))),
        any::<i32>().prop_map(|value| Value::F64(f64::from(value))),
        any::<i32>().prop_map(|value| Value::F64(f64::from(value) / 100.0)),
        prop::sample::select(SPECIAL.to_vec()).prop_map(Value::F64),
        ".{0,40}".prop_map(|text| Value::Str(text.into())),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())),
        any::<i64>().prop_map(Value::Time),
        ".{0,40}".prop_map(|text| Value::Json(text.into())),
    ]
}

const SPECIAL: [f64; 12] = [
    0.0,
    -0.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN,
    f64::MAX,
    f64::MIN_POSITIVE,
    9_007_199_254_740_992.0,
    -9_007_199_254_740_994.0,
    0.1,
    21.37,
];

fn sample() -> impl Strategy<Value = Sample> {
    let quality = prop_oneof![3 => Just(0), 1 => any::<u32>()];
    let flags = prop_oneof![3 => Just(0), 1 => any::<u32>()];
    let time = || prop_oneof![2 => Just(1_700_000_000_000_000_000), 1 => any::<i64>(), 1 => Just(i64::MIN)];
    (any::<u32>(), value(), quality, time(), time(), flags).prop_map(
        |(item, value, quality, source, server, flags)| Sample {
            item: ItemId(item),
            value,
            quality: Quality(quality),
            source: Timestamp(source),
            server: Timestamp(server),
            flags: SampleFlags(flags),
        },
    )
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| Position::new(Epoch(epoch), seq))
}

fn text() -> impl Strategy<Value = Arc<str>> {
    ".{0,60}".prop_map(Arc::from)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Done),
        any::<i32>().prop_map(Outcome::Refused),
        Just(Outcome::InDoubt),
        Just(Outcome::Fenced),
        Just(Outcome::Superseded),
        Just(Outcome::Confirmed),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        8 => plain(),
        1 => (position(), plain()).prop_filter_map("a dictionary is not merged", |(origin, record)| {
            let is_dictionary = matches!(record, Record::Dictionary(_));
            (!is_dictionary).then(|| Record::Merged(Merged { origin, record: Box::new(record) }))
        }),
    ]
}

fn plain() -> impl Strategy<Value = Record> {
    let dictionary = prop::collection::vec((any::<u32>(), "[a-z]{1,9}(/[a-z0-9 ä]{1,9}){1,3}"), 0..20);
    let kind = prop::sample::select(vec![IntentKind::Set, IntentKind::Step]);
    let severity = prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Error]);
    prop_oneof![
        dictionary.prop_map(|entries| Record::Dictionary(
            entries.into_iter().map(|(item, key)| (ItemId(item), ItemKey::parse(&key).unwrap())).collect()
        )),
        prop::collection::vec(sample(), 0..30).prop_map(|samples| Record::Samples(samples.into())),
        (any::<u32>(), value(), kind, position(), text(), any::<i64>()).prop_map(
            |(item, value, kind, cause, origin, deadline)| Record::Intent(Intent {
                item: ItemId(item),
                value,
                kind,
                cause,
                origin,
                deadline: Timestamp(deadline)
            })
        ),
        (position(), outcome()).prop_map(|(intent, outcome)| Record::Result(WriteResult { intent, outcome })),
        (any::<u32>(), position(), prop::option::of((text(), any::<bool>()))).prop_map(
            |(consumer, through, stream)| {
                let named = |(interface, wants_picture)| NamedStream { interface, wants_picture };
                Record::Delivered(Delivered { consumer, through, stream: stream.map(named) })
            }
        ),
        (any::<u8>(), any::<u64>(), text(), text(), text(), any::<i64>()).prop_map(
            |(node, epoch, from, to, reason, at)| Record::Role(RoleChange {
                node: NodeRank(node),
                epoch: Epoch(epoch),
                from,
                to,
                reason,
                at: Timestamp(at)
            })
        ),
        (severity, text(), text(), text(), any::<i64>()).prop_map(|(severity, source, code, text, at)| {
            Record::Event(Event { severity, source, code, text, at: Timestamp(at) })
        }),
        (any::<u16>(), prop::collection::vec(any::<u8>(), 0..60))
            .prop_map(|(part, body)| { Record::Part(PartRecord { part: Part(part), body: body.into() }) }),
    ]
}

/// Equal with not-a-number compared by its bits.
fn same(one: &Record, two: &Record) -> bool {
    match (one, two) {
        (Record::Merged(one), Record::Merged(two)) => {
            one.origin == two.origin && same(&one.record, &two.record)
        }
        (Record::Samples(one), Record::Samples(two)) => {
            one.len() == two.len()
                && one.iter().zip(two.iter()).all(|(one, two)| {
                    one.value.is_same(&two.value)
                        && Sample { value: Value::Null, ..one.clone() }
                            == Sample { value: Value::Null, ..two.clone() }
                })
        }
        (Record::Intent(one), Record::Intent(two)) => {
            one.value.is_same(&two.value)
                && Intent { value: Value::Null, ..one.clone() }
                    == Intent { value: Value::Null, ..two.clone() }
        }
        (one, two) => one == two,
    }
}

fn bytes_of(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    encode(record, &mut out);
    out
}

proptest! {
    #[test]
    fn every_record_comes_back_bit_for_bit(record in record()) {
        let bytes = bytes_of(&record);
        let back = decode(&bytes).unwrap();
        prop_assert!(same(&record, &back), "{record:?} became {back:?}");
        prop_assert!(RecordKind::of(&bytes).is_ok());
    }

    #[test]
    fn a_record_cut_short_is_refused(record in record(), cut in any::<prop::sample::Index>()) {
        let bytes = bytes_of(&record);
        prop_assert!(decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn damaged_records_never_panic(
        record in record(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = bytes_of(&record);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(decode(&bytes));
    }

    #[test]
    fn hostile_bytes_take_no_more_memory_than_they_pay_for(
        kind in 0_u8..10,
        layout in 0_u8..3,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = vec![kind, layout];
        bytes.extend(&body);
        match decode(&bytes) {
            Ok(Record::Samples(samples)) => prop_assert!(samples.len() <= body.len() / 2),
            Ok(Record::Dictionary(entries)) => prop_assert!(entries.len() <= body.len() / 5),
            Ok(_) | Err(_) => {}
        }
        let mut out = Vec::new();
        drop(decode_samples(&bytes, &mut out));
        prop_assert!(out.capacity() <= body.len().max(4));
    }
}

#[test]
fn the_longest_values_fit() {
    let long: Arc<str> = "ü".repeat(RECORD_BYTES_MAX / 2 - 32).into();
    let sample = Sample {
        item: ItemId(u32::MAX),
        value: Value::Str(long),
        quality: Quality(u32::MAX),
        source: Timestamp(i64::MAX),
        server: Timestamp::NONE,
        flags: SampleFlags(u32::MAX),
    };
    let record = Record::Samples([sample].into());
    let bytes = bytes_of(&record);
    assert!(bytes.len() <= RECORD_BYTES_MAX);
    assert_eq!(decode(&bytes), Ok(record));
}

#[test]
fn a_changed_value_takes_few_bytes() {
    let samples: Vec<_> = (0..1000_u32)
        .map(|number| Sample {
            item: ItemId(number * 7),
            value: Value::F64(f64::from(number) * 0.37 + 1e-9),
            quality: Quality::GOOD,
            source: Timestamp(1_700_000_000_000_000_000 + i64::from(number) * 100_000),
            server: Timestamp(1_700_000_000_500_000_000),
            flags: SampleFlags::default(),
        })
        .collect();
    let mut out = Vec::new();
    encode_samples(&samples, &mut out);
    assert!(out.len() <= 16 * samples.len(), "{} bytes for {} values", out.len(), samples.len());
}

#[test]
fn a_count_that_lies_is_refused_before_memory_is_taken() {
    let mut bytes = vec![SAMPLES, LAYOUT];
    put_u64(&mut bytes, u64::MAX);
    bytes.extend([0; 30]);
    assert_eq!(decode(&bytes), Err(WireError::Truncated { what: "samples" }));
    bytes[0] = DICTIONARY;
    assert_eq!(decode(&bytes), Err(WireError::Truncated { what: "a dictionary" }));
}

#[test]
fn what_a_newer_version_wrote_is_named() {
    assert_eq!(decode(&[200, 1]), Err(WireError::UnknownRecord { kind: 200 }));
    let newer = WireError::UnknownLayout { what: "a record", got: 2, known: 1 };
    assert_eq!(decode(&[SAMPLES, 2, 0]), Err(newer));
}

#[test]
fn an_older_reader_skips_fields_of_a_newer_record() {
    let record = Record::Delivered(Delivered::by_number(3, Position::new(Epoch(0x101), 9)));
    let mut bytes = bytes_of(&record);
    assert_eq!(bytes[2], 0xa2, "a map of two fields");
    bytes[2] = 0xa3;
    bytes.extend([0x18, 0x63, 0x61, b'x']);
    assert_eq!(decode(&bytes), Ok(record));
}

/// What a version reads that knows streams by their number alone.
#[test]
fn a_version_that_knows_no_names_of_streams_reads_their_number() {
    #[derive(Debug, PartialEq, minicbor::Decode)]
    #[cbor(map)]
    struct Before {
        #[n(0)]
        consumer: u32,
        #[n(1)]
        through: Position,
    }
    let through = Position::new(Epoch(0x101), 9);
    let stream = Some(NamedStream { interface: "mqtt".into(), wants_picture: true });
    let named = Delivered { consumer: 3, through, stream };
    let bytes = bytes_of(&Record::Delivered(named));
    assert_eq!(minicbor::decode::<Before>(&bytes[2..]).unwrap(), Before { consumer: 3, through });
}

#[test]
fn a_record_that_a_peer_does_not_know_becomes_one_that_says_nothing() {
    let part = bytes_of(&Record::Part(PartRecord { part: Part::ALARMS, body: [7].into() }));
    let stands_in = placeholder(&part, 1).expect("protocol 1 has no parts");
    let nothing = Delivered::by_number(PLACEHOLDER, Position::START);
    assert_eq!(decode(&stands_in), Ok(Record::Delivered(nothing)));
    assert_eq!(placeholder(&part, PROTOCOL_WITH_PARTS), None);
    assert_eq!(placeholder(&stands_in, 1), None);
    let mut merged = Vec::new();
    encode_merged(Position::new(Epoch(0x101), 9), &part, &mut merged);
    assert_eq!(placeholder(&merged, 1), Some(stands_in));
    assert_eq!(placeholder(&merged, PROTOCOL_WITH_PARTS), None);
}

#[test]
fn a_merged_record_is_taken_apart_and_never_holds_another_one() {
    let origin = Position::new(Epoch(0x101), 9);
    let part = bytes_of(&Record::Part(PartRecord { part: Part::ALARMS, body: [7].into() }));
    let mut merged = Vec::new();
    encode_merged(origin, &part, &mut merged);
    assert_eq!(split_merged(&merged), Ok((origin, &part[..])));
    assert!(split_merged(&part).is_err());
    let mut twice = Vec::new();
    encode_merged(origin, &merged, &mut twice);
    assert!(matches!(decode(&twice), Err(WireError::Invalid { .. })), "it must not nest");
    let mut dictionary = Vec::new();
    encode_merged(origin, &bytes_of(&Record::Dictionary([].into())), &mut dictionary);
    assert!(matches!(decode(&dictionary), Err(WireError::Invalid { .. })));
}

/// If this fails, the layout has changed: nodes of the version before, and every journal on disk, cannot be
/// read any more. Give the changed kind a new layout version instead and keep reading this one.
#[test]
fn the_bytes_of_every_kind_stay_the_same() {
    let at = Position::new(Epoch(0x0200), 5);
    let sample = |item, value, quality, source| Sample {
        item: ItemId(item),
        value,
        quality: Quality(quality),
        source: Timestamp(source),
        server: Timestamp(2000),
        flags: SampleFlags::default(),
    };
    let samples = [
        sample(5, Value::Null, 0, 1000),
        sample(6, Value::Bool(true), 0, 1000),
        sample(7, Value::I64(-2), 0, 1001),
        sample(8, Value::U64(300), 0x8000_0000, 1001),
        sample(9, Value::F64(0.1 + 0.2), 0, 1001),
        sample(8, Value::F64(1.5), 0, 1001),
        sample(9, Value::F64(-3.0), 0, 1001),
        sample(10, Value::F64(1.0 / 1024.0), 0, 1001),
        sample(11, Value::Str("é".into()), 0, 1001),
        sample(12, Value::Bytes([1, 2].into()), 0, 1001),
        sample(13, Value::Time(7), 0, 1001),
        Sample { flags: SampleFlags(33), ..sample(14, Value::Json("{}".into()), 0, 1001) },
    ];
    let cases = [
        (Record::Dictionary([(ItemId(2), ItemKey::parse("a/b").unwrap())].into()), "0101010403612f62"),
        (
            Record::Samples(samples.into()),
            "02010ce803000000000000d007000000000000000a020243020203140280808080 08ac02\
             0502343333333333d33f0c01ac020b02050a020000803a0602 02c3a907020201020802070000000000000029 0221027b7d",
        ),
        (
            Record::Intent(Intent {
                item: ItemId(4),
                value: Value::Bool(true),
                kind: IntentKind::Step,
                cause: at,
                origin: "api".into(),
                deadline: Timestamp(6),
            }),
            "0301a60004014102020103821902000504636170690506",
        ),
        (
            Record::Result(WriteResult { intent: at, outcome: Outcome::Refused(-2) }),
            "0401a3008219020005010102 21",
        ),
        (Record::Delivered(Delivered::by_number(1, at)), "0501a20001018219020005"),
        (
            Record::Delivered(Delivered {
                consumer: 1,
                through: at,
                stream: Some(NamedStream { interface: "mqtt".into(), wants_picture: true }),
            }),
            "0501a4000101821902000502646d71747403f5",
        ),
        (
            Record::Role(RoleChange {
                node: NodeRank(1),
                epoch: Epoch(0x0200),
                from: "a".into(),
                to: "b".into(),
                reason: "c".into(),
                at: Timestamp(-1),
            }),
            "0601a600010119020002616103616204616305 20",
        ),
        (
            Record::Event(Event {
                severity: Severity::Error,
                source: "s".into(),
                code: "c".into(),
                text: "t".into(),
                at: Timestamp(1),
            }),
            "0701a50002016173026163036174 0401",
        ),
        (Record::Part(PartRecord { part: Part(300), body: [7, 8].into() }), "0801ac02020708"),
        (
            Record::Merged(Merged {
                origin: at,
                record: Box::new(Record::Part(PartRecord { part: Part(2), body: [7].into() })),
            }),
            "0901800405 0801020107",
        ),
    ];
    for (record, expected) in cases {
        let hex = Value::Bytes(bytes_of(&record).into()).to_string();
        assert_eq!(hex, expected.replace(' ', ""), "{record:?}");
    }
}
