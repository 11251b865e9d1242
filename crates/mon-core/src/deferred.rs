//! [`Deferred`]: what waits for the proposal in flight, or for a quorum; bounded in what peers can make it hold.

use crate::event::MonEvent;
use std::collections::VecDeque;

/// Messages and commands that wait.
const COUNT_MAX: usize = 20_000;
/// Their bytes; stock bounds what its clients have in flight by as much (`mon_client_bytes`).
const BYTES_MAX: usize = 100 << 20;

/// See the module's documentation. Events of the monitors' own always find room: there are few.
#[derive(Default)]
pub(crate) struct Deferred {
    events: VecDeque<MonEvent>,
    bytes: usize,
}

/// Bytes that an event came with.
pub(crate) fn bytes_of(e: &MonEvent) -> usize {
    match e {
        MonEvent::Message(_, m) => m.len(),
        MonEvent::LocalCommand { command, .. } => command.len(),
        _ => 0,
    }
}

impl Deferred {
    /// Puts an event behind the others; gives it back when there is no room.
    pub fn push(&mut self, e: MonEvent) -> Result<(), MonEvent> {
        let bytes = bytes_of(&e);
        let from_outside = matches!(e, MonEvent::Message(..) | MonEvent::LocalCommand { .. });
        if from_outside && (self.events.len() >= COUNT_MAX || self.bytes + bytes > BYTES_MAX) {
            return Err(e);
        }
        self.bytes += bytes;
        self.events.push_back(e);
        Ok(())
    }

    /// The first one.
    pub fn pop(&mut self) -> Option<MonEvent> {
        let e = self.events.pop_front()?;
        self.bytes -= bytes_of(&e);
        Some(e)
    }

    /// Puts back what [`Deferred::pop`] took.
    pub fn put_back(&mut self, e: MonEvent) {
        self.bytes += bytes_of(&e);
        self.events.push_front(e);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Messages are forgotten: their sessions end.
    pub fn drop_messages(&mut self) {
        self.events.retain(|e| !matches!(e, MonEvent::Message(..)));
        self.bytes = self.events.iter().map(bytes_of).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(bytes: usize) -> MonEvent {
        MonEvent::LocalCommand { token: 0, command: "x".repeat(bytes) }
    }

    #[test]
    fn holds_no_more_than_its_bounds() {
        let mut d = Deferred::default();
        for _ in 0..10 {
            assert!(d.push(command(10 << 20)).is_ok());
        }
        assert!(d.push(command(1)).is_err(), "too many bytes");
        assert!(d.push(MonEvent::Members(Vec::new())).is_ok(), "the monitors' own find room");
        let first = d.pop().unwrap();
        assert!(d.push(command(10 << 20)).is_ok());
        assert!(d.push(command(1)).is_err());
        d.put_back(first);
        assert_eq!((d.len(), d.bytes), (12, 110 << 20));
        while d.pop().is_some() {}
        assert_eq!((d.len(), d.bytes), (0, 0));
        for _ in 0..COUNT_MAX {
            assert!(d.push(command(0)).is_ok());
        }
        assert!(d.push(command(0)).is_err(), "too many");
    }
}
