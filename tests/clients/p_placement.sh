#!/usr/bin/env bash
# Workflow E, placement: min_size blocks and lets go, pool sizes change, an OSD goes out and in, a fourth comes, a pool is removed.
# Needs a cluster of three OSDs that `loligo up` made (the folder of CEPH_CONF); leaves it with four. LOLIGO names the program.
# limit-seconds: 300
. "$(dirname "$0")/lib.sh"
D=$(dirname "${CEPH_CONF:?}"); L=${LOLIGO:-$(dirname "$0")/../../target/debug/loligo}
pid() { cat "$D/run/$1.pid"; }
clean() { local n s; for n in $(seq 60); do s=$(ceph pg stat 2>/dev/null); if [[ $s == *active+clean* && ! $s =~ degraded|peering|unknown|down|undersized|recover|backfill|activating|stale|misplaced ]]; then return 0; fi; sleep 1; done; die "not clean: $(ceph -s)"; }
P=pp$$; ceph osd pool create $P 32 >/dev/null 2>&1; ceph osd pool application enable $P rados >/dev/null 2>&1
rados -p $P bench 3 write -b 65536 -t 8 --no-cleanup >/dev/null; objects=$(rados -p $P ls | wc -l)
say "below min_size writes wait, then go on"
kill -9 "$(pid osd.1)" "$(pid osd.2)"; sleep 8
expect_fail 124 '' timeout 4 rados -p $P put blocked /etc/hostname
timeout 60 rados -p $P put waits /etc/hostname & w=$!
"$L" up --dir "$D" >/dev/null; wait $w || die "the write that waited failed"; clean
say "pool size 2 and 3"
for n in 1 2 3; do ceph osd pool set $P size 2 >/dev/null 2>&1; clean; ceph osd pool set $P size 3 >/dev/null 2>&1; clean; done
say "out and in"
ceph osd pool set $P size 2 >/dev/null 2>&1; clean; ceph osd out 2 >/dev/null 2>&1; sleep 2; clean; ceph osd in 2 >/dev/null 2>&1; sleep 2; clean
ceph osd pool set $P size 3 >/dev/null 2>&1; clean
say "a fourth OSD"
"$L" up --dir "$D" --osds 4 >/dev/null; sleep 2; clean; same "$(rados -p $P ls | grep -cv -e blocked -e waits)" "$objects" "objects"
rados -p $P bench 2 seq >/dev/null
say "a removed pool frees its space"
used() { ceph df -f json | json 'd["stats"]["total_used_raw_bytes"]'; }
before=$(used); ceph osd pool rm $P $P --yes-i-really-really-mean-it >/dev/null 2>&1
for n in $(seq 30); do [ "$(used)" -lt "$before" ] && break; sleep 1; done; [ "$(used)" -lt "$before" ] || die "no space came free"
say "ok"
