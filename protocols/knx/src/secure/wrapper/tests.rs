//! The examples of the standard (AN159, annex A), and what must hold for any frame.

use proptest::prelude::*;

use super::*;
use crate::secure::{PrivateKey, Secret};

fn backbone() -> Key {
    Key::new(std::array::from_fn(|index| u8::try_from(index).unwrap()))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

const ROUTING: Nonce =
    Nonce { sequence: 0xc0c1_c2c3_c4c5, serial: [0x00, 0xfa, 0x12, 0x34, 0x56, 0x78], tag: 0xaffe };
const PLAIN: &str = "06 10 05 30 00 11 29 00 bc d0 11 59 0a de 01 00 81";
const WRAPPED: &str = "06 10 09 50 00 37 00 00 c0 c1 c2 c3 c4 c5 00 fa 12 34 56 78 af fe b7 ee 7e 8a 1c 2f 7b ba be c7 75 \
                       fd 6e 10 d0 bc 4b 72 12 a0 3a aa e4 9d a8 56 89 77 4c 1d 2b 4d a4";

fn open(key: &Key, wrapped: &[u8]) -> Option<Vec<u8>> {
    let Ok(Frame::Secure(SecureFrame::Wrapper { session, sequence, serial, tag, encrypted, code })) =
        Frame::decode(wrapped)
    else {
        return None;
    };
    unwrap(key, session, Nonce { sequence: sequence_number(sequence), serial, tag }, encrypted, code)
}

#[test]
fn a_routing_indication_is_wrapped_as_in_the_example() {
    assert_eq!(wrap(&backbone(), 0, ROUTING, &bytes(PLAIN)).unwrap(), bytes(WRAPPED));
    assert_eq!(open(&backbone(), &bytes(WRAPPED)), Some(bytes(PLAIN)));
}

#[test]
fn a_session_is_authenticated_as_in_the_example() {
    let client = array("0aa227b4fd7a32319ba9960ac036ce0e5c4507b5ae55161f1078b1dcfb3cb631");
    let server = array("bdf099909923143ef0a5de0b3be3687bc5bd3cf5f9e6f901699cd870ec1ff824");
    let device = Key::of_device(&Secret::from("trustme")).unwrap();
    assert_eq!(response_code(&device, 1, &client, &server), array("a922505aaa436163570bd5494c2df2a3"));
    let user = Key::of_user(&Secret::from("secret")).unwrap();
    assert_eq!(authenticate_code(&user, 1, &client, &server), array("1f1d59ea9f12a152e5d9727f08462cde"));
}

#[test]
fn the_authentication_is_wrapped_with_the_key_of_the_exchange_as_in_the_example() {
    let private_key =
        PrivateKey::new(array("b8fabd62665d8b9e8a9d8b1f4bca42c8c2789a6110f50e9dd785b3ede883f378"));
    let client = array("0aa227b4fd7a32319ba9960ac036ce0e5c4507b5ae55161f1078b1dcfb3cb631");
    let server = array("bdf099909923143ef0a5de0b3be3687bc5bd3cf5f9e6f901699cd870ec1ff824");
    assert_eq!(private_key.public(), client);
    let key = private_key.agree(server).unwrap();
    let plain = bytes("061009530018 0001 1f1d59ea9f12a152e5d9727f08462cde");
    let wrapped = bytes(
        "06100950003e 0001 000000000000 00fa12345678 affe 7915a4f36e6e4208d28b4a207d8f35c0d138c26a7b5e7169
         52dba8e7e4bd80bd7d868a3ae78749de",
    );
    assert_eq!(wrap(&key, 1, Nonce { sequence: 0, ..ROUTING }, &plain).unwrap(), wrapped);
    assert_eq!(private_key.agree([0; 32]), None, "a half that leads to a known key");
}

proptest! {
    #[test]
    fn what_is_wrapped_is_unwrapped_and_any_flipped_bit_is_seen(
        frame in proptest::collection::vec(any::<u8>(), 6..300),
        sequence in 0..=SEQUENCE_MAX,
        session: u16,
        tag: u16,
        flip: prop::sample::Index,
    ) {
        let nonce = Nonce { sequence, serial: [1; 6], tag };
        let wrapped = wrap(&backbone(), session, nonce, &frame).unwrap();
        prop_assert_eq!(open(&backbone(), &wrapped), Some(frame));
        let mut forged = wrapped.clone();
        let bit = flip.index(forged.len() * 8);
        forged[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(open(&backbone(), &forged), None);
        prop_assert_eq!(open(&Key::new([9; 16]), &wrapped), None);
    }

    #[test]
    fn hostile_bytes_are_no_wrapper(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut wrapped = vec![0x06, 0x10, 0x09, 0x50, 0, 0];
        wrapped.extend_from_slice(&body);
        let length = u16::try_from(wrapped.len()).unwrap().to_be_bytes();
        wrapped[4..6].copy_from_slice(&length);
        prop_assert_eq!(open(&backbone(), &wrapped), None);
    }
}
