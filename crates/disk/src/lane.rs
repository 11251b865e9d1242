//! A lane: one thread that runs batches in order and reports them.

use crate::device::{Aligned, FileDevice};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use store_core::{IoBatch, IoDone};

/// Called, from a lane's thread, when a batch has ended.
pub type WakeHook = Arc<dyn Fn() + Send + Sync>;

/// The end of a batch.
pub struct Ending {
    /// For the store.
    pub done: IoDone,
    /// The lane.
    pub lane: store_core::Lane,
    /// How long its steps took.
    pub took: Duration,
}

/// Ended batches that the owner has not taken yet.
#[derive(Default)]
pub struct Ended {
    list: Mutex<List>,
    any: Condvar,
}
#[derive(Default)]
struct List {
    done: Vec<Ending>,
    /// Threads in [`Ended::wait`]: to notify nobody costs a system call, too.
    waiters: usize,
}
impl Ended {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn push(&self, done: Ending) {
        let mut list = self.lock();
        list.done.push(done);
        if list.waiters > 0 {
            self.any.notify_all();
        }
    }
    /// Takes them all.
    pub fn take(&self) -> Vec<Ending> {
        std::mem::take(&mut self.lock().done)
    }
    /// Waits until there is one, at most this long.
    pub fn wait(&self, at_most: Duration) {
        let mut list = self.lock();
        if list.done.is_empty() {
            list.waiters += 1;
            let woken = self.any.wait_timeout(list, at_most);
            let (mut list, _) = woken.unwrap_or_else(PoisonError::into_inner);
            list.waiters -= 1;
        }
    }
}

/// One thread with its queue. Dropping it lets the thread end after what it was given.
pub struct Lane {
    queue: Option<Sender<IoBatch>>,
    thread: Option<JoinHandle<()>>,
}
impl Lane {
    /// Starts the thread.
    pub fn start(name: &str, dev: FileDevice, ended: Arc<Ended>, wake: WakeHook) -> io::Result<Lane> {
        let (queue, batches) = channel();
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || run(&batches, &dev, &ended, &wake))?;
        Ok(Lane { queue: Some(queue), thread: Some(thread) })
    }
    /// Hands a batch over. Never blocks: the core has one batch a lane in flight.
    pub fn send(&self, batch: IoBatch) {
        // The thread ends only after the queue is dropped, or by a panic that `join` shows.
        let _ = self.queue.as_ref().map(|q| q.send(batch));
    }
}
impl Drop for Lane {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(batches: &Receiver<IoBatch>, dev: &FileDevice, ended: &Ended, wake: &WakeHook) {
    let mut scratch = Aligned::default();
    while let Ok(batch) = batches.recv() {
        let start = Instant::now();
        let result = batch.steps.iter().try_for_each(|s| dev.step(s, &mut scratch));
        let took = start.elapsed();
        scratch.trim();
        let (id, lane) = (batch.id, batch.lane);
        // Payloads are given back here, not on the owner's thread.
        drop(batch);
        let failed = result.is_err();
        ended.push(Ending { done: IoDone { id, result }, lane, took });
        wake();
        if failed {
            // Nothing more is written after a failure: what is still queued is dropped with the channel.
            break;
        }
    }
}
