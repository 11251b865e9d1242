#!/usr/bin/env bash
# Three monitors on three hosts (network namespaces): the leader is cut off, then a follower, then the leader's disk is full. Commands go on
# within 5 s, the one that is cut off says so, and all are one again afterwards. Needs root. LOLIGO names the program.
# limit-seconds: 240
# loligo-only
. "$(dirname "$0")/lib.sh"
L=${LOLIGO:-$(dirname "$0")/../../target/release/loligo}; D=$T/c; B=lgb$$; NET=10.213.$(( $$ % 250 ))
end() { local m; for m in a b c; do ip netns pids "lg$$$m" 2>/dev/null | xargs -r kill -9; done; for m in a b c; do ip netns del "lg$$$m" 2>/dev/null; done
  ip link del "$B" 2>/dev/null; umount "$T/small" 2>/dev/null; true; }
trap 'status=$?; set +e; [ $status = 0 ] || tail -n 8 "$D"/log/*.log "$T"/*.out 2>/dev/null; end; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
mkdir -p "$D"/{mon,run,log,crash} "$T/small"
ip link add "$B" type bridge; ip addr add "$NET.1/24" dev "$B"; ip link set "$B" up
n=10; for m in a b c; do n=$((n+1)); ip netns add "lg$$$m"; ip link add "lv$$$m" type veth peer name eth0 netns "lg$$$m"; ip link set "lv$$$m" master "$B" up
  ip -n "lg$$$m" addr add "$NET.$n/24" dev eth0; ip -n "lg$$$m" link set eth0 up; ip -n "lg$$$m" link set lo up; done
sever() { ip link set "lv$$$1" nomaster; }; heal() { ip link set "lv$$$1" master "$B"; }
F=$(cat /proc/sys/kernel/random/uuid); export CEPH_CONF=$D/ceph.conf
cat > "$CEPH_CONF" <<C
[global]
fsid = $F
mon initial members = a,b,c
mon host = $NET.11,$NET.12,$NET.13
keyring = $D/ceph.\$name.keyring
run dir = $D/run
[mon]
mon data = $D/mon/ceph-\$id
keyring = $D/mon/ceph-\$id/keyring
log file = $D/log/\$name.log
admin socket = $D/run/\$name.asok
C
ceph-authtool --create-keyring "$D/first" --gen-key -n mon. --cap mon 'allow *' >/dev/null
ceph-authtool "$D/first" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *' --cap mgr 'allow *' >/dev/null
ceph-authtool --create-keyring "$D/ceph.client.admin.keyring" --name client.admin --add-key "$(ceph-authtool -p -n client.admin "$D/first")" >/dev/null
monmaptool --create --fsid "$F" --addv a "[v2:$NET.11:3300,v1:$NET.11:6789]" --addv b "[v2:$NET.12:3300,v1:$NET.12:6789]" --addv c "[v2:$NET.13:3300,v1:$NET.13:6789]" "$T/map" >/dev/null
# The first one's disk is small.
truncate -s 24M "$T/disk"; mkfs.ext4 -q "$T/disk"; mount -o loop "$T/disk" "$T/small"; mkdir -p "$T/small/ceph-a"; ln -s "$T/small/ceph-a" "$D/mon/ceph-a"
start() { ip netns exec "lg$$$1" "$L" mon -i "$1" -c "$CEPH_CONF" -f >> "$D/log/$1.out" 2>&1 & echo $! > "$D/run/$1.pid"; }
for m in a b c; do "$L" mon -i $m -c "$CEPH_CONF" --mkfs --monmap "$T/map" --keyring "$D/first"; start $m; done
cli() { timeout "${W:-30}" ceph "$@"; }
quorum() { cli quorum_status 2>/dev/null | json '",".join(sorted(d["quorum_names"]))' 2>/dev/null; }
leader() { cli quorum_status | json 'd["quorum_leader_name"]'; }
wait_quorum() { local n; for n in $(seq $((60 * PATIENCE))); do [ "$(quorum)" = "$1" ] && return 0; sleep 0.3; done; die "the quorum is $(quorum), not $1"; }
state() { ceph daemon "$D/run/mon.$1.asok" mon_status | json 'd["state"]'; }
# Something is accepted within 5 s.
WITHIN=$((5 * PATIENCE))
accepted() { N=$((${N:-0}+1)); W=$WITHIN cli config-key set "k/$N" "v$N" >/dev/null 2>&1 || die "no command was accepted within $WITHIN s after $1: $(for m in a b c; do echo "$m: $(state $m)"; done)"; }
say "three hosts, one quorum"
wait_quorum a,b,c; accepted "the beginning"
for round in 1 2; do
  l=$(leader); say "the leader mon.$l is cut off"
  sever "$l"; accepted "the leader was cut off"; rest=$(tr -d "$l" <<<abc | sed 's/./&,/g; s/,$//')
  wait_quorum "$rest"; for n in $(seq $((40 * PATIENCE))); do [ "$(state "$l")" = leader ] || break; sleep 0.2; done
  [ "$(state "$l")" != leader ] || die "mon.$l still thinks that it leads"
  same "$(W=4 timeout 4 ip netns exec "lg$$$l" ceph -m "$NET.$(( $(printf %d "'$l") - 86 ))" config-key get "k/$N" 2>/dev/null || echo refused)" refused "who is cut off answers nothing"
  heal "$l"; wait_quorum a,b,c; accepted "healing"
done
l=$(leader); f=$(tr -d "$l" <<<abc | cut -c1); say "a follower, mon.$f, is cut off"
sever "$f"; accepted "a follower was cut off"; accepted "that"; heal "$f"; wait_quorum a,b,c
say "the disk of mon.a fills up"
for n in $(seq 20); do [ "$(leader)" = a ] && break; l=$(leader); kill -9 "$(cat "$D/run/$l.pid")"; accepted "kill"; start "$l"; wait_quorum a,b,c; done
dd if=/dev/zero of="$T/small/fill" bs=64k >/dev/null 2>&1 || true
for i in $(seq 40); do head -c 32768 /dev/urandom | base64 -w0 > "$T/v"; W=10 cli config-key set "big/$i" -i "$T/v" >/dev/null 2>&1 && sha256sum < "$T/v" > "$T/big.$i"; done
accepted "the disk was full"; wait_quorum b,c
cli health detail | grep -q "mon.a .*is down" || die "$(cli health detail)"
rm "$T/small/fill"; kill -9 "$(cat "$D/run/a.pid")" 2>/dev/null || true; start a; wait_quorum a,b,c; accepted "mon.a has room again"
say "all that was accepted is there, from each of them"
for h in 11 12 13; do
  for i in $(seq "$N"); do same "$(cli -m "$NET.$h" config-key get "k/$i" 2>/dev/null)" "v$i" "k/$i from $NET.$h"; done
  for s in "$T"/big.*; do same "$(cli -m "$NET.$h" config-key get "big/${s##*.}" 2>/dev/null | sha256sum)" "$(cat "$s")" "big/${s##*.}"; done
done
say "ok"
