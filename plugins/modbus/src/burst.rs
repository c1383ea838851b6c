//! Several reads under way at once: their requests as bytes, and their answers taken apart.
//!
//! "MODBUS Messaging on TCP/IP Implementation Guide V1.0b": 3.1.3 (header), 4.4.1 (the transaction identifier pairs
//! answers with requests, so that they may come in any order); "MODBUS Application Protocol Specification V1.1b3": 6.1
//! to 6.4 (reads), 7 (exceptions).

use tokio_modbus::ExceptionCode;

use crate::address::{Area, Span};
use crate::image::Data;

/// What the device said to one read.
pub(crate) type Answer = Result<Data, ExceptionCode>;

/// Reads of one unit that are under way together.
#[derive(Debug)]
pub(crate) struct Burst<'a> {
    unit: u8,
    /// Transaction identifier of the first; the others follow.
    first: u16,
    spans: &'a [Span],
    answers: Vec<Option<Answer>>,
    open: usize,
}

impl<'a> Burst<'a> {
    pub(crate) fn new(unit: u8, first: u16, spans: &'a [Span]) -> Self {
        let mut answers = Vec::new();
        answers.resize_with(spans.len(), || None);
        Self { unit, first, spans, answers, open: spans.len() }
    }

    /// All requests, one behind the other.
    pub(crate) fn requests(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(REQUEST_BYTES * self.spans.len());
        for (span, place) in self.spans.iter().zip(0_u16..) {
            bytes.extend(self.first.wrapping_add(place).to_be_bytes());
            bytes.extend([0, 0, 0, 6, self.unit, function(span.area)]);
            bytes.extend(span.start.to_be_bytes());
            bytes.extend(span.count.to_be_bytes());
        }
        bytes
    }

    /// Takes the complete answers at the front and says how many bytes they were.
    ///
    /// # Errors
    /// What does not fit any request that is still open, as soon as its first bytes show it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut used = 0;
        while self.open > 0 {
            let Some(length) = self.take_one(&bytes[used..])? else { break };
            used += length;
        }
        Ok(used)
    }

    /// Whether nothing is open.
    pub(crate) fn is_complete(&self) -> bool {
        self.open == 0
    }

    /// The answers up to the first that is missing.
    pub(crate) fn into_answers(self) -> Vec<Answer> {
        self.answers.into_iter().map_while(|answer| answer).collect()
    }

    fn take_one(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let [t0, t1, p0, p1, l0, l1, unit, function, third, rest @ ..] = bytes else { return Ok(None) };
        let transaction = u16::from_be_bytes([*t0, *t1]);
        let place = usize::from(transaction.wrapping_sub(self.first));
        let (Some(span), Some(None)) = (self.spans.get(place), self.answers.get(place)) else {
            return Err(format!("transaction {transaction} was not asked for"));
        };
        let protocol = u16::from_be_bytes([*p0, *p1]);
        if protocol != 0 {
            return Err(format!("protocol {protocol} instead of 0"));
        }
        if *unit != self.unit {
            return Err(format!("unit {unit} instead of {}", self.unit));
        }
        let length = u16::from_be_bytes([*l0, *l1]);
        let asked = self::function(span.area);
        if *function == asked | EXCEPTION {
            if length != 3 {
                return Err(format!("an exception of {length} bytes instead of 3"));
            }
            self.answers[place] = Some(Err(ExceptionCode::new(*third)));
            self.open -= 1;
            return Ok(Some(HEADER_BYTES));
        }
        if *function != asked {
            return Err(format!("function {function} instead of {asked}"));
        }
        let size = data_bytes(*span);
        if usize::from(*third) != size || usize::from(length) != 3 + size {
            return Err(format!("{third} bytes of data in {length} instead of {size}"));
        }
        let Some(data) = rest.get(..size) else { return Ok(None) };
        self.answers[place] = Some(Ok(decode(*span, data)));
        self.open -= 1;
        Ok(Some(HEADER_BYTES + size))
    }
}

fn function(area: Area) -> u8 {
    match area {
        Area::Coil => 1,
        Area::Discrete => 2,
        Area::Holding => 3,
        Area::Input => 4,
    }
}

fn data_bytes(span: Span) -> usize {
    let count = usize::from(span.count);
    if span.area.is_bits() { count.div_ceil(8) } else { 2 * count }
}

fn decode(span: Span, data: &[u8]) -> Data {
    if span.area.is_bits() {
        let bit = |index: usize| data[index / 8] >> (index % 8) & 1 == 1;
        Data::Bits((0..usize::from(span.count)).map(bit).collect())
    } else {
        Data::Words(data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
    }
}

const REQUEST_BYTES: usize = 12;
/// Header, function code, and the byte count or the exception code.
const HEADER_BYTES: usize = 9;
const EXCEPTION: u8 = 0x80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPANS: [Span; 3] = [
        Span { area: Area::Holding, start: 7, count: 2 },
        Span { area: Area::Coil, start: 300, count: 11 },
        Span { area: Area::Input, start: 0, count: 1 },
    ];
    const WORDS: [u8; 13] = [0xff, 0xff, 0, 0, 0, 7, 9, 3, 4, 1, 2, 3, 4];
    const BITS: [u8; 11] = [0, 0, 0, 0, 0, 5, 9, 1, 2, 0b0000_0101, 0b0000_0100];
    const REFUSED: [u8; 9] = [0, 1, 0, 0, 0, 3, 9, 0x84, 2];

    fn burst() -> Burst<'static> {
        Burst::new(9, 0xffff, &SPANS)
    }

    fn check(burst: Burst<'_>) {
        let answers = burst.into_answers();
        let [Ok(Data::Words(words)), Ok(Data::Bits(bits)), Err(refused)] = &answers[..] else {
            panic!("{answers:?}")
        };
        assert_eq!(words[..], [0x0102, 0x0304]);
        let set: Vec<usize> = (0..bits.len()).filter(|bit| bits[*bit]).collect();
        assert_eq!((set, bits.len()), (vec![0, 2, 10], 11));
        assert_eq!(*refused, ExceptionCode::IllegalDataAddress);
    }

    #[test]
    fn requests_are_numbered_in_their_order() {
        let expected = [
            [0xff, 0xff, 0, 0, 0, 6, 9, 3, 0, 7, 0, 2],
            [0, 0, 0, 0, 0, 6, 9, 1, 1, 44, 0, 11],
            [0, 1, 0, 0, 0, 6, 9, 4, 0, 0, 0, 1],
        ];
        assert_eq!(burst().requests(), expected.concat());
    }

    #[test]
    fn answers_in_any_order_and_any_pieces_find_their_requests() {
        for order in [[&WORDS[..], &BITS, &REFUSED], [&REFUSED, &WORDS, &BITS], [&BITS, &REFUSED, &WORDS]] {
            let bytes = order.concat();
            let (mut burst, mut held) = (burst(), Vec::new());
            for byte in bytes {
                assert!(!burst.is_complete());
                held.push(byte);
                let used = burst.take(&held).unwrap();
                held.drain(..used);
            }
            assert!(burst.is_complete() && held.is_empty());
            check(burst);
        }
    }

    #[test]
    fn an_answer_counts_once_and_what_follows_the_last_is_left() {
        let mut doubled = burst();
        assert!(doubled.take(&[&BITS[..], &BITS].concat()).is_err());
        let mut burst = burst();
        let bytes = [&WORDS[..], &BITS, &REFUSED, &REFUSED].concat();
        assert_eq!(burst.take(&bytes), Ok(bytes.len() - REFUSED.len()));
        check(burst);
    }

    #[test]
    fn what_is_missing_ends_the_list_of_answers() {
        let mut burst = burst();
        burst.take(&[&WORDS[..], &REFUSED].concat()).unwrap();
        assert!(!burst.is_complete());
        assert_eq!(burst.into_answers().len(), 1);
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_refused_or_waited_for(
            start in prop_oneof![Just(Vec::new()), Just(WORDS[..9].to_vec()), Just(BITS[..8].to_vec())],
            rest in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let bytes = [start, rest].concat();
            let mut burst = burst();
            if let Ok(used) = burst.take(&bytes) {
                prop_assert!(used <= bytes.len());
                // What waits for more is never longer than one answer.
                prop_assert!(burst.is_complete() || bytes.len() - used < 9 + 255);
            }
        }

        #[test]
        fn a_changed_header_is_never_taken(at in 0usize..9, with in any::<u8>()) {
            let mut bytes = WORDS;
            prop_assume!(bytes[at] != with);
            bytes[at] = with;
            let mut burst = burst();
            let taken = burst.take(&bytes).is_ok_and(|used| used > 0);
            // The one other good reading of these bytes: the refusal of the same request.
            prop_assert!(!taken);
        }
    }
}
