#!/usr/bin/env bash
# All monitors lose their stores, after kill -9 of everything: one command makes them again from the OSDs, and the cluster goes on with its data.
# Also what that command refuses. A cluster of its own; LOLIGO names the program.
# limit-seconds: 300
# loligo-only
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/release/loligo}; D=$T/c
trap 'status=$?; set +e; [ $status = 0 ] || tail -n 8 "$D"/log/*.log "$T"/*.out 2>/dev/null
  for d in "$D" "$T/other"; do [ -d "$d" ] && "$L" down --dir "$d" >/dev/null 2>&1; done; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
up() { "$L" up --dir "$D" "$@" > "$T/up.out" 2>&1 || die "up: $(cat "$T/up.out")"; }
kill_all() { local p n; for p in "$D"/run/*.pid; do kill -9 "$(cat "$p")" 2>/dev/null || true; done
  for p in "$D"/run/*.pid; do for n in $(seq 300); do kill -0 "$(cat "$p")" 2>/dev/null || break; sleep 0.1; done; done; }
why() { echo "$1"; ceph health detail; "$L" status --dir "$D"; ceph pg dump pgs_brief 2>/dev/null | grep -v "active+clean "; }
health_ok() { local end=$((SECONDS + 90)); until timeout 20 ceph health 2>/dev/null | grep -q "^HEALTH_OK"; do [ $SECONDS -lt $end ] || die "$(why health)"; sleep 0.2; done; }
clean() { local end=$((SECONDS + 90)); until timeout 20 ceph pg stat 2>/dev/null | grep -qE "^$1 pgs: $1 active\+clean;"; do [ $SECONDS -lt $end ] || die "$(why "not $1 clean pgs")"; sleep 0.2; done; }
all_in() { [ "$(timeout 20 ceph quorum_status 2>/dev/null | json 'len(d["quorum"])' 2>/dev/null)" = 3 ]; }
rebuild() { "$L" mon rebuild --dir "$D" "$@"; }
up --mons 3 --osds 3 --osd-size 4G; export CEPH_CONF=$D/ceph.conf
say "a cluster with pools, rules, an image with a snapshot, users, an upmap, options"
ceph osd crush rule create-replicated flat default osd >/dev/null 2>&1
ceph osd pool create disks 16 16 replicated flat >/dev/null 2>&1; rbd pool init disks
ceph osd pool create meta 8 >/dev/null 2>&1; ceph osd pool create data 8 >/dev/null 2>&1; ceph fs new files meta data >/dev/null 2>&1
ceph osd erasure-code-profile set mine k=2 m=1 >/dev/null 2>&1 || true
head -c 24M /dev/urandom > "$T/image"; rbd import "$T/image" disks/one 2>/dev/null; rbd snap create disks/one@first 2>/dev/null
head -c 1M /dev/urandom | rbd import - disks/two 2>/dev/null; rados -p disks put thing "$T/image"
ceph auth get-or-create client.kept mon 'profile rbd' osd 'profile rbd' -o "$D/ceph.client.kept.keyring" 2>/dev/null; ceph auth get client.kept -o "$D/ceph.client.kept.keyring" 2>/dev/null
ceph auth get-or-create client.elsewhere mon 'allow r' osd 'allow rw pool=disks' > "$T/elsewhere"; ceph auth get client.elsewhere -o "$T/elsewhere.keyring" 2>/dev/null
ceph osd primary-affinity osd.2 0.5 >/dev/null 2>&1; ceph osd crush reweight osd.1 0.005 >/dev/null 2>&1
ceph osd pool create pair 8 >/dev/null 2>&1; ceph osd pool set pair size 2 >/dev/null 2>&1; ceph osd pool application enable pair rados >/dev/null 2>&1
for n in $(seq 100); do move=$(ceph pg ls-by-pool pair -f json 2>/dev/null | json '[(p["pgid"], p["up"]) for p in d["pg_stats"] if len(p["up"]) == 2][0]' 2>/dev/null) && break; sleep 0.2; done
read -r pg from to < <(/usr/bin/python3 -c "pg, up = $move; print(pg, up[0], ({0, 1, 2} - set(up)).pop())"); ceph osd pg-upmap-items "$pg" "$from" "$to" >/dev/null 2>&1
ceph config set osd osd_max_backfills 3; ceph config-key set some/key value >/dev/null 2>&1
clean 40
before() { ceph fsid; ceph osd pool ls detail | sed 's/ last_change [0-9]*//; s/ lfor [0-9/]*//'; ceph osd crush dump; ceph osd tree; ceph osd erasure-code-profile ls; ceph osd dump -f json | json '(d["pg_upmap_items"], [(o["osd"], o["uuid"], o["primary_affinity"], o["weight"]) for o in d["osds"]])'; rbd snap ls disks/one | sed 's/ [A-Z][a-z][a-z] .*//'; rbd ls disks; }
before > "$T/before" 2>/dev/null; grep -q "$pg" "$T/before" || die "no upmap: $(cat "$T/before")"
rbd export disks/one@first - 2>/dev/null | sha256sum > "$T/sum1"; rbd export disks/two - 2>/dev/null | sha256sum > "$T/sum2"
epoch=$(ceph osd dump -f json | json 'd["epoch"]'); gid=$(ceph tell mon.a sessions 2>/dev/null | json 'max(s["global_id"] for s in d)' 2>/dev/null || echo 0)
say "refused while anything runs, while a monitor has its store, without an OSD of the map, without any OSD, with an OSD of another cluster"
expect_fail 1 "mon.a runs .*loligo down" rebuild
kill_all
expect_fail 1 "mon.a has a store in .*start it instead" rebuild
rm -rf "$D"/mon/ceph-?/store.db
"$L" osd -i 1 -c "$CEPH_CONF" -f > "$T/osd1.out" 2>&1 & OSD=$!
for n in $(seq 100); do [ -S "$D/run/osd.1.asok" ] && [ "$(cat "$D/run/osd.1.pid" 2>/dev/null)" = $OSD ] && break; sleep 0.1; done
expect_fail 1 "osd.1 runs" rebuild
rm -f "$D/run/osd.1.pid"; expect_fail 1 "the OSD in .*osd/ceph-1 runs: stop it first" rebuild
kill -9 $OSD; wait $OSD 2>/dev/null || true
mv "$D/osd/ceph-2" "$T/two"
expect_fail 1 "the OSDMap also has osd.2, whose folder was not given.*--without 2" rebuild
mv "$T/two" "$D/osd/ceph-2"; mv "$D/osd" "$T/osds"
expect_fail 1 "no OSD was given" rebuild
mv "$T/osds" "$D/osd"
"$L" up --dir "$T/other" --osds 1 --osd-size 2G >/dev/null 2>&1; "$L" down --dir "$T/other" >/dev/null
expect_fail 1 "osd.0 .* is of cluster .*, osd.0 .* of cluster" rebuild --osd-data "$T/other/osd/ceph-0"
expect_fail 2 "required" "$L" mon rebuild
expect_fail 1 "founded by mon.a" "$L" mon rebuild -i b -c "$CEPH_CONF" --osd-data "$D"/osd/ceph-*
"$L" mon rebuild --help | grep -q -- "--set-aside" || die "--help"
for m in a b c; do [ ! -e "$D/mon/ceph-$m/store.db" ] || die "a refused command made a store of mon.$m"; done
say "one command"
rebuild --dry-run > "$T/dry.out"; grep -q "dry run" "$T/dry.out" || die "$(cat "$T/dry.out")"; [ ! -e "$D/mon/ceph-a/store.db" ] || die "a dry run wrote"
# What an earlier rebuild made and nobody has started yet may be made again.
rebuild > "$T/first.out"; start=$(date +%s.%N); rebuild > "$T/rebuild.out" || die "rebuild"; end=$(date +%s.%N)
cat "$T/rebuild.out"; awk -v a="$start" -v b="$end" 'BEGIN {printf "-- took %.2f s\n", b - a}'
grep -q "client.admin client.kept osd.0 osd.1 osd.2\|mon\. .*client.kept" "$T/rebuild.out" || die "keys"
grep -q "ceph fs new files meta data --force --recover" "$T/rebuild.out" || die "file systems"
ls -d "$D"/mon/ceph-a/store.db.aside-1 >/dev/null || die "the former store is gone"
up --no-wait
say "all is there"
clean 40; before > "$T/after" 2>/dev/null; diff "$T/before" "$T/after" || die "the cluster is not the same"
wait_until 60 "not all monitors are in the quorum" all_in
same "$(rbd export disks/one@first - 2>/dev/null | sha256sum)" "$(cat "$T/sum1")" "the image"
same "$(rbd export disks/two - 2>/dev/null | sha256sum)" "$(cat "$T/sum2")" "the other image"
rados -p disks get thing "$T/thing"; same "$(sha "$T/thing")" "$(sha "$T/image")"
new=$(ceph osd dump -f json | json 'd["epoch"]'); [ "$new" -gt $((epoch + 900)) ] || die "epoch $new after $epoch"
newgid=$(ceph tell mon.a sessions 2>/dev/null | json 'max(s["global_id"] for s in d)' 2>/dev/null || echo $((gid + 1))); [ "$newgid" -gt "$gid" ] || die "global ids: $newgid after $gid"
say "users: one whose keyring lay there, one that is imported again, one that nobody has"
rbd --id kept ls disks 2>/dev/null | grep -q one || die "client.kept"
ceph --id elsewhere --keyring "$T/elsewhere.keyring" -s >/dev/null 2>&1 && die "client.elsewhere was lost, but logs in"
ceph auth import -i "$T/elsewhere.keyring" 2>/dev/null; rados --id elsewhere --keyring "$T/elsewhere.keyring" -p disks stat thing >/dev/null || die "client.elsewhere"
for o in 0 1 2; do same "$(ceph auth get-key osd.$o)" "$(sed -n 's/.*key = //p' "$D/osd/ceph-$o/keyring")"; done
same "$(ceph config get osd osd_max_backfills)" 1 "the configuration database is lost"
say "the file system comes back by the command that was printed"
ceph fs new files meta data --force --recover >/dev/null 2>&1 || die "fs new --recover"; ceph fs ls | grep -q "name: files, metadata pool: meta, data pools: \[data" || die "$(ceph fs ls)"
ceph fs fail files >/dev/null 2>&1 || true; ceph fs rm files --yes-i-really-mean-it >/dev/null 2>&1
health_ok
say "writes go on, and another restart, and another loss"
rbd bench --io-type write --io-size 64K --io-total 16M disks/two >/dev/null 2>&1 || die "rbd bench"; rbd snap create disks/two@later 2>/dev/null
ceph osd pool create more 8 >/dev/null 2>&1; rados -p more put x "$T/image"; ceph osd pool application enable more rados >/dev/null 2>&1
rbd export disks/two@later - 2>/dev/null | sha256sum > "$T/sum3"
"$L" down --dir "$D" >/dev/null; up --no-wait; health_ok; clean 48
kill_all; rm -rf "$D/mon"; rebuild > "$T/second.out"; up --no-wait; clean 48; health_ok
same "$(rbd export disks/two@later - 2>/dev/null | sha256sum)" "$(cat "$T/sum3")" "after the second loss"
same "$(rbd export disks/one@first - 2>/dev/null | sha256sum)" "$(cat "$T/sum1")" "after the second loss"
rados -p more get x "$T/thing"; same "$(sha "$T/thing")" "$(sha "$T/image")"
say "one monitor by itself, on a cluster that lost an OSD as well: the other two join by --mkfs"
kill_all; rm -rf "$D/mon" "$D/osd/ceph-2"; mkdir -p "$D/mon/ceph-b" "$D/mon/ceph-c"
one() { "$L" mon rebuild -i a -c "$CEPH_CONF" --keyring "$D/ceph.mon.keyring" "$D/ceph.client.admin.keyring" --osd-data "$D/osd/ceph-0" "$D/osd/ceph-1" "$@"; }
expect_fail 1 "also has osd.2" one
one --without 2 > "$T/one.out" || die "rebuild -i a"; grep -q "warning: osd.2 not read" "$T/one.out" || die "$(cat "$T/one.out")"
for m in b c; do "$L" mon -i $m -c "$CEPH_CONF" --mkfs --monmap "$D/monmap" --keyring "$D/mon/ceph-a/keyring"; done
"$L" up --dir "$D" --osds 2 --no-wait > "$T/up.out" 2>&1 || die "up: $(cat "$T/up.out")"
for n in $(seq 100); do same_=$(timeout 20 ceph osd stat -f json 2>/dev/null | json 'd["num_up_osds"]' 2>/dev/null) || true; [ "$same_" = 2 ] && break; sleep 0.2; done
same "$same_" 2; wait_until 60 "not all monitors are in the quorum" all_in
ceph osd pool set disks min_size 1 >/dev/null 2>&1
ceph osd out 2 >/dev/null 2>&1; same "$(timeout 60 rbd export disks/two@later - 2>/dev/null | sha256sum)" "$(cat "$T/sum3")" "with two of three OSDs"
say "ok"
