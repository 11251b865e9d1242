//! AES256-CTS-HMAC-SHA384-192 of RFC 8009, the cipher of cephx key type `aes256k` (stock: `CryptoAES256KRB5`).
//!
//! Ciphertext = CBC-CS3(Ke, zero iv, confounder ‖ plaintext) ‖ HMAC-SHA384(Ki, zero iv ‖ that)\[..24\], with Ke and Ki derived
//! from the base key and the *key usage*. Invariant: nothing is decrypted before the MAC held (constant-time compare).

use aes::Aes256;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use hmac::{Hmac, Mac};
use sha2::Sha384;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Length of the base key.
pub const KEY_LEN: usize = 32;
/// Length of the random confounder, one cipher block.
pub const CONFOUNDER_LEN: usize = 16;
/// Length of the truncated MAC.
pub const MAC_LEN: usize = 24;

const BLOCK: usize = 16;

fn hmac_sha384(key: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; 48]> {
    let mut mac = <Hmac<Sha384> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    for p in parts {
        mac.update(p);
    }
    let mut out = Zeroizing::new([0u8; 48]);
    out.copy_from_slice(&mac.finalize().into_bytes());
    out
}

/// KDF-HMAC-SHA2 of RFC 8009, section 3; the caller truncates.
fn derive(key: &[u8], usage: u32, kind: u8, bits: u32) -> Zeroizing<[u8; 48]> {
    hmac_sha384(key, &[&1u32.to_be_bytes(), &usage.to_be_bytes(), &[kind, 0], &bits.to_be_bytes()])
}

fn ke(key: &[u8], usage: u32) -> Aes256 {
    let k = derive(key, usage, 0xaa, 256);
    Aes256::new(GenericArray::from_slice(&k[..32]))
}

fn mac(key: &[u8], usage: u32, ciphertext: &[u8]) -> Zeroizing<[u8; 48]> {
    let ki = derive(key, usage, 0x55, 192);
    hmac_sha384(&ki[..MAC_LEN], &[&[0u8; BLOCK], ciphertext])
}

fn xor(a: &mut [u8], b: &[u8]) {
    for (x, y) in a.iter_mut().zip(b) {
        *x ^= y;
    }
}

/// CBC with ciphertext stealing (CS3) and a zero IV, in place. `data` holds at least one block.
fn cts_encrypt(cipher: &Aes256, data: &mut Vec<u8>) {
    let len = data.len();
    assert!(len >= BLOCK, "CTS needs a whole block; the confounder is one");
    let blocks = len.div_ceil(BLOCK);
    data.resize(blocks * BLOCK, 0);
    let mut prev = [0u8; BLOCK];
    for chunk in data.chunks_exact_mut(BLOCK) {
        xor(chunk, &prev);
        cipher.encrypt_block(GenericArray::from_mut_slice(chunk));
        prev.copy_from_slice(chunk);
    }
    if blocks > 1 {
        let (head, last) = data.split_at_mut((blocks - 1) * BLOCK);
        head[(blocks - 2) * BLOCK..].swap_with_slice(last);
    }
    data.truncate(len);
}

/// The inverse of [`cts_encrypt`].
fn cts_decrypt(cipher: &Aes256, data: &mut [u8]) {
    let len = data.len();
    assert!(len >= BLOCK, "checked by the caller");
    let blocks = len.div_ceil(BLOCK);
    let mut prev = [0u8; BLOCK];
    let plain_blocks = if blocks == 1 { 1 } else { blocks - 2 };
    for chunk in data.chunks_exact_mut(BLOCK).take(plain_blocks) {
        let mut this = [0u8; BLOCK];
        this.copy_from_slice(chunk);
        cipher.decrypt_block(GenericArray::from_mut_slice(chunk));
        xor(chunk, &prev);
        prev = this;
    }
    if blocks == 1 {
        return;
    }
    let at = plain_blocks * BLOCK;
    let tail = len - at - BLOCK;
    // `last` becomes D(C_n): its head hides P_n, its tail is the stolen tail of C_{n-1}.
    let mut last = [0u8; BLOCK];
    last.copy_from_slice(&data[at..at + BLOCK]);
    cipher.decrypt_block(GenericArray::from_mut_slice(&mut last));
    let mut before = last;
    before[..tail].copy_from_slice(&data[at + BLOCK..]);
    xor(&mut data[at + BLOCK..], &last[..tail]);
    cipher.decrypt_block(GenericArray::from_mut_slice(&mut before));
    xor(&mut before, &prev);
    data[at..at + BLOCK].copy_from_slice(&before);
}

/// Encrypts `plaintext` under `key` for `usage`.
pub fn encrypt(
    key: &[u8; KEY_LEN],
    usage: u32,
    confounder: &[u8; CONFOUNDER_LEN],
    plaintext: &[u8],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(CONFOUNDER_LEN + plaintext.len() + BLOCK + MAC_LEN);
    out.extend_from_slice(confounder);
    out.extend_from_slice(plaintext);
    cts_encrypt(&ke(key, usage), &mut out);
    let m = mac(key, usage, &out);
    out.extend_from_slice(&m[..MAC_LEN]);
    out
}

/// Decrypts, or answers `None` when the MAC does not hold or the length cannot be right.
pub fn decrypt(key: &[u8; KEY_LEN], usage: u32, ciphertext: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if ciphertext.len() < CONFOUNDER_LEN + MAC_LEN {
        return None;
    }
    let (body, tag) = ciphertext.split_at(ciphertext.len() - MAC_LEN);
    let m = mac(key, usage, body);
    if !bool::from(m[..MAC_LEN].ct_eq(tag)) {
        return None;
    }
    let mut plain = Zeroizing::new(body.to_vec());
    cts_decrypt(&ke(key, usage), &mut plain);
    plain.drain(..CONFOUNDER_LEN);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(s: &str) -> Vec<u8> {
        (0..s.len() / 2).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).unwrap()).collect()
    }
    fn key() -> [u8; 32] {
        hex("6D404D37FAF79F9DF0D33568D320669800EB4836472EA8A026D16B7182460C52").try_into().unwrap()
    }

    #[test]
    fn derives_the_keys_of_rfc_8009() {
        assert_eq!(
            derive(&key(), 2, 0xaa, 256)[..32],
            hex("56AB22BEE63D82D7BC5227F6773F8EA7A5EB1C825160C38312980C442E5C7E49")
        );
        assert_eq!(
            derive(&key(), 2, 0x55, 192)[..24],
            hex("69B16514E3CD8E56B82010D5C73012B622C4D00FFC23ED1F")
        );
    }

    #[test]
    fn encrypts_as_rfc_8009_says() {
        let empty = encrypt(&key(), 2, &hex("F764E9FA15C276478B2C7D0C4E5F58E4").try_into().unwrap(), b"");
        assert_eq!(
            empty,
            hex("41F53FA5BFE7026D91FAF9BE959195A058707273A96A40F0A01960621AC612748B9BBFBE7EB4CE3C")
        );
    }

    #[test]
    fn every_length_round_trips_and_every_bit_flip_is_refused() {
        for len in 0..70usize {
            let plain: Vec<u8> = (0..len as u8).collect();
            let mut c = encrypt(&key(), 0x30, &[7; 16], &plain);
            assert_eq!(c.len(), 40 + len);
            assert_eq!(*decrypt(&key(), 0x30, &c).unwrap(), plain);
            assert!(decrypt(&key(), 0x31, &c).is_none(), "another usage must not open it");
            for i in 0..c.len() {
                c[i] ^= 0x40;
                assert!(decrypt(&key(), 0x30, &c).is_none());
                c[i] ^= 0x40;
            }
        }
    }
}
