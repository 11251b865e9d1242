#!/usr/bin/python3
"""Writes matches.txt: command lines, and what stock's ceph_argparse (python3-ceph-argparse 16.2.15) makes of them with stock's
recorded signatures. `record.py --check BINARY` is not needed: the unit test `tests.rs` compares. Run it again after a change of the lines."""
import contextlib, io, json, os, random, re, sys
import ceph_argparse as ca

here = os.path.dirname(os.path.abspath(__file__))
tsv = os.path.join(here, "../../../../mon-core/src/commands/signatures.tsv")
described = {}
for i, row in enumerate(open(tsv)):
    prefix, module, perm, flags, sig = row.rstrip("\n").split("\t")
    described["cmd%03d" % i] = {"sig": json.loads(sig), "help": "help of " + prefix, "flags": int(flags)}
sigs = ca.parse_json_funcsigs(json.dumps(described), "cli")

by_hand = """
status
osd
osd tree
osd tre
osd tree up
osd tree sideways
osd tree 7 up down
osd nonsense
nonsense here
osd pool create x
osd pool create x 8 8 replicated rule --autoscale-mode=on
osd pool create x --pg-num 8 --pgp_num=8 --size 3
osd pool create x eight
osd pool create
osd pool create x 8 --bulk
osd pool create --pool x
osd pool create --pool=x --pg_num
osd pool rm a
osd pool rm a a --yes-i-really-really-mean-it
osd pool rm a a --yes-i-really-really-mean-it-not-faking
osd pool rm a a --yes
osd pool delete a a --yes-i-really-really-mean-it
osd pool set x size 3
osd pool set x sizes 3
osd pool set x size 3 --yes-i-really-mean-it
osd pool get x all
osd pool ls detail
osd pool ls details
osd pool application enable x rbd --yes-i-really-mean-it
osd reweight 0 0.5
osd reweight osd.0 .5
osd reweight osd.0 1.5
osd reweight mon.0 0.5
osd reweight osd.x 0.5
osd reweight 0
osd out 0 1 osd.2
osd out 0,1 2
osd out
osd out any
osd out all *
osd in osd.-1
osd down --ids 0 --definitely-dead
osd down 0 --definitely-dead
osd purge 3 --force
osd purge 3 --yes-i-really-mean-it
osd destroy osd.3 --force
osd destroy osd.3 --forced
osd find 0x1f
osd find 010
osd find 1_0
osd find -1
osd blocklist add 1.2.3.4:0/1
osd blocklist add 1.2.3.4:0/1 60
osd blocklist add 1.2.3.4:0/x
osd blocklist add v1:1.2.3.4:6789/5 1e3
osd blocklist add v2:1.2.3.4:6789/5
osd blocklist add any:1.2.3.4:6789/5
osd blocklist add 1.2.3.400
osd blocklist add 1.2.3.4:99999
osd blocklist add [::1]:5/6
osd blocklist add ::1
osd blocklist add [::1
osd blocklist add 1.2.3.4 -5
osd blocklist range add 1.2.3.4/24
osd blocklist ls
osd crush add-bucket a!b host
osd crush add-bucket ab host root=default rack=r1
osd crush set osd.0 1.0 root=default host=h
osd crush set 0 -1 root=default
osd crush reweight osd.0 2
osd crush rule create-replicated r default host ssd
osd crush rule create-replicated r default
osd crush weight-set reweight-compat osd.0 1 2 3
osd crush tree --show-shadow
osd crush tree --shadow
osd crush tunables default
osd crush tunables best
osd erasure-code-profile set p k=2 m=1 --force
osd erasure-code-profile set p k=2 m=1 --yes-i-really-mean-it
osd set noout
osd set-group noout,noin 0 1
osd set nosuchflag
osd unset
osd map p o
osd map p o ns extra
osd new 0f0f0f0f-0000-4000-8000-000000000001
osd new {0f0f0f0f-0000-4000-8000-000000000001} 5
osd new 0f0f0f0f
osd new 0f0f0f0f-0000-4000-8000-00000000000g
osd pg-temp 1.0 0 1 2
osd pg-temp 10 0 1
osd pg-temp a.0 0
osd pg-temp 1.z 0
osd pg-temp -1.0 0
osd pg-upmap-items 1.0 0 1 2 3
osd require-osd-release pacific
osd require-osd-release atlantic
osd set-full-ratio 0.95
osd set-full-ratio 95
osd df
osd df tree
osd df tree class ssd
osd df plain name osd.0
osd metadata
osd metadata 0
osd metadata osd.0
osd primary-affinity 0 0.5
osd ok-to-stop 0 1 --max 3
osd safe-to-destroy all
osd ls 5
osd lspools
osd test-reweight-by-utilization 110 0.5 4 --no-increasing
osd deep-scrub 0
osd count-metadata host
osd force-create-pg 1.0
osd tier add a b --force-nonempty
pg dump
pg dump pgs_brief
pg dump pgs,osds
pg dump pools all nothing
pg dump_stuck stale 60
pg dump_stuck inactive unclean 5
pg ls 1 active clean
pg ls active
pg ls-by-osd osd.0
pg ls-by-pool x active
pg repair 1.0
pg map 1.0
pg 1.0 query
pg stat
mon add x 1.2.3.4
mon add x [v2:1.2.3.4:3300,v1:1.2.3.4:6789]
mon add x
mon rm x
mon remove x
mon dump 5
mon dump -5
mon_status
mon metadata
quorum_status
auth get-or-create client.x mon allow\x20r osd allow\x20*
auth get client.x
auth get
auth caps client.x
auth ls extra
auth import
auth rm client.x client.y
config set osd debug_ms 5
config set osd debug_ms 5 --force
config set osd debug_ms
config get osd
config-key set a b
config-key put a b
config dump
config log 5
config log -- 5
config help debug_ms
config ls
config assimilate-conf
crash ls
crash info x
device ls
device monitoring on
df
df detail
df details
fs new a b c
fs new a b c --force --allow-dangerous-metadata-overlay
fs ls
fs set a max_mds 2
fs set a nothing 2
fs flag set enable_multiple true --yes-i-really-mean-it
fs volume create x
fs subvolume create a b --size 5 --group_name g
fs subvolume create a b 5
fs rm a --yes-i-really-mean-it
fs status
fsid
health
health detail
health details
health mute OSD_DOWN 5m --sticky
health mute OSD_DOWN --sticky 5m
health unmute
heap stats
injectargs --debug-ms 5
log hello world
log last
log last 5
log last 5 warn
log last warn
log last info audit
mds stat
mds fail 0
mds rm 5
mds ok-to-stop a b
mgr dump
mgr fail
mgr fail x
mgr module enable prometheus --force
mgr module ls
mgr services
node ls osd
node ls all
node ls some
osd perf
progress
progress json
rbd task list
rbd perf image iotop
report
report a b
service dump
features
tell osd.0 version
telemetry show
telemetry on --license x
time-sync-status
version
versions
balancer mode upmap
balancer mode none
balancer mode best
balancer on
iostat
iostat 5 80
orch ls
compact
scrub
osd pool autoscale-status --format json
osd pool mksnap a b
osd pool set-quota a max_bytes 5
osd pool set-quota a max_byte 5
osd utilization
osd
o
os
osd po cr x
 
é
osd pool create é
osd pool create x --
osd tree --states up
osd tree --states=up,down
osd tree --format=json
--format json osd tree
osd --foo=bar tree
osd tree --epoch 5
osd tree --epoch=five
osd pool create x 8 --expected-num-objects=5 --pg-num-min 1
osd pool create x --pg-num=8 16
""".strip("\n").split("\n")


def word_for(d, rng):
    t = d["type"]
    rngs = d.get("range", "").split("|")
    return {
        "CephInt": lambda: str(rng.choice([0, 1, 5, -1, 200000])), "CephFloat": lambda: rng.choice(["0.5", "1", "7.25", "-0.1", "x"]),
        "CephString": lambda: rng.choice(["abc", "a b", "a.b", "a=b", "a/b", "a,b"]), "CephChoices": lambda: rng.choice(d["strings"].split("|") + ["zz"]),
        "CephBool": lambda: rng.choice(["--" + d["name"].replace("_", "-"), "true", "0", "--%s=false" % d["name"], "maybe"]),
        "CephPgid": lambda: rng.choice(["1.0", "1.ff", "1"]), "CephOsdName": lambda: rng.choice(["0", "osd.1", "*", "osd.x"]),
        "CephUUID": lambda: "0f0f0f0f-0000-4000-8000-000000000001", "CephName": lambda: rng.choice(["osd.0", "mon.a", "x"]),
        "CephEntityAddr": lambda: "1.2.3.4:0/5", "CephIPAddr": lambda: "1.2.3.4:6789",
    }.get(t, lambda: "name")()


def made(rng):
    """A line for each signature: its words, parameters that are mostly right, sometimes one too few or too many, or named."""
    for cmd in described.values():
        words = []
        for d in cmd["sig"]:
            if isinstance(d, str):
                words.append(d)
                continue
            if d.get("req") in ("false", "False", False) and rng.random() < 0.5:
                continue
            w = word_for(d, rng)
            if rng.random() < 0.2 and not w.startswith("--"):
                words += ["--" + d["name"].replace("_", "-"), w] if rng.random() < 0.5 else ["--%s=%s" % (d["name"], w)]
            else:
                words += [w] + ([word_for(d, rng)] if d.get("n") == "N" and rng.random() < 0.5 else [])
        r = rng.random()
        if r < 0.1 and len(words) > 1:
            words.pop()
        elif r < 0.15:
            words.append("extra")
        elif r < 0.2:
            words[-1] = words[-1][:2] or "x"
        yield words


lines = [[w.replace("\\x20", " ") for w in l.split(" ")] for l in by_hand]
for seed in range(3):
    lines += list(made(random.Random(seed)))
out = open(os.path.join(here, "matches.txt"), "w")
for words in lines:
    err = io.StringIO()
    try:
        with contextlib.redirect_stderr(err):
            found = ca.validate_command(sigs, list(words))
    except Exception:
        continue  # a traceback of stock's
    text = err.getvalue()
    if re.search(r"invalid chars ..+? in", text):
        continue  # in no particular order
    out.write(json.dumps(words) + "\n" + json.dumps(found, sort_keys=True) + "\n" + json.dumps(text) + "\n")
