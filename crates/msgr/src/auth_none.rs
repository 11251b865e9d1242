//! The `none` method: names are believed. For tests and for clusters that say so in their configuration.

use crate::auth::{
    AuthError, AuthRequest, AuthedPeer, ClientAuth, METHOD_NONE, MODE_CRC, ServerAuth, ServerStep,
    SessionKeys,
};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use types::{EntityType, Utime};

/// AUTH_MODE_MON: a login at the monitor.
const MODE_MON: u8 = 10;
/// AUTH_MODE_AUTHORIZER: to any other daemon.
const MODE_AUTHORIZER: u8 = 1;

/// The connecting side.
#[derive(Debug, Clone)]
pub struct NoneClient {
    /// Type of the name.
    pub kind: EntityType,
    /// Id of the name (`admin`, `3`).
    pub id: String,
    /// Global id to claim; 0 asks for one.
    pub global_id: u64,
    /// True towards monitors.
    pub to_mon: bool,
}

impl ClientAuth for NoneClient {
    fn start(&mut self) -> Result<AuthRequest, AuthError> {
        let mut e = Encoder::new(Features::ALL);
        e.u8(if self.to_mon { MODE_MON } else { MODE_AUTHORIZER });
        e.u32(self.kind.0.into());
        e.blob(self.id.as_bytes());
        e.u64(self.global_id);
        Ok(AuthRequest { method: METHOD_NONE, modes: vec![MODE_CRC], payload: e.finish() })
    }
    fn handle_bad_method(
        &mut self,
        _method: u32,
        _result: i32,
        _allowed_methods: &[u32],
        _allowed_modes: &[u32],
    ) -> Result<AuthRequest, AuthError> {
        Err(AuthError { reason: "server does not allow method none" })
    }
    fn handle_reply_more(&mut self, _payload: Bytes) -> Result<Bytes, AuthError> {
        Err(AuthError { reason: "method none has one round" })
    }
    fn handle_done(&mut self, global_id: u64, mode: u32, _payload: Bytes) -> Result<SessionKeys, AuthError> {
        if mode != MODE_CRC {
            return Err(AuthError { reason: "method none has no secure mode" });
        }
        self.global_id = global_id;
        Ok(SessionKeys::default())
    }
}

/// The accepting side: grants everything to everybody.
#[derive(Debug, Clone)]
pub struct NoneServer {
    /// Global id for peers that ask for one.
    pub next_global_id: u64,
}

impl ServerAuth for NoneServer {
    fn handle_request(
        &mut self,
        _peer_type: EntityType,
        method: u32,
        modes: &[u32],
        payload: Bytes,
    ) -> ServerStep {
        let bad = |result| ServerStep::Bad {
            result,
            allowed_methods: vec![METHOD_NONE],
            allowed_modes: vec![MODE_CRC],
        };
        // An empty list of modes is a v1 authorizer.
        if method != METHOD_NONE || !(modes.is_empty() || modes.contains(&MODE_CRC)) {
            return bad(-95);
        }
        match decode(&payload) {
            Ok((kind, id, global_id)) => ServerStep::Done {
                mode: MODE_CRC,
                payload: Bytes::new(),
                keys: SessionKeys::default(),
                peer: AuthedPeer {
                    entity: format!("{kind}.{id}"),
                    global_id: if global_id == 0 { self.next_global_id } else { global_id },
                    allow_all: true,
                    caps: "allow *".to_owned(),
                    expires: Utime::ZERO,
                },
            },
            Err(_) => bad(-22),
        }
    }
    fn handle_more(&mut self, _payload: Bytes) -> ServerStep {
        ServerStep::Bad { result: -22, allowed_methods: vec![METHOD_NONE], allowed_modes: vec![MODE_CRC] }
    }
}

fn decode(payload: &Bytes) -> Result<(EntityType, String, u64), denc::DencError> {
    let mut d = Decoder::new(payload);
    d.u8()?;
    let kind = d.u32()?;
    let kind = u8::try_from(kind)
        .map_err(|_| denc::DencError::Invalid { what: "entity type", value: kind.into() })?;
    Ok((EntityType(kind), d.string()?, d.u64()?))
}
