//! The ciphers of ZIP archives.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use hmac::{Hmac, Mac};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;

/// Opens what AES protects: salt, two bytes that tell a wrong password, the text, ten bytes of its code. `None` if the
/// password is wrong or the text was changed. The counter begins at one, its least significant byte first.
pub(super) fn open_aes(packed: &[u8], password: &[u8], strength: u8) -> Option<Vec<u8>> {
    let key_bytes = match strength {
        1 => 16,
        2 => 24,
        3 => 32,
        _ => return None,
    };
    let (salt, rest) = packed.split_at_checked(key_bytes / 2)?;
    let (verifier, rest) = rest.split_at_checked(2)?;
    let (text, code) = rest.split_at_checked(rest.len().checked_sub(CODE_BYTES)?)?;
    let mut keys = vec![0; 2 * key_bytes + 2];
    pbkdf2_hmac::<Sha1>(password, salt, AES_ROUNDS, &mut keys);
    let (key, rest) = keys.split_at(key_bytes);
    let (code_key, expected) = rest.split_at(key_bytes);
    if verifier != expected {
        return None;
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(code_key).ok()?;
    mac.update(text);
    mac.verify_truncated_left(code).ok()?;
    let mut clear = text.to_vec();
    match strength {
        1 => count(&Aes128::new_from_slice(key).ok()?, &mut clear),
        2 => count(&Aes192::new_from_slice(key).ok()?, &mut clear),
        _ => count(&Aes256::new_from_slice(key).ok()?, &mut clear),
    }
    Some(clear)
}

fn count(cipher: &impl BlockCipherEncrypt, text: &mut [u8]) {
    for (block, number) in text.chunks_mut(16).zip(1_u128..) {
        let mut key = aes::cipher::Array::default();
        // All ciphers here have blocks of 16 bytes.
        for (place, byte) in key.iter_mut().zip(number.to_le_bytes()) {
            *place = byte;
        }
        cipher.encrypt_block(&mut key);
        for (byte, key) in block.iter_mut().zip(key.iter()) {
            *byte ^= key;
        }
    }
}

/// Opens what the old cipher protects; `None` if the last of its twelve bytes shows that the password is wrong.
pub(super) fn open_old(packed: &[u8], password: &[u8], check: u8) -> Option<Vec<u8>> {
    let mut keys = OldKeys::new(password);
    let mut clear: Vec<u8> = packed.iter().map(|byte| keys.open(*byte)).collect();
    if *clear.get(OLD_HEADER_BYTES - 1)? != check {
        return None;
    }
    Some(clear.split_off(OLD_HEADER_BYTES))
}

/// The three keys of the old cipher.
struct OldKeys([u32; 3]);

impl OldKeys {
    fn new(password: &[u8]) -> OldKeys {
        let mut keys = OldKeys([0x1234_5678, 0x2345_6789, 0x3456_7890]);
        for byte in password {
            keys.take(*byte);
        }
        keys
    }

    fn take(&mut self, byte: u8) {
        let [first, second, third] = &mut self.0;
        *first = crc_step(*first, byte);
        *second = second.wrapping_add(*first & 0xff).wrapping_mul(134_775_813).wrapping_add(1);
        *third = crc_step(*third, second.to_be_bytes()[0]);
    }

    fn open(&mut self, byte: u8) -> u8 {
        let mixed = self.0[2] & 0xffff | 2;
        let clear = byte ^ (mixed.wrapping_mul(mixed ^ 1)).to_be_bytes()[2];
        self.take(clear);
        clear
    }
}

/// One byte of CRC-32 without the inversions at both ends.
fn crc_step(crc: u32, byte: u8) -> u32 {
    let mut crc = crc ^ u32::from(byte);
    for _ in 0..8 {
        crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    }
    crc
}

const AES_ROUNDS: u32 = 1000;
const CODE_BYTES: usize = 10;
const OLD_HEADER_BYTES: usize = 12;
