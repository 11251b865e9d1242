#!/usr/bin/env bash
# Stock MDS daemons on a loligo cluster of three monitors: two of them, a file system, ceph-fuse mounts it; files survive `ceph mds fail`, kill -9
# of an active daemon and kill -9 of the leading monitor; users of `fs authorize`. A cluster of its own; LOLIGO names the program.
# limit-seconds: 120
# loligo-only
# needs-stock-mds
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/debug/loligo}; D=$T/c; M=$T/mnt; mkdir -p "$M" "$D"
stop() {
  local n; umount -l "$M" 2>/dev/null || true; for n in a b; do [ -s "$D/mds-$n/pid" ] && kill -9 "$(cat "$D/mds-$n/pid")" 2>/dev/null; done
  "$L" down --dir "$D" >/dev/null 2>&1; true
}
trap 'status=$?; set +e; [ $status = 0 ] || { tail -n 8 "$D"/mds-*/log "$T"/fuse.log 2>/dev/null; timeout 10 ceph -s; timeout 10 ceph fs dump; }; stop; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
"$L" up --dir "$D" --mons 3 --osds 3 --osd-size 4G >/dev/null 2>&1; export CEPH_CONF=$D/ceph.conf
mds() {
  mkdir -p "$D/mds-$1"
  ceph auth get-or-create "mds.$1" mon 'profile mds' mgr 'profile mds' osd 'allow rwx' mds 'allow *' >"$D/mds-$1/keyring"
  ceph-mds -i "$1" --keyring "$D/mds-$1/keyring" --mds-data "$D/mds-$1" --log-file "$D/mds-$1/log" --pid-file "$D/mds-$1/pid" --admin-socket "$D/mds-$1/asok" \
    --mds-cache-memory-limit 134217728 >"$D/mds-$1/out" 2>&1 || die "mds.$1 does not start: $(tail -3 "$D/mds-$1/out")"
}
wait_for() { local n; for n in $(seq "$1"); do eval "$3" && return 0; sleep 0.25; done; die "$2: $(ceph mds stat; ceph health detail)"; }
# fuse [OPTION...]: mounts as client.admin, or as who the options name
fuse() { timeout 30 ceph-fuse "$@" --log-file "$T/fuse.log" --admin-socket "$T/fuse.asok" "$M" >"$T/fuse.out" 2>&1 || die "ceph-fuse: $(cat "$T/fuse.out")"; }
active() { ceph mds stat | grep -qE "^cephfs:1 \{0=$1=up:active\} 1 up:standby"; }
say "a file system on two pools, two daemons: one serves, one waits"
ceph config set global mds_beacon_interval 1; ceph config set mon mds_beacon_grace 8
ceph osd pool create meta 8 2>/dev/null; ceph osd pool create data 8 2>/dev/null
same "$(ceph fs new cephfs meta data 2>&1)" "new fs with metadata pool 1 and data pool 2"
wait_for 20 "health" 'ceph health detail | grep -q "fs cephfs is offline because no MDS is active for it."'
mds a; wait_for 80 "mds.a does not serve" 'ceph mds stat | grep -q 0=a=up:active'
mds b; wait_for 80 "mds.b does not wait" 'active a'
same "$(ceph mds stat)" "cephfs:1 {0=a=up:active} 1 up:standby"
wait_for 80 "health" healthy
same "$(ceph fs ls)" "name: cephfs, metadata pool: meta, data pools: [data ]"
same "$(ceph mds metadata b -f json | json 'd["ceph_version_short"]')" 16.2.15
same "$(ceph fs dump -f json 2>/dev/null | json 'd["filesystems"][0]["mdsmap"]["info"].popitem()[1]["state"]')" up:active
say "ceph-fuse mounts it; files, directories, links, a snapshot"
fuse
mkdir -p "$M/a/b/c"; for i in 1 2 3 4 5 6 7 8; do head -c $((i * 700001)) /dev/urandom >"$M/a/b/f$i"; done
ln -s b/f1 "$M/a/link"; ln "$M/a/b/f2" "$M/a/hard"; mv "$M/a/b/f3" "$M/a/b/c/"; echo one >"$M/a/text"; mkdir "$M/a/.snap/s1"; echo two >"$M/a/text"
for i in $(seq 200); do echo "$i" >"$M/a/b/c/small$i"; done; sync -f "$M"
sums() { (cd "$M" && find a -type f -print0 | sort -z | xargs -0 sha256sum); }
sums >"$T/before"; same "$(cat "$M/a/.snap/s1/text")" one; same "$(stat -c %h "$M/a/hard")" 2
wait_for 40 "fs status" 'ceph fs status | grep -q "^cephfs - 1 clients"'
say "the leading monitor is killed while files are written: the same daemon serves on"
quorum() { timeout 20 ceph quorum_status 2>/dev/null | json '",".join(sorted(d["quorum_names"]))' 2>/dev/null || :; }
gid() { ceph fs dump -f json 2>/dev/null | json 'd["filesystems"][0]["mdsmap"]["info"].popitem()[0]'; }
wait_for 80 "no quorum" '[ "$(quorum)" = a,b,c ]'; was=$(gid); l=$(ceph quorum_status | json 'd["quorum_leader_name"]')
mkdir "$M/w"; (n=0; while [ ! -e "$T/stop" ]; do n=$((n + 1)); echo "$n" >"$M/w/$n" && sync "$M/w/$n" && echo "$n $(date +%s.%N)"; done) >"$T/written" & writer=$!
wait_for 80 "nothing is written" '[ -s "$T/written" ]'
kill -9 "$(cat "$D/run/mon.$l.pid")"; since=$(date +%s.%N)
timeout $((10 * PATIENCE)) ceph config-key set after "$l" 2>/dev/null || die "no command within $((10 * PATIENCE)) s after kill -9 of mon.$l"
# Longer than a beacon's grace (8 s): a new leader that did not hear the daemons would have replaced one by now.
wait_for 80 "writing stopped" 'awk -v s="$since" "\$2 > s + 10 {found = 1} END {exit !found}" "$T/written"'
touch "$T/stop"; wait "$writer" || die "writing failed"
awk 'NR > 1 && $2 - last > 5 {print "nothing was written for " $2 - last " s"; exit 1} {last = $2}' "$T/written" || die "writing stopped: $(tail -2 "$T/written")"
same "$(gid)" "$was" "the active daemon"; active a || die "$(ceph mds stat)"
ceph health detail | grep -q "mon.$l .*is down (out of quorum)" || die "health: $(ceph health detail)"
"$L" up --dir "$D" >/dev/null 2>&1; wait_for 100 "mon.$l does not join again" '[ "$(quorum)" = a,b,c ]'
same "$(ls "$M/w" | wc -l)" "$(wc -l <"$T/written")"; rm -r "$M/w"
say "mds fail: the other takes over, the mount goes on"
ceph mds fail a 2>&1 | grep -q "failed mds gid" || die "mds fail"
echo written meanwhile >"$M/a/new" & wait_for 120 "mds.b does not take over" 'active b'; wait $!
rm "$M/a/new"; sums | cmp - "$T/before" || die "files differ after mds fail"
same "$(cat "$M/a/.snap/s1/text")" one
ceph osd blocklist ls 2>&1 | grep -q "listed 2 entries" || die "the failed daemon is not blocklisted: $(ceph osd blocklist ls 2>&1)"
say "kill -9 of the active one: it is missed, replaced, and waits when it is back"
kill -9 "$(cat "$D/mds-b/pid")"; wait_for 120 "mds.a does not take over" 'ceph mds stat | grep -q 0=a=up:active'
sums | cmp - "$T/before" || die "files differ after a kill"
mds b; wait_for 80 "mds.b does not wait" 'active a'
say "umount, and everything is there for the next mount"
umount "$M"; fuse; sums | cmp - "$T/before" || die "files differ after umount"; umount "$M"
say "a user for one directory"
ceph fs authorize cephfs client.u /a rw >"$T/ceph.client.u.keyring"; same "$(ceph auth get client.u 2>/dev/null | sed -n 's/.*caps mds = //p')" '"allow rw fsname=cephfs path=/a"'
fuse --id u -k "$T/ceph.client.u.keyring" -r /a; echo of u >"$M/u"; same "$(cat "$M/u")" "of u"; same "$(cat "$M/text")" two; umount "$M"
say "what a file system forbids, and its end"
expect_fail 16 "pool 'data' is in use by CephFS" ceph osd pool rm data data --yes-i-really-really-mean-it
expect_fail 22 "all MDS daemons must be inactive/failed before removing filesystem" ceph fs rm cephfs --yes-i-really-mean-it
ceph fs fail cephfs 2>/dev/null; same "$(ceph mds stat | cut -c1-10)" "cephfs:0/1"; ceph fs rm cephfs --yes-i-really-mean-it
same "$(ceph fs ls)" "No filesystems enabled"
say "ok"
