#!/usr/bin/env bash
# `rados bench` as the issue has it: 4 KiB writes by 16, then the sequential and the random read of what was written.
# BENCH_SECONDS sets how long each runs (10 in the long form).
# limit-seconds: 180
. "$(dirname "$0")/lib.sh"
S=${BENCH_SECONDS:-10}; P=db$$; ceph osd pool create $P 32 >/dev/null 2>&1; ceph osd pool application enable $P rados >/dev/null 2>&1
figure() { sed -n "s/^$1: *//p" "$2"; }
rados -p $P bench "$S" write -b 4096 -t 16 --no-cleanup > "$T/w"
rados -p $P bench "$S" seq -t 16 > "$T/s"; rados -p $P bench "$S" rand -t 16 > "$T/r"
for f in w s r; do [ "$(figure 'Total .* made' "$T/$f")" -gt 0 ] || die "nothing was done: $(cat "$T/$f")"; done
same "$(rados -p $P ls | grep -c "^benchmark_data")" "$(figure 'Total writes made' "$T/w")" "objects and writes"
say "write $(figure 'Average IOPS' "$T/w"), seq $(figure 'Average IOPS' "$T/s"), rand $(figure 'Average IOPS' "$T/r") operations a second"
rados -p $P cleanup >/dev/null; same "$(rados -p $P ls | grep -c '^benchmark_data_' || true)" 0
ceph osd pool rm $P $P --yes-i-really-really-mean-it >/dev/null 2>&1
say "ok"
