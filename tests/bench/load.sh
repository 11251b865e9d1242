#!/usr/bin/env bash
# The common load of `cargo xtask bench`: stock fio through stock librbd, its cache off, on a 1 GiB image that is written
# once before. One line per job: name, IOPS, MiB/s, p50 and p99 in us, OSD CPU us per operation.
# usage: CEPH_CONF=... load.sh "OSD PIDS" [SECONDS]
set -euo pipefail
PIDS=$1; T=${2:-10}; IMAGE=1G; unset CEPH_ARGS
export CEPH_ARGS="--rbd_cache=false"
ceph osd pool create bench 32 >/dev/null 2>&1
ceph osd pool application enable bench rbd >/dev/null 2>&1
rbd create bench/img --size $IMAGE --image-feature layering,exclusive-lock,object-map,fast-diff,deep-flatten
rbd bench --io-type write --io-pattern seq --io-size 4M --io-threads 4 --io-total $IMAGE bench/img >/dev/null 2>&1
sync
# CPU time of the OSDs so far, in clock ticks (user and system).
ticks() {
  local p sum=0 stat
  for p in $PIDS; do stat=$(cat "/proc/$p/stat"); read -r -a f <<<"${stat##*) }"; sum=$((sum + f[11] + f[12])); done
  echo $sum
}
HZ=$(getconf CLK_TCK)
job() {
  local name=$1 before after; shift
  before=$(ticks)
  fio --ioengine=rbd --clientname=admin --pool=bench --rbdname=img --name=j --time_based --runtime="$T" --size=$IMAGE \
    --output-format=json --output="$name.json" "$@" >/dev/null 2>"$name.err" || { cat "$name.err" >&2; exit 1; }
  after=$(ticks)
  /usr/bin/python3 - "$name" "$name.json" $((after - before)) "$HZ" <<'PY'
import json, sys
name, path, ticks, hz = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
text = open(path).read()
job = json.loads(text[text.index("{"):])["jobs"][0]
side = job["write"] if job["write"]["total_ios"] else job["read"]
if job["error"] or not side["total_ios"]:
    sys.exit(f"{name}: fio reports error {job['error']}, {side['total_ios']} operations")
p = side["clat_ns"]["percentile"]
print(name, "%.1f %.1f %.1f %.1f %.1f" % (side["iops"], side["bw"] / 1024, p["50.000000"] / 1e3, p["99.000000"] / 1e3, ticks * 1e6 / hz / side["total_ios"]), flush=True)
PY
}
job randwrite-4k-q32 --rw=randwrite --bs=4k --iodepth=32
job randwrite-4k-q1 --rw=randwrite --bs=4k --iodepth=1
job randread-4k-q32 --rw=randread --bs=4k --iodepth=32
job randread-4k-q1 --rw=randread --bs=4k --iodepth=1
job seqwrite-4m-q4 --rw=write --bs=4m --iodepth=4
job seqread-4m-q4 --rw=read --bs=4m --iodepth=4
