def jn(o, m, *a): return call(o, 'journal', m, b''.join(a))
J = 'jn'
JR = ['get_order', 'get_splay_width', 'get_pool_id', 'get_minimum_set', 'get_active_set', 'get_next_tag_tid']
def jreads(o):
    for m in JR: jn(o, m)
def clients(o):
    for st, n in (('', 64), ('', 1), ('', 0), ('a', 5), ('zz', 3), ('', NONE)): jn(o, 'client_list', s(st), u64(n))
def pos(*ps): return ver(1, 1, lst([ver(1, 1, u64(a) + u64(b) + u64(c)) for a, b, c in ps]))
def tags(o, cl='c1'):
    for a in ((0, 64, None), (0, 2, None), (1, 64, None), (0, 64, 0), (0, 64, 1), (3, 64, None), (0, 0, None)): jn(o, 'tag_list', u64(a[0]), u64(a[1]), s(cl), u8(0) if a[2] is None else u8(1) + u64(a[2]))
jreads(J); clients(J); tags(J); jn(J, 'client_register', s('c1'), s('d')); jn(J, 'client_unregister', s('c1')); jn(J, 'client_commit', s('c1'), pos()); jn(J, 'set_minimum_set', u64(0)); jn(J, 'set_active_set', u64(0)); jn(J, 'tag_create', u64(0), u64(NONE), s('t')); jn(J, 'get_tag', u64(0)); jn(J, 'get_client', s('c1')); jn(J, 'client_update_data', s('c1'), s('x')); jn(J, 'client_update_state', s('c1'), u8(1)); dump(J)
jn(J, 'create', u8(24), u8(4), s64(-1)); jn(J, 'create', u8(24), u8(4), s64(-1)); jn('jn2', 'create', u8(1), u8(2)); dump(J); jreads(J); clients(J)
for v in (1, 0): jn(J, 'set_minimum_set', u64(v))
for v in (5, 5, 4): jn(J, 'set_active_set', u64(v)); jn(J, 'get_active_set')
for v in (3, 3, 2, 6, 5): jn(J, 'set_minimum_set', u64(v)); jn(J, 'get_minimum_set')
for v in (4, 3): jn(J, 'set_active_set', u64(v))
for c_, d in (('c1', 'data1'), ('c1', 'x'), ('a', ''), ('', 'e')): jn(J, 'client_register', s(c_), s(d))
clients(J); dump(J)
for i, (tid, cl) in enumerate(((0, NONE), (0, NONE), (2, NONE), (1, 0), (2, NONE), (3, 1), (4, 2), (4, 0), (5, 1))): jn(J, 'tag_create', u64(tid), u64(cl), s('tag%d' % i)); jn(J, 'get_next_tag_tid')
for t in (0, 3, 9): jn(J, 'get_tag', u64(t))
tags(J); tags(J, 'zz'); dump(J)
jn(J, 'client_commit', s('c1'), pos((1, 2, 3), (4, 3, 6))); jn(J, 'client_commit', s('c1'), pos((1, 2, 3), (4, 3, 6))); jn(J, 'client_commit', s('c1'), pos(*[(1, 1, 1)] * 5)); jn(J, 'client_commit', s('zz'), pos()); jn(J, 'get_client', s('c1')); jn(J, 'get_client', s('zz')); tags(J); jn(J, 'tag_create', u64(6), u64(NONE), s('none go')); dump(J)
jn(J, 'client_commit', s('a'), pos((9, 5, 1))); jn(J, 'client_commit', s(''), pos((9, 4, 1))); jn(J, 'client_register', s('late'), s('l')); jn(J, 'get_client', s('late')); tags(J); jn(J, 'tag_create', u64(7), u64(1), s('some go')); dump(J); tags(J)
jn(J, 'client_update_data', s('a'), s('newdata')); jn(J, 'client_update_state', s('a'), u8(1)); jn(J, 'client_update_state', s('late'), u8(1)); jn(J, 'client_update_state', s('c1'), u8(9)); jn(J, 'client_update_data', s('zz'), s('x')); clients(J)
jn(J, 'client_unregister', s('zz')); jn(J, 'client_unregister', s('c1')); dump(J); jn(J, 'client_unregister', s('')); jn(J, 'client_unregister', s('late')); jn(J, 'client_unregister', s('a')); dump(J); tags(J, 'a')
jn('jm', 'create', u8(12), u8(2), s64(3))
for i in range(70): jn('jm', 'client_register', s('c%02d' % i), s(''))
jn('jm', 'client_list', s(''), u64(65)); jn('jm', 'client_commit', s('c00'), pos((1, 0, 1)))
for i in range(70): jn('jm', 'tag_create', u64(i), u64(NONE if i < 3 else i % 3), s('t'))
jn('jm', 'tag_list', u64(0), u64(65), s('c01'), u8(0)); jn('jm', 'tag_list', u64(0), u64(100), s('c01'), u8(1) + u64(1)); jn('jm', 'tag_list', u64(60), u64(100), s('c00'), u8(0))
# data objects
for sz in (0, 10): jn('jd', 'guard_append', u64(sz))
jn('jd', 'append', u64(10), s('abcd')); dump('jd'); jn('jd', 'append', u64(10), s('efghij')); jn('jd', 'append', u64(10), s('x')); jn('jd', 'append', u64(0), s('x')); jn('jd', 'append', u64(11), s('')); jn('jd', 'append', u64(11), b'\5\0\0\0a'); dump('jd'); jn('jd', 'guard_append', u64(10)); jn('jd', 'guard_append', u64(11)); jn('jd0', 'append', u64(0), s('x')); dump('jd0'); jn('jd1', 'append', u64(9), s('')); dump('jd1')
# damage
for k in ('order', 'splay_width', 'pool_id', 'minimum_set', 'active_set', 'next_tag_tid', 'next_tag_class', 'client_x', 'tag_0000000000000000'): setomap('jx', k, b'')
jreads('jx'); clients('jx'); tags('jx', 'x'); jn('jx', 'create', u8(1), u8(1), s64(1)); jn('jx', 'set_minimum_set', u64(1)); jn('jx', 'set_active_set', u64(1)); jn('jx', 'get_client', s('x')); jn('jx', 'get_tag', u64(0)); jn('jx', 'client_register', s('n'), s('')); jn('jx', 'client_commit', s('x'), pos()); jn('jx', 'client_unregister', s('x')); jn('jx', 'tag_create', u64(1), u64(NONE), s(''))
