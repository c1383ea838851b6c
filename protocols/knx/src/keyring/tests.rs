use proptest::prelude::*;

use super::*;

/// Made with the keys and the signature of xknx 4.0.0; the interoperability tests tell how.
const EXAMPLE: &[u8] = include_bytes!("example.knxkeys");

#[test]
fn all_of_a_keyring_is_read() {
    let keyring = read(EXAMPLE).unwrap();
    assert_eq!(keyring.project, "Büro & \"Halle\"");
    let backbone = keyring.backbone.as_ref().unwrap();
    assert_eq!((backbone.multicast, backbone.latency_ms), (Some(Ipv4Addr::new(224, 0, 23, 12)), Some(2000)));
    assert_eq!(backbone.key, Some(key(0x00)));
    let [tunnel, usb] = &keyring.interfaces[..] else { panic!("{:?}", keyring.interfaces) };
    assert_eq!((&tunnel.kind, tunnel.address), (&InterfaceKind::Tunneling, "1.1.241".parse().ok()));
    assert_eq!((tunnel.host, tunnel.user), ("1.1.0".parse().ok(), Some(2)));
    assert_eq!(tunnel.password, Some(Secret::from("tunnel password")));
    assert_eq!(tunnel.authentication, Some(Secret::from("authentication code")));
    let senders = vec!["1.1.1".parse().unwrap(), "1.1.2".parse().unwrap()];
    assert_eq!(tunnel.groups, BTreeMap::from([(GroupAddress(2563), senders), (GroupAddress(2564), vec![])]));
    assert_eq!((&usb.kind, usb.user, &usb.password), (&InterfaceKind::Usb, None, &None));
    assert_eq!(
        keyring.groups,
        BTreeMap::from([(GroupAddress(2563), key(0x10)), (GroupAddress(2564), key(0x20))])
    );
    let device = &keyring.devices[0];
    assert_eq!((&device.tool_key, device.sequence), (&Some(key(0x30)), 123_456_789));
    assert_eq!(device.management_password, Some(Secret::from("management")));
    assert_eq!(keyring.devices[1].tool_key, None);
    assert_eq!(keyring.tunnels("1.1.0".parse().unwrap()).count(), 1);
}

#[test]
fn sessions_and_groups_begin_with_it() {
    let keyring = read(EXAMPLE).unwrap();
    let session = keyring.session("1.1.241".parse().unwrap(), [1; 6]).unwrap();
    assert_eq!(session.user, 2);
    assert_eq!(session.user_key, Key::of_user(&Secret::from("tunnel password")).unwrap());
    assert_eq!(session.device_key, Some(Key::of_device(&Secret::from("authentication code")).unwrap()));
    for (address, what) in [("1.1.5", "the user"), ("1.1.9", "the interface")] {
        let interface = address.parse().unwrap();
        let error = keyring.session(interface, [1; 6]).unwrap_err();
        assert_eq!(error, KeyringError::Lacks { what, interface });
        assert!(error.to_string().contains(address), "{error}");
    }
    let group = keyring.group([1; 6], 5, 6).unwrap();
    assert_eq!(group, GroupConfig { latency_ms: 2000, ..GroupConfig::new(key(0), [1; 6], 5, 6) });
    let data = keyring.data(9);
    let numbers = [("1.1.0", 123_456_789), ("1.1.1", 77), ("1.1.2", 0)];
    let senders: BTreeMap<_, _> =
        numbers.iter().map(|(address, number)| (address.parse().unwrap(), *number)).collect();
    assert_eq!((data.senders, data.groups, data.next), (senders, keyring.groups.clone(), 9));
}

#[test]
fn a_wrong_password_is_one_clear_sentence() {
    let error = Keyring::read(EXAMPLE, &Secret::from("another")).unwrap_err();
    assert_eq!(error, KeyringError::WrongPassword);
    let text = error.to_string();
    assert!(text.starts_with("the password of the keyring is wrong") && !text.contains("another"), "{text}");
}

#[test]
fn a_changed_file_is_refused_as_a_whole() {
    for (from, to) in
        [("UserID=\"2\"", "UserID=\"3\""), ("1.1.1 1.1.2", "1.1.1 1.1.3"), ("<Device ", "<Devise ")]
    {
        let changed = text().replacen(from, to, 1);
        assert_ne!(changed, text());
        assert_eq!(read(changed.as_bytes()), Err(KeyringError::WrongPassword), "{to}");
    }
    // What is between the elements is not signed.
    let changed = text().replace('\n', "\r\n  <!-- a comment -->");
    assert!(read(changed.as_bytes()).is_ok());
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    for (from, to, expected) in [
        ("\"1.1.241\"", "\"1.1.256\"", "line 4, column 12: IndividualAddress of <Interface> is wrong"),
        ("UserID=\"2\"", "UserID=\"300\"", "line 4, column 70: UserID of <Interface> is wrong"),
        ("yMVjiCcsQJpq9/j04JiZpg==", "yMVj", "line 10, column 23: Key of <Group> is wrong: it has 3 bytes"),
        ("yMVjiCcsQJpq9/j04JiZpg==", "?", "line 10, column 23: Key of <Group> is wrong"),
        (
            "Address=\"2564\" Key",
            "Address=\"2563\" Key",
            "line 11, column 8: Address of <Group> is wrong: the group is there",
        ),
        ("1.1.1 1.1.2", "1.1.1 hello", "line 5, column 23: Senders of <Group> is wrong"),
        (" Type=\"USB\"", "", "line 8, column 1: <Interface> has no Type"),
        ("\"2000\"", "\"70000\"", "line 3, column 42: Latency of <Backbone> is wrong"),
    ] {
        let changed = text().replacen(from, to, 1);
        assert_ne!(changed, text());
        let error = unsigned(&changed, &real()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}");
        assert!(error.ends_with("export the keyring from the ETS again"), "{error}");
    }
    let error = unsigned(&text(), &Cipher { key: key(0), vector: [0; 16] }).unwrap_err();
    assert!(matches!(error, KeyringError::Attribute { attribute: "Password", .. }), "{error}");
    for (bytes, expected) in [
        (&b"<a/>"[..], KeyringError::NotKeyring { found: "a".to_owned() }),
        (b"<Keyring/>\n\xff", KeyringError::NotText { line: 2 }),
    ] {
        assert_eq!(read(bytes), Err(expected));
    }
    assert!(matches!(read(b"<Keyring/>"), Err(KeyringError::Missing { attribute: "Signature", .. })));
    assert!(matches!(read(b"<Keyring>\n<"), Err(KeyringError::Xml { line: 2, .. })));
    let long = vec![b' '; KEYRING_BYTES_MAX + 1];
    assert!(matches!(read(&long), Err(KeyringError::TooLong { .. })));
}

#[test]
fn a_file_that_is_nested_deeply_or_refers_to_itself_is_refused() {
    let deep =
        format!("<Keyring Signature=\"\">{}{}</Keyring>", "<a>".repeat(200_000), "</a>".repeat(200_000));
    assert_eq!(read(deep.as_bytes()), Err(KeyringError::WrongPassword));
    let bomb =
        "<!DOCTYPE k [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><Keyring Signature=\"&b;\"/>";
    assert!(matches!(read(bomb.as_bytes()), Err(KeyringError::Xml { .. })));
}

#[test]
fn nothing_secret_is_in_what_is_printed() {
    let shown = format!("{:?}", read(EXAMPLE).unwrap());
    for secret in ["tunnel password", "authentication code", "management\"", "16, 17, 18", "48, 49"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn hostile_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn a_damaged_keyring_is_the_same_or_an_error(at: prop::sample::Index, byte: u8) {
        let mut bytes = EXAMPLE.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(keyring) = read(&bytes) {
            prop_assert_eq!(keyring, read(EXAMPLE).unwrap());
        }
    }
}

proptest! {
    /// As if somebody with the password had signed it.
    #[test]
    fn a_damaged_keyring_with_a_signature_is_read_or_an_error(
        at: prop::sample::Index,
        length in 0..20_usize,
        put in "[ -~]{0,20}",
    ) {
        let text: Vec<char> = text().chars().collect();
        let at = at.index(text.len());
        let end = (at + length).min(text.len());
        let changed: String = text[..at].iter().copied().chain(put.chars()).chain(text[end..].iter().copied()).collect();
        if let Ok(keyring) = unsigned(&changed, &real()) {
            prop_assert!(keyring.interfaces.len() <= 2 && keyring.groups.len() <= 2);
        }
    }
}

fn read(bytes: &[u8]) -> Result<Keyring, KeyringError> {
    Keyring::read(bytes, &Secret::from("pässword"))
}

fn text() -> String {
    str::from_utf8(EXAMPLE).unwrap().to_owned()
}

/// Reads it without its signature.
fn unsigned(text: &str, cipher: &Cipher) -> Result<Keyring, KeyringError> {
    let document = Document::parse(text).map_err(|error| KeyringError::Xml {
        line: 0,
        column: 0,
        detail: error.to_string(),
    })?;
    let cipher = Cipher { key: cipher.key.clone(), vector: cipher.vector };
    Reading { cipher }.keyring(&Element::new(document.root_element()), String::new())
}

/// The cipher of the example.
fn real() -> Cipher {
    static KEY: std::sync::OnceLock<[u8; 16]> = std::sync::OnceLock::new();
    let key = KEY.get_or_init(|| *Key::derive("pässword".as_bytes(), b"1.keyring.ets.knx.org").as_bytes());
    let mut vector = [0; 16];
    vector.copy_from_slice(&Sha256::digest(b"2026-01-02T03:04:05")[..16]);
    Cipher { key: Key::new(*key), vector }
}

fn key(first: u8) -> Key {
    Key::new(std::array::from_fn(|index| first + u8::try_from(index).unwrap()))
}
