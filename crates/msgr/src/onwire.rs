//! AES-128-GCM of the secure mode: [`Sealer`] and [`Opener`], one per direction.
//!
//! A nonce is 4 fixed bytes and a 64-bit little-endian counter that starts at a random value and may never come back to it
//! (CVE-2020-1759 was reuse across reconnects and directions; the secret is fresh for each transport here, because it comes out of
//! each transport's own authentication). Mirrors `crypto_onwire.cc` in its msgr2.1 form.

use crate::MsgrError;
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::BytesMut;

/// Length of the authentication tag.
pub const TAG_LEN: usize = 16;
/// Bytes of the connection secret that are used; Ceph sends 64.
pub const SECRET_LEN_MIN: usize = 40;

struct Nonces {
    fixed: [u8; 4],
    counter: u64,
    first: u64,
    used: bool,
}

impl Nonces {
    fn new(b: &[u8]) -> Nonces {
        let mut fixed = [0; 4];
        fixed.copy_from_slice(&b[..4]);
        let mut counter = [0; 8];
        counter.copy_from_slice(&b[4..12]);
        let counter = u64::from_le_bytes(counter);
        Nonces { fixed, counter, first: counter, used: false }
    }
    fn next(&mut self) -> Result<[u8; 12], MsgrError> {
        if self.used && self.counter == self.first {
            return Err(MsgrError::NonceExhausted);
        }
        self.used = true;
        let mut n = [0; 12];
        n[..4].copy_from_slice(&self.fixed);
        n[4..].copy_from_slice(&self.counter.to_le_bytes());
        self.counter = self.counter.wrapping_add(1);
        Ok(n)
    }
}

/// Encrypts what we send.
pub struct Sealer {
    key: LessSafeKey,
    nonces: Nonces,
}

/// Decrypts what we receive.
pub struct Opener {
    key: LessSafeKey,
    nonces: Nonces,
}

/// Makes both directions from a connection secret.
pub fn pair(secret: &[u8], is_client: bool) -> Result<(Sealer, Opener), MsgrError> {
    if secret.len() < SECRET_LEN_MIN {
        return Err(MsgrError::BadMode(crate::auth::MODE_SECURE));
    }
    let key = || {
        let k = UnboundKey::new(&AES_128_GCM, &secret[..16]).map_err(|_| MsgrError::Decrypt)?;
        Ok::<_, MsgrError>(LessSafeKey::new(k))
    };
    let (a, b) = (&secret[16..28], &secret[28..40]);
    let (rx, tx) = if is_client { (a, b) } else { (b, a) };
    Ok((Sealer { key: key()?, nonces: Nonces::new(tx) }, Opener { key: key()?, nonces: Nonces::new(rx) }))
}

impl Sealer {
    /// Encrypts `buf[from..]` in place and appends the tag.
    pub fn seal(&mut self, buf: &mut BytesMut, from: usize) -> Result<(), MsgrError> {
        let nonce = self.next_nonce()?;
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut buf[from..])
            .map_err(|_| MsgrError::Decrypt)?;
        buf.extend_from_slice(tag.as_ref());
        Ok(())
    }
    /// The nonce of the next seal. Public so that a test can show that none repeats.
    pub fn next_nonce(&mut self) -> Result<[u8; 12], MsgrError> {
        self.nonces.next()
    }
}

impl Opener {
    /// Decrypts `buf` (ciphertext and tag) in place and cuts the tag off.
    pub fn open(&mut self, buf: &mut BytesMut) -> Result<(), MsgrError> {
        let nonce = Nonce::assume_unique_for_key(self.nonces.next()?);
        let n =
            self.key.open_in_place(nonce, Aad::empty(), &mut buf[..]).map_err(|_| MsgrError::Decrypt)?.len();
        buf.truncate(n);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_crossed_and_nonces_count() {
        let secret: Vec<u8> = (0..64).collect();
        let (mut ctx, _) = pair(&secret, true).unwrap();
        let (_, mut srx) = pair(&secret, false).unwrap();
        for i in 0..3u8 {
            let mut b = BytesMut::from(&[i; 33][..]);
            ctx.seal(&mut b, 0).unwrap();
            assert_eq!(b.len(), 33 + TAG_LEN);
            srx.open(&mut b).unwrap();
            assert_eq!(&b[..], &[i; 33]);
        }
        let mut b = BytesMut::from(&[0; 32][..]);
        assert_eq!(srx.open(&mut b), Err(MsgrError::Decrypt));
    }

    #[test]
    fn a_counter_that_comes_round_is_refused() {
        let mut n = Nonces::new(&[0xff; 12]);
        n.next().unwrap();
        assert_eq!(n.counter, 0);
        n.counter = n.first;
        assert_eq!(n.next(), Err(MsgrError::NonceExhausted));
    }
}
