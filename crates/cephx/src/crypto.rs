//! Keys and their ciphers: [`CryptoKey`] (stock `CryptoKey`), types `aes` and `aes256k`, and the sealed envelope of cephx.
//!
//! - `aes` (type 1): AES-128-CBC with a fixed IV and PKCS#7 padding, no MAC. That is what stock 16.2 has; it is malleable
//!   (CVE-2025-30156), so this crate never uses it for a blob that only we open (see `server`).
//! - `aes256k` (type 2, stock 2026): AES256-CTS-HMAC-SHA384-192, see `krb5`; each use of a key names its [`usage`].
//!
//! Invariants: secrets are wiped when dropped; `Debug` never prints them; every failure to open is the same
//! [`CephxError::Sealed`], so no caller can become a padding oracle.

use crate::env::Env;
use crate::krb5;
use aes::Aes128;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use base64::Engine;
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder, Features};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;
use types::Utime;
use zeroize::Zeroizing;

/// What a cephx step can fail with. The text is for logs and never holds key material.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CephxError {
    /// A sealed blob could not be opened: wrong key, forged or damaged.
    #[error("sealed blob does not open")]
    Sealed,
    /// A key of a type that cannot do this, or of a wrong length.
    #[error("unusable key")]
    Key,
    /// Bytes that do not decode.
    #[error(transparent)]
    Decode(#[from] DencError),
    /// The other side broke the protocol or was refused.
    #[error("{0}")]
    Refused(&'static str),
}

/// Key usages (`CEPHX_KEY_USAGE_*` of stock); only `aes256k` tells them apart.
pub mod usage {
    /// Connection secret in the answer to 0x0100.
    pub const CONNECTION_SECRET: u32 = 0x03;
    /// `CephXServiceTicket`: session key for the principal.
    pub const TICKET_SESSION_KEY: u32 = 0x04;
    /// A new AUTH ticket wrapped with the old session key.
    pub const TICKET_BLOB: u32 = 0x05;
    /// `CephXAuthorize`.
    pub const AUTHORIZE: u32 = 0x10;
    /// `CephXAuthorizeChallenge`.
    pub const AUTHORIZE_CHALLENGE: u32 = 0x11;
    /// `CephXAuthorizeReply`.
    pub const AUTHORIZE_REPLY: u32 = 0x12;
    /// `RotatingSecrets` for a daemon.
    pub const ROTATING_SECRET: u32 = 0x20;
    /// `CephXServiceTicketInfo`, the ticket itself.
    pub const TICKET_INFO: u32 = 0x30;
}

/// Key types (`CEPH_CRYPTO_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// No cipher; such a key opens nothing.
    None,
    /// AES-128-CBC.
    Aes,
    /// AES256-CTS-HMAC-SHA384-192.
    Aes256k,
}

impl KeyType {
    /// The u16 on the wire.
    pub const fn code(self) -> u16 {
        match self {
            KeyType::None => 0,
            KeyType::Aes => 1,
            KeyType::Aes256k => 2,
        }
    }
    /// From the wire.
    pub const fn from_code(code: u16) -> Option<KeyType> {
        match code {
            0 => Some(KeyType::None),
            1 => Some(KeyType::Aes),
            2 => Some(KeyType::Aes256k),
            _ => None,
        }
    }
    /// Stock's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            KeyType::None => "none",
            KeyType::Aes => "aes",
            KeyType::Aes256k => "aes256k",
        }
    }
    /// From stock's name.
    pub fn parse(name: &str) -> Option<KeyType> {
        [KeyType::None, KeyType::Aes, KeyType::Aes256k].into_iter().find(|t| t.name() == name)
    }
    /// Bytes of a secret of this type.
    pub const fn secret_len(self) -> usize {
        match self {
            KeyType::None => 0,
            KeyType::Aes => 16,
            KeyType::Aes256k => krb5::KEY_LEN,
        }
    }
}

/// A secret with its type and birth date.
#[derive(Clone)]
pub struct CryptoKey {
    kind: KeyType,
    created: Utime,
    secret: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for CryptoKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CryptoKey({}, {} bytes)", self.kind.name(), self.secret.len())
    }
}

impl PartialEq for CryptoKey {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.created == other.created && self.same_secret(other)
    }
}
impl Eq for CryptoKey {}

impl Default for CryptoKey {
    fn default() -> Self {
        CryptoKey { kind: KeyType::None, created: Utime::ZERO, secret: Zeroizing::default() }
    }
}

impl CryptoKey {
    /// A fresh random key.
    pub fn generate(kind: KeyType, env: &dyn Env) -> CryptoKey {
        let mut secret = Zeroizing::new(vec![0; kind.secret_len()]);
        env.random(&mut secret);
        CryptoKey { kind, created: env.now(), secret }
    }

    /// A key from its parts; refuses a secret too short for its type.
    pub fn from_secret(kind: KeyType, created: Utime, secret: &[u8]) -> Result<CryptoKey, CephxError> {
        if !secret.is_empty() && secret.len() < kind.secret_len() {
            return Err(CephxError::Key);
        }
        Ok(CryptoKey { kind, created, secret: Zeroizing::new(secret.to_vec()) })
    }

    /// From the base64 that keyrings hold.
    pub fn from_base64(text: &str) -> Result<CryptoKey, CephxError> {
        let raw = Zeroizing::new(
            base64::engine::general_purpose::STANDARD.decode(text.trim()).map_err(|_| CephxError::Key)?,
        );
        let bytes = Bytes::copy_from_slice(&raw);
        let key: CryptoKey = denc::from_bytes(&bytes).map_err(|_| CephxError::Key)?;
        Ok(key)
    }

    /// The base64 that keyrings hold.
    pub fn to_base64(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(denc::to_bytes(self, Features::default()))
    }

    /// Its type.
    pub fn kind(&self) -> KeyType {
        self.kind
    }
    /// When it was made.
    pub fn created(&self) -> Utime {
        self.created
    }
    /// True without a secret.
    pub fn is_empty(&self) -> bool {
        self.secret.is_empty()
    }
    /// The raw secret: key of the session's signatures.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
    /// Compares the secrets in constant time.
    pub fn same_secret(&self, other: &CryptoKey) -> bool {
        self.secret.ct_eq(&other.secret).into()
    }

    fn krb5_key(&self) -> Result<&[u8; krb5::KEY_LEN], CephxError> {
        self.secret.first_chunk().ok_or(CephxError::Key)
    }

    /// Encrypts raw bytes.
    pub fn encrypt(&self, usage: u32, plain: &[u8], env: &dyn Env) -> Result<Bytes, CephxError> {
        match self.kind {
            KeyType::None => Err(CephxError::Key),
            KeyType::Aes => {
                let key = self.secret.first_chunk::<16>().ok_or(CephxError::Key)?;
                Ok(Bytes::from(cbc_encrypt(key, plain)))
            }
            KeyType::Aes256k => {
                let mut confounder = [0; krb5::CONFOUNDER_LEN];
                env.random(&mut confounder);
                Ok(Bytes::from(krb5::encrypt(self.krb5_key()?, usage, &confounder, plain)))
            }
        }
    }

    /// Decrypts raw bytes.
    pub fn decrypt(&self, usage: u32, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, CephxError> {
        match self.kind {
            KeyType::None => Err(CephxError::Key),
            KeyType::Aes => {
                let key = self.secret.first_chunk::<16>().ok_or(CephxError::Key)?;
                cbc_decrypt(key, sealed).ok_or(CephxError::Sealed)
            }
            KeyType::Aes256k => krb5::decrypt(self.krb5_key()?, usage, sealed).ok_or(CephxError::Sealed),
        }
    }

    /// HMAC-SHA256 of `data` under the raw secret.
    pub fn hmac_sha256(&self, data: &[u8]) -> [u8; 32] {
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(data);
        mac.finalize().into_bytes().into()
    }

    /// Seals a value: version, magic, value, encrypted (`encode_encrypt_enc_bl`).
    pub fn seal<T: Encode + ?Sized>(
        &self,
        usage: u32,
        value: &T,
        env: &dyn Env,
    ) -> Result<Bytes, CephxError> {
        let mut e = Encoder::new(Features::default());
        e.u8(1);
        e.u64(AUTH_ENC_MAGIC);
        value.encode(&mut e);
        let plain = Zeroizing::new(e.as_slice().to_vec());
        self.encrypt(usage, &plain, env)
    }

    /// Opens what [`CryptoKey::seal`] made (`decode_decrypt_enc_bl`).
    pub fn open<T: Decode>(&self, usage: u32, sealed: &[u8]) -> Result<T, CephxError> {
        let plain = self.decrypt(usage, sealed)?;
        // A copy without wiping: `Decoder` reads shared buffers. It lives as long as this call.
        let bytes = Bytes::copy_from_slice(&plain);
        let mut d = Decoder::new(&bytes);
        // A value that does not decode under a right key and one under a wrong key must look the same.
        let parsed = (|| {
            let _version = d.u8()?;
            let magic = d.u64()?;
            Ok::<_, DencError>((magic, d.get::<T>()?))
        })();
        match parsed {
            Ok((AUTH_ENC_MAGIC, value)) => Ok(value),
            _ => Err(CephxError::Sealed),
        }
    }

    /// Seals a value and appends it with a length (`encode_encrypt`).
    pub fn put_sealed<T: Encode + ?Sized>(
        &self,
        e: &mut Encoder,
        usage: u32,
        value: &T,
        env: &dyn Env,
    ) -> Result<(), CephxError> {
        e.blob(&self.seal(usage, value, env)?);
        Ok(())
    }

    /// Reads a length and opens what follows (`decode_decrypt`).
    pub fn get_sealed<T: Decode>(&self, d: &mut Decoder<'_>, usage: u32) -> Result<T, CephxError> {
        let blob = d.blob()?;
        self.open(usage, &blob)
    }

    /// The proof that a client knows this key (`cephx_calc_client_server_challenge`).
    pub fn challenge_proof(&self, server_challenge: u64, client_challenge: u64) -> Result<u64, CephxError> {
        let mut blob = [0u8; 16];
        blob[..8].copy_from_slice(&server_challenge.to_le_bytes());
        blob[8..].copy_from_slice(&client_challenge.to_le_bytes());
        let folded = match self.kind {
            KeyType::None => return Err(CephxError::Key),
            KeyType::Aes => {
                let key = self.secret.first_chunk::<16>().ok_or(CephxError::Key)?;
                let mut plain = Vec::with_capacity(25);
                plain.push(1);
                plain.extend_from_slice(&AUTH_ENC_MAGIC.to_le_bytes());
                plain.extend_from_slice(&blob);
                let sealed = cbc_encrypt(key, &plain);
                let mut folded = (sealed.len() as u32).to_le_bytes().to_vec();
                folded.extend_from_slice(&sealed);
                folded
            }
            // Its ciphertext is random, so the proof is a MAC of the bare challenges.
            KeyType::Aes256k => self.hmac_sha256(&blob).to_vec(),
        };
        Ok(folded.chunks_exact(8).fold(0, |k, w| {
            let mut a = [0u8; 8];
            a.copy_from_slice(w);
            k ^ u64::from_le_bytes(a)
        }))
    }
}

impl Encode for CryptoKey {
    fn encode(&self, e: &mut Encoder) {
        e.u16(self.kind.code());
        e.put(&self.created);
        let len =
            u16::try_from(self.secret.len()).expect("secrets are decoded from or made with a u16 length");
        e.u16(len);
        e.raw(&self.secret);
    }
}
impl Decode for CryptoKey {
    const MIN_SIZE: usize = 12;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let code = d.u16()?;
        let created = d.get()?;
        let len = d.u16()?;
        let secret = d.raw(usize::from(len))?;
        let kind = KeyType::from_code(code)
            .ok_or(DencError::Invalid { what: "CryptoKey type", value: u64::from(code) })?;
        CryptoKey::from_secret(kind, created, secret)
            .map_err(|_| DencError::Invalid { what: "CryptoKey length", value: u64::from(len) })
    }
}

/// AUTH_ENC_MAGIC.
const AUTH_ENC_MAGIC: u64 = 0xff00_9cad_8826_aa55;
const AES_IV: &[u8; 16] = b"cephsageyudagreg";

fn cbc_encrypt(key: &[u8; 16], plain: &[u8]) -> Vec<u8> {
    let cipher = Aes128::new(GenericArray::from_slice(key));
    let pad = 16 - plain.len() % 16;
    let mut out = Vec::with_capacity(plain.len() + pad);
    out.extend_from_slice(plain);
    out.resize(plain.len() + pad, pad as u8);
    let mut prev = *AES_IV;
    for chunk in out.chunks_exact_mut(16) {
        for (x, y) in chunk.iter_mut().zip(&prev) {
            *x ^= y;
        }
        cipher.encrypt_block(GenericArray::from_mut_slice(chunk));
        prev.copy_from_slice(chunk);
    }
    out
}

fn cbc_decrypt(key: &[u8; 16], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if sealed.is_empty() || !sealed.len().is_multiple_of(16) {
        return None;
    }
    let cipher = Aes128::new(GenericArray::from_slice(key));
    let mut out = Zeroizing::new(sealed.to_vec());
    let mut prev = *AES_IV;
    for chunk in out.chunks_exact_mut(16) {
        let mut this = [0u8; 16];
        this.copy_from_slice(chunk);
        cipher.decrypt_block(GenericArray::from_mut_slice(chunk));
        for (x, y) in chunk.iter_mut().zip(&prev) {
            *x ^= y;
        }
        prev = this;
    }
    let pad = usize::from(*out.last()?);
    let len = out.len();
    if pad == 0 || pad > 16 || out[len - pad..].iter().any(|b| usize::from(*b) != pad) {
        return None;
    }
    out.truncate(len - pad);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::testing::TestEnv;

    #[test]
    fn an_unknown_key_type_or_a_short_secret_is_refused() {
        for bytes in
            [&[9u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 7, 7]]
        {
            assert!(denc::from_bytes::<CryptoKey>(&Bytes::copy_from_slice(bytes)).is_err());
        }
    }

    #[test]
    fn a_key_made_by_ceph_authtool_keeps_its_base64() {
        let text = "AQDFNHRgiR3ENRAAxoYCw8frWxZlyZysFK4PSg==";
        let key = CryptoKey::from_base64(text).unwrap();
        assert_eq!(key.kind(), KeyType::Aes);
        assert_eq!(key.secret().len(), 16);
        assert_eq!(key.to_base64(), text);
        assert!(!format!("{key:?}").contains("AQ"));
    }

    #[test]
    fn both_types_seal_and_open_and_a_wrong_key_does_not() {
        let env = TestEnv::new(1);
        for kind in [KeyType::Aes, KeyType::Aes256k] {
            let k = CryptoKey::generate(kind, &env);
            let sealed = k.seal(usage::TICKET_INFO, &77u64, &env).unwrap();
            assert_eq!(k.open::<u64>(usage::TICKET_INFO, &sealed), Ok(77));
            let other = CryptoKey::generate(kind, &env);
            assert_eq!(other.open::<u64>(usage::TICKET_INFO, &sealed), Err(CephxError::Sealed));
            assert_eq!(k.challenge_proof(1, 2), k.challenge_proof(1, 2));
            assert_ne!(k.challenge_proof(1, 2), other.challenge_proof(1, 2));
        }
    }
}
