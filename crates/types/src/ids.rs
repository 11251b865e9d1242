//! Ids and versions: entities, OSDs, pools, placement groups, epochs, log versions, requests, snapshots.
//!
//! Mirrors `entity_name_t`, `pg_t`, `spg_t`, `eversion_t`, `osd_reqid_t`, `snapid_t`, `uuid_d`.

use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::fmt;
use std::str::FromStr;

macro_rules! newtype {
    ($(#[$doc:meta])* $name:ident($inner:ident)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);
        impl Encode for $name {
            #[inline]
            fn encode(&self, e: &mut Encoder) { self.0.encode(e) }
        }
        impl Decode for $name {
            const MIN_SIZE: usize = std::mem::size_of::<$inner>();
            #[inline]
            fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> { Ok($name($inner::decode(d)?)) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(&self.0, f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

newtype!(
    /// A map epoch (`epoch_t`). 0 means "none yet".
    Epoch(u32)
);
newtype!(
    /// An OSD's number. Negative in CRUSH output for "no OSD" ([`OsdId::NONE`] in EC sets is 0x7fffffff).
    OsdId(i32)
);
newtype!(
    /// A pool's number. Negative ones are private to the OSD (temporary collections, metadata).
    PoolId(i64)
);
newtype!(
    /// An EC shard of a PG; [`ShardId::NO_SHARD`] for replicated pools.
    ShardId(i8)
);

impl Epoch {
    /// The next epoch.
    pub fn next(self) -> Epoch {
        Epoch(self.0.checked_add(1).expect("epochs do not run out"))
    }
}
impl OsdId {
    /// CRUSH_ITEM_NONE: a hole in an up or acting set.
    pub const NONE: OsdId = OsdId(0x7fff_ffff);
}
impl ShardId {
    /// `shard_id_t::NO_SHARD`.
    pub const NO_SHARD: ShardId = ShardId(-1);
}

/// A snapshot id, or one of the two special values (`snapid_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SnapId(pub u64);
impl SnapId {
    /// CEPH_NOSNAP: the head.
    pub const HEAD: SnapId = SnapId(u64::MAX - 1);
    /// CEPH_SNAPDIR: the set of clones, for `list-snaps`.
    pub const SNAPDIR: SnapId = SnapId(u64::MAX);
}
impl Encode for SnapId {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.u64(self.0);
    }
}
impl Decode for SnapId {
    const MIN_SIZE: usize = 8;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(SnapId(d.u64()?))
    }
}
impl fmt::Display for SnapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            SnapId::HEAD => f.write_str("head"),
            SnapId::SNAPDIR => f.write_str("snapdir"),
            SnapId(n) => write!(f, "{n:x}"),
        }
    }
}
impl fmt::Debug for SnapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Kinds of entity (`CEPH_ENTITY_TYPE_*`). A byte on the wire; a u32 in cephx.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntityType(pub u8);
#[allow(missing_docs)]
impl EntityType {
    pub const MON: EntityType = EntityType(0x01);
    pub const MDS: EntityType = EntityType(0x02);
    pub const OSD: EntityType = EntityType(0x04);
    pub const CLIENT: EntityType = EntityType(0x08);
    pub const MGR: EntityType = EntityType(0x10);
    pub const AUTH: EntityType = EntityType(0x20);

    /// The name that entity ids start with (`osd` of `osd.3`).
    pub fn name(self) -> &'static str {
        match self {
            EntityType::MON => "mon",
            EntityType::MDS => "mds",
            EntityType::OSD => "osd",
            EntityType::CLIENT => "client",
            EntityType::MGR => "mgr",
            EntityType::AUTH => "auth",
            _ => "unknown",
        }
    }
    /// The type that `name` stands for.
    pub fn parse(name: &str) -> Option<EntityType> {
        [Self::MON, Self::MDS, Self::OSD, Self::CLIENT, Self::MGR, Self::AUTH]
            .into_iter()
            .find(|t| t.name() == name)
    }
}
impl fmt::Display for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl fmt::Debug for EntityType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(0x{:x})", self.name(), self.0)
    }
}

/// A session's entity: type and number (`entity_name_t`; a client's number is its global_id).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntityName {
    /// Kind of entity.
    pub kind: EntityType,
    /// Its number: rank, OSD id or global_id; -1 when not known yet.
    pub num: i64,
}
impl EntityName {
    /// Builds a name.
    pub const fn new(kind: EntityType, num: i64) -> Self {
        EntityName { kind, num }
    }
    /// `osd.N`.
    pub const fn osd(id: OsdId) -> Self {
        Self::new(EntityType::OSD, id.0 as i64)
    }
    /// `client.N`.
    pub const fn client(global_id: u64) -> Self {
        Self::new(EntityType::CLIENT, global_id as i64)
    }
    /// `mon.N` by rank.
    pub const fn mon(rank: i64) -> Self {
        Self::new(EntityType::MON, rank)
    }
}
impl Encode for EntityName {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.u8(self.kind.0);
        e.i64(self.num);
    }
}
impl Decode for EntityName {
    const MIN_SIZE: usize = 9;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(EntityName { kind: EntityType(d.u8()?), num: d.i64()? })
    }
}
impl fmt::Display for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.num < 0 { write!(f, "{}.?", self.kind) } else { write!(f, "{}.{}", self.kind, self.num) }
    }
}
impl fmt::Debug for EntityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A placement group: pool and seed (`pg_t`). Prints `pool.seed` with the seed in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PgId {
    /// The pool.
    pub pool: PoolId,
    /// The PG's number in the pool (or, in a raw pg, the whole object hash).
    pub seed: u32,
}
impl PgId {
    /// Builds an id.
    pub const fn new(pool: i64, seed: u32) -> Self {
        PgId { pool: PoolId(pool), seed }
    }
}
impl Encode for PgId {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.u8(1);
        self.pool.encode(e);
        e.u32(self.seed);
        e.i32(-1); // was "preferred"
    }
}
impl Decode for PgId {
    const MIN_SIZE: usize = 17;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let version = d.u8()?;
        if version != 1 {
            return Err(DencError::Invalid { what: "pg_t version", value: version.into() });
        }
        let pg = PgId { pool: PoolId(d.i64()?), seed: d.u32()? };
        d.i32()?;
        Ok(pg)
    }
}
impl fmt::Display for PgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:x}", self.pool, self.seed)
    }
}
impl fmt::Debug for PgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for PgId {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        let (pool, seed) = s.split_once('.').ok_or(())?;
        Ok(PgId::new(pool.parse().map_err(|_| ())?, u32::from_str_radix(seed, 16).map_err(|_| ())?))
    }
}

/// A PG with its shard (`spg_t`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SpgId {
    /// The PG.
    pub pg: PgId,
    /// Its shard.
    pub shard: ShardId,
}
impl SpgId {
    /// A replicated pool's PG.
    pub const fn replicated(pg: PgId) -> Self {
        SpgId { pg, shard: ShardId::NO_SHARD }
    }
}
impl Encode for SpgId {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            self.pg.encode(e);
            self.shard.encode(e);
        });
    }
}
impl Decode for SpgId {
    const MIN_SIZE: usize = 24;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("spg_t", 1)?;
        Ok(SpgId { pg: d.get()?, shard: d.get()? })
    }
}
impl fmt::Display for SpgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shard == ShardId::NO_SHARD { self.pg.fmt(f) } else { write!(f, "{}s{}", self.pg, self.shard) }
    }
}
impl fmt::Debug for SpgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A PG log version (`eversion_t`). Orders by epoch, then by version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EVersion {
    /// Epoch in which the change was made.
    pub epoch: Epoch,
    /// Counter, one per change of the PG.
    pub version: u64,
}
impl EVersion {
    /// Before every change.
    pub const ZERO: EVersion = EVersion { epoch: Epoch(0), version: 0 };
    /// `eversion_t::max()`.
    pub const MAX: EVersion = EVersion { epoch: Epoch(u32::MAX), version: u64::MAX };
    /// Builds a version.
    pub const fn new(epoch: u32, version: u64) -> Self {
        EVersion { epoch: Epoch(epoch), version }
    }
}
impl Encode for EVersion {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.u64(self.version);
        self.epoch.encode(e);
    }
}
impl Decode for EVersion {
    const MIN_SIZE: usize = 12;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let version = d.u64()?;
        Ok(EVersion { version, epoch: d.get()? })
    }
}
impl fmt::Display for EVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}'{}", self.epoch, self.version)
    }
}
impl fmt::Debug for EVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A client request's identity (`osd_reqid_t`): what resent ops are recognised by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReqId {
    /// Who asked.
    pub name: EntityName,
    /// The asker's transaction id.
    pub tid: u64,
    /// The asker's incarnation.
    pub inc: i32,
}
impl Encode for ReqId {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.versioned(2, 2, |e| {
            self.name.encode(e);
            e.u64(self.tid);
            e.i32(self.inc);
        });
    }
}
impl Decode for ReqId {
    const MIN_SIZE: usize = 27;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("osd_reqid_t", 2)?;
        Ok(ReqId { name: d.get()?, tid: d.u64()?, inc: d.i32()? })
    }
}
impl fmt::Display for ReqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}:{}", self.name, self.inc, self.tid)
    }
}
impl fmt::Debug for ReqId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A UUID, for cluster and OSD identity (`uuid_d`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fsid(pub [u8; 16]);
impl Fsid {
    /// True for the all-zero id.
    pub fn is_zero(self) -> bool {
        self.0 == [0; 16]
    }
    /// Turns 16 random bytes into a version 4 UUID.
    pub fn from_random(mut b: [u8; 16]) -> Fsid {
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        Fsid(b)
    }
}
impl Encode for Fsid {
    #[inline]
    fn encode(&self, e: &mut Encoder) {
        e.raw(&self.0);
    }
}
impl Decode for Fsid {
    const MIN_SIZE: usize = 16;
    #[inline]
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        Ok(Fsid(d.get()?))
    }
}
impl fmt::Display for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}
impl fmt::Debug for Fsid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for Fsid {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        let hex: Vec<u8> = s.bytes().filter(|b| *b != b'-').collect();
        if s.len() != 36 || hex.len() != 32 {
            return Err(());
        }
        let mut out = [0u8; 16];
        for (i, pair) in hex.chunks(2).enumerate() {
            let text = std::str::from_utf8(pair).map_err(|_| ())?;
            out[i] = u8::from_str_radix(text, 16).map_err(|_| ())?;
        }
        Ok(Fsid(out))
    }
}
