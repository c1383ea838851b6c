//! Cuts a TCP stream into frames (`03_08_02`: over TCP frames follow each other without anything between them).

use super::frame::{FRAME_BYTES_MAX, HEADER_BYTES, read_header};
use crate::Error;

/// Holds what came and is not yet a whole frame. Once the stream is out of step nothing tells where the next frame
/// begins, so after an error all that is left is to close the connection.
#[derive(Debug, Default)]
pub struct StreamReader {
    buffer: Vec<u8>,
    start: usize,
    failed: Option<Error>,
}

/// The most bytes that may wait to be taken as frames.
pub const STREAM_BYTES_MAX: usize = 16 * FRAME_BYTES_MAX;

impl StreamReader {
    /// An empty one.
    pub const fn new() -> StreamReader {
        StreamReader { buffer: Vec::new(), start: 0, failed: None }
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Adds what was received. The frames are to be taken before more is added.
    ///
    /// # Errors
    /// If more than [`STREAM_BYTES_MAX`] bytes would wait; the stream is lost then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let waiting = self.waiting() + bytes.len();
        if waiting > STREAM_BYTES_MAX {
            return self.fail(Error::TooLong {
                what: "a stream that nobody takes frames from",
                bytes: waiting,
                max: STREAM_BYTES_MAX,
            });
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole frame with its header, if there is one.
    ///
    /// # Errors
    /// If what comes next is no frame, or one above [`FRAME_BYTES_MAX`]; the stream is lost then.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let bytes = &self.buffer[self.start..];
        if bytes.len() < HEADER_BYTES {
            return Ok(None);
        }
        let length = match read_header(bytes) {
            Ok((_, length)) => length,
            Err(error) => return self.fail(error),
        };
        if bytes.len() < length {
            return Ok(None);
        }
        let start = self.start;
        self.start += length;
        Ok(Some(&self.buffer[start..start + length]))
    }

    fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        self.buffer = Vec::new();
        self.start = 0;
        self.failed = Some(error.clone());
        Err(error)
    }
}
