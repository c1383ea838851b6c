//! What nodes say to each other about their histories.
//!
//! ```text
//! tag u8 | layout u8 | number | body
//! ask      group | after | through | place | bytes
//! answer   place of the next | thousandths | behind u8 | count, what is missing there, too | blocks
//! refusal  text
//! ```

use twinhub_model::Position;

use crate::bytes::{Broken, Reader, put_sized, put_u64};
use crate::copy::{Lack, Portion, Range};
use crate::gap::{Place, put_place, put_position, read_place, read_position};

/// A message about histories; `number` is the asking node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// Give me rows.
    Ask {
        /// A number of the asking node.
        number: u32,
        /// Which.
        range: Range,
        /// Behind this place.
        from: Option<Place>,
        /// About so many bytes.
        bytes: u32,
    },
    /// Here they are.
    Answer {
        /// The number of the question.
        number: u32,
        /// The rows.
        portion: Portion,
        /// What the answering node lacks, too.
        lack: Lack,
    },
    /// There are none now.
    Refusal {
        /// The number of the question.
        number: u32,
        /// Why.
        text: String,
    },
}

impl Exchange {
    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let begin = |out: &mut Vec<u8>, tag: u8, number: u32| {
            out.extend_from_slice(&[tag, LAYOUT]);
            put_u64(out, u64::from(number));
        };
        match self {
            Exchange::Ask { number, range, from, bytes } => {
                begin(&mut out, ASK, *number);
                put_sized(&mut out, range.group.as_bytes());
                put_position(&mut out, range.after);
                put_position(&mut out, range.through);
                put_place(&mut out, from.as_ref());
                put_u64(&mut out, u64::from(*bytes));
            }
            Exchange::Answer { number, portion, lack } => {
                out.reserve(portion.blocks.len() + 256);
                begin(&mut out, ANSWER, *number);
                put_place(&mut out, portion.next.as_ref());
                put_u64(&mut out, u64::from(portion.done_permille));
                out.push(u8::from(lack.is_behind));
                put_u64(&mut out, lack.ranges.len() as u64);
                for (after, through) in &lack.ranges {
                    put_position(&mut out, *after);
                    put_position(&mut out, *through);
                }
                out.extend_from_slice(&portion.blocks);
            }
            Exchange::Refusal { number, text } => {
                begin(&mut out, REFUSAL, *number);
                put_sized(&mut out, text.as_bytes());
            }
        }
        out
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`Broken`] if the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Exchange, Broken> {
        const BROKEN: Broken = Broken { what: "a message about the history" };
        let mut reader = Reader::new(bytes);
        let (tag, layout) = (reader.u8(BROKEN.what)?, reader.u8(BROKEN.what)?);
        if layout != LAYOUT {
            return Err(BROKEN);
        }
        let number = reader.u32(BROKEN.what)?;
        match tag {
            ASK => {
                let group = reader.text(BROKEN.what)?.to_owned();
                let (after, through) = (read_position(&mut reader)?, read_position(&mut reader)?);
                let range = Range { group, after, through };
                let from = read_place(&mut reader)?;
                let bytes = reader.u32(BROKEN.what)?;
                reader.finish(BROKEN.what)?;
                Ok(Exchange::Ask { number, range, from, bytes })
            }
            ANSWER => {
                let next = read_place(&mut reader)?;
                let done = u16::try_from(reader.u64(BROKEN.what)?).ok().filter(|done| *done <= 1000);
                let is_behind = reader.u8(BROKEN.what)? != 0;
                let mut ranges: Vec<(Position, Position)> = Vec::new();
                for _ in 0..reader.u64(BROKEN.what)? {
                    ranges.push((read_position(&mut reader)?, read_position(&mut reader)?));
                }
                let done_permille = done.ok_or(BROKEN)?;
                let portion = Portion { blocks: reader.rest().to_vec(), next, done_permille };
                Ok(Exchange::Answer { number, portion, lack: Lack { ranges, is_behind } })
            }
            REFUSAL => {
                let text = reader.text(BROKEN.what)?.to_owned();
                reader.finish(BROKEN.what)?;
                Ok(Exchange::Refusal { number, text })
            }
            _ => Err(BROKEN),
        }
    }
}

const ASK: u8 = 1;
const ANSWER: u8 = 2;
const REFUSAL: u8 = 3;
const LAYOUT: u8 = 1;
