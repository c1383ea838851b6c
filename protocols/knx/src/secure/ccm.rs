//! AES-128-CCM as KNX uses it: a CBC-MAC over block 0, the length of the additional data, these and the payload without a
//! gap between them; then CTR mode, whose first block hides the code. The blocks are put together by the callers, since
//! IP Secure and Data Secure have them differently.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use super::Key;

pub(crate) type Block = [u8; 16];

/// The code, not yet hidden.
pub(crate) fn mac(key: &Key, block_0: &Block, additional: &[&[u8]], payload: &[u8]) -> Block {
    let cipher = Aes128::new(&Array::from(*key.as_bytes()));
    let mut state = [0; 16];
    let mut filled = 0;
    let bytes: usize = additional.iter().map(|part| part.len()).sum();
    let length = u16::try_from(bytes).expect("additional data are headers").to_be_bytes();
    let parts = [block_0.as_slice(), &length].into_iter().chain(additional.iter().copied()).chain([payload]);
    for byte in parts.flatten() {
        state[filled] ^= byte;
        filled += 1;
        if filled == 16 {
            state = encrypt(&cipher, state);
            filled = 0;
        }
    }
    if filled > 0 { encrypt(&cipher, state) } else { state }
}

/// Hides or shows the code and the payload: both are the same operation.
pub(crate) fn ctr(key: &Key, counter_0: &Block, code: &mut [u8], payload: &mut [u8]) {
    let cipher = Aes128::new(&Array::from(*key.as_bytes()));
    let first = u128::from_be_bytes(*counter_0);
    // A shorter code uses up a part of its block only, and the payload goes on from there.
    let mut stream =
        (0..).flat_map(|index| encrypt(&cipher, first.wrapping_add(index).to_be_bytes()).into_iter());
    for byte in code.iter_mut().chain(payload) {
        *byte ^= stream.next().unwrap_or_default();
    }
}

/// CBC mode, of which keyrings are; whole blocks only.
pub(crate) fn cbc_decrypt(key: &Key, vector: &Block, bytes: &mut [u8]) {
    let cipher = Aes128::new(&Array::from(*key.as_bytes()));
    let mut previous = *vector;
    for chunk in bytes.as_chunks_mut::<16>().0 {
        let mut block = Array::from(*chunk);
        cipher.decrypt_block(&mut block);
        for (plain, mask) in block.iter_mut().zip(previous) {
            *plain ^= mask;
        }
        previous = std::mem::replace(chunk, block.into());
    }
}

fn encrypt(cipher: &Aes128, block: Block) -> Block {
    let mut block = Array::from(block);
    cipher.encrypt_block(&mut block);
    block.into()
}
