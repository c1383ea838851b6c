use proptest::prelude::*;

use super::Scalar::{Bool, Float, Integer};
use super::*;

#[test]
fn numbers_are_read_in_every_notation() {
    for text in ["9.001", "DPT 9.001", "dpt9.1", "DPST-9-1", " 9.1 ", "DPT-9-1"] {
        assert_eq!(text.parse(), Ok(DptId::new(9, 1)), "{text}");
    }
    for text in ["9", "DPT 9", "DPT-9", "9.*", "9.xxx"] {
        assert_eq!(text.parse(), Ok(DptId { main: 9, sub: None }), "{text}");
    }
    for text in ["", "DPT", "9.", ".1", "9.1.1", "-9.1.", "9.-1", "+9.1", "99999.1", "DPST-9-70000"] {
        assert!(text.parse::<DptId>().is_err(), "{text}");
    }
    assert_eq!(DptId::new(9, 1).to_string(), "9.001");
    assert_eq!(DptId::new(13, 1200).to_string(), "13.1200");
    assert!(Dpt::find(DptId::new(9999, 1)).is_err());
    assert_eq!(dpt("9.999").definition().name, "2-Octet Float Value");
}

#[test]
fn known_payloads_have_known_values() {
    check("1.001", &[1], Value::Bool(true));
    check("5.001", &[0xff], Value::Float(100.0));
    check("5.003", &[0xff], Value::Float(360.0));
    check("5.010", &[0xff], Value::Integer(255));
    check("6.010", &[0x80], Value::Integer(-128));
    check("7.003", &[0x00, 0x64], Value::Float(1000.0));
    check("8.010", &[0xd8, 0xf0], Value::Float(-100.0));
    check("9.001", &[0x0c, 0x1a], Value::Float(21.0));
    check("9.001", &[0x86, 0x74], Value::Float(-3.96));
    check("9.001", &[0x00, 0x00], Value::Float(0.0));
    check("9.020", &[0xf8, 0x00], Value::Float(-671_088.64));
    check("9.020", &[0x7f, 0xfe], Value::Float(670_433.28));
    check("12.001", &[0xff; 4], Value::Integer(4_294_967_295));
    check("13.010", &[0xff; 4], Value::Integer(-1));
    check("13.002", &[0x00, 0x00, 0x27, 0x10], Value::Float(1.0));
    check("14.056", &[0x43, 0xe4, 0xc0, 0x00], Value::Float(457.5));
    check("16.000", b"KNX is OK\0\0\0\0\0", Value::Text("KNX is OK".to_owned()));
    check("16.001", b"M\xfcller\0\0\0\0\0\0\0\0", Value::Text("Müller".to_owned()));
    check("17.001", &[0x3f], Value::Integer(63));
    check("20.102", &[0x01], Value::Integer(1));
    check("24.001", b"abc\0", Value::Text("abc".to_owned()));
    check("28.001", "Grüße\0".as_bytes(), Value::Text("Grüße".to_owned()));
    check("29.010", &[0x80, 0, 0, 0, 0, 0, 0, 0], Value::Integer(i64::MIN));
}

#[test]
fn known_structures_have_known_fields() {
    let fields = |list: &[(&str, Scalar)]| {
        Value::Fields(list.iter().fold(Fields::new(), |fields, (name, value)| fields.with(name, *value)))
    };
    check("2.001", &[3], fields(&[("control", Bool(true)), ("value", Bool(true))]));
    check("3.007", &[9], fields(&[("control", Bool(true)), ("step_code", Integer(1))]));
    check(
        "10.001",
        &[0x6c, 0x1e, 0x0f],
        fields(&[
            ("day", Integer(3)),
            ("hour", Integer(12)),
            ("minute", Integer(30)),
            ("second", Integer(15)),
        ]),
    );
    check(
        "11.001",
        &[4, 1, 2],
        fields(&[("day", Integer(4)), ("month", Integer(1)), ("year", Integer(2002))]),
    );
    check(
        "11.001",
        &[4, 1, 90],
        fields(&[("day", Integer(4)), ("month", Integer(1)), ("year", Integer(1990))]),
    );
    check("18.001", &[0x85], fields(&[("learn", Bool(true)), ("scene", Integer(5))]));
    check(
        "15.000",
        &[0x12, 0x34, 0x56, 0x61],
        fields(&[
            ("code", Integer(123_456)),
            ("detection_error", Bool(false)),
            ("permission", Bool(true)),
            ("right_to_left", Bool(true)),
            ("encrypted", Bool(false)),
            ("index", Integer(1)),
        ]),
    );
    check(
        "232.600",
        &[255, 128, 0],
        fields(&[("red", Integer(255)), ("green", Integer(128)), ("blue", Integer(0))]),
    );
    check("251.600", &[0, 0, 9, 7, 0, 0x03], fields(&[("blue", Integer(9)), ("white", Integer(7))]));
    check("235.001", &[0xff, 0xff, 0xff, 0xff, 0, 0x01], fields(&[("energy_wh", Integer(-1))]));
    check(
        "222.100",
        &[0x0c, 0x1a, 0x0c, 0x1a, 0x00, 0x00],
        fields(&[("comfort", Float(21.0)), ("standby", Float(21.0)), ("economy", Float(0.0))]),
    );
    check(
        "6.020",
        &[0b1000_0010],
        fields(&[
            ("a", Bool(true)),
            ("b", Bool(false)),
            ("c", Bool(false)),
            ("d", Bool(false)),
            ("e", Bool(false)),
            ("mode", Integer(1)),
        ]),
    );
    check(
        "217.001",
        &[0x08, 0x41],
        fields(&[("magic", Integer(1)), ("version", Integer(1)), ("revision", Integer(1))]),
    );
}

#[test]
fn date_and_time_has_all_its_flags() {
    let full = Fields::new()
        .with("year", 2017)
        .with("month", 11)
        .with("day", 28)
        .with("day_of_week", 2)
        .with("hour", 23)
        .with("minute", 7)
        .with("second", 24)
        .with("fault", false)
        .with("working_day", true)
        .with("summer_time", true)
        .with("clock_synchronized", true)
        .with("clock_reliable", false);
    check("19.001", &[0x75, 0x0b, 0x1c, 0x57, 0x07, 0x18, 0x41, 0x80], Value::Fields(full.clone()));
    let nothing = Fields::new()
        .with("fault", true)
        .with("summer_time", false)
        .with("clock_synchronized", false)
        .with("clock_reliable", false);
    check("19.001", &[0, 0, 0, 0, 0, 0, 0b1011_1110, 0], Value::Fields(nothing.clone()));
    let half = Value::Fields(nothing.with("month", 5));
    assert!(matches!(dpt("19.001").encode(&half), Err(Error::DptFieldMissing { field: "day", .. })));
    let midnight = full.clone().with("hour", 24).with("minute", 0).with("second", 0);
    assert!(dpt("19.001").encode(&Value::Fields(midnight.clone())).is_ok());
    assert!(dpt("19.001").encode(&Value::Fields(midnight.with("second", 1))).is_err());
    assert!(dpt("19.001").decode(&[0x75, 0x0b, 0x1c, 0x59, 0x07, 0x18, 0x41, 0x80]).is_err(), "25 o'clock");
}

#[test]
fn what_a_type_cannot_carry_is_refused() {
    let refuse = |text: &str, value: Value| assert!(dpt(text).encode(&value).is_err(), "{text} {value:?}");
    refuse("5.001", Value::Float(100.1));
    refuse("5.001", Value::Float(-0.1));
    refuse("5.001", Value::Float(f64::NAN));
    refuse("5.006", Value::Integer(255));
    refuse("5.010", Value::Integer(256));
    refuse("5.010", Value::Float(1.5));
    refuse("5.010", Value::Text("1".to_owned()));
    refuse("8.010", Value::Float(327.665));
    refuse("9.001", Value::Float(-273.1));
    refuse("9.004", Value::Float(-1.0));
    refuse("9.020", Value::Float(-671_088.65));
    refuse("9.020", Value::Float(670_433.29));
    refuse("9.020", Value::Float(f64::INFINITY));
    refuse("13.002", Value::Float(-214_748.364_81));
    refuse("14.000", Value::Float(1e39));
    refuse("14.000", Value::Float(f64::NAN));
    refuse("16.000", Value::Text("ü".to_owned()));
    refuse("16.001", Value::Text("€".to_owned()));
    refuse("16.001", Value::Text("fifteen letters".to_owned()));
    refuse("17.001", Value::Integer(64));
    refuse("20.102", Value::Integer(5));
    refuse("23.001", Value::Integer(4));
    refuse("28.001", Value::Text("a\0b".to_owned()));
    refuse("28.001", Value::Text("x".repeat(TEXT_BYTES_MAX + 1)));
    refuse("1.001", Value::Integer(1));
    refuse("232.600", Value::Fields(Fields::new().with("red", 1).with("green", 1)));
    refuse("232.600", Value::Fields(Fields::new().with("red", 1).with("green", 1).with("blue", 256)));
    refuse("18.001", Value::Fields(Fields::new().with("learn", true).with("scene", 1).with("color", 1)));
}

#[test]
fn what_a_sender_marks_as_invalid_is_no_value() {
    for (text, bytes) in [
        ("9.001", &[0x7f, 0xff][..]),
        ("8.010", &[0x7f, 0xff]),
        ("14.000", &[0x7f, 0xc0, 0, 0]),
        ("14.000", &[0x7f, 0x80, 0, 0]),
        ("222.100", &[0, 0, 0x7f, 0xff, 0, 0]),
    ] {
        assert!(matches!(dpt(text).decode(bytes), Err(Error::DptNoValue { .. })), "{text}");
    }
}

#[test]
fn received_numbers_are_not_cut_to_the_range_of_the_type() {
    assert_eq!(dpt("9.004").decode(&[0x87, 0xff]), Ok(Value::Float(-0.01)));
    assert_eq!(dpt("20.102").decode(&[9]), Ok(Value::Integer(9)));
    assert_eq!(dpt("17.001").decode(&[0xc1]), Ok(Value::Integer(1)), "reserved bits");
    assert_eq!(
        dpt("16.000").decode(b"Stra\xdfe\0\xff\xff\xff\xff\xff\xff\xff"),
        Ok(Value::Text("Straße".to_owned()))
    );
    assert_eq!(dpt("28.001").decode(b"no end"), Ok(Value::Text("no end".to_owned())));
}

#[test]
fn no_row_stands_in_the_table_twice_and_every_main_number_has_one() {
    let mut seen = std::collections::BTreeSet::new();
    for row in definitions() {
        assert!(seen.insert((row.main, row.sub)), "{}.{:?} twice", row.main, row.sub);
        assert!(definitions().any(|other| other.main == row.main && other.sub.is_none()), "{}", row.main);
    }
    for main in (1..=29).chain([206, 217, 219, 221, 222, 225, 230, 232, 235, 237, 238, 240, 242, 249, 251]) {
        assert!(seen.contains(&(main, None)), "{main}");
    }
}

#[test]
fn fields_of_a_type_have_names_of_their_own_and_do_not_overlap() {
    for row in definitions() {
        let Format::Fields(layout) = row.format else { continue };
        let mut used = 0u64;
        for field in layout.fields {
            let bits = ((1u64 << field.width) - 1) << field.shift;
            assert_eq!(used & bits, 0, "{} {}", row.name, field.name);
            used |= bits;
            assert_eq!(layout.fields.iter().filter(|other| other.name == field.name).count(), 1);
            assert!(field.shift + field.width <= layout.octets.max(1) * 8, "{} {}", row.name, field.name);
            assert!(field.mark.is_none_or(|(bit, _)| used >> bit & 1 == 0), "{} {}", row.name, field.name);
        }
    }
}

fn dpt(text: &str) -> Dpt {
    Dpt::find(text.parse().unwrap()).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "the tests read better")]
fn check(text: &str, bytes: &[u8], value: Value) {
    let dpt = dpt(text);
    assert_eq!(dpt.decode(bytes), Ok(value.clone()), "{text}");
    let payload = dpt.encode(&value).unwrap();
    assert_eq!(payload.as_bytes(), bytes, "{text}");
    let is_small = matches!(dpt.id().main, 1..=3 | 23);
    assert_eq!(matches!(payload, Payload::Small(_)), is_small, "{text}");
}

fn rows() -> impl Strategy<Value = Dpt> {
    let rows: Vec<&'static Definition> = definitions().collect();
    proptest::sample::select(rows).prop_map(|row| Dpt::find(DptId { main: row.main, sub: row.sub }).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_payload_of_any_type_is_a_value_or_an_error(dpt in rows(), bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
        drop(dpt.decode(&bytes));
    }

    /// What can be read can be written, unless it is outside of the range for sending, and reads the same again.
    #[test]
    fn a_received_value_survives_being_sent(dpt in rows(), bytes in any::<[u8; 14]>()) {
        for length in [1, 2, 3, 4, 6, 8, 14] {
            let Ok(value) = dpt.decode(&bytes[..length]) else { continue };
            if let Ok(payload) = dpt.encode(&value) {
                prop_assert_eq!(dpt.decode(payload.as_bytes()), Ok(value));
            }
        }
    }

    #[test]
    fn a_short_float_is_off_by_half_a_step_at_most(value in -671_088.64f64..=670_433.28) {
        let dpt = dpt("9.020");
        let payload = dpt.encode(&Value::Float(value)).unwrap();
        let Ok(Value::Float(again)) = dpt.decode(payload.as_bytes()) else { panic!("no value") };
        let exponent = payload.as_bytes()[0] >> 3 & 0x0f;
        let half = 0.005 * f64::from(1u32 << exponent);
        prop_assert!((value - again).abs() <= half + 1e-9, "{} became {}", value, again);
        prop_assert!(exponent == 0 || value.abs() > 20.47 * f64::from(1u32 << (exponent - 1)), "a finer step was possible");
    }

    #[test]
    fn any_number_is_sent_or_refused(dpt in rows(), value: f64, integer: i64) {
        for value in [Value::Float(value), Value::Integer(integer)] {
            if let Ok(payload) = dpt.encode(&value) {
                prop_assert!(dpt.decode(payload.as_bytes()).is_ok(), "{:?}", value);
            }
        }
    }

    #[test]
    fn any_text_is_sent_or_refused(dpt in rows(), text in ".{0,300}") {
        if let Ok(payload) = dpt.encode(&Value::Text(text.clone())) {
            prop_assert!(payload.as_bytes().len() <= PAYLOAD_BYTES_MAX);
            prop_assert_eq!(dpt.decode(payload.as_bytes()), Ok(Value::Text(text)));
        }
    }

    #[test]
    fn any_text_is_a_number_of_a_type_or_an_error(text in ".{0,16}") {
        if let Ok(id) = text.parse::<DptId>() {
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }
    }
}
