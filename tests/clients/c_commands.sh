#!/usr/bin/env bash
# Administration beyond the article's: exceptions to CRUSH, weights, classes, profiles, crash reports, the balancer, configuration history,
# and who may not. Texts and codes are stock's.
. "$(dirname "$0")/lib.sh"
say "pg-temp, primary-temp, upmaps"
ceph osd pool create cp 8 >/dev/null 2>&1; ceph osd pool application enable cp rados >/dev/null 2>&1
P=$(ceph osd pool ls detail -f json | json '[p["pool_id"] for p in d if p["pool_name"]=="cp"][0]')
ceph osd set-require-min-compat-client luminous >/dev/null 2>&1
says() { local want=$1 out; shift; out=$("$@" 2>&1) || die "$* failed: $out"; grep -qF -- "$want" <<<"$out" || die "$* said '$out', wanted '$want'"; }
says "set $P.0 pg_temp mapping to [0,1,2]" ceph osd pg-temp $P.0 0 1 2
says "done cleaning up pg_temp of $P.0" ceph osd pg-temp $P.0
expect_fail 2 "pg $P.99 does not exist" ceph osd pg-temp $P.99 0 1 2
says "set $P.0 primary_temp mapping to 1" ceph osd primary-temp $P.0 1
expect_fail 22 'pool size \(3\)' ceph osd pg-upmap $P.0 0 1 2 0
expect_fail 2 'osd.99 does not exist' ceph osd pg-upmap-items $P.0 0 99
expect_fail 22 'no valid upmap items\(pairs\) is specified' ceph osd pg-upmap-items $P.0 0 0
# Replicas 0 1 2 in another order hold; what moves a PG onto an OSD that it is on is dropped from the map.
says "set $P.1 pg_upmap mapping to [2,1,0]" ceph osd pg-upmap $P.1 2 1 0
says "set $P.2 pg_upmap_items mapping to [0->1]" ceph osd pg-upmap-items $P.2 0 1
says "clear $P.1 pg_upmap mapping" ceph osd rm-pg-upmap $P.1
says "clear $P.2 pg_upmap_items mapping" ceph osd rm-pg-upmap-items $P.2
same "$(ceph osd dump -f json | json 'len(d["pg_upmap"]), len(d["pg_upmap_items"])')" "0 0"
say "erasure code profiles"
ceph osd erasure-code-profile set cprof k=2 m=1 crush-failure-domain=osd
ceph osd erasure-code-profile get cprof | grep -qx 'technique=reed_sol_van'
ceph osd erasure-code-profile set cprof k=2 m=1 crush-failure-domain=osd
expect_fail 1 'will not override erasure code profile cprof' ceph osd erasure-code-profile set cprof k=3 m=1
ceph osd erasure-code-profile set cprof k=3 m=1 --force
expect_fail 22 'could not convert k=x to int' ceph osd erasure-code-profile set cprof k=x m=1 --force
says 'created rule cer' ceph osd crush rule create-erasure cer cprof
ceph osd crush rule rm cer
ceph osd erasure-code-profile rm cprof
ceph osd erasure-code-profile ls | grep -qx default
say "crush: the map through stock's crushtool, tunables, classes, weight sets"
ceph osd getcrushmap -o "$T/map" 2>/dev/null; crushtool -d "$T/map" -o "$T/text"; crushtool -c "$T/text" -o "$T/map2"
ceph osd setcrushmap -i "$T/map2" >/dev/null 2>&1; ceph osd getcrushmap -o "$T/map3" 2>/dev/null
crushtool -d "$T/map2" -o "$T/text2"; crushtool -d "$T/map3" | cmp - "$T/text2" || die "the map changed on its way through crushtool"
says 'adjusted tunable straw_calc_version to 0' ceph osd crush set-tunable straw_calc_version 0
same "$(ceph osd crush get-tunable straw_calc_version)" 0; ceph osd crush set-tunable straw_calc_version 1 2>/dev/null
says 'created class cclass with id' ceph osd crush class create cclass
says "class 'cclass' already exists" ceph osd crush class create cclass
says 'removed class cclass' ceph osd crush class rm cclass
ceph osd crush weight-set create cp positional
expect_fail 22 'must specify exact 3 weight values' ceph osd crush weight-set reweight cp osd.0 1
ceph osd crush weight-set reweight cp osd.0 1 2 3
same "$(ceph osd crush weight-set ls)" cp
ceph osd crush tree | head -1 | grep -qE '^ID +CLASS +WEIGHT +cp +TYPE NAME'
ceph osd crush weight-set rm cp; same "$(ceph osd crush weight-set ls)" ""
says 'reweighted crush hierarchy' ceph osd crush reweight-all
say "reweight by use and by PGs"
expect_fail 22 'You must give a percentage higher than 100' ceph osd test-reweight-by-utilization 100
expect_fail 33 'Refusing to reweight: we only have' ceph osd test-reweight-by-pg 110 0.5 4 cp
say "flags of OSDs, nodes and classes"
ceph osd set-group noin,noout osd.0 default
ceph health detail | grep -q 'osd.0 has flags noin,noout'; ceph health detail | grep -q 'root default has flags noin,noout'
ceph osd unset-group noin,noout 0 default
ceph health detail | grep -q 'has flags' && die "flags stayed"
expect_fail 22 'unable to parse osd id or crush node or device class: "zz"' ceph osd set-group noup zz
say "what may be stopped"
ceph osd ok-to-stop 0 | json 'd["ok_to_stop"]' | grep -qx True
expect_fail 16 'unsafe to stop osd\(s\) at this time' ceph osd ok-to-stop 0 1 2
expect_fail 16 'pgs currently mapped to them' ceph osd safe-to-destroy 0
say "crash reports"
id="$(date -u +%Y-%m-%dT%H:%M:%S).000000Z_11111111-2222-3333-4444-555555555555"
cat > "$T/crash" <<EOF
{"crash_id":"$id","timestamp":"${id%%_*}","process_name":"ceph-osd","entity_name":"osd.0","ceph_version":"16.2.15","utsname_hostname":"h","backtrace":["a"]}
EOF
ceph crash post -i "$T/crash"; ceph crash ls-new | grep -q "$id  osd.0"
ceph crash info "$id" | json 'd["entity_name"]' | grep -qx osd.0
ceph crash archive "$id"; same "$(ceph crash ls-new)" ""; ceph crash ls | grep -q "$id"
ceph crash rm "$id"; ceph crash stat | grep -qx '0 crashes recorded'
say "the balancer"
ceph balancer off; ceph balancer mode upmap
ceph balancer status | json 'd["active"], d["mode"]' | grep -qx 'False upmap'
ceph balancer eval cp | grep -qE '^pool "cp" score [0-9.]+ \(lower is better\)$'
expect_fail 2 'plan nosuch not found' ceph balancer show nosuch
ceph balancer pool add cp; ceph balancer pool ls | json 'd' | grep -q cp; ceph balancer pool rm cp
say "configuration history"
v=$(ceph config log 1 -f json | json 'd[0]["version"]')
ceph config set osd/class:hdd osd_max_backfills 3; ceph config set osd osd_max_backfills 2
ceph config dump | grep -qE '^ +osd +class:hdd +advanced +osd_max_backfills +3'
ceph config reset "$v"; ceph config dump | grep -q osd_max_backfills && die "reset left something"
expect_fail 22 'must specify a valid historical version' ceph config reset 999999
say "ceph -w shows what is logged"
timeout 30 ceph -w > "$T/watch" 2>/dev/null & watch=$!
for i in $(seq 25); do ceph log "seen-by-watchers $i"; grep -q 'seen-by-watchers' "$T/watch" && break; done
kill $watch 2>/dev/null || true; grep -q 'seen-by-watchers' "$T/watch" || die "ceph -w did not show a log entry"
say "what is told to one monitor"
M=mon.$(ceph mon dump -f json 2>/dev/null | json 'd["mons"][0]["name"]')
ceph tell $M help > "$T/help"; grep -q '^config diff get' "$T/help" && grep -q '^sync_force' "$T/help" || die "tell help: $(cat "$T/help")"
expect_fail 1 'are you SURE|EPERM' ceph tell $M sync_force
ceph tell $M injectargs '--mon_pg_warn_min_objects 10K' >/dev/null 2>&1
same "$(ceph tell $M config get mon_pg_warn_min_objects | json 'd["mon_pg_warn_min_objects"]')" 10000
expect_fail 22 'mon_pg_warn_min_objects' ceph tell $M injectargs '--mon_pg_warn_min_objects 10F'
ceph tell $M config unset mon_pg_warn_min_objects >/dev/null
ceph tell 'mon.*' injectargs '--mon-debug-deprecated-as-obsolete' >/dev/null 2>&1
expect_fail 95 'command is obsolete' ceph config-key list
ceph tell 'mon.*' injectargs '--no-mon-debug-deprecated-as-obsolete' >/dev/null 2>&1; ceph config-key list >/dev/null
ceph tell $M sessions >/dev/null
for n in $(seq 40); do ceph log last 50 debug audit | grep -q "$M .*cmd='sessions' args=\[\]: dispatch" && break; [ "$n" -lt 40 ] || die "no trace of tell sessions in the log"; done
says "setting feature 'mon_feature_t([kraken])'" ceph mon feature set kraken --yes-i-really-mean-it
expect_fail 2 "unknown feature 'abcd'" ceph mon feature set abcd
expect_fail 22 'You cannot disallow monitors' ceph mon add disallowed_leader "${M#mon.}"
say "a PG peers anew; pools that are not scrubbed are told of; reports can be waited for"
ceph pg repeer $P.3 >/dev/null 2>&1
for n in $(seq 100); do ceph osd dump | grep -q "^pg_temp " || break; [ "$n" -lt 100 ] || die "pg_temp stays: $(ceph osd dump | grep pg_temp)"; done
expect_fail 2 "does not exist" ceph pg repeer 0.0
ceph osd pool set cp noscrub 1 2>/dev/null; ceph health detail | grep -q 'Pool cp has noscrub flag' || die "$(ceph health detail)"
ceph osd pool set cp noscrub 0 2>/dev/null
seq=$(ceph tell osd.0 flush_pg_stats); for n in $(seq 50); do [ "$(ceph osd last-stat-seq osd.0)" -ge "$seq" ] && break; [ "$n" -lt 50 ] || die "report $seq of osd.0 did not come"; done
say "read rights reach no secret"
ceph auth get-or-create client.ro mon 'allow r' mgr 'allow r' -o "$T/ro.keyring"
ro() { ceph --id ro --keyring "$T/ro.keyring" "$@"; }
ceph config-key set dm-crypt/c sEcReT >/dev/null 2>&1
for c in 'config-key get dm-crypt/c' 'config-key dump' 'config-key ls' 'auth ls' 'auth export' 'auth get client.admin' 'osd pool create no 8'; do
  expect_fail 13 'EACCES|access denied' ro $c
done
ro -s >/dev/null; ro osd df >/dev/null; ceph config-key rm dm-crypt/c 2>/dev/null; ceph auth rm client.ro 2>/dev/null
ceph osd pool rm cp cp --yes-i-really-really-mean-it >/dev/null 2>&1
say "ok"
