//! Class `hello`: the one method that clients use as a sign of life.

use crate::{Class, ClsContext, ClsError, Method};
use bytes::Bytes;
use types::Errno;

/// The class.
pub const CLASS: Class = Class {
    name: "hello",
    methods: &[Method { name: "say_hello", reads: true, writes: false, func: say_hello }],
};

/// Longest name that is greeted, as in stock.
const NAME_LEN_MAX: usize = 100;

fn say_hello(_ctx: &mut dyn ClsContext, input: &Bytes) -> Result<Bytes, ClsError> {
    if input.len() > NAME_LEN_MAX {
        return Err(Errno::EINVAL.into());
    }
    let name: &[u8] = if input.is_empty() { b"world" } else { input };
    Ok([b"Hello, ", name, b"!"].concat().into())
}
