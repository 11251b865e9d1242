//! Class `journal`: the header of a journal (`journal.<id>`: clients, their commit positions, tags) and appends to its
//! data objects (`journal_data.*`).
//!
//! Mirrors `cls/journal/cls_journal.cc` of 16.2. Deliberately absent: padding of appends to the device's block, which
//! stock does once all clients are octopus; readers take both.

use crate::rbd::util::{LIST_MAX, Listing, bytes_of, has_key, remove_key, start_and_max, write_key};
use crate::{Class, ClsContext, ClsError, Method};
use bytes::Bytes;
use denc::{Decode, Decoder, DencError, Encode, Encoder};
use std::collections::BTreeMap;
use types::Errno;

type Out = Result<Bytes, ClsError>;

const DONE: Bytes = Bytes::new();
const CLIENT: &str = "client_";
const TAG: &str = "tag_";
/// `Tag::TAG_CLASS_NEW`.
const CLASS_NEW: u64 = u64::MAX;
/// CLIENT_STATE_DISCONNECTED.
const DISCONNECTED: u8 = 1;

const fn r(name: &'static str, func: crate::MethodFn) -> Method {
    Method { name, reads: true, writes: false, func }
}
const fn w(name: &'static str, func: crate::MethodFn) -> Method {
    Method { name, reads: true, writes: true, func }
}

/// The class.
pub const CLASS: Class = Class {
    name: "journal",
    methods: &[
        w("create", create),
        r("get_order", |c, _| number::<u8>(c, "order")),
        r("get_splay_width", |c, _| number::<u8>(c, "splay_width")),
        r("get_pool_id", |c, _| number::<i64>(c, "pool_id")),
        r("get_minimum_set", |c, _| number::<u64>(c, "minimum_set")),
        w("set_minimum_set", set_minimum_set),
        r("get_active_set", |c, _| number::<u64>(c, "active_set")),
        w("set_active_set", set_active_set),
        r("get_client", get_client),
        w("client_register", client_register),
        w("client_update_data", client_update_data),
        w("client_update_state", client_update_state),
        w("client_unregister", client_unregister),
        w("client_commit", client_commit),
        r("client_list", client_list),
        r("get_next_tag_tid", |c, _| number::<u64>(c, "next_tag_tid")),
        r("get_tag", get_tag),
        w("tag_create", tag_create),
        r("tag_list", tag_list),
        w("guard_append", guard_append),
        w("append", append),
    ],
};

/// A place in a journal (`cls::journal::ObjectPosition`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Position {
    object: u64,
    tag_tid: u64,
    entry_tid: u64,
}
impl Encode for Position {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.object);
            e.u64(self.tag_tid);
            e.u64(self.entry_tid);
        });
    }
}
impl Decode for Position {
    const MIN_SIZE: usize = 30;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("ObjectPosition", 1)?;
        Ok(Position { object: d.u64()?, tag_tid: d.u64()?, entry_tid: d.u64()? })
    }
}

/// How far a client is (`ObjectSetPosition`), newest first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Positions(Vec<Position>);
impl Encode for Positions {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| e.put(&self.0));
    }
}
impl Decode for Positions {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("ObjectSetPosition", 1)?;
        Ok(Positions(d.get()?))
    }
}

/// Who reads the journal (`cls::journal::Client`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Client {
    id: String,
    data: Bytes,
    positions: Positions,
    state: u8,
}
impl Encode for Client {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.put(&self.id);
            e.put(&self.data);
            e.put(&self.positions);
            e.u8(self.state);
        });
    }
}
impl Decode for Client {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("journal Client", 1)?;
        Ok(Client { id: d.string()?, data: d.blob()?, positions: d.get()?, state: d.u8()? })
    }
}

/// An epoch of writing (`cls::journal::Tag`).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Tag {
    tid: u64,
    class: u64,
    data: Bytes,
}
impl Encode for Tag {
    fn encode(&self, e: &mut Encoder) {
        e.versioned(1, 1, |e| {
            e.u64(self.tid);
            e.u64(self.class);
            e.put(&self.data);
        });
    }
}
impl Decode for Tag {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let (_, mut d) = d.open("journal Tag", 1)?;
        Ok(Tag { tid: d.u64()?, class: d.u64()?, data: d.blob()? })
    }
}

fn client_key(id: &str) -> String {
    format!("{CLIENT}{id}")
}
fn tag_key(tid: u64) -> String {
    format!("{TAG}{tid:016x}")
}

/// One typed value; unlike in `rbd`, a damaged one is `EINVAL`.
fn read_key<T: Decode>(ctx: &mut dyn ClsContext, key: &str) -> Result<T, ClsError> {
    Ok(denc::from_bytes(&ctx.omap_get_val(key.as_bytes())?)?)
}
fn number<T: Decode + Encode>(ctx: &mut dyn ClsContext, key: &str) -> Out {
    let v: T = read_key(ctx, key)?;
    Ok(bytes_of(&v))
}

/// u8 order, u8 splay width, s64 pool.
fn create(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (order, splay, pool) = (d.u8()?, d.u8()?, d.i64()?);
    if has_key(ctx, "order")? {
        return Err(Errno::EEXIST.into());
    }
    write_key(ctx, "order", &order)?;
    write_key(ctx, "splay_width", &splay)?;
    write_key(ctx, "pool_id", &pool)?;
    for key in ["active_set", "minimum_set", "next_tag_tid", "next_tag_class"] {
        write_key(ctx, key, &0u64)?;
    }
    Ok(DONE)
}

/// A set number only grows.
fn advance(ctx: &mut dyn ClsContext, key: &str, to: u64) -> Out {
    let now: u64 = read_key(ctx, key)?;
    if to < now {
        return Err(Errno::ESTALE.into());
    }
    if to > now {
        write_key(ctx, key, &to)?;
    }
    Ok(DONE)
}

/// u64.
fn set_minimum_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let to = Decoder::new(input).u64()?;
    if read_key::<u64>(ctx, "active_set")? < to {
        return Err(Errno::EINVAL.into());
    }
    advance(ctx, "minimum_set", to)
}

/// u64.
fn set_active_set(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let to = Decoder::new(input).u64()?;
    if read_key::<u64>(ctx, "minimum_set")? > to {
        return Err(Errno::EINVAL.into());
    }
    advance(ctx, "active_set", to)
}

fn clients(ctx: &mut dyn ClsContext, start: &str, max: u64) -> Result<BTreeMap<String, Client>, ClsError> {
    // With no start, the client with the empty name is listed as well.
    let found: Vec<(Bytes, Client)> = if start.is_empty() {
        Listing::gather_from_first(ctx, CLIENT, max)?.typed()?
    } else {
        Listing::gather(ctx, CLIENT, start, max)?.typed()?
    };
    Ok(found.into_iter().map(|(_, c)| (c.id.clone(), c)).collect())
}

/// string id -> Client.
fn get_client(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    let client: Client = read_key(ctx, &client_key(&id))?;
    Ok(bytes_of(&client))
}

/// string id, blob data. It begins where the client that is furthest behind is.
fn client_register(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, data) = (d.string()?, d.blob()?);
    read_key::<u8>(ctx, "order")?;
    if has_key(ctx, &client_key(&id))? {
        return Err(Errno::EEXIST.into());
    }
    let mut least: Option<Positions> = None;
    for c in clients(ctx, "", u64::MAX)?.into_values() {
        let Some(first) = c.positions.0.first() else {
            least = Some(Positions::default());
            break;
        };
        let so_far = least.as_ref().and_then(|l| l.0.first());
        if so_far.is_none_or(|l| (first.tag_tid, first.entry_tid) < (l.tag_tid, l.entry_tid)) {
            least = Some(c.positions);
        }
    }
    let client = Client { id, data, positions: least.unwrap_or_default(), state: 0 };
    write_key(ctx, &client_key(&client.id), &client)?;
    Ok(DONE)
}

fn change_client(ctx: &mut dyn ClsContext, id: &str, change: impl FnOnce(&mut Client)) -> Out {
    let mut client: Client = read_key(ctx, &client_key(id))?;
    change(&mut client);
    write_key(ctx, &client_key(id), &client)?;
    Ok(DONE)
}

/// string id, blob data.
fn client_update_data(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, data) = (d.string()?, d.blob()?);
    change_client(ctx, &id, |c| c.data = data)
}

/// string id, u8 state.
fn client_update_state(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, state) = (d.string()?, d.u8()?);
    change_client(ctx, &id, |c| c.state = state)
}

/// string id.
fn client_unregister(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let id = Decoder::new(input).string()?;
    if !has_key(ctx, &client_key(&id))? {
        return Err(Errno::ENOENT.into());
    }
    ctx.omap_rm_key(client_key(&id).as_bytes())?;
    expire_tags(ctx, Some(&id))?;
    Ok(DONE)
}

/// string id, ObjectSetPosition.
fn client_commit(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (id, positions): (String, Positions) = (d.string()?, d.get()?);
    let splay: u8 = read_key(ctx, "splay_width")?;
    if positions.0.len() > splay.into() {
        return Err(Errno::EINVAL.into());
    }
    change_client(ctx, &id, |c| c.positions = positions)
}

/// string start, u64 max -> set of Client.
fn client_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let (start, max) = start_and_max(input)?;
    let found: Vec<Client> = clients(ctx, &start, max)?.into_values().collect();
    Ok(bytes_of(&found))
}

/// All tags, ascending.
fn tags(ctx: &mut dyn ClsContext) -> Result<Vec<(Bytes, Tag)>, ClsError> {
    Listing::gather(ctx, TAG, "", u64::MAX)?.typed()
}

/// Of each tag class: the newest tag up to the first one that is not below `least`. Older ones of the class are done with.
fn oldest_used(tags: &[(Bytes, Tag)], least: u64) -> BTreeMap<u64, u64> {
    let mut used = BTreeMap::new();
    for (_, t) in tags {
        used.insert(t.class, t.tid);
        if t.tid >= least {
            break;
        }
    }
    used
}

/// Removes tags that every connected client is past.
fn expire_tags(ctx: &mut dyn ClsContext, without_client: Option<&str>) -> Result<(), ClsError> {
    let mut least = u64::MAX;
    for c in clients(ctx, "", u64::MAX)?.values() {
        if without_client == Some(&c.id) || c.state == DISCONNECTED {
            continue;
        }
        if c.positions.0.is_empty() {
            return Ok(());
        }
        least = c.positions.0.iter().fold(least, |l, p| l.min(p.tag_tid));
    }
    if least == u64::MAX {
        return Ok(());
    }
    let all = tags(ctx)?;
    let used = oldest_used(&all, least);
    for (key, t) in &all {
        if **key != *format!("{:016x}", t.tid).as_bytes() {
            return Err(Errno::EINVAL.into());
        }
        if used.get(&t.class).is_some_and(|u| t.tid < *u) {
            remove_key(ctx, &tag_key(t.tid))?;
        }
        if t.tid >= least {
            break;
        }
    }
    Ok(())
}

/// u64 tid -> Tag.
fn get_tag(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let tid = Decoder::new(input).u64()?;
    let tag: Tag = read_key(ctx, &tag_key(tid))?;
    Ok(bytes_of(&tag))
}

/// u64 tid (the next one), u64 class (all ones: a new class), blob data.
fn tag_create(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (tid, mut class, data) = (d.u64()?, d.u64()?, d.blob()?);
    if has_key(ctx, &tag_key(tid))? {
        return Err(Errno::EEXIST.into());
    }
    if tid != read_key::<u64>(ctx, "next_tag_tid")? {
        return Err(Errno::ESTALE.into());
    }
    let next_class: u64 = read_key(ctx, "next_tag_class")?;
    if class == CLASS_NEW {
        class = next_class;
        write_key(ctx, "next_tag_class", &class.wrapping_add(1))?;
    } else if class >= next_class {
        return Err(Errno::EINVAL.into());
    }
    expire_tags(ctx, None)?;
    write_key(ctx, "next_tag_tid", &tid.wrapping_add(1))?;
    write_key(ctx, &tag_key(tid), &Tag { tid, class, data })?;
    Ok(DONE)
}

/// u64 start after (0: from the first), u64 max, string client, optional u64 class -> set of Tag, without those that the
/// client is past.
fn tag_list(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (after, max, id, class): (u64, u64, String, Option<u64>) =
        (d.u64()?, d.u64()?, d.string()?, d.get()?);
    let client: Client = read_key(ctx, &client_key(&id))?;
    let least = client.positions.0.iter().map(|p| p.tag_tid).min().unwrap_or(u64::MAX);
    let all = tags(ctx)?;
    let used = if least == u64::MAX { BTreeMap::new() } else { oldest_used(&all, least) };
    let mut found = Vec::new();
    for (_, t) in all {
        if after != 0 && t.tid <= after {
            continue;
        }
        let wanted = class.is_none_or(|c| c == t.class);
        if wanted && used.get(&t.class).is_none_or(|u| t.tid >= *u) {
            found.push(t);
        }
        // As in stock the count is looked at behind each one: at most 0 may be 1.
        if found.len() as u64 >= max.min(LIST_MAX) {
            break;
        }
    }
    Ok(bytes_of(&found))
}

/// The object's size, 0 for an absent one; `EOVERFLOW` when it is full.
fn room(ctx: &mut dyn ClsContext, soft_max: u64) -> Result<u64, ClsError> {
    let size = match ctx.stat() {
        Ok((size, _)) => size,
        Err(Errno::ENOENT) => return Ok(0),
        Err(e) => return Err(e.into()),
    };
    if size >= soft_max { Err(Errno::EOVERFLOW.into()) } else { Ok(size) }
}

/// u64 soft maximum of the size.
fn guard_append(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    room(ctx, Decoder::new(input).u64()?)?;
    Ok(DONE)
}

/// u64 soft maximum of the size, blob.
fn append(ctx: &mut dyn ClsContext, input: &Bytes) -> Out {
    let mut d = Decoder::new(input);
    let (soft_max, data) = (d.u64()?, d.blob()?);
    let at = room(ctx, soft_max)?;
    if at >= soft_max {
        return Err(Errno::EOVERFLOW.into());
    }
    ctx.write(at, data)?;
    Ok(DONE)
}
