use proptest::prelude::*;

use super::*;
use crate::Priority;
use crate::cemi::Payload;

/// A response that a device of an ETS project sent to its group, as the gateway gave it to a client.
const RESPONSE: &str = "29003ce0400904001103f110002446cfef4ac085e7092ab062b44d";
/// What xknx 4.0.0 sends to read the same group.
const READ: &str = "1100bce0500104000e03f11000254ae1cb67cd184afe5744";
const READ_NUMBER: u64 = 160_170_101_607;
const KEY: u128 = 0xdfdf_23a5_9fbb_4040_4091_d1c1_6208_7e8b;
const GROUP: GroupAddress = GroupAddress(0x0400);
const DEVICE: IndividualAddress = IndividualAddress(0x4009);
const OWN: IndividualAddress = IndividualAddress(0x5001);

#[test]
fn a_telegram_of_a_device_is_decrypted() {
    let mut data = data(1, Protection::Confidentiality);
    let telegram = data.verify(telegram(RESPONSE), OWN).unwrap();
    let payload = Payload::Bytes(vec![116, 41, 41]);
    assert_eq!(telegram.group_apdu(), Some((GROUP, &Apdu::GroupValueResponse(payload))));
    assert_eq!(data.senders()[&DEVICE], 155_806_854_986);
    assert_eq!(data.counters().verified, 1);
}

#[test]
fn a_telegram_is_encrypted_as_xknx_does() {
    let mut data = data(READ_NUMBER, Protection::Confidentiality);
    data.reserve(READ_NUMBER + 1);
    let plain = LData::group_request(GROUP, Priority::Low, Apdu::GroupValueRead);
    let protected = data.protect(plain, OWN).unwrap();
    assert_eq!(Cemi::Data(protected).encode().unwrap(), bytes(READ));
}

/// Key 00…0F, number 42, 1.1.1 to 1/2/3, switched on: two implementations beside this one have these bytes.
#[test]
fn both_protections_have_the_known_bytes() {
    let key = Key::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    let context = Context::group(IndividualAddress(0x1101), GroupAddress(0x0a03));
    for (protection, known) in [
        (Protection::Confidentiality, "1000000000002adf5949899fd3"),
        (Protection::Authentication, "0000000000002a00812e51ca4a"),
    ] {
        let asdu = Asdu::seal(&key, protection, 42, context, vec![0x00, 0x81]);
        assert_eq!(asdu.encode(), Apdu::Other { apci: asdu::APCI, data: bytes(known) });
        let asdu = Asdu::decode(&bytes(known)).unwrap();
        assert_eq!(asdu.open(&key, protection, context), Some(vec![0x00, 0x81]));
    }
    // The bare code of xknx.
    let asdu = Asdu::decode(&bytes("0000000000002a00812bc3f09a")).unwrap();
    assert_eq!(asdu.open(&key, Protection::Authentication, context), Some(vec![0x00, 0x81]));
}

/// A property is written with the tool key, from the annex of AN158 (v07): another context than that of groups.
#[test]
fn the_example_of_the_standard_is_decrypted() {
    let key = Key::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
    let context = Context { source: 0xff67, destination: 0xff00, address_type: 0, tpci: 0 };
    let asdu =
        Asdu::decode(&bytes("900000000000046767242a2308ca76a11774214ee4cf5d94909f743d050d8fc168")).unwrap();
    assert_eq!(asdu.protection(), None, "not for groups");
    let plain = bytes("03d705351001202122232425262728292a2b2c2d2e2f");
    assert_eq!(asdu.open(&key, Protection::Confidentiality, context), Some(plain));
}

#[test]
fn what_must_not_be_believed_is_refused_with_the_reason() {
    let mut data = data(1, Protection::Confidentiality);
    let from = DEVICE;
    let group = GROUP;
    let mut plain = LData::group_request(GROUP, Priority::Low, Apdu::GroupValueRead);
    plain.message = Message::Indication;
    plain.source = DEVICE;
    assert_eq!(data.verify(plain, OWN), Err(Refusal::Plain { from, group }));

    let other = GroupAddress(0x0a03);
    let mut changed = telegram(RESPONSE);
    changed.destination = crate::cemi::Destination::Group(other);
    assert_eq!(data.verify(changed, OWN), Err(Refusal::NoKey { from, group: other }));

    let stranger = IndividualAddress(0x1203);
    let mut changed = telegram(RESPONSE);
    changed.source = stranger;
    assert_eq!(data.verify(changed, OWN), Err(Refusal::UnknownSender { from: stranger, group }));

    for bit in [7, 12, 18] {
        let mut changed = telegram(RESPONSE);
        if let Tpdu::Data { apdu: Apdu::Other { data, .. }, .. } = &mut changed.tpdu {
            data[bit - 4] ^= 1;
        }
        assert_eq!(data.verify(changed, OWN), Err(Refusal::Forged { from, group }), "{bit}");
    }
    assert_eq!(data.senders()[&DEVICE], 1000, "a forged telegram does not move the number");

    let mut changed = telegram(RESPONSE);
    if let Tpdu::Data { apdu: Apdu::Other { data, .. }, .. } = &mut changed.tpdu {
        data[0] = 0x90;
    }
    assert_eq!(data.verify(changed, OWN), Err(Refusal::Unsupported { from, control: 0x90 }));

    data.verify(telegram(RESPONSE), OWN).unwrap();
    let got = 155_806_854_986;
    assert_eq!(data.verify(telegram(RESPONSE), OWN), Err(Refusal::Replayed { from, group, got, last: got }));
}

#[test]
fn without_reserved_numbers_nothing_is_sent_and_no_number_is_used_twice() {
    let mut first = data(5, Protection::Confidentiality);
    let plain = || LData::group_request(GROUP, Priority::Low, Apdu::GroupValueRead);
    assert_eq!(first.protect(plain(), OWN), Err(Refusal::NotReserved { group: GROUP }));
    first.reserve(7);
    first.reserve(6);
    assert_eq!(first.remaining(), 2);
    for _ in 0..2 {
        first.protect(plain(), OWN).unwrap();
    }
    assert_eq!(first.protect(plain(), OWN), Err(Refusal::NotReserved { group: GROUP }));
    // After a crash it goes on at what was reserved, used or not.
    let second = data(7, Protection::Confidentiality);
    assert_eq!(second.next(), first.next());
    let mut last = data(SEQUENCE_MAX, Protection::Confidentiality);
    last.reserve(u64::MAX);
    last.protect(plain(), OWN).unwrap();
    assert_eq!(last.protect(plain(), OWN), Err(Refusal::NotReserved { group: GROUP }));
    assert_eq!(data(0, Protection::Confidentiality).next(), 1, "a receiver that knows nothing yet has 0");
}

#[test]
fn groups_without_a_key_are_left_alone() {
    let mut data = data(1, Protection::Confidentiality);
    let plain = LData::group_request(GroupAddress(0x0a03), Priority::Low, Apdu::GroupValueRead);
    assert_eq!(data.protect(plain.clone(), OWN), Ok(plain.clone()));
    assert_eq!(data.verify(plain.clone(), OWN), Ok(plain));
}

#[test]
fn a_refused_telegram_leaves_a_frame_that_can_be_acknowledged() {
    let mut data = data(1, Protection::Confidentiality);
    let header = crate::ip::Sequenced { channel: 3, sequence: 9 };
    let good = Frame::TunnellingRequest { header, cemi: bytes(RESPONSE) }.encode().unwrap();
    assert!(matches!(telegram_of(&data.incoming(good.clone(), OWN)), Some((_, telegram))
        if matches!(telegram.group_apdu(), Some((GROUP, Apdu::GroupValueResponse(_))))));
    for count in 1..=20 {
        let refused = data.incoming(good.clone(), OWN);
        let expected = Frame::TunnellingRequest { header, cemi: NOTHING.to_vec() };
        assert_eq!(Frame::decode(&refused), Ok(expected));
        assert_eq!(data.counters().refused, count);
    }
    assert_eq!(data.counters().refusals_dropped, 20 - REFUSALS_MAX as u64);
    assert!(matches!(data.take_refusal(), Some(Refusal::Replayed { .. })));
    // The multicast of this node comes back to it: neither news nor an attack.
    let echo = Frame::RoutingIndication { cemi: bytes(RESPONSE) };
    let silent = Frame::RoutingIndication { cemi: NOTHING.to_vec() };
    assert_eq!(Frame::decode(&data.incoming(echo.encode().unwrap(), DEVICE)), Ok(silent));
    assert_eq!((data.counters().refused, data.counters().echoes), (20, 1));
}

proptest! {
    #[test]
    fn what_one_protects_the_other_reads(
        value in proptest::collection::vec(any::<u8>(), 1..200),
        is_confidential: bool,
        number in 1..SEQUENCE_MAX,
    ) {
        let protection =
            if is_confidential { Protection::Confidentiality } else { Protection::Authentication };
        let mut sender = data(number, protection);
        sender.reserve(number + 1);
        let apdu = Apdu::GroupValueWrite(Payload::Bytes(value));
        let plain = LData::group_request(GROUP, Priority::Low, apdu.clone());
        let mut protected = sender.protect(plain, OWN).unwrap();
        // Own confirmations are read, whatever address the gateway gives them.
        protected.message = Message::Confirmation;
        protected.source = IndividualAddress::NONE;
        let confirmed = sender.verify(protected.clone(), OWN).unwrap();
        prop_assert_eq!(confirmed.group_apdu(), Some((GROUP, &apdu)));

        protected.message = Message::Indication;
        protected.source = OWN;
        let mut receiver = data(1, Protection::Confidentiality);
        receiver.senders.insert(OWN, number - 1);
        // What couplers change on the way is not protected.
        protected.control.hop_count = 3;
        let received = receiver.verify(protected, DEVICE).unwrap();
        prop_assert_eq!(received.group_apdu(), Some((GROUP, &apdu)));
        prop_assert_eq!(receiver.senders()[&OWN], number);
    }

    #[test]
    fn hostile_bytes_are_refused(body in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut data = data(1, Protection::Confidentiality);
        let mut telegram = telegram(RESPONSE);
        telegram.tpdu = Tpdu::Data {
            tpci: Tpci::Unnumbered,
            apdu: Apdu::Other { apci: asdu::APCI, data: body.clone() },
        };
        prop_assert!(data.verify(telegram, OWN).is_err());
        let frame = [&[0x06, 0x10, 0x05, 0x30, 0, 6 + u8::try_from(body.len()).unwrap()], &body[..]].concat();
        data.incoming(frame.clone(), OWN);
        data.outgoing(frame, OWN);
    }
}

fn data(next: u64, protection: Protection) -> DataSecure {
    DataSecure::new(DataConfig {
        groups: BTreeMap::from([(GROUP, Key::new(KEY.to_be_bytes()))]),
        senders: BTreeMap::from([(DEVICE, 1000)]),
        next,
        protection,
    })
}

fn telegram(hex: &str) -> LData {
    let Ok(Cemi::Data(telegram)) = Cemi::decode(&bytes(hex)) else { panic!("{hex}") };
    telegram
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
