#!/usr/bin/env bash
# A stock Ceph cluster on loopback, from Debian's packages: one monitor, one manager, N BlueStore OSDs on sparse files.
# It is the peer of `cargo xtask bench` and what `--stock` of the other tasks runs against, to check the harness itself.
# usage: stock.sh up DIR PORT OSDS | start DIR | down DIR        (`start` starts again what does not run)
set -euo pipefail
cmd=$1; mkdir -p "$2"; D=$(cd "$2" && pwd); R=$D/run; C=$D/ceph.conf; export CEPH_CONF=$C; unset CEPH_ARGS

# alive NAME: prints the pid of that daemon of this cluster (a pid may have been given to another process since).
alive() {
  local pid; pid=$(cat "$R/$1.pid" 2>/dev/null) || return 1
  tr '\0' '\n' < "/proc/$pid/cmdline" 2>/dev/null | grep -qxF -- "$C" && echo "$pid"
}
start() {
  alive mon.a >/dev/null || ceph-mon -c "$C" -i a
  alive mgr.x >/dev/null || ceph-mgr -c "$C" -i x
  local d i
  for d in "$D"/osd/*/ready; do
    [ -e "$d" ] || continue
    i=$(basename "$(dirname "$d")"); alive "osd.$i" >/dev/null || ceph-osd -c "$C" -i "$i" 2>/dev/null >&2
  done
}

case $cmd in
start) start ;;
down)
  pids=""; for f in "$R"/*.pid; do [ -e "$f" ] && p=$(alive "$(basename "$f" .pid)") && pids="$pids $p"; done
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill $pids 2>/dev/null || true
  for _ in $(seq 100); do
    left=""; for p in $pids; do [ ! -e "/proc/$p" ] || left="$left $p"; done
    [ -n "$left" ] || exit 0; sleep 0.1
  done
  # shellcheck disable=SC2086
  kill -9 $left 2>/dev/null || true ;;
up)
  PORT=$3; N=${4:-3}; F=$(cat /proc/sys/kernel/random/uuid); A="[v2:127.0.0.1:$PORT,v1:127.0.0.1:$((PORT + 1))]"
  mkdir -p "$R" "$D"/{log,crash,mon,mgr/x,osd}
  cat > "$C" <<CONF
[global]
fsid = $F
mon host = $A
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = $D/keyring
run dir = $R
crash dir = $D/crash
log file = $D/log/\$name.log
pid file = $R/\$name.pid
admin socket = $R/\$name.asok
osd pool default size = 3
osd pool default min size = 2
osd crush chooseleaf type = 0
mon allow pool delete = true
[client]
log file =
admin socket =
[mon]
mon data = $D/mon/\$id
auth allow insecure global id reclaim = false
[mgr]
mgr data = $D/mgr/\$id
[osd]
osd data = $D/osd/\$id
keyring = $D/osd/\$id/keyring
osd objectstore = bluestore
osd memory target = 2147483648
bluestore block size = 21474836480
bluestore block create = true
CONF
  all=(--cap mon 'allow *' --cap osd 'allow *' --cap mds 'allow *')
  {
    ceph-authtool --create-keyring "$D/keyring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool "$D/keyring" --gen-key -n client.admin "${all[@]}" --cap mgr 'allow *'
    ceph-authtool "$D/keyring" --gen-key -n mgr.x "${all[@]}"
    monmaptool --create --clobber --fsid "$F" --addv a "$A" "$D/monmap"
    ceph-mon -c "$C" --mkfs -i a --monmap "$D/monmap" --keyring "$D/keyring"
  } >/dev/null
  start
  for i in $(seq 0 $((N - 1))); do
    o=$D/osd/$i; u=$(cat /proc/sys/kernel/random/uuid); k=$(ceph-authtool --gen-print-key); mkdir -p "$o"
    ceph osd new "$u" "$i" -i <(echo "{\"cephx_secret\":\"$k\"}") >/dev/null
    ceph-authtool --create-keyring "$o/keyring" --name "osd.$i" --add-key "$k" >/dev/null
    ceph-osd -c "$C" -i "$i" --mkfs --osd-uuid "$u" >"$D/log/mkfs.$i" 2>&1 || { cat "$D/log/mkfs.$i" >&2; exit 1; }
    touch "$o/ready"; start
  done
  for _ in $(seq 240); do
    ceph -s -f json 2>/dev/null | grep -q "\"num_up_osds\":$N" && exit 0; sleep 0.25
  done
  echo "not all OSDs came up" >&2; exit 1 ;;
*) echo "usage: stock.sh up DIR PORT OSDS | start DIR | down DIR" >&2; exit 2 ;;
esac
