# every method: no input, and input that is not what it wants, on an absent and on an empty object
import re as _re
METHODS = _re.findall(r'^\s+(?:r|w|wo)\("([a-z_]+)"', open(os.path.join(here, '../../src/rbd/mod.rs')).read(), _re.M)
JMETHODS = 'create get_order get_splay_width get_pool_id get_minimum_set set_minimum_set get_active_set set_active_set get_client client_register client_update_data client_update_state client_unregister client_commit client_list get_next_tag_tid get_tag tag_create tag_list guard_append append'.split()
create('ge')
for cls_, ms in (('rbd', METHODS), ('journal', JMETHODS)):
    for m in ms:
        for inp in (b'', b'\xff\xff\xff\xff\xff', b'\1\1\xff\0\0\0', b'\x09\x09\1\0\0\0\0', bytes(40), b'\1\0\0\0a' * 12):
            for o in ('ga', 'ge'):
                call(o, cls_, m, inp); dump(o)
                remove_ = False
                try: io.stat(o)
                except rados.ObjectNotFound:
                    if o == 'ge': create('ge')
                    continue
                if o == 'ga': remove(o)
                else: remove(o); create(o)
