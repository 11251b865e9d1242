//! [`Maps`]: what a tool has subscribed to at the monitors, and the newest that came.

use messages::{MFsMap, MLog, MMgrMap, MMonMap, MMonSubscribe, MOsdMap, Message, Payload, SubItem};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use types::fsmap::FsMap;
use types::logentry::LogEntry;
use types::mgrmap::MgrMap;
use types::monmap::MonMap;
use types::osdmap::OsdMap;

/// Log entries that wait for their reader; older ones are dropped.
const LOG_MAX: usize = 100_000;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Maps {
    wants: BTreeMap<String, SubItem>,
    /// Monitors.
    pub mon: Option<Rc<MonMap>>,
    /// Managers.
    pub mgr: Option<Rc<MgrMap>>,
    /// OSDs.
    pub osd: Option<Rc<OsdMap>>,
    /// File systems.
    pub fs: Option<Rc<FsMap>>,
    /// Cluster log.
    pub log: VecDeque<LogEntry>,
}

impl Maps {
    /// Forgets what is there of `what`, and wants it (again): one time, or for as long as the session lasts.
    pub fn want(&mut self, what: &str, once: bool) {
        match what {
            "monmap" => self.mon = None,
            "mgrmap" => self.mgr = None,
            "osdmap" => self.osd = None,
            "fsmap" => self.fs = None,
            _ => {}
        }
        let flags = if once { SubItem::ONETIME } else { 0 };
        self.wants.insert(what.to_owned(), SubItem { start: 0, flags });
    }

    /// What the monitor is to be told; `None` when nothing is wanted.
    pub fn subscription(&self) -> Option<MMonSubscribe> {
        if self.wants.is_empty() {
            return None;
        }
        Some(MMonSubscribe { what: self.wants.clone(), ..MMonSubscribe::default() })
    }

    fn got(&mut self, what: &str) {
        self.wants.remove(what);
    }

    /// True when the message brought something that is wanted.
    pub fn take(&mut self, msg: &Message) -> bool {
        match self.decode(msg) {
            Ok(taken) => taken,
            Err(e) => {
                tracing::warn!(error = %e, "malformed {} from {:?}", msg.header.kind, msg.src);
                false
            }
        }
    }

    fn decode(&mut self, msg: &Message) -> Result<bool, denc::DencError> {
        match msg.header.kind {
            MMonMap::KIND => {
                self.mon = Some(Rc::new(denc::from_bytes(&msg.decode::<MMonMap>()?.monmap)?));
                self.got("monmap");
            }
            MMgrMap::KIND => {
                self.mgr = Some(Rc::new(msg.decode::<MMgrMap>()?.map));
                self.got("mgrmap");
            }
            MFsMap::KIND => {
                self.fs = Some(Rc::new(msg.decode::<MFsMap>()?.fsmap));
                self.got("fsmap");
            }
            MOsdMap::KIND => {
                // Who asks from 0 gets the newest map whole.
                let m = msg.decode::<MOsdMap>()?;
                let Some((_, full)) = m.maps.last_key_value() else { return Ok(false) };
                self.osd = Some(Rc::new(denc::from_bytes(full)?));
                self.got("osdmap");
            }
            MLog::KIND => {
                let m = msg.decode::<MLog>()?;
                for (what, item) in &mut self.wants {
                    if what.starts_with("log-") {
                        item.start = m.paxos.version + 1;
                    }
                }
                self.log.extend(m.entries);
                while self.log.len() > LOG_MAX {
                    self.log.pop_front();
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
