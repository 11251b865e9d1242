//! Messages for people: what a trace prints.

use messages::{MOsdMap, MOsdOp, MOsdOpReply, Message, Payload, kinds};

/// One line.
pub fn message(m: &Message) -> String {
    let name = kinds::name(m.header.kind);
    let body = match m.header.kind {
        MOsdOp::KIND => m.decode::<MOsdOp>().map(|o| format!("{o:?} retry {}", o.retry_attempt)).ok(),
        MOsdOpReply::KIND => m.decode::<MOsdOpReply>().map(|o| format!("{o:?}")).ok(),
        MOsdMap::KIND => m
            .decode::<MOsdMap>()
            .map(|o| format!("full {:?} inc {:?}", o.maps.keys(), o.incremental_maps.keys()))
            .ok(),
        pg::MSG_LOLIGO_PG => m.decode::<pg::PgMessage>().map(|o| pg_message(&o)).ok(),
        pg::MSG_LOLIGO_ACKS => m.decode::<pg::PgAcks>().map(|o| format!("{o:?}")).ok(),
        _ => None,
    };
    match body {
        Some(b) => format!("{b} tid {}", m.header.tid),
        None => format!("{name}({:#x}) {} bytes tid {}", m.header.kind, m.len(), m.header.tid),
    }
}

fn pg_message(m: &pg::PgMessage) -> String {
    let mut body = format!("{:?}", m.body);
    // Payloads make lines unreadable.
    if body.len() > 600 {
        let mut at = 600;
        while !body.is_char_boundary(at) {
            at -= 1;
        }
        body.truncate(at);
        body += "...";
    }
    format!("pg {} e{} {body}", m.pgid, m.epoch)
}
