//! Every message type in one place: [`recode`] and [`describe`] work on a message of any type.

use crate::{Message, MsgHeader, Payload};
use denc::{DencError, Features};

/// Calls `$go!` with the list of all payload types.
macro_rules! with_payloads {
    ($go:ident) => {
        $go! {
            crate::MPing, crate::MMonMap, crate::MMonGetMap, crate::MMonGetOsdMap, crate::MOsdMap,
            crate::MMonSubscribe, crate::MMonSubscribeAck, crate::MMonGetVersion, crate::MMonGetVersionReply,
            crate::MMonCommand, crate::MMonCommandAck, crate::MCommand, crate::MCommandReply, crate::MStatfs,
            crate::MStatfsReply, crate::MGetPoolStats, crate::MGetPoolStatsReply, crate::MPoolOp,
            crate::MPoolOpReply, crate::MConfig, crate::MLog, crate::MLogAck, crate::MAuth, crate::MAuthReply,
            crate::MMonGetPurgedSnaps, crate::MMonGetPurgedSnapsReply, crate::MOsdOp, crate::MOsdOpReply,
            crate::MWatchNotify, crate::MOsdBackoff, crate::MOsdPing, crate::MOsdBoot, crate::MOsdFailure,
            crate::MOsdAlive, crate::MOsdMarkMeDown, crate::MOsdMarkMeDead, crate::MOsdFull, crate::MOsdPgTemp,
            crate::MOsdBeacon, crate::MOsdPgCreated, crate::MOsdPgCreate2, crate::MOsdPgReadyToMerge,
            crate::MPgStats, crate::MPgStatsAck, crate::MRemoveSnaps, crate::MOsdScrub2,
            crate::MOsdForceRecovery, crate::MMgrOpen, crate::MMgrConfigure, crate::MMgrReport, crate::MMgrClose,
            crate::MMgrMap, crate::MMgrBeacon, crate::MMgrDigest, crate::MMonMgrReport, crate::MServiceMap,
            crate::MMgrCommand, crate::MMgrCommandReply, crate::MKvData, crate::MGetConfig, crate::MFsMap,
            crate::MFsMapUser, crate::MMdsMap, crate::MMdsBeacon, crate::MMdsLoadTargets,
        }
    };
}

macro_rules! kinds {
    ($($ty:ty),* $(,)?) => {
        /// The types that have a payload here.
        pub const KNOWN: &[u16] = &[$(<$ty>::KIND),*];
    };
}
with_payloads!(kinds);

fn recode_as<P: Payload>(msg: &Message, features: Features) -> Result<Message, DencError> {
    let payload: P = msg.decode()?;
    let new = Message::new(&payload, features);
    let header = MsgHeader { version: new.header.version, compat: new.header.compat, ..msg.header };
    Ok(Message { header, ..new })
}

/// Decodes a message and encodes it again for a peer with `features`; `None` for a type that is not known here.
pub fn recode(msg: &Message, features: Features) -> Option<Result<Message, DencError>> {
    macro_rules! go {
        ($($ty:ty),* $(,)?) => {
            match msg.header.kind {
                $(<$ty>::KIND => Some(recode_as::<$ty>(msg, features)),)*
                _ => None,
            }
        };
    }
    with_payloads!(go)
}

/// One line for logs: the fields when the message decodes, else its type and sizes.
pub fn describe(msg: &Message) -> String {
    macro_rules! go {
        ($($ty:ty),* $(,)?) => {
            match msg.header.kind {
                $(<$ty>::KIND => msg.decode::<$ty>().map(|p| format!("{p:?}")).ok(),)*
                _ => None,
            }
        };
    }
    with_payloads!(go).unwrap_or_else(|| {
        let h = &msg.header;
        let (front, middle, data) = (msg.front.len(), msg.middle.len(), msg.data.len());
        format!(
            "{}({:#x}) v{}/{} {front}+{middle}+{data} bytes",
            crate::kinds::name(h.kind),
            h.kind,
            h.version,
            h.compat
        )
    })
}
