use proptest::prelude::*;

use super::*;

fn codec(kind: Kind, order: Order) -> Codec {
    let order = (kind != Kind::Bool).then_some(order);
    let spec = CodecSpec { kind: Some(kind), order, ..CodecSpec::default() };
    Codec::new(Area::Holding, &spec).expect("the pieces fit")
}

fn scaled(kind: Kind, scale: f64, offset: f64) -> Codec {
    let spec =
        CodecSpec { kind: Some(kind), scale: Some(scale), offset: Some(offset), ..CodecSpec::default() };
    Codec::new(Area::Holding, &spec).expect("the pieces fit")
}

const ORDERS: [Order; 4] = [Order::Abcd, Order::Cdab, Order::Badc, Order::Dcba];

fn order() -> impl Strategy<Value = Order> {
    proptest::sample::select(&ORDERS[..])
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Bool),
        Just(Kind::Int16),
        Just(Kind::Uint16),
        Just(Kind::Int32),
        Just(Kind::Uint32),
        Just(Kind::Int64),
        Just(Kind::Uint64),
        Just(Kind::Float32),
        Just(Kind::Float64),
        Just(Kind::Bcd16),
        Just(Kind::Bcd32),
        (1u16..=250).prop_map(Kind::Text),
    ]
}

fn datum() -> impl Strategy<Value = Datum> {
    prop_oneof![
        any::<bool>().prop_map(Datum::Bool),
        any::<i64>().prop_map(Datum::I64),
        any::<u64>().prop_map(Datum::U64),
        any::<f64>().prop_map(Datum::F64),
        ".{0,80}".prop_map(Datum::Text),
    ]
}

#[test]
fn the_four_orders_place_the_bytes_as_their_names_say() {
    let expected = [[0x0a0b, 0x0c0d], [0x0c0d, 0x0a0b], [0x0b0a, 0x0d0c], [0x0d0c, 0x0b0a]];
    for (order, words) in ORDERS.into_iter().zip(expected) {
        assert_eq!(
            codec(Kind::Uint32, order).encode(&Datum::U64(0x0a0b_0c0d)),
            Ok(words.to_vec()),
            "{order:?}"
        );
        assert_eq!(codec(Kind::Uint32, order).decode(&words), Ok(Datum::U64(0x0a0b_0c0d)), "{order:?}");
    }
    let long = codec(Kind::Uint64, Order::Cdab).encode(&Datum::U64(0x0102_0304_0506_0708));
    assert_eq!(long, Ok(vec![0x0708, 0x0506, 0x0304, 0x0102]));
}

#[test]
fn the_order_of_the_settings_leaves_single_registers_and_text_alone() {
    for (kind, word) in [(Kind::Uint16, 0x1234), (Kind::Text(2), 0x4142)] {
        let spec = CodecSpec { kind: Some(kind), order_default: Order::Dcba, ..CodecSpec::default() };
        let codec = Codec::new(Area::Holding, &spec).unwrap();
        let value = codec.decode(&[word]).unwrap();
        assert!(value == Datum::U64(0x1234) || value == Datum::Text("AB".into()), "{value:?}");
    }
    let spec = CodecSpec { kind: Some(Kind::Uint32), order_default: Order::Cdab, ..CodecSpec::default() };
    assert_eq!(Codec::new(Area::Holding, &spec).unwrap().decode(&[1, 0]), Ok(Datum::U64(1)));
}

#[test]
fn a_wrong_combination_is_refused_with_the_reason() {
    let base = CodecSpec::default();
    let cases = [
        (Area::Coil, CodecSpec { kind: Some(Kind::Uint16), ..base }, "coil"),
        (Area::Holding, CodecSpec { kind: Some(Kind::Int16), bit: Some(3), ..base }, "bit of a register"),
        (
            Area::Holding,
            CodecSpec { kind: Some(Kind::Text(4)), order: Some(Order::Cdab), ..base },
            "word order",
        ),
        (Area::Holding, CodecSpec { kind: Some(Kind::Text(4)), scale: Some(2.0), ..base }, "numbers only"),
        (Area::Coil, CodecSpec { min: Some(0.0), ..base }, "numbers only"),
        (Area::Holding, CodecSpec { scale: Some(0.0), ..base }, "other than 0"),
        (Area::Holding, CodecSpec { scale: Some(f64::NAN), ..base }, "other than 0"),
        (Area::Holding, CodecSpec { min: Some(2.0), max: Some(1.0), ..base }, "min must not"),
    ];
    for (area, spec, part) in cases {
        let message = Codec::new(area, &spec).expect_err(part).to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn type_names_are_read() {
    assert_eq!("Float32".parse(), Ok(Kind::Float32));
    assert_eq!("string(16)".parse(), Ok(Kind::Text(16)));
    for wrong in ["", "int8", "string", "string()", "string(0)", "string(251)", "string(99999)", "float"] {
        assert!(wrong.parse::<Kind>().is_err(), "{wrong}");
    }
}

#[test]
fn a_scaled_value_is_a_float_and_comes_back_to_the_same_register() {
    let codec = scaled(Kind::Int16, 0.1, -40.0);
    assert_eq!(codec.decode(&[650]), Ok(Datum::F64(25.0)));
    assert_eq!(codec.encode(&Datum::F64(25.0)), Ok(vec![650]));
    assert_eq!(codec.encode(&Datum::F64(25.04)), Ok(vec![650]));
    assert_eq!(codec.encode(&Datum::I64(25)), Ok(vec![650]));
    assert!(matches!(codec.encode(&Datum::F64(1e6)), Err(CodecError::Range { .. })));
}

#[test]
fn limits_refuse_values_and_not_a_number() {
    let spec =
        CodecSpec { kind: Some(Kind::Float32), min: Some(5.0), max: Some(30.0), ..CodecSpec::default() };
    let codec = Codec::new(Area::Holding, &spec).unwrap();
    assert!(codec.encode(&Datum::F64(21.5)).is_ok());
    for value in [4.9, 30.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(codec.encode(&Datum::F64(value)), Err(CodecError::Range { .. })), "{value}");
    }
    let plain = self::codec(Kind::Uint16, Order::Abcd);
    for value in [-1.0, 65_535.6, f64::NAN, f64::INFINITY, 1e300] {
        assert!(matches!(plain.encode(&Datum::F64(value)), Err(CodecError::Range { .. })), "{value}");
    }
    assert!(matches!(
        self::codec(Kind::Float32, Order::Abcd).encode(&Datum::F64(1e39)),
        Err(CodecError::Range { .. })
    ));
}

#[test]
fn binary_coded_decimal_refuses_digits_above_nine() {
    assert_eq!(codec(Kind::Bcd16, Order::Abcd).decode(&[0x1234]), Ok(Datum::U64(1234)));
    assert_eq!(codec(Kind::Bcd32, Order::Cdab).decode(&[0x5678, 0x1234]), Ok(Datum::U64(12_345_678)));
    assert_eq!(codec(Kind::Bcd16, Order::Abcd).decode(&[0x12a4]), Err(CodecError::NotBcd(0x12a4)));
    assert!(codec(Kind::Bcd16, Order::Abcd).encode(&Datum::U64(10_000)).is_err());
}

#[test]
fn text_ends_at_the_first_zero_and_falls_back_to_latin_1() {
    let plain = codec(Kind::Text(5), Order::Abcd);
    assert_eq!(plain.encode(&Datum::Text("Hello".into())), Ok(vec![0x4865, 0x6c6c, 0x6f00]));
    assert_eq!(plain.decode(&[0x4865, 0x6c00, 0x6f00]), Ok(Datum::Text("Hel".into())));
    assert_eq!(plain.decode(&[0x4bfc, 0x6368, 0x6500]), Ok(Datum::Text("Küche".into())));
    assert_eq!(codec(Kind::Text(4), Order::Badc).decode(&[0x6548, 0x6c6c]), Ok(Datum::Text("Hell".into())));
    assert!(matches!(
        plain.encode(&Datum::Text("Küche".into())),
        Err(CodecError::Long { bytes: 6, limit: 5 })
    ));
}

#[test]
fn bits_are_counted_from_the_least_significant() {
    let spec = CodecSpec { bit: Some(3), ..CodecSpec::default() };
    let codec = Codec::new(Area::Holding, &spec).unwrap();
    assert_eq!(codec.decode(&[0b1000]), Ok(Datum::Bool(true)));
    assert_eq!(codec.decode(&[0xfff7]), Ok(Datum::Bool(false)));
    assert_eq!(codec.bit_mask(), 8);
}

#[test]
fn whole_sixteen_bit_range_comes_back() {
    for order in ORDERS {
        for word in 0..=u16::MAX {
            for kind in [Kind::Int16, Kind::Uint16] {
                let codec = codec(kind, order);
                let value = codec.decode(&[word]).unwrap();
                assert_eq!(codec.encode(&value), Ok(vec![word]));
            }
        }
    }
}

proptest! {
    #[test]
    fn signed_integers_come_back(value: i64, order in order()) {
        for kind in [Kind::Int16, Kind::Int32, Kind::Int64] {
            let codec = codec(kind, order);
            match codec.encode(&Datum::I64(value)) {
                Ok(words) => prop_assert_eq!(codec.decode(&words), Ok(Datum::I64(value))),
                Err(_) => prop_assert!(kind != Kind::Int64 && i32::try_from(value).is_err() || i16::try_from(value).is_err()),
            }
        }
    }

    #[test]
    fn narrow_integers_come_back(value: i32, order in order()) {
        let codec = codec(Kind::Int32, order);
        let words = codec.encode(&Datum::I64(value.into())).unwrap();
        prop_assert_eq!(codec.decode(&words), Ok(Datum::I64(value.into())));
    }

    #[test]
    fn unsigned_integers_come_back(value: u64, order in order()) {
        for (kind, mask) in [(Kind::Uint16, 0xffff), (Kind::Uint32, 0xffff_ffff), (Kind::Uint64, u64::MAX)] {
            let codec = codec(kind, order);
            let words = codec.encode(&Datum::U64(value & mask)).unwrap();
            prop_assert_eq!(codec.decode(&words), Ok(Datum::U64(value & mask)));
        }
    }

    #[test]
    fn decimals_come_back(value in 0u64..100_000_000, order in order()) {
        let wide = codec(Kind::Bcd32, order);
        prop_assert_eq!(wide.decode(&wide.encode(&Datum::U64(value)).unwrap()), Ok(Datum::U64(value)));
        let narrow = codec(Kind::Bcd16, order);
        let value = value % 10_000;
        prop_assert_eq!(narrow.decode(&narrow.encode(&Datum::U64(value)).unwrap()), Ok(Datum::U64(value)));
    }

    #[test]
    fn floats_come_back_bit_by_bit(bits32: u32, bits64: u64, order in order()) {
        for (kind, value) in [
            (Kind::Float32, f64::from(f32::from_bits(bits32))),
            (Kind::Float64, f64::from_bits(bits64)),
        ] {
            let codec = codec(kind, order);
            let words = codec.encode(&Datum::F64(value)).unwrap();
            let Ok(Datum::F64(back)) = codec.decode(&words) else { panic!("not a float") };
            prop_assert!(back.to_bits() == value.to_bits() || back.is_nan() && value.is_nan());
        }
    }

    #[test]
    fn text_comes_back(text in "[^\0]{0,60}", swap: bool) {
        let codec = codec(Kind::Text(250), if swap { Order::Badc } else { Order::Abcd });
        let words = codec.encode(&Datum::Text(text.clone())).unwrap();
        prop_assert_eq!(words.len(), 125);
        prop_assert_eq!(codec.decode(&words), Ok(Datum::Text(text)));
    }

    #[test]
    fn any_registers_are_decoded_or_refused(words in prop::collection::vec(any::<u16>(), 0..130), kind in kind(), order in order()) {
        let spec = CodecSpec { kind: Some(kind), order: Some(order), ..CodecSpec::default() };
        if let Ok(codec) = Codec::new(Area::Holding, &spec) {
            let result = codec.decode(&words);
            prop_assert_eq!(
                matches!(result, Err(CodecError::Short { .. })),
                words.len() < usize::from(kind.registers())
            );
        }
    }

    #[test]
    fn any_value_is_encoded_to_the_right_length_or_refused(value in datum(), kind in kind(), order in order(), scale in -10.0f64..10.0) {
        let spec = CodecSpec { kind: Some(kind), order: Some(order), scale: Some(scale), ..CodecSpec::default() };
        if let Ok(codec) = Codec::new(Area::Holding, &spec)
            && let Ok(words) = codec.encode(&value)
        {
            prop_assert_eq!(words.len(), usize::from(kind.registers()));
        }
    }
}
