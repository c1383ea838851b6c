//! Cuts a byte stream into Modbus TCP frames.
//!
//! MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3: transaction (2 bytes), protocol 0 (2), length (2),
//! unit (1), then the PDU of the MODBUS Application Protocol V1.1b3.

/// Function codes that change something.
pub const WRITE_FUNCTIONS: [u8; 6] = [5, 6, 15, 16, 22, 23];

/// Collects bytes until frames are complete.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
    broken: bool,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number that the response repeats.
    pub transaction: u16,
    /// Unit identifier.
    pub unit: u8,
    /// Function code.
    pub function: u8,
    /// First register or coil.
    pub address: u16,
    /// How many are read or written.
    pub count: u16,
    /// What is written; coils as 0 and 1.
    pub values: Vec<u16>,
    /// The PDU after the function code.
    pub body: Vec<u8>,
}

/// One response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Number of the request.
    pub transaction: u16,
    /// Function code, without the exception bit.
    pub function: u8,
    /// Exception code, if it is one.
    pub exception: Option<u8>,
    /// Registers read with function code 3, 4 or 23.
    pub registers: Vec<u16>,
}

impl Frames {
    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether the bytes were not Modbus TCP; nothing more is taken from the stream then.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The next complete frame: transaction, unit, PDU.
    pub fn next_frame(&mut self) -> Option<(u16, u8, Vec<u8>)> {
        let [t1, t0, p1, p0, l1, l0, unit, rest @ ..] = self.buffer.as_slice() else { return None };
        let length = usize::from(u16::from_be_bytes([*l1, *l0]));
        if [*p1, *p0] != [0, 0] || !(2..=LENGTH_MAX).contains(&length) {
            self.broken = true;
            self.buffer.clear();
            return None;
        }
        let pdu = rest.get(..length - 1)?.to_vec();
        let frame = (u16::from_be_bytes([*t1, *t0]), *unit, pdu);
        self.buffer.drain(..6 + length);
        Some(frame)
    }

    /// The next complete request.
    pub fn next_request(&mut self) -> Option<Request> {
        let (transaction, unit, pdu) = self.next_frame()?;
        let (function, body) = pdu.split_first()?;
        Some(Request::parse(transaction, unit, *function, body))
    }

    /// The next complete response.
    pub fn next_response(&mut self) -> Option<Response> {
        let (transaction, _, pdu) = self.next_frame()?;
        let (code, body) = pdu.split_first()?;
        let is_exception = code & 0x80 != 0;
        let function = code & 0x7f;
        let registers = match (is_exception, function) {
            (false, 3 | 4 | 23) => words(body.get(1..).unwrap_or_default()),
            _ => Vec::new(),
        };
        let exception = if is_exception { Some(body.first().copied().unwrap_or(0)) } else { None };
        Some(Response { transaction, function, exception, registers })
    }
}

impl Request {
    fn parse(transaction: u16, unit: u8, function: u8, body: &[u8]) -> Self {
        let at = |index: usize| word(body, index);
        let (address, count, values) = match function {
            5 => (at(0), 1, vec![u16::from(at(2) == 0xff00)]),
            6 => (at(0), 1, vec![at(2)]),
            15 => (at(0), at(2), bits(body.get(5..).unwrap_or_default(), at(2))),
            16 => (at(0), at(2), words(body.get(5..).unwrap_or_default())),
            22 => (at(0), 1, vec![at(2), at(4)]),
            23 => (at(4), at(6), words(body.get(9..).unwrap_or_default())),
            _ => (at(0), at(2), Vec::new()),
        };
        Self { transaction, unit, function, address, count, values, body: body.to_vec() }
    }

    /// Whether it asks for or sets this register or coil.
    pub fn covers(&self, address: u16) -> bool {
        address.checked_sub(self.address).is_some_and(|offset| offset < self.count)
    }

    /// Whether it changes something.
    pub fn is_write(&self) -> bool {
        WRITE_FUNCTIONS.contains(&self.function)
    }
}

/// Big-endian word at a byte offset; 0 behind the end.
pub(crate) fn word(bytes: &[u8], index: usize) -> u16 {
    match bytes.get(index..index + 2) {
        Some([high, low]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    }
}

/// Big-endian words.
pub(crate) fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

/// Coils, lowest bit first.
pub(crate) fn bits(bytes: &[u8], count: u16) -> Vec<u16> {
    (0..usize::from(count))
        .map_while(|bit| bytes.get(bit / 8).map(|byte| u16::from(byte >> (bit % 8) & 1)))
        .collect()
}

/// Unit and the longest PDU (253).
const LENGTH_MAX: usize = 254;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_cut_anywhere_is_put_together_again() {
        let bytes = [0, 7, 0, 0, 0, 6, 1, 6, 0, 20, 0, 99, 0, 8, 0, 0, 0, 6, 1, 3, 0, 0, 0, 2];
        for cut in 0..bytes.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                frames.push(part);
                while let Some(request) = frames.next_request() {
                    found.push((request.transaction, request.function, request.address, request.values));
                }
            }
            assert_eq!(found, [(7, 6, 20, vec![99]), (8, 3, 0, vec![])]);
        }
    }

    #[test]
    fn bytes_that_are_not_modbus_are_refused_and_not_kept() {
        let mut frames = Frames::default();
        frames.push(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(frames.next_frame(), None);
        assert!(frames.is_broken());
    }

    #[test]
    fn registers_of_a_read_response_are_decoded() {
        let mut frames = Frames::default();
        frames.push(&[0, 1, 0, 0, 0, 7, 1, 3, 4, 0, 10, 1, 0]);
        let expected = Response { transaction: 1, function: 3, exception: None, registers: vec![10, 256] };
        assert_eq!(frames.next_response(), Some(expected));
        frames.push(&[0, 2, 0, 0, 0, 3, 1, 0x83, 2]);
        assert_eq!(frames.next_response().unwrap().exception, Some(2));
    }

    proptest::proptest! {
        #[test]
        fn hostile_bytes_give_requests_or_nothing(bytes: Vec<u8>, tail: Vec<u8>) {
            let mut frames = Frames::default();
            // A valid header first, so that the body is reached.
            let length = u16::try_from(tail.len().clamp(1, 253) + 1).unwrap();
            frames.push(&[&[0, 1, 0, 0], &length.to_be_bytes()[..], &[1], &tail, &bytes].concat());
            while frames.next_request().is_some() {}
            frames.push(&bytes);
            while frames.next_response().is_some() {}
        }
    }
}
