//! The examples of Annex F: what the standard encodes is read, and written again to the very same bytes.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail the test")]

use twinhub_bacnet_protocol::apdu::Apdu;
use twinhub_bacnet_protocol::names::{
    CommunicationState, EventState, EventType, NotifyType, ObjectType, PropertyIdentifier,
    ReinitializedState, Segmentation,
};
use twinhub_bacnet_protocol::services::{
    AcknowledgeAlarm, CovNotification, DeviceCommunicationControl, EventNotification, IAm, IHave, LogDatum,
    LogRecord, Range, ReadProperty, ReadPropertyAck, ReadPropertyMultiple, ReadPropertyMultipleAck,
    ReadRange, ReadRangeAck, ReinitializeDevice, SubscribeCov, SubscriptionTerms, TimeSynchronization,
    Wanted, WhoHas, WhoIs, WriteProperty,
};
use twinhub_bacnet_protocol::shapes::TimeStamp;
use twinhub_bacnet_protocol::tag::Message;
use twinhub_bacnet_protocol::value::{ObjectId, Value};

#[test]
fn alarms_are_acknowledged_and_notified() {
    let acknowledge: AcknowledgeAlarm = check(
        "00 02 07 00 09 01 1c 00 00 00 02 29 03 3e 19 10 3f 4c 00 4d 44 4c 5e 2e a4 5c 06 15 ff b4 0d 03 29 09 2f \
         5f",
    );
    assert_eq!(acknowledge.object, ObjectId::new(ObjectType::ANALOG_INPUT, 2));
    assert_eq!(acknowledge.state, EventState::HIGH_LIMIT);
    assert_eq!(acknowledge.time_stamp, TimeStamp::Sequence(16));
    assert_eq!(acknowledge.source.to_str(), "MDL");

    let event: EventNotification = check(
        "00 02 10 02 09 01 1c 02 00 00 04 2c 00 00 00 02 3e 19 10 3f 49 04 59 64 69 05 89 00 99 01 a9 00 b9 03 ce \
         5e 0c 42 a0 33 33 1a 04 80 2c 3f 80 00 00 3c 42 a0 00 00 5f cf",
    );
    assert_eq!(event.device, ObjectId::device(4));
    assert_eq!(event.priority, 100);
    assert_eq!(event.event_type, EventType::OUT_OF_RANGE);
    assert_eq!(event.notify_type, NotifyType::ALARM);
    assert_eq!(event.needs_acknowledgment, Some(true));
    assert_eq!((event.from, event.to), (Some(EventState::NORMAL), EventState::HIGH_LIMIT));
    assert!(matches!(event.values.as_deref(), Some([Value::List { number: 5, .. }])));
}

#[test]
fn changes_of_values_are_subscribed_and_notified() {
    let subscribe: SubscribeCov = check("00 02 0f 05 09 12 1c 00 00 00 0a 29 01 39 00");
    assert_eq!(subscribe.process, 18);
    assert_eq!(subscribe.terms, Some(SubscriptionTerms { is_confirmed: true, lifetime_seconds: 0 }));

    let notification: CovNotification = check(
        "00 02 0f 01 09 12 1c 02 00 00 04 2c 00 00 00 0a 39 00 4e 09 55 2e 44 42 82 00 00 2f 09 6f 2e 82 04 00 2f \
         4f",
    );
    assert_eq!(notification.device, ObjectId::device(4));
    assert_eq!(notification.properties[0].values, [Value::Real(65.0)]);
    assert_eq!(notification.properties[1].reference.property, PropertyIdentifier::STATUS_FLAGS);
}

#[test]
fn properties_are_read_and_written() {
    let read: ReadProperty = check("00 00 01 0c 0c 00 00 00 05 19 55");
    assert_eq!(read.object, ObjectId::new(ObjectType::ANALOG_INPUT, 5));
    assert_eq!(read.reference.property, PropertyIdentifier::PRESENT_VALUE);
    let answer: ReadPropertyAck = check("30 01 0c 0c 00 00 00 05 19 55 3e 44 42 90 99 9a 3f");
    assert_eq!(answer.values, [Value::Real(72.3)]);

    let read: ReadPropertyMultiple = check("00 04 f1 0e 0c 00 00 00 10 1e 09 55 09 67 1f");
    assert_eq!(read.accesses[0].properties.len(), 2);
    let answer: ReadPropertyMultipleAck =
        check("30 f1 0e 0c 00 00 00 10 1e 29 55 4e 44 42 90 99 9a 4f 29 67 4e 91 00 4f 1f");
    assert_eq!(answer.results[0].outcomes[1].values, Ok(vec![Value::Enumerated(0)]));

    let write: WriteProperty = check("00 04 59 0f 0c 00 80 00 01 19 55 3e 44 43 34 00 00 3f");
    assert_eq!(write.object, ObjectId::new(ObjectType::ANALOG_VALUE, 1));
    assert_eq!(write.values, [Value::Real(180.0)]);
}

#[test]
fn a_part_of_a_trend_log_is_read() {
    let read: ReadRange = check("02 02 01 1a 0c 05 00 00 01 19 83 7e a4 62 03 17 ff b4 13 34 1b 00 31 04 7f");
    assert!(matches!(read.range, Some(Range::Time { count: 4, .. })));
    let answer: ReadRangeAck = check(
        "30 01 1a 0c 05 00 00 01 19 83 3a 05 c0 49 02 5e 0e a4 62 03 17 ff b4 13 36 1b 00 0f 1e 2c 41 90 00 00 1f \
         2a 04 00 0e a4 62 03 17 ff b4 13 38 1b 00 0f 1e 2c 41 90 cc cd 1f 2a 04 00 5f 6b 01 35 21",
    );
    assert!(answer.flags.has_first && answer.flags.has_last && !answer.flags.has_more);
    assert_eq!(answer.first_sequence, Some(79_137));
    let records = LogRecord::from_values(&answer.values).unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0].datum, LogDatum::Value(Value::Real(18.0)));
}

#[test]
fn devices_are_found_and_controlled() {
    let _: WhoIs = check("10 08");
    let i_am: IAm = check("10 00 c4 02 00 00 01 22 01 e0 91 01 21 63");
    assert_eq!((i_am.max_apdu, i_am.segmentation, i_am.vendor), (480, Segmentation::TRANSMIT, 99));
    let who_has: WhoHas = check("10 07 3d 07 00 4f 41 54 65 6d 70");
    assert!(matches!(who_has.wanted, Wanted::Name(name) if name.to_str() == "OATemp"));
    let i_have: IHave = check("10 01 c4 02 00 00 08 c4 00 00 00 03 75 07 00 4f 41 54 65 6d 70");
    assert_eq!(i_have.device, ObjectId::device(8));
    let time: TimeSynchronization = check("10 06 a4 5c 0b 11 ff b4 16 2d 1e 46");
    assert_eq!(time.at.date.calendar_year(), Some(1992));
    let silence: DeviceCommunicationControl = check("00 04 05 11 09 05 19 01 2d 08 00 23 65 67 62 64 66 21");
    assert_eq!((silence.minutes, silence.state), (Some(5), CommunicationState::DISABLE));
    let restart: ReinitializeDevice = check("00 04 02 14 09 01 1d 09 00 41 62 43 64 45 66 47 68");
    assert_eq!(restart.state, ReinitializedState::WARMSTART);
    assert!(!format!("{restart:?}").contains("AbCd"), "a password is not printed");
}

/// Reads an APDU and the service in it, and writes both again.
fn check<M: Message + std::fmt::Debug>(hexadecimal: &str) -> M {
    let bytes: Vec<u8> =
        hexadecimal.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let apdu = Apdu::decode(&bytes).unwrap();
    assert_eq!(apdu.encode(), bytes);
    let payload = match apdu {
        Apdu::ConfirmedRequest { payload, .. }
        | Apdu::UnconfirmedRequest { payload, .. }
        | Apdu::ComplexAck { payload, .. } => payload,
        Apdu::SimpleAck { .. }
        | Apdu::SegmentAck { .. }
        | Apdu::Error { .. }
        | Apdu::Reject { .. }
        | Apdu::Abort { .. } => panic!("{apdu:?} has no service"),
    };
    let message = M::decode(payload).unwrap();
    assert_eq!(message.encode(), payload, "{message:?}");
    message
}
