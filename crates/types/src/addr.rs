//! Network addresses: `entity_addr_t` and `entity_addrvec_t`, in the new and in the legacy encoding.

use crate::features;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::fmt;

/// What protocol an address speaks (`entity_addr_t::type_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u32)]
pub enum AddrType {
    /// No address.
    #[default]
    None = 0,
    /// Messenger v1.
    Legacy = 1,
    /// Messenger v2.
    Msgr2 = 2,
    /// Either.
    Any = 3,
    /// A network, used by the range blocklist.
    Cidr = 4,
}

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Elements of an addrvec that we are willing to decode; stock daemons have two.
const ADDRVEC_MAX: usize = 64;

/// One address with its protocol and nonce (`entity_addr_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntityAddr {
    /// Protocol.
    pub kind: AddrType,
    /// Distinguishes incarnations behind one ip:port.
    pub nonce: u32,
    /// IP and port; `None` for a blank address.
    pub sock: Option<SocketAddr>,
}

impl EntityAddr {
    /// Builds an address.
    pub fn new(kind: AddrType, sock: SocketAddr, nonce: u32) -> Self {
        EntityAddr { kind, nonce, sock: Some(sock) }
    }
    /// True when there is no IP in it.
    pub fn is_blank(&self) -> bool {
        self.sock.is_none()
    }

    fn encode_legacy(&self, e: &mut Encoder) {
        e.u32(0);
        e.u32(self.nonce);
        let mut ss = [0u8; 128];
        let body = self.sockaddr();
        ss[2..2 + body.len()].copy_from_slice(&body);
        // The legacy form carries the family in network order, the new one in host order.
        ss[..2].copy_from_slice(&self.family().to_be_bytes());
        e.raw(&ss);
    }

    fn family(&self) -> u16 {
        match self.sock {
            None => 0,
            Some(SocketAddr::V4(_)) => AF_INET,
            Some(SocketAddr::V6(_)) => AF_INET6,
        }
    }

    /// `sa_data` behind the family, zero padded to the length that Ceph gives the family.
    fn sockaddr(&self) -> Vec<u8> {
        match self.sock {
            None => vec![0; 26],
            Some(SocketAddr::V4(a)) => {
                let mut v = a.port().to_be_bytes().to_vec();
                v.extend_from_slice(&a.ip().octets());
                v.extend_from_slice(&[0; 8]);
                v
            }
            Some(SocketAddr::V6(a)) => {
                let mut v = a.port().to_be_bytes().to_vec();
                v.extend_from_slice(&a.flowinfo().to_be_bytes());
                v.extend_from_slice(&a.ip().octets());
                v.extend_from_slice(&a.scope_id().to_le_bytes());
                v
            }
        }
    }

    fn parse_sockaddr(family: u16, b: &[u8]) -> Result<Option<SocketAddr>, DencError> {
        let short = |need| DencError::Short { what: "sockaddr", need, have: b.len() };
        match family {
            0 => Ok(None),
            AF_INET => {
                let a = b.get(..6).ok_or(short(6))?;
                let ip = Ipv4Addr::new(a[2], a[3], a[4], a[5]);
                Ok(Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be_bytes([a[0], a[1]]))))
            }
            AF_INET6 => {
                let a = b.get(..26).ok_or(short(26))?;
                let mut ip = [0u8; 16];
                ip.copy_from_slice(&a[6..22]);
                let flow = u32::from_be_bytes([a[2], a[3], a[4], a[5]]);
                let scope = u32::from_le_bytes([a[22], a[23], a[24], a[25]]);
                let port = u16::from_be_bytes([a[0], a[1]]);
                Ok(Some(core::net::SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into()))
            }
            other => Err(DencError::Invalid { what: "address family", value: other.into() }),
        }
    }

    fn decode_legacy_after_marker(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        d.skip(3)?;
        let nonce = d.u32()?;
        let ss = d.raw(128)?;
        let family = u16::from_be_bytes([ss[0], ss[1]]);
        let sock = Self::parse_sockaddr(family, &ss[2..])?;
        let kind = if sock.is_some() { AddrType::Legacy } else { AddrType::None };
        Ok(EntityAddr { kind, nonce, sock })
    }

    fn decode_after_marker(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("entity_addr_t", 1)?;
        let kind = match d.u32()? {
            0 => AddrType::None,
            1 => AddrType::Legacy,
            2 => AddrType::Msgr2,
            3 => AddrType::Any,
            4 => AddrType::Cidr,
            other => return Err(DencError::Invalid { what: "entity_addr_t type", value: other.into() }),
        };
        let nonce = d.u32()?;
        let len = d.u32()? as usize;
        let sock = if len == 0 {
            None
        } else {
            if len < 2 {
                return Err(DencError::Invalid { what: "sockaddr length", value: len as u64 });
            }
            let family = d.u16()?;
            Self::parse_sockaddr(family, d.raw(len - 2)?)?
        };
        Ok(EntityAddr { kind, nonce, sock })
    }
}

impl Encode for EntityAddr {
    fn encode(&self, e: &mut Encoder) {
        if !e.has(features::MSG_ADDR2) {
            return self.encode_legacy(e);
        }
        e.u8(1);
        e.versioned(1, 1, |e| {
            e.u32(self.kind as u32);
            e.u32(self.nonce);
            let body = self.sockaddr();
            e.u32(body.len() as u32 + 2);
            e.u16(self.family());
            e.raw(&body);
        });
    }
}
impl Decode for EntityAddr {
    const MIN_SIZE: usize = 19;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        match d.u8()? {
            0 => Self::decode_legacy_after_marker(d),
            1 => Self::decode_after_marker(d),
            other => Err(DencError::Invalid { what: "entity_addr_t marker", value: other.into() }),
        }
    }
}

impl fmt::Display for EntityAddr {
    /// `v2:127.0.0.1:3300/0`; the v1 form has no prefix when written alone, as Ceph prints `legacy_addr`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(sock) = self.sock else { return f.write_str("-") };
        match self.kind {
            AddrType::Legacy => f.write_str("v1:")?,
            AddrType::Msgr2 => f.write_str("v2:")?,
            AddrType::Any => f.write_str("any:")?,
            AddrType::Cidr => f.write_str("cidr:")?,
            AddrType::None => {}
        }
        write!(f, "{sock}/{}", self.nonce)
    }
}
impl fmt::Debug for EntityAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All addresses of one entity (`entity_addrvec_t`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AddrVec(pub Vec<EntityAddr>);

impl AddrVec {
    /// The address for messenger v2.
    pub fn msgr2(&self) -> Option<&EntityAddr> {
        self.0.iter().find(|a| a.kind == AddrType::Msgr2)
    }
    /// The address for messenger v1.
    pub fn legacy(&self) -> Option<&EntityAddr> {
        self.0.iter().find(|a| a.kind == AddrType::Legacy)
    }
    /// What `legacy_addr()` answers: the v1 address, else the first as v1 is wanted for display, else blank.
    pub fn legacy_or_front(&self) -> EntityAddr {
        self.legacy().or(self.0.first()).copied().unwrap_or_default()
    }
    /// True without any address.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
impl Encode for AddrVec {
    fn encode(&self, e: &mut Encoder) {
        if e.has(features::MSG_ADDR2) {
            e.u8(2);
            self.0.encode(e);
        } else {
            let a = self.0.iter().find(|a| matches!(a.kind, AddrType::Legacy | AddrType::Any));
            a.copied().unwrap_or_default().encode_legacy(e);
        }
    }
}
impl Decode for AddrVec {
    const MIN_SIZE: usize = 5;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        match d.u8()? {
            0 => {
                let a = EntityAddr::decode_legacy_after_marker(d)?;
                Ok(AddrVec(vec![a]))
            }
            1 => Ok(AddrVec(vec![EntityAddr::decode_after_marker(d)?])),
            2 => {
                let n = d.count("entity_addrvec_t", EntityAddr::MIN_SIZE)?;
                if n > ADDRVEC_MAX {
                    return Err(DencError::Invalid { what: "entity_addrvec_t count", value: n as u64 });
                }
                (0..n).map(|_| d.get()).collect::<Result<_, _>>().map(AddrVec)
            }
            other => Err(DencError::Invalid { what: "entity_addrvec_t marker", value: other.into() }),
        }
    }
}
impl fmt::Display for AddrVec {
    /// `[v2:ip:port/nonce,v1:ip:port/nonce]`, or the one address without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                f.write_str("[")?;
                for (i, a) in many.iter().enumerate() {
                    write!(f, "{}{a}", if i == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
        }
    }
}
impl fmt::Debug for AddrVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
