#!/usr/bin/env bash
# `loligo ceph` beside stock's `ceph`: the same command lines, the same output, messages and exit codes.
# loligo-only
. "$(dirname "$0")/lib.sh"
ours() { "$LOLIGO" ceph "$@"; }
# run DIR cmd...: stdout, stderr and exit code into the folder. A daemon's pid or a time that passes would differ; no such command is here.
run() { local to=$1 rc=0; shift; timeout 60 "$@" >"$T/$to.out" 2>"$T/$to.err" </dev/null || rc=$?; echo $rc >"$T/$to.rc"; }
# both CODE args...: both programs must end with CODE and say the same on both streams; `both_out`: on stdout alone.
both_out() {
  local code=$1; shift; run stock ceph "$@"; run ours ours_program "$@"
  same "$(cat "$T/ours.rc")" "$code" "exit code of loligo ceph $*: $(cat "$T/ours.err")"
  same "$(cat "$T/stock.rc")" "$code" "exit code of ceph $*: $(cat "$T/stock.err")"
  cmp -s "$T/ours.out" "$T/stock.out" || die "output of ceph $*: $(diff "$T/stock.out" "$T/ours.out" | head -20)"
}
both() { both_out "$@"; cmp -s "$T/ours.err" "$T/stock.err" || die "messages of ceph ${*:2}: $(diff "$T/stock.err" "$T/ours.err" | head -20)"; }
# `timeout` wants a program.
printf '#!/bin/sh\nexec "%s" ceph "$@"\n' "$LOLIGO" >"$T/ours_program"; chmod +x "$T/ours_program"; PATH=$T:$PATH
N=$(ceph osd ls | wc -l)

say "reading, in every format"
ours osd pool create lc 8 2>"$T/e"; grep -q "^pool 'lc' created$" "$T/e"; ours osd pool application enable lc rados 2>/dev/null
both 0 osd tree; both 0 osd tree -f json; both 0 -f json-pretty osd tree; both 0 osd tree up --format=plain
both 0 osd pool ls detail; both 0 osd pool get lc size -f json; both 0 osd dump -fjson; both 0 mon dump; both 0 osd getmaxosd
both 0 fsid; both 0 auth get client.admin; both 0 config dump; both 0 osd crush rule ls; both 0 node ls osd; both 0 osd map lc obj
both_out 0 health detail -f json
both 0 osd ls --connect-timeout 20 --cluster ceph --id admin; both 0 -n client.admin osd pool ls; both 0 osd df plain class ssd
say "the manager's commands"
both 0 pg dump pgs_brief; both 0 pg ls-by-pool lc -f json-pretty; both 0 osd pool autoscale-status; both 0 balancer ls
say "parameters by name, flags, and abbreviations that stock refuses"
both 0 osd pool create lc --pg-num 8; both 0 osd pool create --pool=lc --pg_num=8; both 0 osd pool get --var=size --pool lc
both 1 osd pool delete lc lc; both 22 osd tre; both 0 osd pool create lc eight; both 22 osd pool create lc --pg-num eight; both 22 osd pool set lc size; both 22 osd reweight 0 1.5
both 22 osd out; both 22 nonsense here; both 22 osd pool create lc 8 --no-such-flag; both 22 osd tree sideways; both 22 osd blocklist add 1.2.3.400
both 2 osd pool get nosuch size; both 2 auth get client.nobody; both 22 osd pool set lc size many; both 2 osd crush rule dump nosuch
say "to one daemon, and to all"
both 0 tell osd.0 config get osd_max_backfills; both 0 tell 'osd.*' config get osd_max_backfills; both 0 tell mon.a version; both 0 tell mgr version
both 0 tell 'mon.*' config get mon_max_pg_per_osd; both 2 tell osd.99 version; both_out 22 tell osd.0; both 1 tell nobody version; both 22 tell osd.0 nonsense
both 0 tell osd.0 injectargs --osd-heartbeat-grace 20; both 2 tell mon.nobody version; both 0 tell mgr.a version
# (Stock's answers the same, or waits for ever when its session with the manager was there first: a race of its own.)
run ours ours_program tell mgr.nobody version; same "$(cat "$T/ours.rc")" 6 "tell mgr.nobody: $(cat "$T/ours.err")"
P=$(ceph osd pool ls detail -f json | json '[p["pool_id"] for p in d if p["pool_name"]=="lc"][0]')
wait_until 60 "the PG is not active" sh -c "ceph pg $P.0 query >/dev/null 2>&1"
ours pg $P.0 query | json "d['info']['pgid']" | grep -qx "$P.0"; ours tell $P.0 query | json "d['state']" | grep -q active; both 2 tell 999.0 query
both 0 daemon osd.0 config get osd_max_backfills; both 0 daemon "$RUN_DIR/osd.0.asok" version; both 0 --admin-daemon "$RUN_DIR/mon.a.asok" version -f json-pretty
both 22 daemon osd.0 nonsense; both 22 daemon osd.0; both_out 22 daemon osd.99 version; both 22 daemon /nowhere version
say "input and output"
both 1 config-key set lc -i "$T/nothing"; printf 'some\nvalue' >"$T/in"; ours config-key set lc/k -i "$T/in" 2>/dev/null; both 0 config-key get lc/k
printf 'piped' | ours config-key set lc/k -i - 2>/dev/null; same "$(ceph config-key get lc/k)" piped; ours config-key rm lc/k 2>/dev/null
ours osd getcrushmap -o "$T/ours.map" 2>"$T/ours.said"; ceph osd getcrushmap -o "$T/stock.map" 2>"$T/stock.said"; cmp "$T/ours.map" "$T/stock.map"; cmp "$T/ours.said" "$T/stock.said"
ours auth get client.admin -o - 2>/dev/null | cmp - <(ceph auth get client.admin -o - 2>/dev/null); both 1 osd ls -o /nowhere/file
say "who may, and what is wrong with the way there"
ours auth get-or-create client.lc mon 'allow r' -o "$T/lc.keyring"; both_out 13 --id lc -k "$T/lc.keyring" osd pool create no 8
both_out 0 --name client.lc --keyring "$T/lc.keyring" osd pool ls; both_out 13 --id lc -k "$T/lc.keyring" tell osd.0 version
ceph-authtool --create-keyring "$T/bad.keyring" --gen-key -n client.lc >/dev/null; both_out 13 --id lc -k "$T/bad.keyring" osd ls; both_out 1 --id lc -k "$T/nothing" osd ls
both_out 1 --conf "$T/nothing" osd ls; both_out 1 -m 127.0.0.1:1 --connect-timeout 1 osd ls; both_out 2 -f nothing osd ls; both_out 2 --watch-x osd ls -o
CEPH_ARGS="--id lc --keyring $T/lc.keyring" both_out 13 osd pool create no 8
ours auth rm client.lc 2>/dev/null
say "help, mon_status, ping, version"
both_tail() { run stock ceph "$@"; run ours ours_program "$@"; cmp -s <(sed -n '/Monitor commands/,$p' "$T/ours.out") <(sed -n '/Monitor commands/,$p' "$T/stock.out") || die "help of $*: $(diff "$T/stock.out" "$T/ours.out" | tail -5)"; }
both_tail -h; both_tail osd pool --help; grep -q '^osd pool create ' "$T/ours.out"; both_tail -h zzz
both 0 tell osd.0 help; both 0 --completion osd pool get lc pg
same "$(ours mon_status | json 'd["name"], d["state"], d["monmap"]["mons"][0]["name"]')" "a leader a"
same "$(ours mon_status | wc -l)" 1; same "$(ours mon_status -f json-pretty | json 'd["quorum"]')" "[0]"
same "$(ours ping mon.a | json 'd["mon_status"]["name"]')" a; ours -v | grep -q '^ceph version 16.2'
expect_fail 22 'interactive mode' ours
ln -s "$LOLIGO" "$T/link.ceph"; mkdir "$T/l"; ln -s "$LOLIGO" "$T/l/ceph"; same "$("$T/l/ceph" osd ls | wc -l)" "$N" "called as ceph"
say "watching the log"
"$LOLIGO" ceph -w >"$T/w.ours" 2>&1 & w1=$!; ceph -w >"$T/w.stock" 2>&1 & w2=$!
wait_until 60 "ceph -w does not show the status" sh -c "grep -q services: '$T/w.ours' && grep -q services: '$T/w.stock'"
# A subscription that is on its way hears what was logged before, or what comes: so one line must reach both.
logged() { ceph log "l_ceph was here $1" 2>/dev/null; grep -q "\[INF\] l_ceph was here" "$T/w.ours" && grep -q "\[INF\] l_ceph was here" "$T/w.stock"; }
for n in $(seq 60); do logged "$n" && break; [ "$n" -lt 60 ] || die "no log line: $(tail -3 "$T/w.ours" "$T/w.stock")"; done
kill -INT $w1; rc=0; wait $w1 || rc=$?; kill $w2; wait $w2 2>/dev/null || :
line=$(grep -m1 'l_ceph was here' "$T/w.ours"); grep -qxF -- "$line" "$T/w.stock" || wait_until 1 "stock shows '$line' otherwise" false
ours osd pool rm lc lc --yes-i-really-really-mean-it 2>&1 | grep -q "pool 'lc' removed"
