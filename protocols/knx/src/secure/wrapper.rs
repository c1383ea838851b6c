//! Codes of KNX IP Secure, and the frame around a frame.
//!
//! `03_08_09` KNX IP Secure v01.01.02. Block 0 of a code holds what makes it unique: sequence, serial number of the
//! sender, tag and length of the payload; in the handshake it is zero. Counter 0 ends with `FF 00`.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Key;
use super::ccm::{self, Block};
use crate::Error;
use crate::ip::{FRAME_BYTES_MAX, Frame, SecureFrame};

/// What makes a code unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nonce {
    /// 48 bits.
    pub(crate) sequence: u64,
    pub(crate) serial: [u8; 6],
    pub(crate) tag: u16,
}

impl Nonce {
    fn block(self, end: u16) -> Block {
        let mut block = [0; 16];
        block[..6].copy_from_slice(&sequence_bytes(self.sequence));
        block[6..12].copy_from_slice(&self.serial);
        block[12..14].copy_from_slice(&self.tag.to_be_bytes());
        block[14..].copy_from_slice(&end.to_be_bytes());
        block
    }
}

/// The largest number of 48 bits.
pub(crate) const SEQUENCE_MAX: u64 = (1 << 48) - 1;

pub(crate) fn sequence_bytes(sequence: u64) -> [u8; 6] {
    let [_, _, bytes @ ..] = sequence.to_be_bytes();
    bytes
}

pub(crate) fn sequence_number(bytes: [u8; 6]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Encrypts a whole frame.
pub(crate) fn wrap(key: &Key, session: u16, nonce: Nonce, frame: &[u8]) -> Result<Vec<u8>, Error> {
    let bytes = frame.len() + WRAPPER_BYTES;
    if bytes > FRAME_BYTES_MAX {
        return Err(Error::TooLong { what: "a secure wrapper", bytes, max: FRAME_BYTES_MAX });
    }
    let mut encrypted = frame.to_vec();
    let mut code = wrapper_code(key, session, nonce, frame);
    ccm::ctr(key, &nonce.block(COUNTER_END), &mut code, &mut encrypted);
    let (sequence, serial) = (sequence_bytes(nonce.sequence), nonce.serial);
    Frame::Secure(SecureFrame::Wrapper { session, sequence, serial, tag: nonce.tag, encrypted, code })
        .encode()
}

/// Decrypts the frame in a wrapper. `None` if the code is wrong.
pub(crate) fn unwrap(
    key: &Key,
    session: u16,
    nonce: Nonce,
    encrypted: Vec<u8>,
    mut code: Block,
) -> Option<Vec<u8>> {
    let mut frame = Zeroizing::new(encrypted);
    ccm::ctr(key, &nonce.block(COUNTER_END), &mut code, &mut frame);
    let is_genuine: bool = wrapper_code(key, session, nonce, &frame).ct_eq(&code).into();
    is_genuine.then(|| std::mem::take(&mut *frame))
}

fn wrapper_code(key: &Key, session: u16, nonce: Nonce, frame: &[u8]) -> Block {
    let length = u16::try_from(frame.len()).expect("a frame is far below 64 KiB");
    let mut header = [0x06, 0x10, 0x09, 0x50, 0, 0, 0, 0];
    let total = u16::try_from(frame.len() + WRAPPER_BYTES).expect("a frame is far below 64 KiB");
    header[4..6].copy_from_slice(&total.to_be_bytes());
    header[6..].copy_from_slice(&session.to_be_bytes());
    ccm::mac(key, &nonce.block(length), &[&header], frame)
}

/// The code of a `TIMER_NOTIFY`.
pub(crate) fn timer_code(key: &Key, nonce: Nonce) -> Block {
    let mut code = ccm::mac(key, &nonce.block(0), &[&[0x06, 0x10, 0x09, 0x55, 0x00, 0x24]], &[]);
    ccm::ctr(key, &nonce.block(COUNTER_END), &mut code, &mut []);
    code
}

/// The code of a `SESSION_RESPONSE`, with the key of the device.
pub(crate) fn response_code(device: &Key, session: u16, client: &[u8; 32], server: &[u8; 32]) -> Block {
    let [high, low] = session.to_be_bytes();
    handshake_code(device, &[0x06, 0x10, 0x09, 0x52, 0x00, 0x38, high, low], client, server)
}

/// The code of a `SESSION_AUTHENTICATE`, with the key of the user.
pub(crate) fn authenticate_code(key: &Key, user: u8, client: &[u8; 32], server: &[u8; 32]) -> Block {
    handshake_code(key, &[0x06, 0x10, 0x09, 0x53, 0x00, 0x18, 0, user], client, server)
}

fn handshake_code(key: &Key, header: &[u8], client: &[u8; 32], server: &[u8; 32]) -> Block {
    let mut both = *client;
    for (left, right) in both.iter_mut().zip(server) {
        *left ^= right;
    }
    let mut code = ccm::mac(key, &[0; 16], &[header, &both], &[]);
    let mut counter = [0; 16];
    counter[14..].copy_from_slice(&COUNTER_END.to_be_bytes());
    ccm::ctr(key, &counter, &mut code, &mut []);
    code
}

/// Header, session, sequence, serial number, tag and code.
const WRAPPER_BYTES: usize = 6 + 2 + 6 + 6 + 2 + 16;
const COUNTER_END: u16 = 0xff00;

#[cfg(test)]
mod tests;
