//! Whatever bytes a decoder gets: it answers with a value or an error, and a value can be written and read again.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail the test")]

use std::fmt::Debug;

use proptest::prelude::*;
use twinhub_bacnet_protocol::apdu::Apdu;
use twinhub_bacnet_protocol::bvlc::Bvlc;
use twinhub_bacnet_protocol::names::{ErrorClass, ErrorCode, ObjectType, PropertyIdentifier};
use twinhub_bacnet_protocol::npdu::Npdu;
use twinhub_bacnet_protocol::services::{
    AcknowledgeAlarm, CovNotification, DeviceCommunicationControl, ErrorDetail, EventNotification,
    GetAlarmSummaryAck, GetEventInformation, GetEventInformationAck, IAm, IHave, LogRecord, PropertyOutcome,
    PropertyReference, PropertyValue, ReadAccess, ReadAccessResult, ReadProperty, ReadPropertyAck,
    ReadPropertyMultiple, ReadPropertyMultipleAck, ReadRange, ReadRangeAck, ReinitializeDevice, ServiceError,
    SubscribeCov, SubscribeCovProperty, TimeSynchronization, WhoHas, WhoIs, WriteAccess, WriteProperty,
    WritePropertyMultiple,
};
use twinhub_bacnet_protocol::shapes::{
    PriorityArray, StatusFlags, TimeStamp, date_times, object_list, weekly_schedule,
};
use twinhub_bacnet_protocol::tag::Message;
use twinhub_bacnet_protocol::value::{BitString, Date, ObjectId, Text, Time, Value, read_all, write_all};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_survived_by_every_decoder(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        try_everything(&bytes);
    }

    #[test]
    fn bytes_made_of_tags_are_survived_by_every_decoder(
        bytes in proptest::collection::vec(prop_oneof![
            (0_u8..16).prop_map(|number| number << 4 | 0x09),
            (0_u8..16).prop_map(|number| number << 4 | 0x0e),
            (0_u8..16).prop_map(|number| number << 4 | 0x0f),
            (0_u8..14).prop_map(|number| number << 4 | 0x01),
            (0_u8..16).prop_map(|number| number << 4 | 0x05),
            Just(0x0c_u8), Just(0xc4), Just(0x44), 0_u8..8, Just(0xfe), Just(0xff),
        ], 0..120),
    ) {
        try_everything(&bytes);
    }

    #[test]
    fn valid_services_with_wrong_bytes_are_survived(
        which in 0_usize..1000,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let samples = samples();
        let mut bytes = samples[which % samples.len()].clone();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        try_everything(&bytes);
        try_everything(&bytes[..cut.index(bytes.len())]);
    }

    #[test]
    fn every_value_is_read_as_it_was_written(values in proptest::collection::vec(value(), 0..12)) {
        let bytes = write_all(&values);
        prop_assert_eq!(read_all(&bytes).map(|values| write_all(&values)), Ok(bytes.clone()));
        prop_assert_eq!(read_all(&bytes), Ok(values));
    }

    #[test]
    fn every_answer_to_many_reads_is_read_as_it_was_written(
        results in proptest::collection::vec((any::<u32>(), proptest::collection::vec(outcome(), 0..4)), 0..6),
    ) {
        let results = results.into_iter().map(|(object, outcomes)| {
            ReadAccessResult { object: ObjectId::from_bytes(object.to_be_bytes()), outcomes }
        });
        let answer = ReadPropertyMultipleAck { results: results.collect() };
        prop_assert_eq!(ReadPropertyMultipleAck::decode(&answer.encode()), Ok(answer));
    }

    #[test]
    fn every_write_is_read_as_it_was_written(
        object in any::<u32>(), number in any::<u32>(), index in any::<Option<u32>>(),
        values in proptest::collection::vec(value(), 0..4), priority in proptest::option::of(1_u8..=16),
    ) {
        let object = ObjectId::from_bytes(object.to_be_bytes());
        let reference = PropertyReference { property: PropertyIdentifier::new(number), index };
        let property = PropertyValue { reference, values: values.clone(), priority };
        let many = WritePropertyMultiple {
            accesses: vec![WriteAccess { object, properties: vec![property.clone(), property.clone()] }],
        };
        prop_assert_eq!(WritePropertyMultiple::decode(&many.encode()), Ok(many));
        let one = WriteProperty { object, reference, values, priority };
        prop_assert_eq!(WriteProperty::decode(&one.encode()), Ok(one));
        let notification =
            CovNotification { process: number, device: object, object, seconds_left: 7, properties: vec![property] };
        prop_assert_eq!(CovNotification::decode(&notification.encode()), Ok(notification));
    }

    #[test]
    fn texts_and_names_of_objects_survive(text in any::<String>()) {
        let shown = Text::new(&text);
        prop_assert!(shown.to_str() == text.as_str());
        let _unused = (ObjectId::parse(&text), ObjectType::parse(&text));
    }
}

#[test]
fn a_long_message_full_of_openings_ends_with_an_error() {
    for byte in [0x0e, 0x1e, 0x3e, 0x4e, 0xce, 0xfe] {
        try_everything(&vec![byte; 400_000]);
    }
}

/// Gives the bytes to each decoder there is.
fn try_everything(bytes: &[u8]) {
    if let Ok(message) = Bvlc::decode(bytes) {
        assert_eq!(Bvlc::decode(&message.encode().unwrap()), Ok(message));
    }
    if let Ok(npdu) = Npdu::decode(bytes) {
        assert_eq!(Npdu::decode(&npdu.encode()), Ok(npdu));
    }
    if let Ok(apdu) = Apdu::decode(bytes) {
        assert_eq!(Apdu::decode(&apdu.encode()), Ok(apdu));
    }
    if let Ok(values) = read_all(bytes) {
        let _meanings = (
            PriorityArray::from_values(&values),
            object_list(&values),
            date_times(&values),
            weekly_schedule(&values),
            LogRecord::from_values(&values),
        );
        for value in &values {
            let _meanings = (StatusFlags::from_value(value), TimeStamp::from_value(value), value.as_number());
            if let Some(text) = value.as_text() {
                assert!(text.to_str().len() <= 4 * bytes.len());
            }
        }
        let again = write_all(&values);
        assert_eq!(read_all(&again).map(|values| write_all(&values)), Ok(again));
    }
    try_one::<Value>(bytes);
    try_one::<WhoIs>(bytes);
    try_one::<IAm>(bytes);
    try_one::<WhoHas>(bytes);
    try_one::<IHave>(bytes);
    try_one::<ReadProperty>(bytes);
    try_one::<ReadPropertyAck>(bytes);
    try_one::<ReadPropertyMultiple>(bytes);
    try_one::<ReadPropertyMultipleAck>(bytes);
    try_one::<WriteProperty>(bytes);
    try_one::<WritePropertyMultiple>(bytes);
    try_one::<SubscribeCov>(bytes);
    try_one::<SubscribeCovProperty>(bytes);
    try_one::<CovNotification>(bytes);
    try_one::<EventNotification>(bytes);
    try_one::<AcknowledgeAlarm>(bytes);
    try_one::<GetEventInformation>(bytes);
    try_one::<GetEventInformationAck>(bytes);
    try_one::<GetAlarmSummaryAck>(bytes);
    try_one::<ReadRange>(bytes);
    try_one::<ReadRangeAck>(bytes);
    try_one::<LogRecord>(bytes);
    try_one::<TimeSynchronization>(bytes);
    try_one::<DeviceCommunicationControl>(bytes);
    try_one::<ReinitializeDevice>(bytes);
    try_one::<ErrorDetail>(bytes);
    try_one::<TimeStamp>(bytes);
}

/// What could be read is written to bytes that are read to the same; bytes are compared, since NaN is not itself.
fn try_one<M: Message + Debug>(bytes: &[u8]) {
    if let Ok(message) = M::decode(bytes) {
        let written = message.encode();
        let again = M::decode(&written).unwrap_or_else(|error| panic!("{message:?}: {error}"));
        assert_eq!(again.encode(), written);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let primitive = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<u64>().prop_map(Value::Unsigned),
        any::<i64>().prop_map(Value::Signed),
        any::<f32>().prop_filter("a NaN is not equal to itself", |v| !v.is_nan()).prop_map(Value::Real),
        any::<f64>().prop_filter("a NaN is not equal to itself", |v| !v.is_nan()).prop_map(Value::Double),
        proptest::collection::vec(any::<u8>(), 0..400).prop_map(Value::Octets),
        any::<String>().prop_map(|text| Value::Text(Text::new(&text))),
        proptest::collection::vec(any::<bool>(), 0..70)
            .prop_map(|bits| Value::Bits(BitString::from_bits(&bits))),
        any::<u32>().prop_map(Value::Enumerated),
        any::<[u8; 4]>().prop_map(|bytes| Value::Date(Date::from_bytes(bytes))),
        any::<[u8; 4]>().prop_map(|bytes| Value::Time(Time::from_bytes(bytes))),
        any::<[u8; 4]>().prop_map(|bytes| Value::Object(ObjectId::from_bytes(bytes))),
        (0_u8..255, proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(number, bytes)| Value::Context { number, bytes }),
    ];
    primitive.prop_recursive(6, 40, 6, |inner| {
        (0_u8..255, proptest::collection::vec(inner, 0..6))
            .prop_map(|(number, values)| Value::List { number, values })
    })
}

fn outcome() -> impl Strategy<Value = PropertyOutcome> {
    let values = prop_oneof![
        proptest::collection::vec(value(), 0..3).prop_map(Ok),
        (any::<u32>(), any::<u32>())
            .prop_map(|(class, code)| Err(ServiceError::new(ErrorClass::new(class), ErrorCode::new(code)))),
    ];
    (any::<u32>(), any::<Option<u32>>(), values).prop_map(|(number, index, values)| PropertyOutcome {
        reference: PropertyReference { property: PropertyIdentifier::new(number), index },
        values,
    })
}

/// Valid bytes of every service whose form is more than one or two fields.
fn samples() -> Vec<Vec<u8>> {
    let hexadecimal = [
        "09011c000000022903 3e19103f4c004d444c5e2ea45c0615ffb40d0329092f5f",
        "09011c020000042c000000023e19103f490459646905890099 01a900b903ce5e0c42a033331a04802c3f8000003c42a000005fcf",
        "09121c0000000a29013900",
        "09121c020000042c0000000a39004e09552e44428200002f096f2e8204002f4f",
        "0c0000000519553e444290999a3f",
        "0c000000101e0955096 71f",
        "0c000000101e29554e444290999a4f29674e91004f1f",
        "0c0080000119553e44433400003f",
        "0c050000011983 7ea4620317ffb413341b0031047f",
        "0c0500000119833a05c049025e0ea4620317ffb413361b000f1e2c419000001f2a04005f6b013521",
        "c4020000012201e091012163",
        "3d07004f4154656d70",
        "c402000008c40000000375 07004f4154656d70",
        "09051901 2d0800236567626466 21",
        "0e0c0000000219032a05e03e0c0f23000c0f23000c0f23000f49005a05e06e210f210f21140f 6f0f1900",
        "810a000801000c00",
        "01280005060a0b0c0d0e0f00070 1090500021a0f",
    ];
    let bytes = |text: &str| {
        let digits: Vec<char> = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let pairs = digits.chunks(2).map(|pair| pair.iter().collect::<String>());
        pairs.map(|pair| u8::from_str_radix(&pair, 16).unwrap()).collect()
    };
    let mut samples: Vec<Vec<u8>> = hexadecimal.into_iter().map(bytes).collect();
    samples.push(
        ReadPropertyMultiple {
            accesses: vec![ReadAccess { object: ObjectId::device(1), properties: Vec::new() }],
        }
        .encode(),
    );
    samples
}
