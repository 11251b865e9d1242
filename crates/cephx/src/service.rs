//! The accepting side at a service (OSD, MGR, MDS, and MON among monitors): authorizers, always with a challenge.
//!
//! Invariants (CVE-2018-1128, CVE-2020-25660): no authorizer is accepted without the answer to a challenge made for *this*
//! connection, on either transport; a ticket for another service, another global id or outside its time is refused.

use crate::crypto::{CephxError, CryptoKey, usage};
use crate::env::{Env, random_u64};
use crate::keyserver::{AuthConfig, MonAuthDb};
use crate::proto::{
    AuthName, CephXAuthorize, CephXAuthorizeChallenge, CephXAuthorizeReply, CephXServiceTicketInfo,
    CephXTicketBlob, MODE_AUTHORIZER, SECRET_ID_MON_KEY,
};
use bytes::Bytes;
use denc::{Decoder, Encoder, Features};
use msgr::auth::{
    AuthedPeer, METHOD_CEPHX, METHOD_NONE, MODE_CRC, MODE_SECURE, ServerAuth, ServerStep, SessionKeys,
};
use std::rc::Rc;
use std::time::Duration;
use types::{EntityType, Errno, Utime};
use zeroize::Zeroizing;

/// Bytes of connection secret that secure mode takes.
pub const CONNECTION_SECRET_LEN: usize = 64;
/// How far the clocks of monitor and service may differ before a ticket is refused.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// Where a service finds the secrets that open its tickets.
pub trait ServiceSecrets {
    /// The rotating secret `secret_id` of `service` (an entity type bit).
    fn service_secret(&self, service: u32, secret_id: u64) -> Option<CryptoKey>;
}

/// A monitor's view: rotating secrets of any service, and the key `mon.` among monitors.
pub struct MonSecrets(pub Rc<dyn MonAuthDb>);
impl ServiceSecrets for MonSecrets {
    fn service_secret(&self, service: u32, secret_id: u64) -> Option<CryptoKey> {
        if secret_id == SECRET_ID_MON_KEY {
            if service != u32::from(EntityType::MON.0) {
                return None;
            }
            return self.0.entity(&AuthName::new(EntityType::MON, "")).map(|e| e.key);
        }
        self.0.rotating(service)?.get(secret_id).cloned()
    }
}

/// An opened authorizer.
#[derive(Debug)]
pub(crate) struct Authorizer {
    pub info: CephXServiceTicketInfo,
    pub msg: CephXAuthorize,
}

/// Opens an authorizer for `service`; checks everything but the challenge.
pub(crate) fn open_authorizer(
    secrets: &dyn ServiceSecrets,
    service: EntityType,
    now: Utime,
    d: &mut Decoder<'_>,
) -> Result<Authorizer, CephxError> {
    let _version = d.u8()?;
    let global_id = d.u64()?;
    let service_id = d.u32()?;
    let blob: CephXTicketBlob = d.get()?;
    if service_id != u32::from(service.0) {
        return Err(CephxError::Refused("ticket for another service"));
    }
    let secret = secrets
        .service_secret(service_id, blob.secret_id)
        .filter(|k| !k.is_empty())
        .ok_or(CephxError::Refused("ticket sealed with an unknown secret"))?;
    let info: CephXServiceTicketInfo = secret.open(usage::TICKET_INFO, &blob.blob)?;
    if info.ticket.global_id != global_id {
        return Err(CephxError::Refused("ticket of another global id"));
    }
    if info.ticket.created > now + CLOCK_SKEW || now > info.ticket.expires + CLOCK_SKEW {
        return Err(CephxError::Refused("ticket outside of its time"));
    }
    // Only monitors among themselves say "everything"; no ticket that we hand out does, so nowhere else is it believed.
    if info.ticket.caps.allow_all && blob.secret_id != SECRET_ID_MON_KEY {
        return Err(CephxError::Refused("ticket claims everything"));
    }
    let msg = info.session_key.get_sealed(d, usage::AUTHORIZE)?;
    Ok(Authorizer { info, msg })
}

/// A connection secret for `mode`: 64 random bytes for secure, nothing for crc.
pub(crate) fn connection_secret(mode: u32, env: &dyn Env) -> Zeroizing<Vec<u8>> {
    let len = if mode == MODE_SECURE { CONNECTION_SECRET_LEN } else { 0 };
    let mut secret = Zeroizing::new(vec![0; len]);
    env.random(&mut secret);
    secret
}

/// The stock refusal: EACCES, naming what would do.
pub(crate) fn refuse(config: &AuthConfig, peer: EntityType) -> ServerStep {
    let mut modes = config.modes.clone();
    modes.sort_unstable();
    ServerStep::Bad {
        result: Errno::EACCES.negated(),
        allowed_methods: config.methods_for(peer).to_vec(),
        allowed_modes: modes,
    }
}

/// The accepting side of one connection to a service.
pub struct ServiceServerAuth {
    service: EntityType,
    secrets: Rc<dyn ServiceSecrets>,
    env: Rc<dyn Env>,
    config: Rc<AuthConfig>,
    peer_type: EntityType,
    mode: u32,
    challenge: Option<u64>,
}

impl ServiceServerAuth {
    /// For one connection to a `service`.
    pub fn new(
        service: EntityType,
        secrets: Rc<dyn ServiceSecrets>,
        env: Rc<dyn Env>,
        config: Rc<AuthConfig>,
    ) -> ServiceServerAuth {
        ServiceServerAuth {
            service,
            secrets,
            env,
            config,
            peer_type: EntityType::default(),
            mode: MODE_CRC,
            challenge: None,
        }
    }

    fn first(&mut self, payload: &Bytes) -> Result<ServerStep, CephxError> {
        let a = open_authorizer(&*self.secrets, self.service, self.env.now(), &mut Decoder::new(payload))?;
        let server_challenge = random_u64(&*self.env);
        self.challenge = Some(server_challenge);
        let sealed = a.info.session_key.seal(
            usage::AUTHORIZE_CHALLENGE,
            &CephXAuthorizeChallenge { server_challenge },
            &*self.env,
        )?;
        Ok(ServerStep::More(sealed))
    }

    fn second(&mut self, payload: &Bytes) -> Result<ServerStep, CephxError> {
        // Taken, so that one challenge answers one attempt.
        let challenge = self.challenge.take().ok_or(CephxError::Refused("no challenge was made"))?;
        let a = open_authorizer(&*self.secrets, self.service, self.env.now(), &mut Decoder::new(payload))?;
        if a.msg.server_challenge_plus_one != Some(challenge.wrapping_add(1)) {
            return Err(CephxError::Refused("challenge not answered"));
        }
        let secret = Bytes::copy_from_slice(&connection_secret(self.mode, &*self.env));
        let reply = CephXAuthorizeReply {
            nonce_plus_one: a.msg.nonce.wrapping_add(1),
            connection_secret: secret.clone(),
        };
        let mut e = Encoder::new(Features::default());
        a.info.session_key.put_sealed(&mut e, usage::AUTHORIZE_REPLY, &reply, &*self.env)?;
        let ticket = a.info.ticket;
        Ok(ServerStep::Done {
            mode: self.mode,
            payload: e.finish(),
            keys: SessionKeys {
                session_key: Bytes::copy_from_slice(a.info.session_key.secret()),
                connection_secret: secret,
            },
            peer: AuthedPeer {
                entity: ticket.name.to_string(),
                global_id: ticket.global_id,
                allow_all: ticket.caps.allow_all,
                caps: ticket.caps.text(),
                expires: ticket.expires,
            },
        })
    }

    fn none(&self, payload: &Bytes) -> Result<ServerStep, CephxError> {
        let mut d = Decoder::new(payload);
        if d.u8()? != MODE_AUTHORIZER {
            return Err(CephxError::Refused("not an authorizer"));
        }
        let name: AuthName = d.get()?;
        let global_id = d.u64()?;
        Ok(ServerStep::Done {
            mode: self.mode,
            payload: Bytes::new(),
            keys: SessionKeys::default(),
            peer: AuthedPeer {
                entity: name.to_string(),
                global_id,
                allow_all: true,
                caps: String::new(),
                expires: Utime::ZERO,
            },
        })
    }
}

impl ServerAuth for ServiceServerAuth {
    fn handle_request(
        &mut self,
        peer_type: EntityType,
        method: u32,
        modes: &[u32],
        payload: Bytes,
    ) -> ServerStep {
        self.peer_type = peer_type;
        self.challenge = None;
        let allowed = self.config.methods_for(peer_type).contains(&method);
        let Some(mode) = self.config.pick_mode(modes).filter(|_| allowed) else {
            return refuse(&self.config, peer_type);
        };
        self.mode = mode;
        let step = match method {
            METHOD_CEPHX => self.first(&payload),
            // Without keys there is no secret for secure mode.
            METHOD_NONE if mode == MODE_CRC => self.none(&payload),
            _ => Err(CephxError::Refused("unknown method")),
        };
        step.unwrap_or_else(|_| refuse(&self.config, peer_type))
    }

    fn handle_more(&mut self, payload: Bytes) -> ServerStep {
        self.second(&payload).unwrap_or_else(|_| refuse(&self.config, self.peer_type))
    }
}
