//! Object classes: methods that clients call on objects (`CEPH_OSD_OP_CALL`), over the [`ClsContext`] seam.
//!
//! Ring 2, pure. A class is a static table of [`Method`]s; whether a method reads or writes comes from this table and
//! never from the flags of the client's message, because those are not reliable (surface.md 5.1).
//!
//! Deliberately absent: loadable classes. The set is fixed at build time.

mod context;
pub mod fuzz;
mod hello;
mod journal;
mod lock;
pub mod mem;
mod rbd;

pub use context::{ClsContext, OmapPage};

use bytes::Bytes;
use types::Errno;

/// Why a method failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{errno}")]
pub struct ClsError {
    /// The error.
    pub errno: Errno,
    /// Output that goes back with the error (reading ops only), if any.
    pub out: Option<Bytes>,
}
impl From<Errno> for ClsError {
    fn from(errno: Errno) -> Self {
        ClsError { errno, out: None }
    }
}
impl From<denc::DencError> for ClsError {
    /// Input that cannot be decoded is `EINVAL`, as in every stock class.
    fn from(_: denc::DencError) -> Self {
        ClsError { errno: Errno::EINVAL, out: None }
    }
}

/// What a method runs as.
pub type MethodFn = fn(&mut dyn ClsContext, &Bytes) -> Result<Bytes, ClsError>;

/// One method of a class.
#[derive(Debug, Clone, Copy)]
pub struct Method {
    /// Name.
    pub name: &'static str,
    /// It reads the object (`CLS_METHOD_RD`): the caller needs `r` on it.
    pub reads: bool,
    /// It changes the object (`CLS_METHOD_WR`): the caller needs `w` on it.
    pub writes: bool,
    /// The code.
    pub func: MethodFn,
}

/// A class: a name and its methods.
#[derive(Debug, Clone, Copy)]
pub struct Class {
    /// Name.
    pub name: &'static str,
    /// Methods, in any order.
    pub methods: &'static [Method],
}
impl Class {
    /// The method of that name.
    pub fn method(&self, name: &str) -> Option<&'static Method> {
        self.methods.iter().find(|m| m.name == name)
    }
}

/// All classes.
static CLASSES: &[Class] = &[hello::CLASS, journal::CLASS, lock::CLASS, rbd::CLASS];

/// The class of that name.
pub fn class(name: &str) -> Option<&'static Class> {
    CLASSES.iter().find(|c| c.name == name)
}

/// All classes, for listings.
pub fn classes() -> &'static [Class] {
    CLASSES
}
