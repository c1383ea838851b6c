use proptest::prelude::*;

use super::*;

#[test]
fn a_switched_light_has_the_known_bytes() {
    // The telegram of the examples of other stacks: 9/0/8 is written true.
    let bytes = [0x11, 0x00, 0xbc, 0xe0, 0x00, 0x00, 0x48, 0x08, 0x01, 0x00, 0x81];
    let on =
        LData::group_request(GroupAddress(0x4808), Priority::Low, Apdu::GroupValueWrite(Payload::Small(1)));
    check(&bytes, &Cemi::Data(on.clone()));
    assert_eq!(on.group_apdu(), Some((GroupAddress(0x4808), &Apdu::GroupValueWrite(Payload::Small(1)))));
}

#[test]
fn a_temperature_heard_on_the_bus_has_the_known_bytes() {
    // 21.0 °C (0C 1A) from 1.1.5 to 1/2/3.
    let bytes = [0x29, 0x00, 0xbc, 0xd0, 0x11, 0x05, 0x0a, 0x03, 0x03, 0x00, 0x80, 0x0c, 0x1a];
    let heard = LData {
        message: Message::Indication,
        control: Control { hop_count: 5, ..Control::default() },
        source: IndividualAddress(0x1105),
        ..LData::group_request(
            GroupAddress(0x0a03),
            Priority::Low,
            Apdu::GroupValueWrite(Payload::Bytes(vec![0x0c, 0x1a])),
        )
    };
    check(&bytes, &Cemi::Data(heard));
}

#[test]
fn a_negative_confirmation_has_its_error_bit() {
    let bytes = [0x2e, 0x00, 0xbd, 0xe0, 0x11, 0x05, 0x0a, 0x03, 0x01, 0x00, 0x00];
    let Ok(Cemi::Data(data)) = Cemi::decode(&bytes) else { panic!("no telegram") };
    assert_eq!(data.message, Message::Confirmation);
    assert!(data.control.is_error);
    assert_eq!(data.group_apdu(), Some((GroupAddress(0x0a03), &Apdu::GroupValueRead)));
    check(&bytes, &Cemi::Data(data));
}

#[test]
fn sixteen_octets_make_an_extended_frame_and_fifteen_do_not() {
    for (length, first) in [(14, 0xbc), (15, 0x3c)] {
        let data = LData::group_request(
            GroupAddress(1),
            Priority::Low,
            Apdu::GroupValueWrite(Payload::Bytes(vec![7; length])),
        );
        let bytes = Cemi::Data(data.clone()).encode().unwrap();
        assert_eq!(bytes[2], first);
        check(&bytes, &Cemi::Data(data));
    }
}

#[test]
fn a_short_extended_frame_is_read_like_a_standard_one() {
    let bytes = [0x29, 0x00, 0x3c, 0xe0, 0x11, 0x05, 0x0a, 0x03, 0x01, 0x00, 0x81];
    let Ok(Cemi::Data(data)) = Cemi::decode(&bytes) else { panic!("no telegram") };
    assert!(data.group_apdu().is_some());
}

#[test]
fn busmonitor_and_unknown_messages_are_kept() {
    let busmon = [0x2b, 0x07, 0x03, 0x01, 0x00, 0x04, 0x02, 0x12, 0x34, 0xbc, 0x11, 0x05, 0xcc];
    check(
        &busmon,
        &Cemi::Busmon {
            additional: vec![
                AdditionalInfo { kind: AdditionalInfo::BUSMON_STATUS, data: vec![0] },
                AdditionalInfo { kind: AdditionalInfo::TIMESTAMP, data: vec![0x12, 0x34] },
            ],
            frame: vec![0xbc, 0x11, 0x05, 0xcc],
        },
    );
    let property = [0xfc, 0x00, 0x0b, 0x01, 0x34, 0x10, 0x01];
    check(&property, &Cemi::Other { code: 0xfc, body: property[1..].to_vec() });
}

#[test]
fn connections_to_devices_are_kept_and_are_no_group_telegrams() {
    let connect = [0x11, 0x00, 0xb0, 0x60, 0x00, 0x00, 0x11, 0x05, 0x00, 0x80];
    let Ok(Cemi::Data(data)) = Cemi::decode(&connect) else { panic!("no telegram") };
    assert_eq!(data.tpdu, Tpdu::Control(0x80));
    assert_eq!(data.group_apdu(), None);
    check(&connect, &Cemi::Data(data));
}

#[test]
fn wrong_lengths_and_reserved_formats_are_refused() {
    let good = [0x29, 0x00, 0xbc, 0xe0, 0x11, 0x05, 0x0a, 0x03, 0x01, 0x00, 0x81];
    for length in 0..good.len() {
        assert!(Cemi::decode(&good[..length]).is_err(), "{length} bytes");
    }
    let mut longer = good.to_vec();
    longer.push(0);
    assert!(matches!(Cemi::decode(&longer), Err(Error::Trailing { bytes: 1, .. })));
    let mut lte = good;
    lte[3] = 0xe4;
    assert!(matches!(Cemi::decode(&lte), Err(Error::Invalid { what: "the extended frame format", .. })));
    let mut escape = vec![0x29, 0x00, 0x3c, 0xe0, 0x11, 0x05, 0x0a, 0x03, 0xff];
    escape.extend([0; 256]);
    assert!(matches!(Cemi::decode(&escape), Err(Error::Invalid { .. })));
    assert!(matches!(Cemi::decode(&[0; CEMI_BYTES_MAX + 1]), Err(Error::TooLong { .. })));
}

#[test]
fn what_does_not_fit_is_refused_when_it_is_written() {
    let of = |apdu| Cemi::Data(LData::group_request(GroupAddress(1), Priority::Low, apdu)).encode();
    assert!(of(Apdu::GroupValueWrite(Payload::Small(0x40))).is_err());
    assert!(of(Apdu::GroupValueWrite(Payload::Bytes(Vec::new()))).is_err());
    assert!(of(Apdu::GroupValueWrite(Payload::Bytes(vec![0; PAYLOAD_BYTES_MAX]))).is_ok());
    assert!(of(Apdu::GroupValueWrite(Payload::Bytes(vec![0; PAYLOAD_BYTES_MAX + 1]))).is_err());
    assert!(of(Apdu::Other { apci: 0x400, data: Vec::new() }).is_err());
}

fn check(bytes: &[u8], cemi: &Cemi) {
    assert_eq!(Cemi::decode(bytes).as_ref(), Ok(cemi));
    assert_eq!(cemi.encode().as_deref(), Ok(bytes));
}

fn payloads() -> impl Strategy<Value = Payload> {
    prop_oneof![
        (0u8..0x40).prop_map(Payload::Small),
        proptest::collection::vec(any::<u8>(), 1..=PAYLOAD_BYTES_MAX).prop_map(Payload::Bytes),
    ]
}

fn apdus() -> impl Strategy<Value = Apdu> {
    prop_oneof![
        Just(Apdu::GroupValueRead),
        payloads().prop_map(Apdu::GroupValueResponse),
        payloads().prop_map(Apdu::GroupValueWrite),
        (0x0c0u16..0x400, proptest::collection::vec(any::<u8>(), 0..64))
            .prop_map(|(apci, data)| Apdu::Other { apci, data }),
    ]
}

pub(crate) fn telegrams() -> impl Strategy<Value = LData> {
    let tpdu = prop_oneof![
        (
            prop_oneof![
                Just(Tpci::Unnumbered),
                Just(Tpci::TagGroup),
                (0u8..16).prop_map(|sequence| Tpci::Numbered { sequence }),
            ],
            apdus()
        )
            .prop_map(|(tpci, apdu)| Tpdu::Data { tpci, apdu }),
        (0x80u8..=0xff).prop_map(Tpdu::Control),
    ];
    let control = (any::<[bool; 4]>(), 0usize..4, 0u8..8).prop_map(|(flags, priority, hop_count)| Control {
        do_not_repeat: flags[0],
        is_system_broadcast: flags[1],
        priority: Priority::ALL[priority],
        is_ack_requested: flags[2],
        is_error: flags[3],
        hop_count,
    });
    let destination = (any::<bool>(), any::<u16>()).prop_map(|(is_group, raw)| {
        if is_group {
            Destination::Group(GroupAddress(raw))
        } else {
            Destination::Individual(IndividualAddress(raw))
        }
    });
    let additional = proptest::collection::vec(
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(kind, data)| AdditionalInfo { kind, data }),
        0..4,
    );
    let message = prop_oneof![Just(Message::Request), Just(Message::Confirmation), Just(Message::Indication)];
    (message, additional, control, any::<u16>(), destination, tpdu).prop_map(
        |(message, additional, control, source, destination, tpdu)| LData {
            message,
            additional,
            control,
            source: IndividualAddress(source),
            destination,
            tpdu,
        },
    )
}

proptest! {
    #[test]
    fn every_telegram_survives_its_bytes(data in telegrams()) {
        let bytes = Cemi::Data(data.clone()).encode().unwrap();
        prop_assert!(bytes.len() <= CEMI_BYTES_MAX);
        prop_assert_eq!(Cemi::decode(&bytes), Ok(Cemi::Data(data)));
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(cemi) = Cemi::decode(&bytes) {
            let again = cemi.encode().unwrap();
            prop_assert_eq!(Cemi::decode(&again), Ok(cemi));
        }
    }

    #[test]
    fn damaged_telegrams_are_a_frame_or_an_error(data in telegrams(), at: prop::sample::Index, to: u8) {
        let mut bytes = Cemi::Data(data).encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(cemi) = Cemi::decode(&bytes) {
            prop_assert_eq!(Cemi::decode(&cemi.encode().unwrap()), Ok(cemi));
        }
    }
}
