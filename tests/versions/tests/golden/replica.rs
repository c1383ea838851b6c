//! What active node and standby say to each other about journals, and the records themselves.

use twinhub_model::{
    Delivered, Epoch, Event, Intent, IntentKind, ItemId, ItemKey, Merged, NamedStream, NodeRank, Outcome,
    Part, PartRecord, Position, Quality, Record, RoleChange, Sample, SampleFlags, Severity, Timestamp, Value,
    WriteResult,
};
use twinhub_replica::{EntryBatch, Message, Page};
use twinhub_wire::{PROTOCOL, record};

use crate::protocol::{check, versions};

#[test]
fn every_replication_message_has_the_same_bytes_and_meaning_in_each_version() {
    let newer = newer_messages();
    for message in messages().iter().chain(&newer) {
        let name = format!("replica-{}", message.name().replace(' ', "-"));
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        for version in versions().filter(|version| *version >= 2 || !newer.contains(message)) {
            check(version, &name, bytes.clone(), |bytes| Message::decode(bytes).unwrap());
        }
    }
}

#[test]
fn every_record_has_the_same_bytes_and_meaning_in_each_version() {
    for (name, record) in records().into_iter().chain(newer_records()) {
        let mut bytes = Vec::new();
        record::encode(&record, &mut bytes);
        for version in versions().filter(|version| record::placeholder(&bytes, *version).is_none()) {
            check(version, &format!("record-{name}"), bytes.clone(), |bytes| record::decode(bytes).unwrap());
        }
    }
    for (name, record) in grown_records() {
        let mut bytes = Vec::new();
        record::encode(&record, &mut bytes);
        check(PROTOCOL, &format!("record-{name}"), bytes, |bytes| record::decode(bytes).unwrap());
    }
}

fn at(seq: u64) -> Position {
    Position::new(Epoch::new(12, NodeRank(0)), seq)
}

fn messages() -> Vec<Message> {
    let stream = 5;
    let mut batch = EntryBatch::new();
    for (seq, (_, record)) in (100..).zip(records()) {
        let mut body = Vec::new();
        record::encode(&record, &mut body);
        batch.push(at(seq), &body);
    }
    vec![
        Message::Want {
            stream,
            from: at(99),
            journal_first: at(1),
            config_hash: 0xfeed_beef,
            dictionary: 77,
            image: None,
        },
        Message::SnapshotStart { stream, at: at(50), items: 10_000 },
        Message::Dictionary { stream, hash: 77, offset: 3, total: 6, bytes: vec![1, 2, 3] },
        Message::SnapshotSamples { stream, body: vec![2, 1, 0] },
        Message::SnapshotState { stream, key: "cursor/mqtt1".to_owned(), bytes: vec![9, 8, 7] },
        Message::SnapshotEnd { stream, at: at(50), consistent: at(60) },
        Message::Entries { stream, after: at(99), batch },
        Message::Ack { stream, received: at(120), durable: at(110) },
        Message::Diverged { stream, common: at(40) },
        Message::Throttle { stream, bytes_per_second: 1_000_000 },
    ]
}

/// What a peer that speaks version 1 is not asked and does not hear.
fn newer_messages() -> Vec<Message> {
    let (stream, common) = (6, at(40));
    let mut batch = EntryBatch::new();
    for (seq, (_, record)) in (100..).zip(newer_records()) {
        let mut body = Vec::new();
        record::encode(&record, &mut body);
        batch.push(at(seq), &body);
    }
    let page =
        Page { is_complete: false, is_behind_gap: true, remaining_bytes: 70_000, damaged: 1, unknown: 2 };
    vec![
        Message::Fetch { stream, after: at(99), before: at(102) },
        Message::Fetched { stream, dictionary: 77, is_complete: true, batch: batch.clone() },
        Message::Offer { stream, common, bytes: 90_000, files: vec!["fork-12.0-40.journal".to_owned()] },
        Message::Take { stream, common, after: at(99) },
        Message::Given { stream, dictionary: 77, page, batch },
        Message::TakePiece { stream, common, part: 1, number: 3 },
        Message::GivenPiece { stream, total: 4, bytes: vec![9, 8, 7] },
    ]
}

fn records() -> Vec<(&'static str, Record)> {
    let key = |text| ItemKey::parse(text).unwrap();
    let time = Timestamp(1_700_000_000_000_000_000);
    let values = [
        Value::Null,
        Value::Bool(true),
        Value::I64(-42),
        Value::U64(u64::MAX),
        Value::F64(21.37),
        Value::F64(0.1),
        Value::Str("on".into()),
        Value::Bytes([1, 2, 3].as_slice().into()),
        Value::Time(17),
        Value::Json("{\"a\":1}".into()),
    ];
    let samples: Vec<Sample> = (0_u32..)
        .zip(values)
        .map(|(item, value)| Sample {
            item: ItemId(item * 3),
            value,
            quality: Quality(item % 2 * 0x8000_0000),
            source: Timestamp(time.0 + i64::from(item)),
            server: time,
            flags: SampleFlags(item % 3),
        })
        .collect();
    let intent = |kind, value| {
        Record::Intent(Intent {
            item: ItemId(4),
            value,
            kind,
            cause: at(90),
            origin: "api".into(),
            deadline: time,
        })
    };
    let result = |outcome| Record::Result(WriteResult { intent: at(91), outcome });
    let event = |severity| {
        Record::Event(Event {
            severity,
            source: "plc1".into(),
            code: "TH-PLUGIN-FAULT".into(),
            text: "no answer".into(),
            at: time,
        })
    };
    let role = RoleChange {
        node: NodeRank(1),
        epoch: Epoch::new(12, NodeRank(1)),
        from: "standby".into(),
        to: "active".into(),
        reason: "node 0 silent for 1500 ms, limit 750 ms".into(),
        at: time,
    };
    vec![
        (
            "dictionary",
            Record::Dictionary([(ItemId(0), key("plc1/a")), (ItemId(7), key("mqtt1/b/c"))].into()),
        ),
        ("samples", Record::Samples(samples.into())),
        ("intent-set", intent(IntentKind::Set, Value::F64(20.5))),
        ("intent-step", intent(IntentKind::Step, Value::Bool(true))),
        ("result-done", result(Outcome::Done)),
        ("result-refused", result(Outcome::Refused(-7))),
        ("result-in-doubt", result(Outcome::InDoubt)),
        ("result-fenced", result(Outcome::Fenced)),
        ("result-superseded", result(Outcome::Superseded)),
        ("result-confirmed", result(Outcome::Confirmed)),
        ("delivered", Record::Delivered(Delivered::by_number(3, at(80)))),
        ("role", Record::Role(role)),
        ("event-info", event(Severity::Info)),
        ("event-warning", event(Severity::Warning)),
        ("event-error", event(Severity::Error)),
    ]
}

/// Records that version 1 does not have.
fn newer_records() -> Vec<(&'static str, Record)> {
    let part = Record::Part(PartRecord { part: Part::ALARMS, body: [1, 2, 3].into() });
    let merged = Record::Merged(Merged { origin: at(93), record: Box::new(part.clone()) });
    vec![("part", part), ("merged", merged)]
}

/// Records of which an older reader skips a part.
fn grown_records() -> Vec<(&'static str, Record)> {
    let stream = Some(NamedStream { interface: "mqtt1".into(), wants_picture: true });
    vec![("delivered-named", Record::Delivered(Delivered { consumer: 3, through: at(80), stream }))]
}
