//! How single fields are written: what `minicbor` does not know of by itself.

/// A shared text.
pub(crate) mod text {
    use std::sync::Arc;

    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};

    pub(crate) fn encode<C, W: Write>(
        text: &Arc<str>,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.str(text).map(drop)
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Arc<str>, Error> {
        decoder.str().map(Arc::from)
    }
}

/// A time of day.
pub(crate) mod time {
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};
    use twinhub_model::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the derive passes fields by reference")]
    pub(crate) fn encode<C, W: Write>(
        time: &Timestamp,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.i64(time.0).map(drop)
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Timestamp, Error> {
        decoder.i64().map(Timestamp)
    }
}

/// A value. What CBOR does not tell apart has a tag of this crate's own before it.
pub(crate) mod value {
    use minicbor::data::{Tag, Type};
    use minicbor::decode::{Decoder, Error};
    use minicbor::encode::{self, Encoder, Write};
    use twinhub_model::Value;

    const SIGNED: u64 = 65_001;
    const TIME: u64 = 65_002;
    const JSON: u64 = 65_003;

    pub(crate) fn encode<C, W: Write>(
        value: &Value,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        match value {
            Value::Null => encoder.null(),
            Value::Bool(value) => encoder.bool(*value),
            Value::I64(value) => encoder.tag(Tag::new(SIGNED))?.i64(*value),
            Value::U64(value) => encoder.u64(*value),
            Value::F64(value) => encoder.f64(*value),
            Value::Str(value) => encoder.str(value),
            Value::Bytes(value) => encoder.bytes(value),
            Value::Time(value) => encoder.tag(Tag::new(TIME))?.i64(*value),
            Value::Json(value) => encoder.tag(Tag::new(JSON))?.str(value),
        }
        .map(drop)
    }

    pub(crate) fn decode<C>(decoder: &mut Decoder<'_>, _: &mut C) -> Result<Value, Error> {
        let kind = decoder.datatype()?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "all that is left is a whole number, or refused")]
        match kind {
            Type::Null => decoder.null().map(|()| Value::Null),
            Type::Bool => decoder.bool().map(Value::Bool),
            Type::F64 => decoder.f64().map(Value::F64),
            Type::String => decoder.str().map(|text| Value::Str(text.into())),
            Type::Bytes => decoder.bytes().map(|bytes| Value::Bytes(bytes.into())),
            Type::Tag => match decoder.tag()?.as_u64() {
                SIGNED => decoder.i64().map(Value::I64),
                TIME => decoder.i64().map(Value::Time),
                JSON => decoder.str().map(|text| Value::Json(text.into())),
                other => Err(Error::message(format!("a value with the unknown tag {other}"))),
            },
            _ => decoder.u64().map(Value::U64),
        }
    }
}
