#!/usr/bin/env bash
# A live stock cluster (stock monitor, manager and OSDs): its data goes to a loligo cluster next to it; it takes in three loligo OSDs under a CRUSH root of
# their own, and objects and images move onto them; loligo's monitors take it over; images move back. As docs/moving-from-ceph.md tells it. A cluster of its own; LOLIGO names the program.
# limit-seconds: 300
# loligo-only
# needs-stock-daemons
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/release/loligo}; D=$T/c; S=$D/stock; R=$D/run
stop() { local f; [ ! -d "$T/new" ] || "$L" down --dir "$T/new" >/dev/null 2>&1; for f in "$R"/*.pid "$S"/*.pid; do [ -s "$f" ] && kill -9 "$(cat "$f")" 2>/dev/null; done; true; }
trap 'status=$?; set +e; [ $status = 0 ] || { tail -n 8 "$S"/*.log "$D"/log/*.log; grep -A 14 "Caught signal" "$D"/log/mgr.x.log | cut -c1-300; } 2>/dev/null; stop; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
up() { ceph osd stat | grep -q " $1 up"; }
say "a stock cluster: monitor, manager, three OSDs"
mkdir -p "$D"/{mon,mgr,run,log,crash,osd} "$S"; fsid=$(cat /proc/sys/kernel/random/uuid)
read -r v2 v1 < <(/usr/bin/python3 -c 'import socket; s = [socket.socket() for _ in "ab"]; [x.bind(("127.0.0.1", 0)) for x in s]; print(*[x.getsockname()[1] for x in s])')
cat >"$D/ceph.conf" <<C
[global]
fsid = $fsid
mon host = [v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]
keyring = $D/keyring
public addr = 127.0.0.1
cluster addr = 127.0.0.1
log file = $D/log/\$name.log
run dir = $R
pid file = $R/\$name.pid
admin socket = $R/\$name.asok
crash dir = $D/crash
osd crush chooseleaf type = 0
osd pool default size = 2
osd pool default pg autoscale mode = off
mon allow pool delete = true
mon data avail warn = 2
mon data avail crit = 1
[mon]
mon data = $D/mon/\$id
auth allow insecure global id reclaim = false
[mgr]
mgr data = $D/mgr/\$id
[osd]
osd data = $D/osd/ceph-\$id
C
export CEPH_CONF=$D/ceph.conf
ceph-authtool --create-keyring "$D/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
ceph-authtool "$D/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *' >/dev/null
ceph-authtool "$D/keyring" --gen-key -n mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *' --cap mds 'allow *' >/dev/null
monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]" "$D/monmap" >/dev/null
ceph-mon --mkfs -i a --monmap "$D/monmap" --keyring "$D/keyring"; ceph-mon -i a; mkdir -p "$D/mgr/x"; ceph-mgr -i x
stock_osds "$S" 0 1 2
wait_until 60 "not three up" up 3
for p in a a.rbd; do ceph osd pool create $p 8 2>/dev/null; done; ceph osd pool application enable a rados 2>/dev/null; rbd pool init a.rbd
wait_until 120 "not healthy" healthy
fill_pools a
say "a new loligo cluster next to it: an image with its snapshots, then what changed since; objects"
N=$T/new; "$L" up --dir "$N" --osds 3 --osd-size 2G >"$T/up" 2>&1 || die "loligo up: $(cat "$T/up")"; new() { CEPH_CONF=$N/ceph.conf "$@"; }
for p in c c.rbd; do new ceph osd pool create $p 8 2>/dev/null; done; new rbd pool init c.rbd
rbd export --no-progress --export-format 2 a.rbd/base - | new rbd import --no-progress --export-format 2 - c.rbd/base
rbd bench --io-type write --io-size 64K --io-total 1M --io-pattern rand a.rbd/base >/dev/null; rbd snap create --no-progress a.rbd/base@s3 2>/dev/null
rbd export-diff --no-progress --from-snap s2 a.rbd/base@s3 - | new rbd import-diff --no-progress - c.rbd/base
for i in base base@s1 base@s2 base@s3; do same "$(new rbd_sum c.rbd/$i)" "$(rbd_sum a.rbd/$i)" "$i"; done
rbd export --no-progress --export-format 2 a.rbd/child - | new rbd import --no-progress --export-format 2 - c.rbd/child
for i in child child@c1; do same "$(new rbd_sum c.rbd/$i)" "$(rbd_sum a.rbd/$i)" "$i"; done
rados -p a export - 2>/dev/null | new rados -p c import - >/dev/null; same "$(new object_sums c)" "$(object_sums a)"
"$L" down --dir "$N" >/dev/null 2>&1; rm -rf "$N"
say "three loligo OSDs join it, under a root of their own"
for i in 3 4 5; do
  printf '\n[osd.%s]\ncrush location = root=loligo host=loligo-%s\nkeyring = %s\n' $i $i "$D/osd/ceph-$i/keyring" >>"$CEPH_CONF"
  u=$(cat /proc/sys/kernel/random/uuid); k=$(ceph-authtool --gen-print-key); mkdir -p "$D/osd/ceph-$i"
  same "$(ceph osd new "$u" -i <(echo "{\"cephx_secret\":\"$k\"}"))" "$i" "osd new"
  ceph-authtool --create-keyring "$D/osd/ceph-$i/keyring" --name "osd.$i" --add-key "$k" >/dev/null
  "$L" osd -i $i --mkfs --osd-uuid "$u" --bluestore-block-size 4G >"$D/log/mkfs.$i" 2>&1 || die "mkfs: $(cat "$D/log/mkfs.$i")"
  "$L" osd -i $i >"$D/log/start.$i" 2>&1 || die "osd.$i does not start: $(cat "$D/log/start.$i")"
done
wait_until 60 "not six up" up 6
ceph osd crush rule create-replicated on-loligo loligo host
for p in b b.rbd; do ceph osd pool create $p 8 8 replicated on-loligo 2>/dev/null; ceph osd pool set $p pg_autoscale_mode off 2>/dev/null; done; ceph osd pool application enable b rados 2>/dev/null; rbd pool init b.rbd
# (Loligo's OSDs do not scrub; stock's manager says so when a PG is ten days old.)
wait_until 120 "not healthy" healthy
for p in a a.rbd; do only_on $p '[0, 1, 2]'; done; for p in b b.rbd; do only_on $p '[3, 4, 5]'; done
say "objects: cppool"
copy_objects a b
say "images: copies, migration"
copy_images a b; move_images a b
say "a loligo OSD dies and comes back; the stock monitor and manager see it"
kill -9 "$(cat "$R/osd.4.pid")"; wait_until 120 "not seen down" up 5; images=$(image_sums b)
"$L" osd -i 4 >/dev/null 2>&1; wait_until 60 "not six up" up 6; wait_until 240 "not healthy" healthy; same "$(image_sums b)" "$images"
say "three loligo monitors take the cluster over: all OSDs stop, the last map and the keys are taken along"
objects=$(object_sums b)
ends() { local n; for n in $(seq 200); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done; die "process $1 does not end"; }
ceph osd set noout 2>/dev/null
pids=(); for i in 0 1 2 3 4 5; do f=$S/$i.pid; [ -s "$f" ] || f=$R/osd.$i.pid; pids+=("$(cat "$f")"); kill "${pids[$i]}"; done
for i in 0 1 2 3 4 5; do ends "${pids[$i]}"; done
ceph osd down all 2>/dev/null; wait_until 20 "OSDs are not down" up 0
ceph osd getmap -o "$D/osdmap" 2>/dev/null; ceph mon getmap -o "$D/monmap" 2>/dev/null; ceph auth export -o "$D/keys" 2>/dev/null; ceph auth get mon. 2>/dev/null >>"$D/keys"
epoch=$(ceph osd dump -f json | json 'd["epoch"]')
for d in mgr.x mon.a; do p=$(cat "$R/$d.pid"); kill "$p"; ends "$p"; done
mv "$D/mon/a" "$D/mon/a.stock"
host="[v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]"
for m in b c; do
  at=$(/usr/bin/python3 -c 'import socket; s = [socket.socket() for _ in "ab"]; [x.bind(("127.0.0.1", 0)) for x in s]; print("[v2:127.0.0.1:%s,v1:127.0.0.1:%s]" % tuple(x.getsockname()[1] for x in s))')
  monmaptool --addv $m "$at" "$D/monmap" >/dev/null; host+=,$at
done
sed -i "s/^mon host = .*/mon host = $host/" "$CEPH_CONF"
for m in a b c; do
  "$L" mon -i $m --mkfs --monmap "$D/monmap" --keyring "$D/keys" --osdmap "$D/osdmap" >"$D/log/mkfs.mon" 2>&1 || die "mon --mkfs: $(cat "$D/log/mkfs.mon")"
  "$L" mon -i $m >"$D/log/start.mon" 2>&1 || die "mon.$m does not start: $(cat "$D/log/start.mon")"
done
quorum() { [ "$(timeout 20 ceph quorum_status 2>/dev/null | json '",".join(sorted(d["quorum_names"]))' 2>/dev/null)" = "$1" ]; }
wait_until 60 "no quorum" quorum a,b,c
for i in 0 1 2; do stock_osd_start "$S" $i; done; for i in 3 4 5; do "$L" osd -i $i >/dev/null 2>&1; done
wait_until 120 "not six up" up 6; ceph osd unset noout 2>/dev/null; wait_until 240 "not healthy" healthy
[ "$(ceph osd dump -f json | json 'd["epoch"]')" -gt "$epoch" ] || die "the map did not go on"
same "$(image_sums b)" "$images"; same "$(object_sums b)" "$objects"; same "$(object_sums a)" "$objects"
say "images: migration back"
move_images b a; ceph versions | grep -q loligo || die "$(ceph versions)"
say "the stock manager goes on under loligo's monitors, where that is wanted"
ceph config set mon mon_mgr_builtin false; ceph-mgr -i x
serves() { [ "$(timeout 10 ceph mgr stat -f json 2>/dev/null | json '(d["active_name"], d["available"])' 2>/dev/null)" = "('x', True)" ] && timeout 10 ceph -s 2>/dev/null | grep -qE "^    pgs:     [0-9]+ active\+clean"; }
wait_until 80 "mgr.x does not serve" serves; wait_until 40 "not healthy" healthy; same "$(ceph osd df -f json | json 'all(n["pgs"] > 0 for n in d["nodes"])')" True
say "ok"
