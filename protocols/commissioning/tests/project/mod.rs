//! Small project files, packed as the ETS packs them. The packer is the counterpart of the reader under test, so each
//! file that it makes is also read by an independent program where one is installed.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![expect(clippy::unwrap_used, reason = "these are tests, of which functions are the parts")]

pub mod parts;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use base64::Engine;
use hmac::{Hmac, Mac};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::Sha256;

/// What protects an archive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cipher<'a> {
    /// Nothing.
    None,
    /// The old cipher of ZIP, as ETS 4 and 5 use it.
    Old(&'a [u8]),
    /// AES-256, as ETS 6 uses it.
    Aes(&'a [u8]),
}

/// Packs files into an archive.
pub fn pack(files: &[(String, Vec<u8>)], cipher: Cipher<'_>) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let crc = crc32fast::hash(bytes);
        let deflated = miniz_oxide::deflate::compress_to_vec(bytes, 6);
        let mut extra = Vec::new();
        let (method, flags, crc, data) = match cipher {
            Cipher::None => (8_u16, 0_u16, crc, deflated),
            Cipher::Old(password) => (8, 1, crc, seal_old(&deflated, password, crc.to_be_bytes()[0])),
            Cipher::Aes(password) => {
                // AE-2 with AES-256 over deflate.
                extra.extend([0x01, 0x99, 7, 0, 2, 0, b'A', b'E', 3, 8, 0]);
                (99, 1, 0, seal_aes(&deflated, password))
            }
        };
        let at = u32::try_from(archive.len()).unwrap();
        let mut head = Vec::new();
        for number in [20_u16, flags, method, 0, 0x21] {
            head.extend(number.to_le_bytes());
        }
        for number in [crc, u32::try_from(data.len()).unwrap(), u32::try_from(bytes.len()).unwrap()] {
            head.extend(number.to_le_bytes());
        }
        for length in [name.len(), extra.len()] {
            head.extend(u16::try_from(length).unwrap().to_le_bytes());
        }
        archive.extend(*b"PK\x03\x04");
        archive.extend(&head);
        archive.extend(name.as_bytes());
        archive.extend(&extra);
        archive.extend(&data);
        directory.extend(*b"PK\x01\x02\x14\x00");
        directory.extend(&head);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
        directory.extend(&extra);
    }
    let count = u16::try_from(files.len()).unwrap().to_le_bytes();
    let (size, at) = (u32::try_from(directory.len()).unwrap(), u32::try_from(archive.len()).unwrap());
    archive.extend(directory);
    archive.extend(*b"PK\x05\x06\0\0\0\0");
    archive.extend([count, count].concat());
    archive.extend([size.to_le_bytes(), at.to_le_bytes()].concat());
    archive.extend([0, 0]);
    archive
}

/// The password that ETS 6 gives the archive.
pub fn key_of_ets6(password: &str) -> Vec<u8> {
    let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut key = [0; 32];
    pbkdf2_hmac::<Sha256>(&utf16, b"21.project.ets.knx.org", 65_536, &mut key);
    base64::engine::general_purpose::STANDARD.encode(key).into_bytes()
}

fn seal_aes(text: &[u8], password: &[u8]) -> Vec<u8> {
    let salt = [7; 16];
    let mut keys = [0; 66];
    pbkdf2_hmac::<Sha1>(password, &salt, 1000, &mut keys);
    let cipher = Aes256::new_from_slice(&keys[..32]).unwrap();
    let mut sealed = text.to_vec();
    for (index, block) in sealed.chunks_mut(16).enumerate() {
        let mut key = aes::cipher::Array::default();
        key.copy_from_slice(&(index as u128 + 1).to_le_bytes());
        cipher.encrypt_block(&mut key);
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(&keys[32..64]).unwrap();
    mac.update(&sealed);
    let code = mac.finalize().into_bytes();
    [&salt, &keys[64..], &sealed, &code[..10]].concat()
}

fn seal_old(text: &[u8], password: &[u8], check: u8) -> Vec<u8> {
    let mut keys = [0x1234_5678_u32, 0x2345_6789, 0x3456_7890];
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    };
    let take = |keys: &mut [u32; 3], byte: u8| {
        keys[0] = step(keys[0], byte);
        keys[1] = keys[1].wrapping_add(keys[0] & 0xff).wrapping_mul(134_775_813).wrapping_add(1);
        keys[2] = step(keys[2], keys[1].to_be_bytes()[0]);
    };
    for byte in password {
        take(&mut keys, *byte);
    }
    let clear = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, check].into_iter().chain(text.iter().copied());
    let sealed = clear.map(|byte| {
        let mixed = keys[2] & 0xffff | 2;
        let sealed = byte ^ mixed.wrapping_mul(mixed ^ 1).to_be_bytes()[2];
        take(&mut keys, byte);
        sealed
    });
    sealed.collect()
}
