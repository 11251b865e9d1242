# What the client scripts share. A script runs against any cluster that CEPH_CONF names, stock or ours, with stock clients.
# No pipefail: `grep -q` leaves early, and what it leaves dies of SIGPIPE.
set -eu
# What is promised within some seconds must come within so many times that: 1, but more where others use the machine, too, as in CI.
PATIENCE=${PATIENCE:-1}
T=$(mktemp -d "${TMPDIR:-/tmp}/clients.XXXXXX")
trap 'status=$?; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
# With the seconds since the beginning: what a slow machine makes late shows.
say() { echo "-- $SECONDS s: $*"; }
die() { echo "FAILED: $*" >&2; exit 1; }
# expect_fail CODE PATTERN cmd...: the command must exit with CODE and say PATTERN (an extended regex) on stderr or stdout.
expect_fail() {
  local code=$1 pattern=$2 out rc=0; shift 2
  out=$("$@" 2>&1) || rc=$?
  [ "$rc" = "$code" ] || die "$* exited with $rc, not $code: $out"
  grep -qE "$pattern" <<<"$out" || die "$* said: $out; wanted $pattern"
}
same() { [ "$1" = "$2" ] || die "${3:-values differ}: '$1' is not '$2'"; }
json() { /usr/bin/python3 -c "import json,sys; d=json.load(sys.stdin); print($1)"; }
sha() { sha256sum "$1" | cut -d' ' -f1; }

# wait_until TRIES WHAT cmd...: until the command succeeds, asked every half a second.
wait_until() { local n; for n in $(seq "$1"); do "${@:3}" && return 0; sleep 0.5; done; die "$2: $(timeout 10 ceph -s; timeout 10 ceph health detail; timeout 10 ceph osd tree)"; }
# HEALTH_OK, but for what is muted and for the room on the machine that runs this, which is not the cluster's doing.
healthy() { [ "$(ceph health -f json 2>/dev/null | json 'all(k == "MON_DISK_LOW" or c.get("muted") for k, c in d["checks"].items())' 2>/dev/null)" = True ]; }
# Stock OSDs with their stores under DIR: `stock_osds DIR ID...` makes and starts them (the cluster must give them those ids), `stock_osd_start DIR ID` starts one.
stock_osd_start() {
  ceph-osd -i "$2" --keyring "$1/$2/keyring" --osd-data "$1/$2" --osd-memory-target 939524096 --log-file "$1/$2.log" --pid-file "$1/$2.pid" --admin-socket "$1/$2.asok" \
    >"$1/$2.out" 2>&1 || die "osd.$2 does not start: $(tail -3 "$1/$2.out")"
}
stock_osds() {
  local u k i made=() dir=$1; shift
  for i in "$@"; do
    mkdir -p "$dir/$i"; u=$(cat /proc/sys/kernel/random/uuid); k=$(ceph-authtool --gen-print-key)
    same "$(ceph osd new "$u" -i <(echo "{\"cephx_secret\":\"$k\"}"))" "$i" "osd new"
    ceph-authtool --create-keyring "$dir/$i/keyring" --name "osd.$i" --add-key "$k" >/dev/null; truncate -s 10G "$dir/$i/block"
    # They wait for the disk most of the time.
    ceph-osd -i "$i" --mkfs --osd-uuid "$u" --keyring "$dir/$i/keyring" --osd-data "$dir/$i" --osd-objectstore bluestore >"$dir/$i.mkfs" 2>&1 & made+=($!)
  done
  for i in "$@"; do wait "${made[0]}" || die "mkfs of osd.$i: $(tail -3 "$dir/$i.mkfs")"; made=("${made[@]:1}"); stock_osd_start "$dir" "$i"; done
}
# What moves between pools, for the scripts that move it. Pools ROLE and ROLE.rbd: `fill_pools a` makes contents in a and a.rbd.
# (Nothing is never equal to nothing: what cannot be read must not pass.)
stdin_sum() { local s; s=$(sha256sum | cut -d' ' -f1); case $s in e3b0c44298fc1c14*) echo "nothing of $1 was read ($RANDOM$RANDOM)";; *) echo "$s";; esac; }
rbd_sum() { rbd export --no-progress "$1" - 2>/dev/null | stdin_sum "$1"; }
fill_pools() {
  local i
  for i in 1 2 3 4 5 6; do
    head -c $((i * 300007)) /dev/urandom >"$T/o"; rados -p "$1" put "o$i" "$T/o"; rados -p "$1" setxattr "o$i" color "c$i"; rados -p "$1" setomapval "o$i" key "v$i"
  done
  rados -p "$1" -N ns put inside "$T/o"
  head -c 24M /dev/urandom >"$T/img"; rbd import --no-progress "$T/img" "$1.rbd/base"; rbd snap create --no-progress "$1.rbd/base@s1" 2>/dev/null
  rbd bench --io-type write --io-size 64K --io-total 2M --io-pattern rand "$1.rbd/base" >/dev/null; rbd snap create --no-progress "$1.rbd/base@s2" 2>/dev/null
  rbd snap protect "$1.rbd/base@s1"; rbd clone "$1.rbd/base@s1" "$1.rbd/child"
  rbd bench --io-type write --io-size 64K --io-total 2M --io-pattern rand "$1.rbd/child" >/dev/null; rbd snap create --no-progress "$1.rbd/child@c1" 2>/dev/null
  rbd bench --io-type write --io-size 64K --io-total 1M --io-pattern rand "$1.rbd/child" >/dev/null
}
# Everything that a reader sees of the objects, of the images.
object_sums() { local i; for i in 1 2 3 4 5 6; do rados -p "$1" get "o$i" - | stdin_sum "o$i"; rados -p "$1" getxattr "o$i" color; rados -p "$1" listomapvals "o$i"; done; rados -p "$1" -N ns get inside - | stdin_sum inside; rados -p "$1" ls --all | sort; }
image_sums() { local i; for i in base base@s1 base@s2 child child@c1; do rbd_sum "$1.rbd/$i"; done; rbd children "$1.rbd/base@s1" | sed "s/^$1//"; }
# (`commit` of an image with clones wants --force: it cannot see whether somebody holds one open for reading alone.)
# copy_objects FROM TO, move_images FROM TO: and the contents must be the same before, meanwhile and after.
copy_objects() {
  local before; before=$(object_sums "$1"); rados cppool "$1" "$2" --yes-i-really-mean-it >"$T/cppool" 2>&1 || die "cppool $1 $2: $(cat "$T/cppool")"
  same "$(object_sums "$2")" "$before" "objects after cppool $1 $2"
}
move_images() {
  local before i; before=$(image_sums "$1")
  for i in base child; do rbd migration prepare "$1.rbd/$i" "$2.rbd/$i" || die "migration prepare $i"; done
  same "$(image_sums "$2")" "$before" "images between prepare and execute"
  for i in base child; do rbd migration execute --no-progress "$2.rbd/$i" || die "migration execute $i"; done
  for i in base child; do rbd migration commit --no-progress --force "$2.rbd/$i" || die "migration commit $i"; done
  same "$(image_sums "$2")" "$before" "images after migration from $1 to $2"
  same "$(rbd ls "$1.rbd"; rbd trash ls --all "$1.rbd")" "" "what is left of the images"
}
# The other ways for an image: with its snapshots, one state of it, as a stream.
copy_images() {
  local s i; s="$(rbd_sum "$1.rbd/base") $(rbd_sum "$1.rbd/base@s1")"
  rbd deep cp --no-progress "$1.rbd/base" "$2.rbd/deep"; same "$(rbd_sum "$2.rbd/deep") $(rbd_sum "$2.rbd/deep@s1")" "$s" "deep cp"
  rbd cp --no-progress "$1.rbd/base@s1" "$2.rbd/cp"; same "$(rbd_sum "$2.rbd/cp")" "${s#* }" "cp"
  rbd export --no-progress --export-format 2 "$1.rbd/base" - | rbd import --no-progress --export-format 2 - "$2.rbd/stream"
  same "$(rbd_sum "$2.rbd/stream") $(rbd_sum "$2.rbd/stream@s1")" "$s" "export and import"
  for i in deep stream; do rbd snap unprotect "$2.rbd/$i@s1" 2>/dev/null || :; rbd snap purge --no-progress "$2.rbd/$i"; done
  for i in deep cp stream; do rbd rm --no-progress "$2.rbd/$i"; done
}
# only_on POOL IDS: every PG of the pool is on these OSDs (a JSON list) and nowhere else.
only_on() { timeout 30 ceph pg ls-by-pool "$1" -f json 2>/dev/null | json "all(set(p['acting'] + p['up']) <= set($2) for p in d['pg_stats'])" | grep -q True || die "pool $1 is not on $2 alone: $(timeout 30 ceph pg ls-by-pool "$1")"; }
