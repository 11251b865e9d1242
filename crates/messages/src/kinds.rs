//! Message type numbers (`CEPH_MSG_*`, `MSG_*` of `src/msg/Message.h` and `include/ceph_fs.h`) and their names in logs.
//!
//! Numbers 0x4000..0x40ff are our own OSD-to-OSD messages, 0x4100..0x41ff those between monitors; they are defined where they are
//! used (crates `pg` and `mon-core`).

macro_rules! kinds {
    ($($name:ident = $n:literal $text:literal),* $(,)?) => {
        $(#[doc = concat!("`", $text, "`")]
        pub const $name: u16 = $n;)*

        /// The name of a message type, as stock's logs have it; `unknown` for a number without one.
        pub fn name(kind: u16) -> &'static str {
            match kind {
                $($n => $text,)*
                0x4000..=0x40ff => "loligo_internal",
                0x4100..=0x41ff => "loligo_mon",
                _ => "unknown",
            }
        }

        /// Every number that has a name.
        pub const ALL: &[u16] = &[$($n),*];
    };
}

kinds! {
    SHUTDOWN = 1 "shutdown",
    PING = 2 "ping",
    MON_MAP = 4 "mon_map",
    MON_GET_MAP = 5 "mon_getmap",
    MON_GET_OSDMAP = 6 "mon_get_osdmap",
    MON_METADATA = 7 "mon_metadata",
    STATFS = 13 "statfs",
    STATFS_REPLY = 14 "statfs_reply",
    MON_SUBSCRIBE = 15 "mon_subscribe",
    MON_SUBSCRIBE_ACK = 16 "mon_subscribe_ack",
    AUTH = 17 "auth",
    AUTH_REPLY = 18 "auth_reply",
    MON_GET_VERSION = 19 "mon_get_version",
    MON_GET_VERSION_REPLY = 20 "mon_get_version_reply",
    MDS_MAP = 21 "mdsmap",
    CLIENT_SESSION = 22 "client_session",
    CLIENT_RECONNECT = 23 "client_reconnect",
    CLIENT_REQUEST = 24 "client_request",
    CLIENT_REQUEST_FORWARD = 25 "client_request_forward",
    CLIENT_REPLY = 26 "client_reply",
    CLIENT_RECLAIM = 27 "client_reclaim",
    CLIENT_RECLAIM_REPLY = 28 "client_reclaim_reply",
    CLIENT_METRICS = 29 "client_metrics",
    PAXOS = 40 "paxos",
    OSD_MAP = 41 "osd_map",
    OSD_OP = 42 "osd_op",
    OSD_OP_REPLY = 43 "osd_op_reply",
    WATCH_NOTIFY = 44 "watch_notify",
    FS_MAP = 45 "fsmap",
    FORWARD = 46 "forward",
    ROUTE = 47 "route",
    POOLOP_REPLY = 48 "pool_op_reply",
    POOLOP = 49 "pool_op",
    MON_COMMAND = 50 "mon_command",
    MON_COMMAND_ACK = 51 "mon_command_ack",
    LOG = 52 "log",
    LOG_ACK = 53 "log_ack",
    KV_DATA = 54 "kv_data",
    GET_POOL_STATS = 58 "getpoolstats",
    GET_POOL_STATS_REPLY = 59 "getpoolstats_reply",
    MON_GLOBAL_ID = 60 "global_id",
    OSD_BACKOFF = 61 "osd_backoff",
    CONFIG = 62 "config",
    GET_CONFIG = 63 "get_config",
    MON_SCRUB = 64 "mon_scrub",
    MON_ELECTION = 65 "election",
    MON_PAXOS = 66 "mon_paxos",
    MON_PROBE = 67 "mon_probe",
    MON_JOIN = 68 "mon_join",
    MON_SYNC = 69 "mon_sync",
    OSD_PING = 70 "osd_ping",
    OSD_BOOT = 71 "osd_boot",
    OSD_FAILURE = 72 "osd_failure",
    OSD_ALIVE = 73 "osd_alive",
    OSD_MARK_ME_DOWN = 74 "osd_mark_me_down",
    OSD_FULL = 75 "osd_full",
    MON_GET_PURGED_SNAPS = 76 "mon_get_purged_snaps",
    MON_GET_PURGED_SNAPS_REPLY = 77 "mon_get_purged_snaps_reply",
    OSD_PGTEMP = 78 "osd_pgtemp",
    OSD_BEACON = 79 "osd_beacon",
    OSD_PG_NOTIFY = 80 "pg_notify",
    OSD_PG_QUERY = 81 "pg_query",
    OSD_PG_LOG = 83 "pg_log",
    OSD_PG_REMOVE = 84 "pg_remove",
    OSD_PG_INFO = 85 "pg_info",
    OSD_PG_TRIM = 86 "pg_trim",
    PG_STATS = 87 "pg_stats",
    PG_STATS_ACK = 88 "pg_stats_ack",
    OSD_PG_CREATE = 89 "osd_pg_create",
    REMOVE_SNAPS = 90 "remove_snaps",
    OSD_SCRUB = 91 "osd_scrub",
    OSD_SCRUB_RESERVE = 92 "scrub_reserve",
    OSD_REP_SCRUB = 93 "replica_scrub",
    OSD_PG_SCAN = 94 "pg_scan",
    OSD_PG_BACKFILL = 95 "pg_backfill",
    OSD_PG_BACKFILL_REMOVE = 96 "backfill_remove",
    COMMAND = 97 "command",
    COMMAND_REPLY = 98 "command_reply",
    OSD_BACKFILL_RESERVE = 99 "backfill_reserve",
    MDS_BEACON = 100 "mdsbeacon",
    MDS_PEER_REQUEST = 101 "peer_request",
    MDS_TABLE_REQUEST = 102 "mds_table_request",
    FS_MAP_USER = 103 "fsmap.user",
    OSD_PG_PUSH = 105 "push",
    OSD_PG_PULL = 106 "pull",
    OSD_PG_PUSH_REPLY = 107 "push_reply",
    OSD_EC_WRITE = 108 "ec_sub_write",
    OSD_EC_WRITE_REPLY = 109 "ec_sub_write_reply",
    OSD_EC_READ = 110 "ec_sub_read",
    OSD_EC_READ_REPLY = 111 "ec_sub_read_reply",
    OSD_REPOP = 112 "osd_repop",
    OSD_REPOP_REPLY = 113 "osd_repop_reply",
    OSD_PG_UPDATE_LOG_MISSING = 114 "pg_update_log_missing",
    OSD_PG_UPDATE_LOG_MISSING_REPLY = 115 "pg_update_log_missing_reply",
    OSD_PG_CREATED = 116 "osd_pg_created",
    OSD_REP_SCRUBMAP = 117 "rep_scrubmap",
    OSD_PG_RECOVERY_DELETE = 118 "recovery_delete",
    OSD_PG_RECOVERY_DELETE_REPLY = 119 "recovery_delete_reply",
    OSD_PG_CREATE2 = 120 "osd_pg_create2",
    OSD_SCRUB2 = 121 "osd_scrub2",
    OSD_PG_READY_TO_MERGE = 122 "osd_pg_ready_to_merge",
    OSD_MARK_ME_DEAD = 123 "osd_mark_me_dead",
    OSD_PG_NOTIFY2 = 130 "pg_notify2",
    OSD_PG_QUERY2 = 131 "pg_query2",
    OSD_PG_INFO2 = 132 "pg_info2",
    OSD_PG_LEASE = 133 "pg_lease",
    OSD_PG_LEASE_ACK = 134 "pg_lease_ack",
    OSD_RECOVERY_RESERVE = 150 "recovery_reserve",
    OSD_FORCE_RECOVERY = 151 "force_recovery",
    MDS_OFFLOAD_TARGETS = 0x501 "mds_load_targets",
    CLIENT_CAPS = 0x310 "client_caps",
    CLIENT_LEASE = 0x311 "client_lease",
    CLIENT_SNAP = 0x312 "client_snap",
    CLIENT_CAPRELEASE = 0x313 "client_cap_release",
    CLIENT_QUOTA = 0x314 "client_quota",
    TIMECHECK = 0x600 "time_check",
    MON_HEALTH = 0x601 "mon_health",
    NOP = 0x607 "nop",
    MON_HEALTH_CHECKS = 0x608 "mon_health_checks",
    TIMECHECK2 = 0x609 "time_check2",
    MGR_OPEN = 0x700 "mgropen",
    MGR_CONFIGURE = 0x701 "mgrconfigure",
    MGR_REPORT = 0x702 "mgrreport",
    MGR_BEACON = 0x703 "mgrbeacon",
    MGR_MAP = 0x704 "mgrmap",
    MGR_DIGEST = 0x705 "mgrdigest",
    MON_MGR_REPORT = 0x706 "monmgrreport",
    SERVICE_MAP = 0x707 "service_map",
    MGR_CLOSE = 0x708 "mgrclose",
    MGR_COMMAND = 0x709 "mgr_command",
    MGR_COMMAND_REPLY = 0x70a "mgr_command_reply",
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_unique_and_named() {
        let set: std::collections::BTreeSet<u16> = super::ALL.iter().copied().collect();
        assert_eq!(set.len(), super::ALL.len());
        assert_eq!(super::name(super::OSD_OP), "osd_op");
        assert_eq!(super::name(9999), "unknown");
    }
}
