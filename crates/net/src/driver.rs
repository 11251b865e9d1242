//! The tasks: one reader for each socket, one acceptor for each listener, one for timers and sends from outside.
//!
//! A reader does all of a batch itself: read once, cut all frames, call the dispatcher for each, then write everything that was
//! queued anywhere, one vectored write for each socket touched. A writer task exists only while a socket is full.

use crate::messenger::MsgrInner;
use crate::{AcceptInfo, Connection, MsgHold};
use bytes::{Buf, BufMut, BytesMut};
use msgr::{Event, MsgrError, OutBuf, SessionId, TransportId};
use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, spawn_local};
use types::EntityAddr;

/// A reader starts with this much room, and idle connections keep no more than that.
const READ_BYTES_MIN: usize = 8 << 10;
/// Room it grows to while reads fill it.
const READ_BYTES_MAX: usize = 256 << 10;
/// A frame that lacks this much gets a buffer of its own.
const OWN_BUFFER_BYTES: usize = 64 << 10;
const PAGE_BYTES: usize = 4096;
/// Elements of one vectored write.
const IOVEC_MAX: usize = 64;
/// Bytes written to one socket before others have their turn.
const WRITE_BYTES_MAX: usize = 8 << 20;

/// One socket, from the order to open it on.
pub(crate) struct Sock {
    pub(crate) task: AbortHandle,
    write: Option<Rc<OwnedWriteHalf>>,
    blocked: bool,
}

/// Timers, and what was asked for outside of a batch.
pub(crate) async fn background(m: Rc<MsgrInner>) {
    loop {
        let due = m.ep.borrow().next_timeout();
        m.armed.set(due);
        match due {
            None => m.work.notified().await,
            Some(at) => {
                let wait = at.since(m.now()).min(Duration::from_secs(3600));
                tokio::select! {
                    () = m.work.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
        m.unkick();
        let now = m.now();
        m.ep.borrow_mut().handle_timeout(now);
        pump(&m);
        flush(&m);
    }
}

pub(crate) async fn accept_loop(m: Rc<MsgrInner>, listener: TcpListener, is_v1: bool) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if m.ep.borrow().transport_count() >= m.connections_max {
                    m.count(|n| n.accepts_refused += 1);
                    continue;
                }
                m.count(|n| n.accepted += 1);
                let now = m.now();
                let t = m.ep.borrow_mut().accept(now, is_v1, from);
                adopt(&m, t, stream);
                flush(&m);
                m.kick();
            }
            Err(e) => {
                // Out of file descriptors, most likely: wait for some to close.
                tracing::warn!(error = %e, "accept failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Starts reading a fresh socket.
fn adopt(m: &Rc<MsgrInner>, t: TransportId, stream: TcpStream) {
    if let Err(e) = stream.set_nodelay(true) {
        tracing::debug!(error = %e, "TCP_NODELAY");
    }
    let (read, write) = stream.into_split();
    let task = spawn_local(read_loop(m.clone(), t, read)).abort_handle();
    m.socks.borrow_mut().insert(t, Sock { task, write: Some(Rc::new(write)), blocked: false });
}

async fn connect(m: Rc<MsgrInner>, t: TransportId, addr: SocketAddr) {
    let r = TcpStream::connect(addr).await.and_then(|s| s.local_addr().map(|l| (s, l)));
    let now = m.now();
    if !m.socks.borrow().contains_key(&t) {
        return;
    }
    match r {
        Ok((stream, local)) => {
            m.ep.borrow_mut().connected(now, t, local);
            adopt(&m, t, stream);
        }
        Err(e) => {
            let refused = e.kind() == ErrorKind::ConnectionRefused;
            m.ep.borrow_mut().connect_failed(now, t, refused);
        }
    }
    pump(&m);
    flush(&m);
    m.kick();
}

async fn read_loop(m: Rc<MsgrInner>, t: TransportId, mut read: OwnedReadHalf) {
    let mut buf = BytesMut::new();
    let mut room = READ_BYTES_MIN;
    loop {
        let (need, data_at, throttled) = {
            let ep = m.ep.borrow();
            (ep.need(t), ep.data_at(t), ep.is_throttled(t))
        };
        if throttled && !m.throttle.is_open() {
            m.throttle.wait_open().await;
        }
        if m.lean && buf.is_empty() {
            buf = BytesMut::new();
            // (An error shows at the read.)
            let _ = read.readable().await;
        }
        let missing = need.saturating_sub(buf.len());
        let free = buf.capacity() - buf.len();
        let big = missing >= OWN_BUFFER_BYTES;
        if big && free < missing {
            buf = own_buffer(&buf, need, data_at.unwrap_or(0));
            room = READ_BYTES_MIN;
        } else if free < missing || (buf.len() < READ_BYTES_MIN / 2 && free < room / 2) {
            // What began moves to the new buffer, so it is either short or has to.
            buf.reserve(missing.max(room));
        }
        // The buffer of a big frame takes nothing of the next one: it lives as long as the frame's data.
        let space = if big { missing } else { buf.capacity() - buf.len() };
        let n = read.read_buf(&mut (&mut buf).limit(space)).await.unwrap_or_default();
        if !big && n == space {
            room = (room * 2).min(READ_BYTES_MAX);
        } else if n < READ_BYTES_MIN / 2 {
            room = (room / 2).max(READ_BYTES_MIN);
        }
        m.count(|c| {
            c.reads += 1;
            c.bytes_in += n as u64;
        });
        let now = m.now();
        if n == 0 {
            m.ep.borrow_mut().lost(now, t);
        } else {
            loop {
                m.ep.borrow_mut().received(now, t, &mut buf);
                m.resumed.set(false);
                pump(&m);
                if !m.resumed.get() {
                    break;
                }
            }
        }
        pump(&m);
        if !m.is_held() {
            flush(&m);
        }
        if !m.socks.borrow().contains_key(&t) {
            // Timers and standby sessions may have changed.
            m.kick();
            return;
        }
    }
}

/// A buffer for one frame of which `begun` is here, with the byte at `data_at` at a page's start: then the data needs no copy on
/// its way past the page cache.
fn own_buffer(begun: &[u8], need: usize, data_at: usize) -> BytesMut {
    let mut b = BytesMut::with_capacity(need + PAGE_BYTES);
    let data = b.as_ptr() as usize + data_at;
    let skip = data.next_multiple_of(PAGE_BYTES) - data;
    b.resize(skip, 0);
    b.advance(skip);
    b.extend_from_slice(begun);
    b
}

/// Drains events, calling the dispatcher. Not entered twice: what callbacks cause is drained by the loop that called them.
pub(crate) fn pump(m: &Rc<MsgrInner>) {
    if m.pumping.replace(true) {
        return;
    }
    let mut any = false;
    loop {
        let event = m.ep.borrow_mut().poll_event();
        let Some(event) = event else {
            if !std::mem::take(&mut any) {
                break;
            }
            // It may send, connect or close in turn.
            m.dispatcher.on_batch_end();
            continue;
        };
        if m.down.get() {
            break;
        }
        any = true;
        handle(m, event);
    }
    m.pumping.set(false);
    // A callback may have started something with a deadline before the one that the background task waits for.
    let next = m.ep.borrow().next_timeout();
    if next.is_some_and(|n| m.armed.get().is_none_or(|a| n < a)) {
        m.kick();
    }
}

/// Closes what was marked down, calling nothing back; for the end.
pub(crate) fn close_all(m: &Rc<MsgrInner>) {
    loop {
        let event = m.ep.borrow_mut().poll_event();
        match event {
            None => return,
            Some(Event::Close { transport, rest, why }) => close(m, transport, rest, &why),
            Some(_) => {}
        }
    }
}

fn conn(m: &Rc<MsgrInner>, id: SessionId) -> Option<Connection> {
    m.conns.borrow().get(&id).cloned()
}

/// The handle of a session that has a (new) transport.
fn refreshed(m: &Rc<MsgrInner>, id: SessionId) -> Option<Connection> {
    let ep = m.ep.borrow();
    let s = ep.session(id)?;
    let mut conns = m.conns.borrow_mut();
    let c = conns.entry(id).or_insert_with(|| Connection::new(id, Rc::downgrade(m), s));
    c.refresh(s);
    Some(c.clone())
}

fn handle(m: &Rc<MsgrInner>, event: Event) {
    let now = m.now();
    match event {
        Event::Message(id, msg) => {
            let Some(c) = conn(m, id) else { return };
            c.count(|n| n.messages_in += 1);
            c.learn_name(msg.src);
            m.count(|n| n.messages_in += 1);
            let hold = if c.0.throttled.get() { m.throttle.hold(msg.len() as u64) } else { MsgHold::none() };
            m.dispatcher.on_message(&c, msg, hold);
        }
        Event::Open { transport, addr } => open(m, transport, addr),
        Event::Close { transport, rest, why } => close(m, transport, rest, &why),
        Event::NeedServerAuth { transport, peer_type, from, is_v1 } => {
            let info = AcceptInfo { peer_type, from, is_v1, conn_id: transport };
            let auth = m.dispatcher.server_auth(&info);
            m.ep.borrow_mut().provide_server_auth(now, transport, auth);
            m.resumed.set(true);
        }
        Event::NeedClientAuth { transport, peer_type, peer } => {
            let auth = m.dispatcher.client_auth(peer_type, &peer);
            m.ep.borrow_mut().provide_client_auth(now, transport, auth);
            m.resumed.set(true);
        }
        Event::Connected(id) => {
            if let Some(c) = refreshed(m, id) {
                m.dispatcher.on_connect(&c);
            }
        }
        Event::Accepted(id) => {
            if let Some(c) = refreshed(m, id) {
                m.dispatcher.on_accept(&c);
            }
        }
        Event::Resumed(id) => drop(refreshed(m, id)),
        Event::Reset(id, why) => {
            let c = m.conns.borrow_mut().remove(&id);
            if let Some(c) = c {
                tracing::debug!(conn = ?c, %why, "session ended");
                c.0.closed.set(true);
                m.dispatcher.on_reset(&c);
            }
        }
        Event::RemoteReset(id) => {
            if let Some(c) = conn(m, id) {
                m.dispatcher.on_remote_reset(&c);
            }
        }
        Event::Refused(id) => {
            if let Some(c) = conn(m, id) {
                m.dispatcher.on_refused(&c);
            }
        }
        Event::KeepaliveAck(id, stamp) => {
            if let Some(c) = conn(m, id) {
                c.0.last_keepalive_ack.set(stamp);
            }
        }
    }
}

fn open(m: &Rc<MsgrInner>, t: TransportId, addr: EntityAddr) {
    let Some(sock) = addr.sock else { return };
    let task = spawn_local(connect(m.clone(), t, sock)).abort_handle();
    m.socks.borrow_mut().insert(t, Sock { task, write: None, blocked: false });
}

fn close(m: &Rc<MsgrInner>, t: TransportId, mut rest: OutBuf, why: &MsgrError) {
    match why {
        MsgrError::Lost | MsgrError::PeerClosed | MsgrError::Replaced => {}
        _ => {
            m.count(|n| n.transports_failed += 1);
            tracing::debug!(transport = t, %why, "transport closed");
        }
    }
    let Some(s) = m.socks.borrow_mut().remove(&t) else { return };
    if let Some(w) = &s.write {
        let _ = write_some(m, w, &mut rest);
    }
    // Dropping our halves closes the socket. A reader that is running right now sees that it is gone.
    s.task.abort();
}

/// True when all is written; false when the socket is full.
fn write_some(m: &MsgrInner, w: &OwnedWriteHalf, out: &mut OutBuf) -> std::io::Result<bool> {
    let mut written = 0;
    while !out.is_empty() {
        if written >= WRITE_BYTES_MAX {
            return Ok(false);
        }
        let mut iov = [IoSlice::new(&[]); IOVEC_MAX];
        let mut n = 0;
        for chunk in out.chunks().take(IOVEC_MAX) {
            iov[n] = IoSlice::new(chunk);
            n += 1;
        }
        match w.try_write_vectored(&iov[..n]) {
            Ok(len) => {
                m.count(|c| {
                    c.writes += 1;
                    c.bytes_out += len as u64;
                });
                written += len;
                out.advance(len);
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                m.count(|c| c.writes_blocked += 1);
                return Ok(false);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Writes everything queued to sockets that take it.
pub(crate) fn flush(m: &Rc<MsgrInner>) {
    if !m.ep.borrow().has_dirty() {
        return;
    }
    let dirty = m.ep.borrow_mut().take_dirty();
    for t in dirty {
        flush_one(m, t);
    }
}

fn flush_one(m: &Rc<MsgrInner>, t: TransportId) {
    let write = match m.socks.borrow().get(&t) {
        Some(Sock { write: Some(w), blocked: false, .. }) => w.clone(),
        _ => return,
    };
    let r = {
        let mut ep = m.ep.borrow_mut();
        let Some(out) = ep.out(t) else { return };
        write_some(m, &write, out)
    };
    match r {
        Ok(true) => {}
        Ok(false) => {
            if let Some(s) = m.socks.borrow_mut().get_mut(&t) {
                s.blocked = true;
            }
            spawn_local(wait_writable(m.clone(), t, write));
        }
        Err(_) => {
            // The reader may never hear of it; tell the session at the next turn, outside of any callback.
            let now = m.now();
            m.ep.borrow_mut().lost(now, t);
            m.kick();
        }
    }
}

async fn wait_writable(m: Rc<MsgrInner>, t: TransportId, write: Rc<OwnedWriteHalf>) {
    let _ = write.writable().await;
    drop(write);
    if let Some(s) = m.socks.borrow_mut().get_mut(&t) {
        s.blocked = false;
    }
    flush_one(&m, t);
}
