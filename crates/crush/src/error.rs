//! [`CrushError`]: why an edit of a map is refused. The monitor turns these into errno and text.

use thiserror::Error;

/// Why an edit of a map is refused. The map is unchanged then.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum CrushError {
    /// No item or bucket has this name (ENOENT).
    #[error("item '{0}' does not exist")]
    NoSuchName(String),
    /// No item or bucket has this id (ENOENT).
    #[error("item id {0} does not exist")]
    NoSuchItem(i32),
    /// The name belongs to another item (EEXIST).
    #[error("name '{0}' is in use")]
    NameInUse(String),
    /// Not a name that CRUSH allows (EINVAL).
    #[error("'{0}' is not a valid name")]
    BadName(String),
    /// No type has this name (EINVAL).
    #[error("type '{0}' does not exist")]
    NoSuchType(String),
    /// The bucket with this name has another type than asked for (EINVAL).
    #[error("bucket '{0}' has another type")]
    WrongType(String),
    /// The location puts the item nowhere (EINVAL).
    #[error("location does not name a place for the item")]
    NoPlace,
    /// The item would become its own ancestor (ELOOP).
    #[error("item '{0}' would contain itself")]
    Loop(String),
    /// The bucket still has items (ENOTEMPTY).
    #[error("bucket '{0}' is not empty")]
    NotEmpty(String),
    /// A rule takes the bucket (EBUSY).
    #[error("bucket '{0}' is in use by a rule")]
    InUse(String),
    /// No class has this name, or no device of it is there (EINVAL).
    #[error("device class '{0}' does not exist")]
    NoSuchClass(String),
    /// The device has another class already (EBUSY).
    #[error("osd.{osd} has already bound to class '{class}'")]
    ClassBound {
        /// The device.
        osd: i32,
        /// Its class.
        class: String,
    },
    /// No rule has this name (ENOENT).
    #[error("rule '{0}' does not exist")]
    NoSuchRule(String),
    /// All 256 rule ids are taken (ENOSPC).
    #[error("no rule id is free")]
    RulesFull,
    /// The hierarchy would become deeper than the mapper walks, or a weight too large (ERANGE).
    #[error("{0} is out of range")]
    Range(&'static str),
}
