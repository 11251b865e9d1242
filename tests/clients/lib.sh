# What the client scripts share. A script runs against any cluster that CEPH_CONF names, stock or ours, with stock clients.
# No pipefail: `grep -q` leaves early, and what it leaves dies of SIGPIPE.
set -eu
T=$(mktemp -d "${TMPDIR:-/tmp}/clients.XXXXXX")
trap 'status=$?; rm -rf "$T"; [ $status = 0 ] || echo "FAILED: $0 (exit $status)"' EXIT
say() { echo "-- $*"; }
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
