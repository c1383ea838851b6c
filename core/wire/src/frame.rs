//! Frames: what a stream between two nodes is cut into.
//!
//! ```text
//! magic u32 | body length u32 | kind u8 | version u8 | flags u16 | crc32 u32 | body     (little endian)
//! ```
//! The checksum covers length, kind, version, flags and body. TLS already protects against change on the
//! way; the checksum finds faults of memory and of our own code before they reach a journal.

use crate::WireError;

/// The longest body on a data connection.
pub const FRAME_BODY_MAX: usize = 1024 * 1024;
/// The longest body on a control connection.
pub const FRAME_CONTROL_MAX: usize = 64 * 1024;
/// Bytes before the body.
pub const FRAME_HEADER_BYTES: usize = 16;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`Hello`](crate::Hello), the first frame each way.
    Hello,
    /// A message of the role machine.
    Control,
    /// A message of replication.
    Replica,
    /// A request carried to the active node, or its answer.
    Forward,
    /// The sender closes the connection on purpose.
    Bye,
    /// [`Probe`](crate::Probe): the round trip and the difference of the clocks of one path.
    Probe,
    /// A message about values of the past, see `twinhub_history::Exchange`.
    History,
    /// [`PluginCode`](crate::PluginCode): the sender runs other plugins now than its hello said.
    Plugins,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Kind::Hello => 1,
            Kind::Control => 2,
            Kind::Replica => 3,
            Kind::Forward => 4,
            Kind::Bye => 5,
            Kind::Probe => 6,
            Kind::History => 9,
            Kind::Plugins => 10,
        }
    }

    /// The protocol that brought it; on a connection of an older one it is not sent.
    pub const fn since(self) -> u16 {
        match self {
            Kind::Hello | Kind::Control | Kind::Replica | Kind::Forward | Kind::Bye | Kind::Probe => 1,
            Kind::History | Kind::Plugins => 2,
        }
    }

    const fn from_number(kind: u8) -> Option<Kind> {
        match kind {
            1 => Some(Kind::Hello),
            2 => Some(Kind::Control),
            3 => Some(Kind::Replica),
            4 => Some(Kind::Forward),
            5 => Some(Kind::Bye),
            6 => Some(Kind::Probe),
            9 => Some(Kind::History),
            10 => Some(Kind::Plugins),
            _ => None,
        }
    }
}

/// Appends a frame to `out`.
///
/// # Panics
/// If the body is longer than [`FRAME_BODY_MAX`]: no peer would take it, so it is a fault of the caller.
pub fn write_frame(kind: Kind, body: &[u8], out: &mut Vec<u8>) {
    assert!(body.len() <= FRAME_BODY_MAX, "a frame of {} bytes would be refused by every peer", body.len());
    let length = u32::try_from(body.len()).expect("the limit is below 4 GiB");
    let mut header = [0; FRAME_HEADER_BYTES];
    header[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8] = kind.number();
    header[9] = VERSION;
    let crc = checksum(&header, body);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    out.reserve(FRAME_HEADER_BYTES + body.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(body);
}

/// One received frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// What it carries.
    pub kind: Kind,
    /// Reserved; a receiver ignores bits it does not know.
    pub flags: u16,
    /// The content.
    pub body: &'a [u8],
}

/// Cuts a stream into frames. Holds at most one frame and what was pushed behind it.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
    body_max: usize,
    failed: Option<WireError>,
    skips_unknown: bool,
    skipped: u64,
}

impl FrameReader {
    /// A reader that refuses bodies above `body_max` bytes as soon as it sees their header.
    pub const fn new(body_max: usize) -> FrameReader {
        FrameReader { buffer: Vec::new(), start: 0, body_max, failed: None, skips_unknown: false, skipped: 0 }
    }

    /// For a peer that speaks a newer protocol than this process: frames of kinds that are unknown here are
    /// checked, counted and left out. From any other peer they are a fault.
    #[must_use]
    pub const fn skipping_unknown(mut self, peer_is_newer: bool) -> FrameReader {
        self.skips_unknown = peer_is_newer;
        self
    }

    /// Frames left out so far, see [`FrameReader::skipping_unknown`].
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes bytes as they came. After an error they are thrown away.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_some() {
            return;
        }
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start >= COMPACT_ABOVE {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES_MAX {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`WireError`]; the stream cannot be read any further and every later call says the same.
    pub fn next_frame(&mut self) -> Result<Option<FrameRef<'_>>, WireError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        loop {
            let (kind, flags, length) = match self.parse() {
                Ok(None) => return Ok(None),
                Ok(Some(found)) => found,
                Err(error) => {
                    self.failed = Some(error.clone());
                    self.buffer = Vec::new();
                    self.start = 0;
                    return Err(error);
                }
            };
            let begin = self.start + FRAME_HEADER_BYTES;
            self.start = begin + length;
            let Some(kind) = kind else {
                self.skipped = self.skipped.saturating_add(1);
                continue;
            };
            return Ok(Some(FrameRef { kind, flags, body: &self.buffer[begin..begin + length] }));
        }
    }

    /// Bytes received and not yet handed out.
    pub fn pending_bytes(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The frame at the front; without a kind if that is unknown and such frames are skipped.
    fn parse(&self) -> Result<Option<(Option<Kind>, u16, usize)>, WireError> {
        let available = &self.buffer[self.start..];
        let Some((magic, _)) = available.split_first_chunk::<4>() else { return Ok(None) };
        let got = u32::from_le_bytes(*magic);
        if got != MAGIC {
            return Err(WireError::NotAFrame { got });
        }
        let Some((header, rest)) = available.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        if length > self.body_max {
            return Err(WireError::FrameTooLarge { bytes: length, max: self.body_max });
        }
        if header[9] != VERSION {
            return Err(WireError::UnknownLayout { what: "a frame", got: header[9], known: VERSION });
        }
        let kind = Kind::from_number(header[8]);
        if kind.is_none() && !self.skips_unknown {
            return Err(WireError::UnknownFrame { kind: header[8] });
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let expected = checksum(header, body);
        let got = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
        if got != expected {
            return Err(WireError::Checksum { got, expected });
        }
        Ok(Some((kind, u16::from_le_bytes([header[10], header[11]]), length)))
    }
}

fn checksum(header: &[u8; FRAME_HEADER_BYTES], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[4..12]);
    hasher.update(body);
    hasher.finalize()
}

/// `TWHB` as it stands on the wire.
const MAGIC: u32 = u32::from_le_bytes(*b"TWHB");
/// Layout version of the header.
const VERSION: u8 = 1;
/// Consumed bytes at the buffer's front that are worth moving the rest.
const COMPACT_ABOVE: usize = 64 * 1024;
/// A buffer that once grew larger is given back when it is empty.
const KEEP_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collect(reader: &mut FrameReader) -> Result<Vec<(Kind, Vec<u8>)>, WireError> {
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame()? {
            frames.push((frame.kind, frame.body.to_vec()));
        }
        Ok(frames)
    }

    #[test]
    fn a_header_has_the_same_bytes_forever() {
        let mut out = Vec::new();
        write_frame(Kind::Control, b"abc", &mut out);
        let crc = u32::from_le_bytes([out[12], out[13], out[14], out[15]]);
        assert_eq!(&out[..12], b"TWHB\x03\x00\x00\x00\x02\x01\x00\x00");
        assert_eq!(crc, crc32fast::hash(b"\x03\x00\x00\x00\x02\x01\x00\x00abc"));
        assert_eq!(&out[16..], b"abc");
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_the_body_comes() {
        let mut out = Vec::new();
        write_frame(Kind::Replica, &vec![0; FRAME_CONTROL_MAX + 1], &mut out);
        let mut reader = FrameReader::new(FRAME_CONTROL_MAX);
        reader.push(&out[..FRAME_HEADER_BYTES]);
        let error = WireError::FrameTooLarge { bytes: FRAME_CONTROL_MAX + 1, max: FRAME_CONTROL_MAX };
        assert_eq!(reader.next_frame(), Err(error.clone()));
        reader.push(&out);
        assert_eq!(reader.next_frame(), Err(error));
        assert_eq!(reader.pending_bytes(), 0, "a stream that failed holds no memory");
    }

    /// A frame as a newer version may send it.
    fn frame_of_kind(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_frame(Kind::Control, body, &mut out);
        out[8] = kind;
        let header: [u8; FRAME_HEADER_BYTES] = out[..FRAME_HEADER_BYTES].try_into().unwrap();
        out[12..16].copy_from_slice(&checksum(&header, body).to_le_bytes());
        out
    }

    #[test]
    fn an_unknown_kind_of_a_newer_peer_is_skipped_and_counted_and_of_any_other_a_fault() {
        let mut stream = frame_of_kind(200, &[7; 1000]);
        write_frame(Kind::Control, b"known", &mut stream);
        stream.extend(frame_of_kind(7, b""));
        write_frame(Kind::Probe, b"too", &mut stream);

        let mut reader = FrameReader::new(FRAME_CONTROL_MAX).skipping_unknown(true);
        let mut frames = Vec::new();
        for piece in stream.chunks(13) {
            reader.push(piece);
            frames.extend(collect(&mut reader).unwrap());
        }
        assert_eq!(frames, [(Kind::Control, b"known".to_vec()), (Kind::Probe, b"too".to_vec())]);
        assert_eq!((reader.skipped(), reader.pending_bytes()), (2, 0));

        let mut strict = FrameReader::new(FRAME_CONTROL_MAX);
        strict.push(&stream);
        assert_eq!(strict.next_frame(), Err(WireError::UnknownFrame { kind: 200 }));
    }

    #[test]
    fn what_is_skipped_is_still_bounded_and_checked() {
        let mut damaged = frame_of_kind(200, b"content");
        *damaged.last_mut().unwrap() ^= 1;
        let mut reader = FrameReader::new(FRAME_CONTROL_MAX).skipping_unknown(true);
        reader.push(&damaged);
        assert!(matches!(reader.next_frame(), Err(WireError::Checksum { .. })));
        let long = frame_of_kind(200, &vec![0; FRAME_CONTROL_MAX + 1]);
        let mut reader = FrameReader::new(FRAME_CONTROL_MAX).skipping_unknown(true);
        reader.push(&long[..FRAME_HEADER_BYTES]);
        assert!(matches!(reader.next_frame(), Err(WireError::FrameTooLarge { .. })));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut out = Vec::new();
        write_frame(Kind::Replica, b"some content", &mut out);
        for bit in 0..out.len() * 8 {
            let mut damaged = out.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let mut reader = FrameReader::new(FRAME_BODY_MAX);
            reader.push(&damaged);
            assert!(!matches!(reader.next_frame(), Ok(Some(_))), "bit {bit} went unnoticed");
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cut in 1_usize..200,
        ) {
            let mut stream = Vec::new();
            for body in &bodies {
                write_frame(Kind::Forward, body, &mut stream);
            }
            let mut reader = FrameReader::new(FRAME_BODY_MAX);
            let mut frames = Vec::new();
            for piece in stream.chunks(cut) {
                reader.push(piece);
                frames.extend(collect(&mut reader).unwrap());
            }
            let expected: Vec<_> = bodies.into_iter().map(|body| (Kind::Forward, body)).collect();
            prop_assert_eq!(frames, expected);
            prop_assert_eq!(reader.pending_bytes(), 0);
        }

        #[test]
        fn hostile_streams_give_errors_and_hold_no_more_than_was_sent(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..20),
            with_magic in any::<bool>(),
            skips in any::<bool>(),
        ) {
            let mut reader = FrameReader::new(FRAME_CONTROL_MAX).skipping_unknown(skips);
            if with_magic {
                reader.push(b"TWHB");
            }
            let mut sent = 4;
            for piece in pieces {
                sent += piece.len();
                reader.push(&piece);
                while let Ok(Some(_)) = reader.next_frame() {}
                prop_assert!(reader.buffer.capacity() <= 2 * sent + 64);
            }
        }
    }
}
