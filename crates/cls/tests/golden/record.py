#!/usr/bin/python3
"""Records what a stock 16.2 cluster answers to class calls: the golden file that tests/golden.rs replays.

usage: CEPH_CONF=... record.py POOL > calls.txt     (POOL: an empty replicated pool)

Lines: `call OBJ CLASS METHOD INHEX = RET OUTHEX`, `dump OBJ = absent | DATAHEX XATTRS OMAP`, and the preparations
`create OBJ`, `remove OBJ`, `write OBJ HEX`, `omap OBJ KEYHEX VALHEX`, `watch OBJ`, `unwatch OBJ`. Times of the run are replaced by TIME, uuids by zeros; values longer
than the first of `limits` are `~LENGTH:CRC32`, dumps longer than the second `#CRC32`; a dump like the one before of that
object is `same`. Long input is `BYTE*COUNT` joined by dots.
"""
import itertools, struct, sys, time, zlib, rados, re, os, subprocess

c = rados.Rados(conffile=os.environ['CEPH_CONF'], rados_id='admin', conf={'rados_osd_op_timeout': '10'}); c.connect()
pool = sys.argv[1]
io = c.open_ioctx(pool)
FULL = bool(os.environ.get('FULL'))     # for looking for the cause of a difference
LONG, DUMP = (1 << 20, 1 << 22) if FULL else (40, 120)
print('limits', LONG, DUMP)
T0 = int(time.time()) - 1
TIME = (1700000000, 123456789)
UUID = re.compile(rb'[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}')
NOUUID = b'00000000-0000-0000-0000-000000000000'

u8 = lambda v: struct.pack('<B', v)
u32 = lambda v: struct.pack('<I', v)
u64 = lambda v: struct.pack('<Q', v)
s64 = lambda v: struct.pack('<q', v)
def s(v):
    v = v.encode() if isinstance(v, str) else v
    return u32(len(v)) + v
def ver(v, compat, body): return u8(v) + u8(compat) + u32(len(body)) + body
def lst(items): return u32(len(items)) + b''.join(items)
HEAD = 2**64 - 2
NONE = 2**64 - 1

def mask(b):
    b = b or b''
    b = UUID.sub(NOUUID, b)
    t1 = int(time.time()) + 1
    b = bytearray(b)
    i = 0
    while i + 8 <= len(b):
        sec, ns = struct.unpack_from('<II', b, i)
        if ns < 10**9:
            for plus in (0, 1000):
                if T0 + plus <= sec <= t1 + plus:
                    struct.pack_into('<II', b, i, TIME[0] + plus, TIME[1])
                    i += 7
                    break
        i += 1
    return bytes(b)
def hx(b):
    b = mask(b)
    return b.hex() or '-' if len(b) <= LONG else '~%d:%08x' % (len(b), zlib.crc32(b))

def inhex(b):
    runs = '.'.join('%02x*%d' % (k, len(list(g))) for k, g in itertools.groupby(b))
    return min(b.hex() or '-', runs or '-', key=len)
def call(obj, cls, method, inp=b''):
    try:
        r, out = io.execute(obj, cls, method, inp, 1 << 20)
        out = out[:r] if r > 0 else out
    except rados.Error as e:
        r, out = -abs(e.errno), b''
    if r == -110:     # stock was busy (counts of millions make it so): says nothing
        print('timed out, left out:', obj, cls, method, inp.hex(), file=sys.stderr)
        return r, out
    r = min(r, 0)
    print('call', obj, cls, method, inhex(inp), '=', r, hx(out))
    return r, out
def rbd(obj, method, *inp): return call(obj, 'rbd', method, b''.join(inp))
def omap(obj):
    pairs, after = [], ''
    while True:
        with rados.ReadOpCtx() as op:
            it, _ = io.get_omap_vals(op, after, '', 200)
            io.operate_read_op(op, obj)
            page = list(it)
        pairs += page
        if len(page) < 200: return pairs
        after = page[-1][0]
last = {}
def state(obj, text):
    short = text if len(text) <= DUMP else '#%08x' % zlib.crc32(text.encode())
    print('dump', obj, '=', 'same' if last.get(obj) == text else short)
    last[obj] = text
def dump(obj, with_omap=True):
    try:
        size, _ = io.stat(obj)
    except rados.ObjectNotFound:
        state(obj, 'absent'); return
    data = io.read(obj, min(size, 1 << 20)) if size else b''
    xs = ','.join('%s:%s' % (k.encode().hex(), hx(v)) for k, v in io.get_xattrs(obj)) or '-'
    om = '?'
    if with_omap:
        om = ','.join('%s:%s' % (mask(k.encode()).hex(), hx(v)) for k, v in omap(obj)) or '-'
    state(obj, '%s %s %s' % (hx(data), xs, om))
def create(obj):
    io.write(obj, b''); print('create', obj)
def remove(obj):
    io.remove_object(obj); print('remove', obj)
def write(obj, data):
    io.write_full(obj, data); print('write', obj, inhex(data))
def setomap(obj, k, v):
    with rados.WriteOpCtx() as op:
        io.set_omap(op, (k,), (v,)); io.operate_write_op(op, obj)
    print('omap', obj, k.encode().hex(), v.hex() or '-')

watches = {}
def watch(obj):
    watches[obj] = io.watch(obj, lambda *a: None); print('watch', obj)
def unwatch(obj):
    watches.pop(obj).close(); print('unwatch', obj)

# ---- who we are
io.write('whoami', b'')
io.execute('whoami', 'lock', 'lock', ver(1, 1, s('x') + u8(1) + s('') + s('') + s('') + u64(0) + u8(0)))
_, out = io.execute('whoami', 'lock', 'get_info', ver(1, 1, s('x')))
p = 6 + 4 + 6 + 9 + 4 + 6 + 8          # headers, count, locker_id{name, cookie}, locker_info{expiration
n = struct.unpack_from('<I', out, p + 3)[0]
gid = struct.unpack_from('<q', out, 6 + 4 + 6 + 1)[0]
print('origin', gid, out[p:p + 7 + n].hex())
io.remove_object('whoami')

here = os.path.dirname(os.path.abspath(__file__))
for part in ('lock', 'image', 'snaps', 'objmap', 'dirs', 'groups', 'mirror', 'journal', 'garbage'):
    print('#', part)
    exec(compile(open(os.path.join(here, 'calls_%s.py' % part)).read(), part, 'exec'))
