//! Samples, the hot path.
//!
//! ```text
//! count varint | source i64 | server i64          (times of the first sample)
//! each: head | item delta varint | [quality] | [flags] | [source delta] | [server delta] | value
//! head: bits 0-3 value tag, 4 quality is not GOOD, 5 flags, 6 source time, 7 server time differ from before
//! ```

use std::borrow::Borrow;

use twinhub_model::{ItemId, Quality, Sample, SampleFlags, Timestamp};

use crate::WireError;
use crate::value::{self, TAG_MASK};
use crate::varint::{Reader, put_i64, put_u64};

const HAS_QUALITY: u8 = 1 << 4;
const HAS_FLAGS: u8 = 1 << 5;
const HAS_SOURCE: u8 = 1 << 6;
const HAS_SERVER: u8 = 1 << 7;

/// A sample has at least its head and its item.
const SAMPLE_BYTES_MIN: usize = 2;

#[inline]
pub(crate) fn put(
    out: &mut Vec<u8>,
    samples: impl IntoIterator<Item: Borrow<Sample>, IntoIter: ExactSizeIterator>,
) {
    let samples = samples.into_iter();
    put_u64(out, samples.len() as u64);
    let (mut item, mut flags, mut times) = (0, 0, None);
    for sample in samples {
        let sample = sample.borrow();
        let (mut source, mut server) = times.unwrap_or_else(|| {
            out.extend_from_slice(&sample.source.0.to_le_bytes());
            out.extend_from_slice(&sample.server.0.to_le_bytes());
            (sample.source.0, sample.server.0)
        });
        let at = out.len();
        out.push(0);
        put_i64(out, i64::from(sample.item.0) - i64::from(item));
        item = sample.item.0;
        let mut head = 0;
        if sample.quality != Quality::GOOD {
            head |= HAS_QUALITY;
            put_u64(out, u64::from(sample.quality.0));
        }
        if sample.flags.0 != flags {
            head |= HAS_FLAGS;
            flags = sample.flags.0;
            put_u64(out, u64::from(flags));
        }
        if sample.source.0 != source {
            head |= HAS_SOURCE;
            put_i64(out, sample.source.0.wrapping_sub(source));
            source = sample.source.0;
        }
        if sample.server.0 != server {
            head |= HAS_SERVER;
            put_i64(out, sample.server.0.wrapping_sub(server));
            server = sample.server.0;
        }
        times = Some((source, server));
        head |= value::put(out, &sample.value);
        out[at] = head;
    }
}

pub(crate) fn read(reader: &mut Reader<'_>, out: &mut Vec<Sample>) -> Result<(), WireError> {
    let count = reader.u64("a count of samples")?;
    let places = usize::try_from(count).unwrap_or(usize::MAX);
    if places > reader.remaining() / SAMPLE_BYTES_MIN {
        return Err(WireError::Truncated { what: "samples" });
    }
    if places == 0 {
        return Ok(());
    }
    out.reserve(places);
    let mut source = i64::from_le_bytes(reader.array("the first source time")?);
    let mut server = i64::from_le_bytes(reader.array("the first server time")?);
    let (mut item, mut flags) = (0_i64, 0);
    for _ in 0..places {
        let head = reader.u8("a sample")?;
        item = item.wrapping_add(reader.i64("an item")?);
        let Ok(handle) = u32::try_from(item) else {
            return Err(WireError::Invalid { what: "an item", got: item.cast_unsigned() });
        };
        let quality = if head & HAS_QUALITY == 0 { 0 } else { reader.u32("a quality")? };
        if head & HAS_FLAGS != 0 {
            flags = reader.u32("flags")?;
        }
        if head & HAS_SOURCE != 0 {
            source = source.wrapping_add(reader.i64("a source time")?);
        }
        if head & HAS_SERVER != 0 {
            server = server.wrapping_add(reader.i64("a server time")?);
        }
        let value = value::read(reader, head & TAG_MASK)?;
        out.push(Sample {
            item: ItemId(handle),
            value,
            quality: Quality(quality),
            source: Timestamp(source),
            server: Timestamp(server),
            flags: SampleFlags(flags),
        });
    }
    Ok(())
}
