#!/usr/bin/python3
"""A librados writer whose acknowledged writes can be checked after a crash.

usage: writer.py write LOG [SECONDS]   writes until SIGTERM (or SECONDS passed), then waits for what is in flight
       writer.py check LOG             reads every object and compares

Each object is written by one thread, one write at a time, each write a new version of the whole content. The content is made
of (object, version) alone, so every byte can be checked. LOG gets `i OBJ VERSION` before a write is sent and `a OBJ VERSION`
after it was acknowledged. The last version sent may be there or not (unknown); anything older than the last
acknowledged one, or a mix of two versions, is a failure. The pool comes from the environment (POOL).
"""
import hashlib, os, random, signal, sys, threading, time
import rados

OBJECTS, THREADS, PART = 48, 6, 4096
stop = threading.Event()


def content(obj, version):
    """Blocks that each name their object, version and place; the length belongs to the object, so versions can be mixed up."""
    blocks = 1 + obj % 9
    out = []
    for n in range(blocks):
        head = f"{obj}/{version}/{n}:".encode()
        out.append((head * (PART // len(head) + 1))[:PART])
    return b"".join(out)


def history(path):
    """Per object: the last acknowledged and the last sent version."""
    acked, sent = {}, {}
    if os.path.exists(path):
        for line in open(path):
            part = line.split()
            if len(part) != 3 or not line.endswith("\n"):
                continue
            table = acked if part[0] == "a" else sent
            table[int(part[1])] = max(table.get(int(part[1]), 0), int(part[2]))
    return acked, sent


def connect():
    cluster = rados.Rados(conffile=os.environ["CEPH_CONF"])
    cluster.connect(timeout=60)
    return cluster, cluster.open_ioctx(os.environ["POOL"])


def write(path, seconds):
    _, sent = history(path)
    log = open(path, "a", buffering=1)
    lock = threading.Lock()
    cluster, io = connect()

    def note(kind, obj, version):
        with lock:
            log.write(f"{kind} {obj} {version}\n")

    def work(mine):
        dice = random.Random(mine[0])
        version = {o: sent.get(o, 0) for o in mine}
        while not stop.is_set():
            o = dice.choice(mine)
            version[o] += 1
            data = content(o, version[o])
            note("i", o, version[o])
            # Two forms of the same: a whole-object write, and an overwrite in place.
            if version[o] % 2 or version[o] == 1:
                io.write_full(f"t{o}", data)
            else:
                io.write(f"t{o}", data, 0)
            note("a", o, version[o])

    def guarded(mine):
        try:
            work(mine)
        except Exception as e:  # a write that fails under kill -9 is a finding: clients wait, they do not fail
            print(f"a writer failed: {e!r}", file=sys.stderr, flush=True)
            os._exit(3)

    threads = [threading.Thread(target=guarded, args=(range(n, OBJECTS, THREADS),)) for n in range(THREADS)]
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    for t in threads:
        t.start()
    print("writing", flush=True)
    deadline = time.time() + seconds
    while time.time() < deadline and not stop.is_set():
        time.sleep(0.05)
    stop.set()
    for t in threads:
        t.join()
    io.close()
    cluster.shutdown()


def check(path):
    acked, sent = history(path)
    if not acked:
        sys.exit("no write was ever acknowledged")
    cluster, io = connect()
    wrong, unknown = [], 0
    for o in sorted(sent):
        low, high = acked.get(o, 0), sent[o]
        try:
            data = io.read(f"t{o}", 1 << 20)
        except rados.ObjectNotFound:
            data = None
        fits = [v for v in range(low, high + 1) if (content(o, v) if v else None) == data]
        if not fits:
            what = "nothing" if data is None else f"{len(data)} bytes, starting {data[:24]!r}, {hashlib.sha256(data).hexdigest()[:12]}"
            parts = sorted({data[i:i + PART].split(b":")[0] for i in range(0, len(data), PART)}) if data else []
            wrong.append(f"t{o}: acknowledged {low}, sent {high}, found {what}; parts {parts[:6]}")
        elif fits[0] != low:
            unknown += 1
    io.close()
    cluster.shutdown()
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(sent)} objects, {sum(acked.values())} acknowledged writes, {unknown} last writes applied without an answer")


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "write":
        write(sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 3600)
    elif len(sys.argv) == 3 and sys.argv[1] == "check":
        check(sys.argv[2])
    else:
        sys.exit(__doc__)
