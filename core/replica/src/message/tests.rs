//! Round trips, hostile bytes, and the bytes that must never change.

use super::*;
use proptest::prelude::*;

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| Position::new(Epoch(epoch), seq))
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..60)
}

fn batch() -> impl Strategy<Value = EntryBatch> {
    let first = (0..u64::MAX / 2, 0..u64::MAX / 2);
    (first, prop::collection::vec((bytes(), any::<bool>()), 0..8)).prop_map(|((epoch, seq), bodies)| {
        let mut batch = EntryBatch::new();
        let mut at = Position::new(Epoch(epoch), seq);
        for (body, is_new_epoch) in bodies {
            batch.push(at, &body);
            at = if is_new_epoch { Position::new(Epoch(at.epoch.0 + 256), 1) } else { at.next() };
        }
        batch
    })
}

fn page() -> impl Strategy<Value = Page> {
    (any::<bool>(), any::<bool>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(
        |(is_complete, is_behind_gap, remaining_bytes, damaged, unknown)| Page {
            is_complete,
            is_behind_gap,
            remaining_bytes,
            damaged,
            unknown,
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    let stream = any::<u32>();
    prop_oneof![
        (stream, position(), position(), any::<u64>(), any::<u64>(), any::<Option<bool>>()).prop_map(
            |(stream, from, journal_first, config_hash, dictionary, image)| Message::Want {
                stream,
                from,
                journal_first,
                config_hash,
                dictionary,
                image
            }
        ),
        (stream, position(), any::<u64>()).prop_map(|(stream, at, items)| Message::SnapshotStart {
            stream,
            at,
            items
        }),
        (stream, any::<u64>(), any::<u64>(), any::<u64>(), bytes()).prop_map(
            |(stream, hash, offset, total, bytes)| Message::Dictionary { stream, hash, offset, total, bytes }
        ),
        (stream, bytes()).prop_map(|(stream, body)| Message::SnapshotSamples { stream, body }),
        (stream, ".{0,20}", bytes()).prop_map(|(stream, key, bytes)| Message::SnapshotState {
            stream,
            key,
            bytes
        }),
        (stream, position(), position()).prop_map(|(stream, at, consistent)| Message::SnapshotEnd {
            stream,
            at,
            consistent
        }),
        (stream, position(), batch()).prop_map(|(stream, after, batch)| Message::Entries {
            stream,
            after,
            batch
        }),
        (stream, position(), position()).prop_map(|(stream, received, durable)| Message::Ack {
            stream,
            received,
            durable
        }),
        (stream, position()).prop_map(|(stream, common)| Message::Diverged { stream, common }),
        (stream, position(), position()).prop_map(|(stream, after, before)| Message::Fetch {
            stream,
            after,
            before
        }),
        (stream, any::<u64>(), any::<bool>(), batch()).prop_map(
            |(stream, dictionary, is_complete, batch)| Message::Fetched {
                stream,
                dictionary,
                is_complete,
                batch
            }
        ),
        (stream, position(), any::<u64>(), prop::collection::vec(".{0,20}", 0..4))
            .prop_map(|(stream, common, bytes, files)| Message::Offer { stream, common, bytes, files }),
        (stream, position(), position()).prop_map(|(stream, common, after)| Message::Take {
            stream,
            common,
            after
        }),
        (stream, any::<u64>(), page(), batch()).prop_map(|(stream, dictionary, page, batch)| {
            Message::Given { stream, dictionary, page, batch }
        }),
        (stream, position(), any::<u16>(), any::<u32>()).prop_map(|(stream, common, part, number)| {
            Message::TakePiece { stream, common, part, number }
        }),
        (stream, any::<u32>(), bytes()).prop_map(|(stream, total, bytes)| Message::GivenPiece {
            stream,
            total,
            bytes
        }),
        (stream, bytes()).prop_map(|(stream, events)| Message::Events { stream, events }),
        (stream, bytes()).prop_map(|(stream, word)| Message::Vouch { stream, word }),
        (stream, any::<u64>())
            .prop_map(|(stream, bytes_per_second)| Message::Throttle { stream, bytes_per_second }),
    ]
}

fn bytes_of(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    out
}

proptest! {
    #[test]
    fn every_message_comes_back(message in message()) {
        prop_assert_eq!(Message::decode(&bytes_of(&message)), Ok(message));
    }

    #[test]
    fn damaged_messages_never_panic(
        message in message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = bytes_of(&message);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        drop(Message::decode(&bytes));
    }

    #[test]
    fn hostile_bytes_never_panic(tag in 0_u8..36, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = vec![tag, LAYOUT];
        bytes.extend(&body);
        if let Ok(Message::Entries { batch, .. }) = Message::decode(&bytes) {
            prop_assert!(batch.size_bytes() <= body.len());
        }
        drop(Message::decode(&body));
    }
}

#[test]
fn records_out_of_order_are_refused() {
    let at = |seq| Position::new(Epoch(0x100), seq);
    for wrong in [at(1), at(3), Position::new(Epoch(0x200), 2), Position::new(Epoch(1), 1)] {
        let mut batch = EntryBatch::new();
        batch.push(at(1), b"x");
        batch.push(wrong, b"y");
        let bytes = bytes_of(&Message::Entries { stream: 1, after: at(0), batch });
        assert!(matches!(Message::decode(&bytes), Err(ReplicaError::Unreadable { .. })), "{wrong}");
    }
}

/// If this fails, a node of the version before cannot follow any more: raise the layout instead.
#[test]
fn the_bytes_of_messages_stay_the_same() {
    let at = Position::new(Epoch(0x200), 5);
    let mut batch = EntryBatch::new();
    batch.push(at, b"x");
    let cases = [
        (
            Message::Want {
                stream: 1,
                from: at,
                journal_first: at,
                config_hash: 2,
                dictionary: 3,
                image: None,
            },
            "0101a500010182190200050282190200050302 0403",
        ),
        (Message::SnapshotStart { stream: 1, at, items: 9 }, "0201a3000101821902000502 09"),
        (Message::SnapshotSamples { stream: 1, body: vec![7] }, "04010100000007"),
        (
            Message::SnapshotState { stream: 1, key: "k".to_owned(), bytes: vec![7] },
            "0501a300010161 6b024107",
        ),
        (
            Message::Entries { stream: 1, after: at, batch },
            "070101000000 0002000000000000 0500000000000000 0002000000000000 0500000000000000 01000000 78",
        ),
        (Message::Ack { stream: 1, received: at, durable: at }, "0801a3000101821902000502 8219020005"),
        (Message::Diverged { stream: 1, common: at }, "0901a2000101 8219020005"),
        (Message::Events { stream: 0, events: vec![7] }, "14010000000007"),
        (Message::Vouch { stream: 0, word: vec![7] }, "15010000000007"),
    ];
    for (message, expected) in cases {
        let bytes: std::sync::Arc<[u8]> = bytes_of(&message).into();
        assert_eq!(twinhub_model::Value::Bytes(bytes).to_string(), expected.replace(' ', ""), "{message:?}");
    }
}
