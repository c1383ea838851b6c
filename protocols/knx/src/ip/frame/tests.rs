use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::ip::description::DeviceInfo;
use crate::ip::stream::STREAM_BYTES_MAX;
use crate::ip::{Family, HostProtocol, Selection, StreamReader, TunnelLayer, TunnelSlot};
use crate::{GroupAddress, IndividualAddress};

#[test]
fn frames_of_a_tunnel_have_the_known_bytes() {
    let endpoint = |port| Hpai { protocol: HostProtocol::Udp, address: Ipv4Addr::new(192, 168, 42, 1), port };
    let tunnel = |address| Frame::ConnectRequest {
        control: endpoint(33941),
        data: endpoint(52393),
        request: ConnectionRequest::Tunnel { layer: TunnelLayer::Link, address },
    };
    check("0610 0205 001A 0801 C0A82A01 8495 0801 C0A82A01 CCA9 04040200", &tunnel(None));
    check(
        "0610 0205 001C 0801 C0A82A01 8495 0801 C0A82A01 CCA9 06040200 11FA",
        &tunnel(Some(IndividualAddress(0x11fa))),
    );
    let data = Hpai { protocol: HostProtocol::Udp, address: Ipv4Addr::new(192, 168, 42, 10), port: 3671 };
    check(
        "0610 0206 0014 01 00 0801 C0A82A0A 0E57 0404 11FF",
        &Frame::ConnectResponse {
            channel: 1,
            result: Ok((data, ConnectionInfo::Tunnel { address: IndividualAddress(0x11ff) })),
        },
    );
    let header = Sequenced { channel: 1, sequence: 0x17 };
    check(
        "0610 0420 0015 04011700 1100BCE000004808010081",
        &Frame::TunnellingRequest { header, cemi: hex("1100BCE000004808010081") },
    );
    check(
        "0610 0421 000A 042A1700",
        &Frame::TunnellingAck {
            header: Sequenced { channel: 0x2a, sequence: 0x17 },
            status: Status::NO_ERROR,
        },
    );
    check(
        "0610 0425 000E 04011700 0300 0100",
        &Frame::FeatureInfo(header, Feature { id: 3, return_code: 0, value: vec![1, 0] }),
    );
    check("0610 0531 000A 0400 0005", &Frame::RoutingLost { device_state: 0, lost: 5 });
    check("0610 0532 000C 0600 0064 0000", &Frame::RoutingBusy { device_state: 0, wait_ms: 100, control: 0 });
    assert_eq!(GroupAddress(0x4808).to_string(), "9/0/8");
}

#[test]
fn a_refusal_is_read_in_all_its_shapes() {
    let refused = Frame::ConnectResponse { channel: 0, result: Err(Status::NO_MORE_CONNECTIONS) };
    for text in [
        "0610 0206 0008 00 24",
        "0610 0206 0014 00 24 0801 C0A80101 0E57 00000000",
        "0610 0206 0014 00 24 0801 0A010029 0E57 0404 0000",
        // Its header says 8, the datagram has more.
        "0610 0206 0008 00 24 00000000000000000000",
    ] {
        assert_eq!(Frame::decode(&hex(text)).as_ref(), Ok(&refused), "{text}");
    }
    let text = Status::NO_MORE_CONNECTIONS.to_string();
    assert_eq!(text, "no more connections, all slots are taken (0x24)");
}

#[test]
fn a_description_is_read_with_its_blocks() {
    let text = "0610 0204 0048 3601 02 00 1000 0000 00082d40834d e000170c 000ab3274a32
        4b4e582f49502d526f75746572 0000000000000000000000000000000000 0c02 0202 0302 0402 0502 0701";
    let device = DeviceInfo {
        medium: 2,
        is_programming: false,
        address: IndividualAddress(0x1000),
        project: 0,
        serial: [0x00, 0x08, 0x2d, 0x40, 0x83, 0x4d],
        multicast: Ipv4Addr::new(224, 0, 23, 12),
        mac: [0x00, 0x0a, 0xb3, 0x27, 0x4a, 0x32],
        name: "KNX/IP-Router".to_owned(),
    };
    let families = [(2, 2), (3, 2), (4, 2), (5, 2), (7, 1)].map(|(id, version)| Family { id, version });
    check(
        text,
        &Frame::DescriptionResponse {
            description: vec![Dib::Device(device), Dib::Families(families.to_vec())],
        },
    );
}

#[test]
fn an_extended_search_has_the_known_bytes() {
    let discovery = Hpai { protocol: HostProtocol::Udp, address: Ipv4Addr::new(224, 0, 23, 12), port: 3671 };
    let mandatory = |selection| SearchParameter { is_mandatory: true, selection };
    check(
        "0610 020b 0018 0801 e000170c 0e57 0281 0882010203040506",
        &Frame::SearchRequestExtended {
            discovery,
            parameters: vec![
                mandatory(Selection::ProgrammingMode),
                mandatory(Selection::MacAddress([1, 2, 3, 4, 5, 6])),
            ],
        },
    );
    let odd =
        Frame::SearchRequestExtended { discovery, parameters: vec![mandatory(Selection::Blocks(vec![7]))] };
    assert!(odd.encode().unwrap().ends_with(&[0x04, 0x84, 0x07, 0x00]), "padded to an even length");
}

#[test]
fn secure_frames_have_the_known_bytes() {
    // Bytes that independent stacks are tested with.
    let code = |text: &str| hex(text).try_into().unwrap();
    check(
        "0610 0951 002e 0802000000000000 0aa227b4fd7a32319ba9960ac036ce0e5c4507b5ae55161f1078b1dcfb3cb631",
        &Frame::Secure(SecureFrame::SessionRequest {
            control: Hpai::TCP,
            public_key: hex("0aa227b4fd7a32319ba9960ac036ce0e5c4507b5ae55161f1078b1dcfb3cb631")
                .try_into()
                .unwrap(),
        }),
    );
    check(
        "0610 0953 0018 0001 1f1d59ea9f12a152e5d9727f08462cde",
        &Frame::Secure(SecureFrame::SessionAuthenticate {
            user: 1,
            code: code("1f1d59ea9f12a152e5d9727f08462cde"),
        }),
    );
    check(
        "0610 0955 0024 c0c1c2c3c4c5 00fa12345678 affe 7212a03aaae49da85689774c1d2b4da4",
        &Frame::Secure(SecureFrame::TimerNotify {
            timer: [0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5],
            serial: [0x00, 0xfa, 0x12, 0x34, 0x56, 0x78],
            tag: 0xaffe,
            code: code("7212a03aaae49da85689774c1d2b4da4"),
        }),
    );
    check(
        "0610 0950 003e 0001 000000000000 00fa12345678 affe 7915a4f36e6e4208d28b4a207d8f35c0d138c26a7b5e7169
         52dba8e7e4bd80bd7d868a3ae78749de",
        &Frame::Secure(SecureFrame::Wrapper {
            session: 1,
            sequence: [0; 6],
            serial: [0x00, 0xfa, 0x12, 0x34, 0x56, 0x78],
            tag: 0xaffe,
            encrypted: hex("7915a4f36e6e4208d28b4a207d8f35c0d138c26a7b5e7169"),
            code: code("52dba8e7e4bd80bd7d868a3ae78749de"),
        }),
    );
}

#[test]
fn broken_headers_and_lengths_are_refused() {
    for text in [
        "",
        "06",
        "0510 0421 000A 042A1700",
        "0620 0421 000A 042A1700",
        "0610 0421 0005 042A1700",
        "0610 0421 000B 042A1700",
        "0610 0421 000A 032A1700",
        "0610 0421 000B 042A1700 00",
        "0610 0421 FFFF 042A1700",
        "0610 0201 000E 0803 C0A82A01 8495",
        "0610 0201 000E 0701 C0A82A01 8495",
        "0610 0201 000E 0001 C0A82A01 8495",
        "0610 0204 0008 0002",
        "0610 0204 0008 0302",
        "0610 0532 000C 0500 0064 0000",
    ] {
        assert!(Frame::decode(&hex(text)).is_err(), "{text}");
    }
}

#[test]
fn what_is_too_long_is_not_written() {
    let long =
        Frame::DescriptionResponse { description: vec![Dib::Other { kind: 0xfe, data: vec![0; 254] }] };
    assert!(matches!(long.encode(), Err(Error::TooLong { what: "a DIB", .. })));
    let long = Frame::Unknown { service: 0x0999, body: vec![0; FRAME_BYTES_MAX] };
    assert!(matches!(long.encode(), Err(Error::TooLong { .. })));
}

#[test]
fn a_stream_is_cut_into_frames_wherever_it_is_broken() {
    let frames: Vec<Vec<u8>> = (0..5u8)
        .map(|sequence| {
            let header = Sequenced { channel: 1, sequence };
            let cemi = vec![0x29; usize::from(sequence) * 40];
            Frame::TunnellingRequest { header, cemi }.encode().unwrap()
        })
        .collect();
    let stream = frames.concat();
    for step in [1, 2, 5, 7, 64, stream.len()] {
        let mut reader = StreamReader::new();
        let mut got = Vec::new();
        for piece in stream.chunks(step) {
            reader.push(piece).unwrap();
            while let Some(frame) = reader.next_frame().unwrap() {
                got.push(frame.to_vec());
            }
        }
        assert_eq!(got, frames, "in pieces of {step}");
        assert_eq!(reader.waiting(), 0);
    }
}

#[test]
fn a_stream_that_is_out_of_step_stays_lost() {
    let mut reader = StreamReader::new();
    reader.push(b"HTTP/1.1 400").unwrap();
    assert!(reader.next_frame().is_err());
    assert!(reader.push(&hex("0610 0531 000A 0400 0005")).is_err());
    assert!(reader.next_frame().is_err());
    let mut reader = StreamReader::new();
    let piece = [0x06, 0x10, 0x09, 0x99, 0x0f, 0xff];
    reader.push(&piece).unwrap();
    assert!(matches!(reader.push(&vec![0; STREAM_BYTES_MAX]), Err(Error::TooLong { .. })));
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

fn check(text: &str, frame: &Frame) {
    let bytes = hex(text);
    assert_eq!(Frame::decode(&bytes).as_ref(), Ok(frame), "{text}");
    assert_eq!(frame.encode(), Ok(bytes), "{text}");
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..max)
}

fn hpais() -> impl Strategy<Value = Hpai> {
    (any::<bool>(), any::<[u8; 4]>(), any::<u16>()).prop_map(|(is_tcp, address, port)| Hpai {
        protocol: if is_tcp { HostProtocol::Tcp } else { HostProtocol::Udp },
        address: Ipv4Addr::from(address),
        port,
    })
}

fn dibs() -> impl Strategy<Value = Vec<Dib>> {
    let families =
        proptest::collection::vec(any::<[u8; 2]>().prop_map(|[id, version]| Family { id, version }), 0..8);
    let addresses = proptest::collection::vec(any::<u16>().prop_map(IndividualAddress), 0..8);
    let slot = (any::<u16>(), any::<[bool; 3]>()).prop_map(|(address, flags)| TunnelSlot {
        address: IndividualAddress(address),
        is_usable: flags[0],
        is_authorized: flags[1],
        is_free: flags[2],
    });
    let device = (any::<[u8; 22]>(), "[ -~¡-ÿ]{0,30}").prop_map(|(raw, name)| DeviceInfo {
        medium: raw[0],
        is_programming: raw[1] > 127,
        address: IndividualAddress(u16::from_be_bytes([raw[2], raw[3]])),
        project: u16::from_be_bytes([raw[4], raw[5]]),
        serial: raw[6..12].try_into().unwrap(),
        multicast: Ipv4Addr::new(raw[12], raw[13], raw[14], raw[15]),
        mac: raw[16..].try_into().unwrap(),
        name,
    });
    let dib = prop_oneof![
        device.prop_map(Dib::Device),
        families.clone().prop_map(Dib::Families),
        families.prop_map(Dib::SecuredFamilies),
        addresses.prop_map(Dib::Addresses),
        (any::<u16>(), proptest::collection::vec(slot, 0..8))
            .prop_map(|(apdu_bytes_max, slots)| Dib::Tunnelling { apdu_bytes_max, slots }),
        (any::<u8>(), any::<u16>(), any::<u16>()).prop_map(|(medium_status, apdu_bytes_max, descriptor)| {
            Dib::Extended { medium_status, apdu_bytes_max, descriptor }
        }),
        (0x09u8..=0xff, bytes(40)).prop_map(|(kind, data)| Dib::Other { kind, data }),
    ];
    proptest::collection::vec(dib, 0..6)
}

fn frames() -> impl Strategy<Value = Frame> {
    let header = || any::<[u8; 2]>().prop_map(|[channel, sequence]| Sequenced { channel, sequence });
    let feature = (any::<u8>(), any::<u8>(), bytes(8)).prop_map(|(id, return_code, value)| Feature {
        id,
        return_code,
        value,
    });
    let selection = prop_oneof![
        Just(Selection::ProgrammingMode),
        any::<[u8; 6]>().prop_map(Selection::MacAddress),
        any::<[u8; 2]>().prop_map(|[family, version]| Selection::Service { family, version }),
        proptest::collection::vec(any::<[u8; 2]>(), 0..4).prop_map(|kinds| Selection::Blocks(kinds.concat())),
        (0x05u8..0x80, bytes(10)).prop_map(|(kind, data)| Selection::Other { kind, data }),
    ];
    let parameter = (any::<bool>(), selection)
        .prop_map(|(is_mandatory, selection)| SearchParameter { is_mandatory, selection });
    let request = prop_oneof![
        Just(ConnectionRequest::DeviceManagement),
        proptest::option::of(any::<u16>().prop_map(IndividualAddress))
            .prop_map(|address| ConnectionRequest::Tunnel { layer: TunnelLayer::Busmonitor, address }),
        (0x05u8..0x20, bytes(10)).prop_map(|(kind, data)| ConnectionRequest::Other { kind, data }),
    ];
    let info = prop_oneof![
        Just(ConnectionInfo::DeviceManagement),
        any::<u16>().prop_map(|raw| ConnectionInfo::Tunnel { address: IndividualAddress(raw) }),
        (0x05u8..0x20, bytes(10)).prop_map(|(kind, data)| ConnectionInfo::Other { kind, data }),
    ];
    let result =
        prop_oneof![(hpais(), info).prop_map(Ok), (1u8..=255).prop_map(|status| Err(Status(status))),];
    prop_oneof![
        hpais().prop_map(|discovery| Frame::SearchRequest { discovery }),
        (hpais(), dibs()).prop_map(|(control, description)| Frame::SearchResponse { control, description }),
        (hpais(), proptest::collection::vec(parameter, 0..4))
            .prop_map(|(discovery, parameters)| Frame::SearchRequestExtended { discovery, parameters }),
        dibs().prop_map(|description| Frame::DescriptionResponse { description }),
        (hpais(), hpais(), request).prop_map(|(control, data, request)| Frame::ConnectRequest {
            control,
            data,
            request
        }),
        (any::<u8>(), result).prop_map(|(channel, result)| Frame::ConnectResponse { channel, result }),
        (any::<u8>(), hpais())
            .prop_map(|(channel, control)| Frame::ConnectionStateRequest { channel, control }),
        any::<[u8; 2]>()
            .prop_map(|[channel, status]| Frame::DisconnectResponse { channel, status: Status(status) }),
        (header(), bytes(300)).prop_map(|(header, cemi)| Frame::TunnellingRequest { header, cemi }),
        (header(), bytes(300)).prop_map(|(header, cemi)| Frame::DeviceConfigurationRequest { header, cemi }),
        (header(), any::<u8>())
            .prop_map(|(header, status)| Frame::TunnellingAck { header, status: Status(status) }),
        (header(), feature).prop_map(|(header, feature)| Frame::FeatureResponse(header, feature)),
        bytes(300).prop_map(|cemi| Frame::RoutingIndication { cemi }),
        (any::<u8>(), any::<u16>(), any::<u16>()).prop_map(|(device_state, wait_ms, control)| {
            Frame::RoutingBusy { device_state, wait_ms, control }
        }),
        (any::<[u8; 30]>(), proptest::collection::vec(any::<u8>(), 6..80)).prop_map(|(raw, encrypted)| {
            Frame::Secure(SecureFrame::Wrapper {
                session: u16::from_be_bytes([raw[0], raw[1]]),
                sequence: raw[2..8].try_into().unwrap(),
                serial: raw[8..14].try_into().unwrap(),
                tag: 7,
                encrypted,
                code: raw[14..].try_into().unwrap(),
            })
        }),
        any::<u8>().prop_map(|status| Frame::Secure(SecureFrame::SessionStatus { status })),
        (0x0600u16..0x0900, bytes(40)).prop_map(|(service, body)| Frame::Unknown { service, body }),
    ]
}

proptest! {
    #[test]
    fn every_frame_survives_its_bytes(frame in frames()) {
        let bytes = frame.encode().unwrap();
        prop_assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn any_body_of_any_service_is_a_frame_or_an_error(
        service in prop_oneof![
            0x0201u16..=0x020c, 0x0310u16..=0x0311, 0x0420u16..=0x0425, 0x0530u16..=0x0533, 0x0950u16..=0x0955,
            any::<u16>()
        ],
        body in bytes(120)
    ) {
        let mut bytes = vec![0x06, 0x10];
        bytes.extend(service.to_be_bytes());
        bytes.extend(u16::try_from(body.len() + HEADER_BYTES).unwrap().to_be_bytes());
        bytes.extend(body);
        if let Ok(frame) = Frame::decode(&bytes) {
            let again = frame.encode().unwrap();
            prop_assert_eq!(Frame::decode(&again).map(drop), Ok(()));
        }
    }

    #[test]
    fn damaged_frames_are_a_frame_or_an_error(frame in frames(), at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
        let mut bytes = frame.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        drop(Frame::decode(&bytes));
        drop(Frame::decode(&bytes[..cut.index(bytes.len())]));
    }

    #[test]
    fn any_stream_is_bounded(pieces in proptest::collection::vec(bytes(80), 0..60)) {
        let mut reader = StreamReader::new();
        for piece in pieces {
            let mut piece = piece;
            if piece.len() > 6 {
                piece[..5].copy_from_slice(&[0x06, 0x10, 0x04, 0x20, 0x00]);
            }
            drop(reader.push(&piece));
            while let Ok(Some(frame)) = reader.next_frame() {
                drop(Frame::decode(frame));
            }
            prop_assert!(reader.waiting() <= STREAM_BYTES_MAX);
        }
    }
}
