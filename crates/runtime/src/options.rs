//! The options that loligo honours, with stock's names, types and defaults.
//!
//! An option that is not here is kept when a file or a monitor sets it, but nothing reads it. `debug_*` is open: one per subsystem.

use types::Fsid;

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything.
    Str,
    /// `true`, `false`, `yes`, `no`, or a number.
    Bool,
    /// Signed.
    Int,
    /// Unsigned.
    Uint,
    /// Decimal.
    Float,
    /// Bytes, with K, M, G, T, P (powers of 1024), optionally followed by `i` and `B`.
    Size,
    /// Seconds, or with s, m, h, d, w behind.
    Secs,
    /// A uuid.
    Uuid,
    /// An address or list of them; checked where it is used.
    Addr,
}

impl Kind {
    /// Stock's word for it (`config help`).
    pub fn name(self) -> &'static str {
        match self {
            Kind::Str => "str",
            Kind::Bool => "bool",
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Float => "float",
            Kind::Size => "size",
            Kind::Secs => "secs",
            Kind::Uuid => "uuid",
            Kind::Addr => "addr",
        }
    }
    /// True when `text` is a value of this kind.
    pub fn admits(self, text: &str) -> bool {
        match self {
            Kind::Str | Kind::Addr => true,
            Kind::Bool => parse_bool(text).is_some(),
            Kind::Int => text.trim().parse::<i64>().is_ok() || parse_size(text).is_some(),
            Kind::Uint => parse_size(text).is_some(),
            Kind::Float => text.trim().parse::<f64>().is_ok_and(f64::is_finite),
            Kind::Size => parse_size(text).is_some(),
            Kind::Secs => parse_secs(text).is_some(),
            Kind::Uuid => text.is_empty() || text.parse::<Fsid>().is_ok(),
        }
    }
}

/// As `Option::TYPE_BOOL` reads it.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" => Some(false),
        n => n.parse::<i64>().ok().map(|n| n != 0),
    }
}

/// As `strict_iec_cast` reads it: also plain numbers.
pub fn parse_size(text: &str) -> Option<u64> {
    let t = text.trim();
    let digits = t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    let n: u64 = t[..digits].parse().ok()?;
    let unit = t[digits..].trim();
    let unit = unit.strip_suffix("iB").or(unit.strip_suffix('i')).or(unit.strip_suffix('B')).unwrap_or(unit);
    let shift = match unit {
        "" => 0,
        "K" | "k" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "P" => 50,
        "E" => 60,
        _ => return None,
    };
    n.checked_mul(1 << shift)
}

/// Seconds, with an optional unit.
pub fn parse_secs(text: &str) -> Option<f64> {
    let t = text.trim();
    let digits = t.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(t.len());
    let n: f64 = t[..digits].parse().ok()?;
    let unit = match t[digits..].trim() {
        "" | "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "wk" | "week" | "weeks" => 604_800.0,
        _ => return None,
    };
    Some(n * unit)
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct OptionDef {
    /// Name with underscores.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Default, before metavariables.
    pub default: &'static str,
    /// One line.
    pub about: &'static str,
    /// A change takes effect while running.
    pub runtime: bool,
}

/// The option of this (normalized) name.
pub fn find(name: &str) -> Option<&'static OptionDef> {
    OPTIONS.iter().find(|o| o.name == name)
}

macro_rules! options {
    ($($name:literal $kind:ident $default:literal $rt:ident $about:literal;)*) => {
        /// All of them.
        pub const OPTIONS: &[OptionDef] = &[$(OptionDef {
            name: $name, kind: Kind::$kind, default: $default, about: $about, runtime: options!(@ $rt),
        }),*];
    };
    (@ live) => { true };
    (@ start) => { false };
    // Known to stock, and kept for who asks; nothing here reads it (`xtask tidy` compares).
    (@ kept) => { false };
}

options! {
    // who and where
    "fsid" Uuid "" start "Identity of the cluster";
    "host" Str "" start "Short name of this machine; found out when empty";
    "cluster" Str "ceph" start "Name of the cluster in paths";
    "keyring" Str "/etc/ceph/$cluster.$name.keyring,/etc/ceph/$cluster.keyring,/etc/ceph/keyring,/etc/ceph/keyring.bin" start "Keyring files, first that exists";
    "key" Str "" start "The key itself";
    "keyfile" Str "" start "File with the key itself";
    "mon_host" Str "" start "Addresses of monitors";
    "mon_initial_members" Str "" start "Names of the first monitors";
    "public_addr" Addr "" start "Address to bind for clients";
    "public_network" Str "" start "Networks to find the public address in";
    "cluster_addr" Addr "" start "Address to bind for OSDs among themselves";
    "cluster_network" Str "" start "Networks to find the cluster address in";
    "public_bind_addr" Addr "" start "Address to bind, where it differs from the public one";
    "run_dir" Str "/var/run/ceph" start "Folder of pid files and admin sockets";
    "pid_file" Str "" start "File for the process id";
    "admin_socket" Str "$run_dir/$cluster-$name.asok" start "Admin socket; empty for none";
    "daemonize" Bool "false" start "Go to the background";
    "setuser" Str "" start "User to become";
    "setgroup" Str "" start "Group to become";
    "setuser_match_path" Str "" start "Become its owner only if setuser names it";
    "crash_dir" Str "/var/lib/ceph/crash" start "Folder of crash reports";
    // log
    "log_file" Str "/var/log/ceph/$cluster-$name.log" live "Log file; empty for none";
    "log_to_stderr" Bool "false" live "Log to stderr";
    "err_to_stderr" Bool "true" kept "Log errors to stderr";
    "log_to_file" Bool "true" live "Log to the file";
    "clog_to_monitors" Str "default=true" kept "Send cluster log entries to the monitors";
    "mon_cluster_log_file" Str "default=/var/log/ceph/$cluster.$channel.log cluster=/var/log/ceph/$cluster.log" kept "Cluster log files";
    "mon_cluster_log_to_file" Bool "true" kept "Write the cluster log to files";
    "heartbeat_file" Str "" start "File touched while healthy";
    // authentication
    "auth_cluster_required" Str "cephx" start "Methods for daemons";
    "auth_service_required" Str "cephx" start "Methods for clients of daemons";
    "auth_client_required" Str "cephx, none" start "Methods that clients insist on";
    "auth_supported" Str "" start "All three of them (old)";
    "auth_mon_ticket_ttl" Float "259200" start "Seconds that an AUTH ticket holds";
    "auth_service_ticket_ttl" Float "3600" start "Seconds that a service ticket holds";
    "auth_allow_insecure_global_id_reclaim" Bool "false" live "Not obeyed when true: reclaim is never insecure here";
    "mon_warn_on_insecure_global_id_reclaim" Bool "true" kept "Health warning about clients that reclaim insecurely";
    "mon_warn_on_insecure_global_id_reclaim_allowed" Bool "true" kept "Health warning when it is allowed";
    "cephx_sign_messages" Bool "true" kept "Sign messages of v1 sessions";
    "cephx_require_signatures" Bool "false" start "Refuse v1 peers that do not sign";
    "cephx_require_version" Int "2" start "Oldest authorizer version";
    // messenger
    "ms_bind_ipv4" Bool "true" start "Bind IPv4";
    "ms_bind_ipv6" Bool "false" start "Bind IPv6";
    "ms_bind_msgr1" Bool "true" start "Serve protocol v1";
    "ms_bind_msgr2" Bool "true" start "Serve protocol v2";
    "ms_bind_port_min" Int "6800" start "First port for daemons";
    "ms_bind_port_max" Int "7300" start "Last port for daemons";
    "ms_cluster_mode" Str "crc secure" start "Modes between daemons";
    "ms_service_mode" Str "crc secure" start "Modes that daemons allow to clients";
    "ms_client_mode" Str "crc secure" start "Modes that clients offer to daemons";
    "ms_mon_cluster_mode" Str "secure crc" start "Modes between monitors";
    "ms_mon_service_mode" Str "secure crc" start "Modes that monitors allow";
    "ms_mon_client_mode" Str "secure crc" start "Modes offered to monitors";
    "ms_crc_data" Bool "true" kept "Checksum message data";
    "ms_crc_header" Bool "true" kept "Checksum message headers";
    "ms_tcp_nodelay" Bool "true" kept "No Nagle";
    "ms_tcp_rcvbuf" Size "0" kept "Receive buffer of sockets; 0 for the system's";
    "ms_initial_backoff" Float "0.2" kept "First pause before reconnecting";
    "ms_max_backoff" Float "15" kept "Longest pause before reconnecting";
    "ms_connection_idle_timeout" Uint "900" kept "Seconds until an idle connection is closed";
    "ms_connection_ready_timeout" Uint "10" kept "Seconds that a handshake may take";
    "ms_dispatch_throttle_bytes" Size "104857600" kept "Bytes of messages waiting for dispatch";
    "ms_inject_socket_failures" Uint "0" kept "Break a socket every so many operations (tests)";
    // monitor
    "mon_data" Str "/var/lib/ceph/mon/$cluster-$id" start "Folder of the monitor";
    "mon_allow_pool_delete" Bool "false" live "Pools may be deleted";
    "mon_allow_pool_size_one" Bool "false" live "Pools may have one copy";
    "mon_max_pg_per_osd" Uint "250" live "Limit of PGs per OSD when pools are made";
    "mon_max_pool_pg_num" Uint "65536" live "Limit of PGs of a pool";
    "mon_tick_interval" Int "5" kept "Seconds between ticks";
    "mon_lease" Float "5" kept "Seconds that the leader's lease holds";
    "mon_election_timeout" Float "5" kept "Seconds to wait for votes";
    "mon_osd_full_ratio" Float "0.95" start "Fullness at which writes stop, for a new cluster";
    "mon_osd_backfillfull_ratio" Float "0.90" start "Fullness at which backfill stops, for a new cluster";
    "mon_osd_nearfull_ratio" Float "0.85" start "Fullness that warns, for a new cluster";
    "mon_osd_down_out_interval" Int "600" live "Seconds until a down OSD is out";
    "mon_osd_min_down_reporters" Uint "2" live "Reporters that it takes to mark an OSD down";
    "mon_osd_reporter_subtree_level" Str "host" live "Level at which reporters are counted once";
    "mon_osd_report_timeout" Int "900" live "Seconds without reports until an OSD is down";
    "mon_osd_min_up_ratio" Float "0.3" live "OSDs are not marked down below this";
    "mon_osd_min_in_ratio" Float "0.75" live "OSDs are not marked out below this";
    "mon_osd_auto_mark_in" Bool "false" live "Every booting OSD is marked in";
    "mon_osd_auto_mark_new_in" Bool "true" live "New OSDs are marked in";
    "mon_osd_auto_mark_auto_out_in" Bool "true" live "OSDs marked out by themselves are marked in at boot";
    "mon_osd_adjust_heartbeat_grace" Bool "true" kept "Scale grace by an OSD's history";
    "mon_osd_adjust_down_out_interval" Bool "true" kept "Scale the interval by an OSD's history";
    "mon_osd_laggy_halflife" Int "3600" kept "Half life of that history";
    "mon_osd_laggy_weight" Float "0.3" kept "Weight of a new sample";
    "mon_osd_down_out_subtree_limit" Str "rack" kept "Larger failures do not mark out";
    "mon_osd_blocklist_default_expire" Float "3600" live "Seconds that a blocklist entry holds";
    "mon_osd_cache_size" Int "500" kept "Maps held in memory";
    "mon_min_osdmap_epochs" Int "500" kept "Maps kept";
    "mon_max_osd" Int "10000" live "Largest OSD id plus one";
    "mon_data_avail_warn" Int "30" live "Per cent of free space that warns";
    "mon_data_avail_crit" Int "5" live "Per cent of free space at which the monitor stops";
    "mon_data_size_warn" Size "16106127360" live "Size of the store that warns";
    "mon_clock_drift_allowed" Float "0.05" live "Seconds that clocks may differ";
    "mon_timecheck_interval" Float "300" live "Seconds between comparisons of the monitors' clocks";
    "mon_timecheck_skew_interval" Float "30" live "The same while one is off";
    "mon_op_complaint_time" Secs "30" live "Seconds that make an operation slow";
    "mon_client_hunt_interval" Float "3" kept "Seconds between monitors tried";
    "mon_client_ping_interval" Float "10" kept "Seconds between keepalives to a monitor";
    "mon_client_ping_timeout" Float "30" kept "Seconds until a silent monitor is given up";
    "mon_subscribe_interval" Float "86400" kept "Seconds that a subscription holds (old)";
    "mon_pg_warn_min_per_osd" Uint "0" kept "Fewer PGs per OSD warn";
    "mon_warn_on_pool_no_app" Bool "true" live "Pools without an application warn";
    "mon_warn_on_pool_no_redundancy" Bool "true" live "Pools with one copy warn";
    "mon_warn_on_osd_down_out_interval_zero" Bool "true" live "An interval of 0 warns";
    "mon_health_to_clog" Bool "true" kept "Health changes go to the cluster log";
    "mon_log_max" Uint "10000" kept "Cluster log entries kept";
    "mon_compact_on_start" Bool "false" start "Compact the store at start";
    "mon_mgr_beacon_grace" Secs "30" kept "Seconds until a silent mgr fails";
    // pools
    "osd_pool_default_size" Uint "3" live "Copies";
    "osd_pool_default_min_size" Uint "0" live "Copies needed for I/O; 0 for size - size/2";
    "osd_pool_default_pg_num" Uint "32" live "PGs of a new pool";
    "osd_pool_default_pgp_num" Uint "0" kept "The same for placement; 0 for pg_num";
    "osd_pool_default_crush_rule" Int "-1" live "Rule of a new pool; -1 for the first";
    "osd_pool_default_flag_hashpspool" Bool "true" kept "New pools mix the pool id into placement";
    "osd_pool_default_pg_autoscale_mode" Str "on" kept "Autoscaling of a new pool";
    "osd_pool_default_erasure_code_profile" Str "plugin=jerasure technique=reed_sol_van k=2 m=2" live "Profile of an erasure coded pool";
    "osd_crush_chooseleaf_type" Int "1" start "Failure domain of the first rule";
    "osd_crush_update_on_start" Bool "true" start "An OSD puts itself into the CRUSH map";
    "osd_crush_initial_weight" Float "-1" start "Weight of a new OSD; negative for its size in TiB";
    "osd_class_update_on_start" Bool "true" start "An OSD sets its device class";
    "crush_location" Str "" start "Place in the CRUSH map";
    "crush_location_hook" Str "" start "Program that prints the place";
    // OSD
    "osd_data" Str "/var/lib/ceph/osd/$cluster-$id" start "Folder of the OSD";
    "osd_journal" Str "/var/lib/ceph/osd/$cluster-$id/journal" start "Journal";
    "osd_journal_size" Size "5120" start "Size of a new journal file, MiB";
    "osd_uuid" Uuid "" start "Identity of a new OSD";
    "osd_objectstore" Str "bluestore" start "Read and not obeyed: there is one store";
    "osd_max_object_size" Size "134217728" start "Largest object";
    "osd_max_write_size" Size "90" kept "Largest write, MiB";
    "osd_max_object_name_len" Uint "2048" kept "Longest object name";
    "osd_max_object_namespace_len" Uint "256" kept "Longest namespace";
    "osd_max_attr_name_len" Uint "100" kept "Longest xattr name";
    "osd_max_attr_size" Uint "0" kept "Largest xattr; 0 for no limit";
    "osd_heartbeat_interval" Int "6" live "Seconds between heartbeats";
    "osd_heartbeat_grace" Int "20" live "Seconds until a silent peer is reported";
    "osd_heartbeat_min_peers" Int "10" kept "Peers to ping at least";
    "osd_mon_heartbeat_interval" Int "30" kept "Seconds between keepalives to the monitor";
    "osd_beacon_report_interval" Int "300" live "Seconds between beacons";
    "osd_mon_report_interval" Int "5" kept "Seconds between reports to the monitor";
    "osd_mgr_report_interval" Int "5" kept "Seconds between reports to the mgr";
    "mgr_stats_period" Int "5" kept "Seconds between statistics";
    "osd_map_cache_size" Int "50" start "Maps held in memory";
    "osd_map_message_max" Int "40" live "Maps in one message";
    "osd_max_backfills" Uint "1" kept "Backfills at once";
    "osd_recovery_max_active" Uint "0" start "Recoveries at once; 0 for the device's default";
    "osd_recovery_max_active_hdd" Uint "3" kept "The same for disks";
    "osd_recovery_max_active_ssd" Uint "10" kept "The same for flash";
    "osd_recovery_sleep" Float "0" kept "Seconds between recoveries";
    "osd_recovery_max_chunk" Size "8388608" start "Bytes of one recovery push";
    "osd_min_pg_log_entries" Uint "250" start "Log entries kept at least";
    "osd_max_pg_log_entries" Uint "10000" start "Log entries kept at most";
    "osd_pg_log_dups_tracked" Uint "3000" kept "Requests remembered against resending";
    "osd_client_message_cap" Uint "256" kept "Client messages in flight";
    "osd_client_message_size_cap" Size "524288000" start "Bytes of client messages in flight";
    "osd_op_complaint_time" Float "30" live "Seconds that make an operation slow";
    "osd_op_history_size" Uint "20" live "Finished operations remembered";
    "osd_op_history_duration" Uint "600" live "Seconds that they are remembered";
    "osd_memory_target" Size "4294967296" start "Memory to stay within";
    "osd_default_notify_timeout" Uint "30" kept "Seconds that a notify waits";
    "osd_scrub_begin_hour" Int "0" kept "Scrub from this hour";
    "osd_scrub_end_hour" Int "0" kept "Scrub until this hour";
    "osd_scrub_min_interval" Float "86400" kept "Seconds between scrubs";
    "osd_scrub_max_interval" Float "604800" kept "Longest time without a scrub";
    "osd_deep_scrub_interval" Float "604800" kept "Seconds between deep scrubs";
    "osd_max_scrubs" Int "1" kept "Scrubs at once";
    "osd_class_load_list" Str "cephfs hello journal lock log numops otp rbd refcount rgw rgw_gc timeindex user version cas cmpomap queue 2pc_queue fifo" start "Classes that may be loaded";
    "osd_class_default_list" Str "cephfs hello journal lock log numops otp rbd refcount rgw rgw_gc timeindex user version cas cmpomap queue 2pc_queue fifo" start "Classes that class-read and class-write cover";
    "osd_failsafe_full_ratio" Float "0.97" live "Fullness at which the OSD itself refuses writes";
    "osd_backoff_on_down" Bool "true" kept "Tell clients to hold operations on down PGs";
    "osd_backoff_on_peering" Bool "false" kept "The same while peering";
    "osd_op_history_slow_op_size" Uint "20" live "Slow operations remembered";
    "osd_op_history_slow_op_threshold" Float "10" live "Seconds that make a finished operation worth remembering there";
    "osd_journal_inject_delay" Float "0" start "Seconds that each write of the journal is held up (tests)";
    "bluestore_block_size" Size "107374182400" start "Size of a new data file";
    // clients
    "rados_osd_op_timeout" Secs "0" kept "Seconds until an operation fails; 0 for never";
    "rados_mon_op_timeout" Secs "0" kept "The same for monitor commands";
    "client_mount_timeout" Secs "300" kept "Seconds to reach the cluster";
    "objecter_tick_interval" Float "5" kept "Seconds between ticks";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_kind_and_no_name_is_there_twice() {
        let mut names = std::collections::BTreeSet::new();
        for o in OPTIONS {
            assert!(o.kind.admits(o.default), "{}", o.name);
            assert!(names.insert(o.name), "{}", o.name);
            assert_eq!(crate::conf::normalize_key(o.name), o.name);
        }
    }

    #[test]
    fn values_read_as_stock_reads_them() {
        assert_eq!(parse_size("4K"), Some(4096));
        assert_eq!(parse_size("2GiB"), Some(2 << 30));
        assert_eq!(parse_size("1X"), None);
        assert_eq!(parse_size("-1"), None);
        assert_eq!(parse_secs("1h"), Some(3600.0));
        assert_eq!(parse_secs("2.5"), Some(2.5));
        assert_eq!(parse_bool("Yes"), Some(true));
        assert_eq!(parse_bool("0"), Some(false));
        assert_eq!(parse_bool("maybe"), None);
    }
}
