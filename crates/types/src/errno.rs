//! [`Errno`]: the one form in which errors reach a Ceph client.
//!
//! Inside the cores errors are enums; they become an `Errno` at the reply edge, in one exhaustive match.

use std::fmt;

/// A Linux errno, stored positive. On the wire Ceph sends its negation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(i32);

macro_rules! errnos {
    ($($name:ident = $n:literal),* $(,)?) => {
        impl Errno {
            $(#[doc = concat!("Linux errno ", stringify!($n), ".")]
            pub const $name: Errno = Errno($n);)*

            /// The symbol, or `None` for a number without one here.
            pub fn symbol(self) -> Option<&'static str> {
                match self.0 { $($n => Some(stringify!($name)),)* _ => None }
            }
        }
    };
}
errnos! {
    EPERM = 1, ENOENT = 2, EINTR = 4, EIO = 5, ENXIO = 6, E2BIG = 7, ENOEXEC = 8, EBADF = 9, EAGAIN = 11, ENOMEM = 12,
    EACCES = 13, EBUSY = 16, EEXIST = 17, EXDEV = 18, ENOTDIR = 20, EISDIR = 21, EINVAL = 22, EFBIG = 27, ENOSPC = 28,
    EROFS = 30, EDOM = 33, ERANGE = 34, ENAMETOOLONG = 36, ENOSYS = 38, ENOTEMPTY = 39, ENODATA = 61, EBADMSG = 74,
    EOVERFLOW = 75, EILSEQ = 84, EOPNOTSUPP = 95, ECONNREFUSED = 111, ENOTCONN = 107, ESHUTDOWN = 108,
    ETIMEDOUT = 110, EALREADY = 114, EINPROGRESS = 115, ESTALE = 116, EDQUOT = 122, ECANCELED = 125, EKEYREJECTED = 129,
}

impl Errno {
    /// From a positive errno. The codes above 4095 that `cmpext` answers are allowed.
    ///
    /// # Panics
    /// When `n` is not positive: an `Errno` is always an error.
    pub fn new(n: i32) -> Errno {
        assert!(n > 0, "an errno is positive, got {n}");
        Errno(n)
    }

    /// The positive number.
    pub const fn code(self) -> i32 {
        self.0
    }

    /// The negative number that replies carry.
    pub const fn negated(self) -> i32 {
        -self.0
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.symbol() {
            Some(s) => write!(f, "{s}({})", self.0),
            None => write!(f, "errno {}", self.0),
        }
    }
}
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
impl std::error::Error for Errno {}
