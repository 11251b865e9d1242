//! [`Throttle`]: bytes and messages in flight, and [`MsgHold`], which gives a message's share back when dropped.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use tokio::sync::Notify;

/// Counts what was received and not yet finished. Readers wait on it before they take the next message.
#[derive(Debug)]
pub struct Throttle {
    bytes: Cell<u64>,
    messages: Cell<u64>,
    bytes_max: Cell<u64>,
    messages_max: Cell<u64>,
    waiters: RefCell<u64>,
    freed: Notify,
}

impl Throttle {
    pub(crate) fn new(bytes_max: u64, messages_max: u64) -> Rc<Throttle> {
        Rc::new(Throttle {
            bytes: Cell::new(0),
            messages: Cell::new(0),
            bytes_max: Cell::new(bytes_max),
            messages_max: Cell::new(messages_max),
            waiters: RefCell::new(0),
            freed: Notify::new(),
        })
    }
    /// Bytes in flight.
    pub fn bytes(&self) -> u64 {
        self.bytes.get()
    }
    /// Messages in flight.
    pub fn messages(&self) -> u64 {
        self.messages.get()
    }
    /// Times a reader had to wait.
    pub fn waits(&self) -> u64 {
        *self.waiters.borrow()
    }
    /// Changes the limits.
    pub fn set_limits(&self, bytes_max: u64, messages_max: u64) {
        self.bytes_max.set(bytes_max);
        self.messages_max.set(messages_max);
        self.freed.notify_waiters();
    }
    /// True when one more message may be read. One message larger than the limit passes alone.
    pub(crate) fn is_open(&self) -> bool {
        self.bytes.get() < self.bytes_max.get() && self.messages.get() < self.messages_max.get()
    }
    pub(crate) async fn wait_open(&self) {
        while !self.is_open() {
            *self.waiters.borrow_mut() += 1;
            self.freed.notified().await;
        }
    }
    pub(crate) fn hold(self: &Rc<Self>, bytes: u64) -> MsgHold {
        self.bytes.set(self.bytes.get() + bytes);
        self.messages.set(self.messages.get() + 1);
        MsgHold { of: Some((self.clone(), bytes)) }
    }
}

/// The share of the throttle that one received message holds; dropping it gives the share back.
///
/// Keep it beside the request for as long as the request's bytes live.
#[derive(Default)]
pub struct MsgHold {
    of: Option<(Rc<Throttle>, u64)>,
}

impl MsgHold {
    /// A hold on nothing (messages that are not throttled, and tests).
    pub fn none() -> MsgHold {
        MsgHold::default()
    }
    /// Gives the share back now.
    pub fn release(&mut self) {
        if let Some((t, bytes)) = self.of.take() {
            let was_open = t.is_open();
            t.bytes.set(t.bytes.get() - bytes);
            t.messages.set(t.messages.get() - 1);
            if !was_open && t.is_open() {
                t.freed.notify_waiters();
            }
        }
    }
}

impl Drop for MsgHold {
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for MsgHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MsgHold({:?})", self.of.as_ref().map(|(_, b)| b))
    }
}
