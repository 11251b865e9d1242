//! Tests of the whole crate, over the in-memory harness.

mod calls;
mod codec;
mod ops;
mod pgls;
mod snaps;
mod vectors;
mod watch;
