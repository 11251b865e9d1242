//! Objects encoded by stock 16.2 (`golden/<Type>/<hash>`) decode and encode to the same bytes, and damage never panics.

use bytes::Bytes;
use cephx::proto::*;
use cephx::{CryptoKey, EntityAuth, ExpiringCryptoKey, KeyServerData, RotatingSecrets, fuzz};
use denc::{Decode, Encode, Features};
use proptest::prelude::*;
use std::path::Path;

fn files(name: &str) -> Vec<Bytes> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    std::fs::read_dir(dir).unwrap().map(|f| std::fs::read(f.unwrap().path()).unwrap().into()).collect()
}

fn check<T: Decode + Encode>(name: &str) {
    let files = files(name);
    assert!(!files.is_empty());
    for b in files {
        let v: T = denc::from_bytes_exact(&b).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(denc::to_bytes(&v, Features::default()), b, "{name}");
        for n in 0..b.len() {
            assert!(denc::from_bytes::<T>(&b.slice(..n)).is_err(), "{name} cut at {n}");
        }
        for i in 0..b.len() {
            let mut x = b.to_vec();
            x[i] = !x[i];
            fuzz::fuzz_decoders(&x);
        }
    }
}

#[test]
fn stocks_objects_survive() {
    check::<AuthCapsInfo>("AuthCapsInfo");
    check::<AuthTicket>("AuthTicket");
    check::<CephXAuthenticate>("CephXAuthenticate");
    check::<CephXAuthorize>("CephXAuthorize");
    check::<CephXAuthorizeChallenge>("CephXAuthorizeChallenge");
    check::<CephXAuthorizeReply>("CephXAuthorizeReply");
    check::<CephXResponseHeader>("CephXResponseHeader");
    check::<CephXServerChallenge>("CephXServerChallenge");
    check::<CephXServiceTicket>("CephXServiceTicket");
    check::<CephXServiceTicketInfo>("CephXServiceTicketInfo");
    check::<CephXServiceTicketRequest>("CephXServiceTicketRequest");
    check::<CephXTicketBlob>("CephXTicketBlob");
    check::<CryptoKey>("CryptoKey");
    check::<EntityAuth>("EntityAuth");
    check::<ExpiringCryptoKey>("ExpiringCryptoKey");
    check::<KeyServerData>("KeyServerData");
    check::<RotatingSecrets>("RotatingSecrets");
}

proptest! {
    #[test]
    fn garbage_never_panics(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        fuzz::fuzz_decoders(&data);
        fuzz::fuzz_text(&data);
        fuzz::fuzz_server_exchange(&data);
        fuzz::fuzz_client_exchange(&data);
    }

    #[test]
    fn garbage_behind_a_request_type_never_panics(
        kind in prop::sample::select(vec![0x0100u16, 0x0200, 0x0400]),
        data in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut all = kind.to_le_bytes().to_vec();
        all.extend_from_slice(&data);
        fuzz::fuzz_server_exchange(&all);
        fuzz::fuzz_client_exchange(&all);
    }
}
