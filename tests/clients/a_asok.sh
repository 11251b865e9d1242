#!/usr/bin/env bash
# Admin sockets: `ceph daemon osd.0 ...`, by name (the path comes from ceph.conf) and by path (RUN_DIR).
# limit-seconds: 120
. "$(dirname "$0")/lib.sh"
d() { ceph daemon osd.0 "$@"; }
say "status, version, help"
same "$(d status | json 'd["whoami"], d["state"]')" "0 active"
d status | json '[k for k in ("cluster_fsid","osd_fsid","oldest_map","newest_map","num_pgs") if k not in d]' | grep -qx '\[\]'
same "$(d status | json 'd["cluster_fsid"]')" "$(ceph fsid)"
d version | json '"version" in d' | grep -qx True
d help | json '[c for c in ("perf dump","status","dump_ops_in_flight","config show","config get","config set") if not any(k.startswith(c) for k in d)]' | grep -qx '\[\]'
say "counters move"
P=ap$$; ceph osd pool create $P 8 >/dev/null 2>&1; ceph osd pool application enable $P rados >/dev/null 2>&1
before=0; for i in 0 1 2; do before=$((before + $(ceph daemon osd.$i perf dump | json 'd["osd"]["op_w"]'))); done
for i in $(seq 12); do echo $P | rados -p $P put o$i -; done
after=0; for i in 0 1 2; do after=$((after + $(ceph daemon osd.$i perf dump | json 'd["osd"]["op_w"]'))); done
[ $((after - before)) -ge 12 ] || die "12 writes moved osd.op_w from $before to $after"
d perf dump | json 'all(isinstance(d["osd"][k], (int, float, dict)) for k in ("op","op_r","op_w","op_latency"))' | grep -qx True
say "ops in flight"
d dump_ops_in_flight | json '"ops" in d and "num_ops" in d' | grep -qx True
say "options"
d config show | json 'isinstance(d["osd_heartbeat_grace"], str) and len(d) > 10' | grep -qx True
same "$(d config get osd_heartbeat_grace | json 'float(d["osd_heartbeat_grace"])')" "20.0"
d config set osd_heartbeat_grace 25 | json '"success" in d' | grep -qx True
same "$(d config get osd_heartbeat_grace | json 'float(d["osd_heartbeat_grace"])')" "25.0"
d config set osd_heartbeat_grace 20 >/dev/null
expect_fail 0 'error getting .no_such_option.: .2. No such file or directory' d config get no_such_option
say "by path, and the monitor"
[ -z "${RUN_DIR:-}" ] || ceph --admin-daemon "$RUN_DIR/osd.0.asok" status >/dev/null
ceph daemon mon.a version | json '"version" in d' | grep -qx True
same "$(ceph daemon mon.a perf dump cluster | json 'd["cluster"]["num_mon_quorum"], d["cluster"]["num_osd_up"], d["cluster"]["num_pool"] > 0, d["cluster"]["num_pg"] >= 8')" "1 3 True True"
same "$(ceph daemon mon.a perf dump mon | json 'list(d), d["mon"]["session_add"] > 0 and d["mon"]["num_sessions"] > 0, d["mon"]["election_win"] > 0')" "['mon'] True True"
expect_fail 22 'invalid command|no valid command' d nonsense here
ceph osd pool rm $P $P --yes-i-really-really-mean-it >/dev/null 2>&1
say "ok"
