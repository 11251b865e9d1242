//! `message!`: declares messages whose front is just their fields in order, and [`PaxosHeader`].

use denc::{Decode, Decoder, DencError, Encode, Encoder};

/// The 18 bytes that messages to the monitor's paxos services begin with (`PaxosServiceMessage`): the map version that
/// the sender has, and two fields that are no longer used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PaxosHeader {
    /// Newest version of the service's map that the sender has; 0 when it does not matter.
    pub version: u64,
}
impl PaxosHeader {
    /// A header that names `version`.
    pub const fn new(version: u64) -> Self {
        PaxosHeader { version }
    }
}
impl Encode for PaxosHeader {
    fn encode(&self, e: &mut Encoder) {
        e.u64(self.version);
        e.u16(u16::MAX); // deprecated_session_mon = -1
        e.u64(0); // deprecated_session_mon_tid
    }
}
impl Decode for PaxosHeader {
    const MIN_SIZE: usize = 18;
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DencError> {
        let version = d.u64()?;
        d.skip(10)?;
        Ok(PaxosHeader { version })
    }
}

/// Declares messages: a struct, and a [`crate::Payload`] that writes the fields in order into the front.
/// `field: Type = since N` marks a field that only versions from N on have; older ones give its default.
/// `+ field` behind the braces adds a `Bytes` field that is the message's data segment.
macro_rules! message {
    ($(
        $(#[$doc:meta])*
        $name:ident = $kind:ident, $text:literal, $version:literal / $compat:literal {
            $( $(#[$fdoc:meta])* $field:ident : $ty:ty $(= since $since:literal)? ),* $(,)?
        } $(+ $(#[$ddoc:meta])* $data:ident)?
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Default)]
        pub struct $name {
            $( $(#[$fdoc])* pub $field: $ty, )*
            $( $(#[$ddoc])* pub $data: bytes::Bytes, )?
        }
        impl $crate::Payload for $name {
            const KIND: u16 = $crate::kinds::$kind;
            const NAME: &'static str = $text;
            const VERSION: u16 = $version;
            const COMPAT: u16 = $compat;
            #[allow(unused_mut, unused_variables)]
            fn encode_parts(&self, features: denc::Features) -> (bytes::Bytes, bytes::Bytes, bytes::Bytes) {
                let mut e = denc::Encoder::new(features);
                $( e.put(&self.$field); )*
                (e.finish(), bytes::Bytes::new(), message!(@data self $(, $data)?))
            }
            #[allow(unused_mut, unused_variables)]
            fn decode_parts(msg: &$crate::Message) -> Result<Self, denc::DencError> {
                let mut d = denc::Decoder::new(&msg.front);
                $(
                    let $field: $ty = message!(@get d, msg $(, $since)?);
                )*
                Ok($name { $($field,)* $( $data: msg.data.clone() )? })
            }
        }
    )*};
    (@data $s:ident) => { bytes::Bytes::new() };
    (@data $s:ident, $data:ident) => { $s.$data.clone() };
    (@get $d:ident, $msg:ident) => { $d.get()? };
    (@get $d:ident, $msg:ident, $since:literal) => {
        if $msg.header.version >= $since { $d.get()? } else { Default::default() }
    };
}
pub(crate) use message;
