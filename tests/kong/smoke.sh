#!/usr/bin/env bash
# Tries a running gateway that has the ai-tracing filter: Kong 3.4-3.9, nginx with ngx_wasm_module, Envoy.
# The calls are those of the predecessor's guide and of the demo, made with curl as users make them; see `--help`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repository=$(cd "$here/../.." && pwd)

upstream=${SMOKE_UPSTREAM:-127.0.0.1:9101}
langfuse=${SMOKE_LANGFUSE:-127.0.0.1:9102}
control=${SMOKE_CONTROL:-127.0.0.1:9103}
bind=${SMOKE_BIND:-}
keys=${SMOKE_KEYS:-pk-lf-testkit:sk-lf-testkit-secret}
patience=${SMOKE_WAIT:-75}
host=${SMOKE_HOST:-unknown}
long=no
print=
base=

usage() {
  cat <<END
usage: smoke.sh [OPTIONS] BASE_URL        such as: smoke.sh http://localhost:8000

Makes the calls of the predecessor's guide and some more through the gateway at BASE_URL and says PASS or FAIL for each
check: that the client and the LLM got each other's bytes unchanged, and that the trace in Langfuse is true. Both ends
are the kit's own: a scripted LLM and a strict stand-in for Langfuse, which this script starts and ends. It needs bash,
curl, and cargo (or SMOKE_BIN). Exit status: 0 all passed, 1 something failed, 2 it could not be tried.

Configure the gateway so, before or while this runs (--print-kong, --print-nginx, --print-envoy show it ready to use):
  service                http://$upstream             all paths, none stripped; no other plugin that changes bodies
  langfuse_enabled       true
  langfuse_endpoint      http://$langfuse
  langfuse_upstream      not needed; on Envoy a cluster must be named as this says, $langfuse if it is left out
  langfuse_public_key    ${keys%%:*}
  langfuse_secret_key    ${keys#*:}
  batch_max_age          300 (milliseconds; more makes this slower)
All else as you will run it. Kong and nginx: raise client_body_buffer_size, or larger questions are not in the trace.
No other traffic should pass meanwhile. The filter asks a Langfuse that it could not reach once a minute at the least:
if the gateway was up before this script, its first traces may take that long.

  --upstream HOST:PORT   where the gateway finds the scripted LLM          (SMOKE_UPSTREAM, $upstream)
  --langfuse HOST:PORT   where the gateway finds the Langfuse stand-in     (SMOKE_LANGFUSE, $langfuse)
  --bind IP              listen on this address at those two ports instead (SMOKE_BIND); 0.0.0.0 for a gateway in a
                         container, which finds this machine at, for example, 172.17.0.1
  --control IP:PORT      the script's own way to the kit                   (SMOKE_CONTROL, $control)
  --keys PUBLIC:SECRET   the Langfuse keys of the filter                   (SMOKE_KEYS)
  --wait SECONDS         how long traces may take                          (SMOKE_WAIT, $patience)
  --host NAME            kong, nginx or envoy: judge by what it can do     (SMOKE_HOST, $host)
  --long                 also have the keys refused for a while (about a minute more)
  --print-kong, --print-nginx, --print-envoy
                         print a configuration for these addresses and keys
  --help                 show this
SMOKE_BIN is the kit's program, by default built with cargo (testkit/src/bin/smoke.rs).
END
}

# Ends the script: it could not be tried.
die() {
  echo "smoke.sh: $*" >&2
  exit 2
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --help | -h) print=help ;;
    --print-kong | --print-nginx | --print-envoy) print=${1#--print-} ;;
    --long) long=yes ;;
    --upstream | --langfuse | --bind | --control | --keys | --wait | --host)
      [[ $# -ge 2 ]] || die "$1 needs a value"
      case $1 in
        --upstream) upstream=$2 ;;
        --langfuse) langfuse=$2 ;;
        --bind) bind=$2 ;;
        --control) control=$2 ;;
        --keys) keys=$2 ;;
        --wait) patience=$2 ;;
        --host) host=$2 ;;
      esac
      shift
      ;;
    -*) die "unknown option $1; --help shows all" ;;
    *) [[ -z $base ]] || die "one BASE_URL, not also $1"; base=${1%/} ;;
  esac
  shift
done
[[ $patience =~ ^[0-9]+$ ]] || die "--wait is a number of seconds, not $patience"

# The template of a gateway with addresses and keys filled in.
print_configuration() {
  sed -e "s|@UPSTREAM@|$upstream|g" -e "s|@UPSTREAM_HOST@|${upstream%:*}|g" \
    -e "s|@UPSTREAM_PORT@|${upstream##*:}|g" -e "s|@LANGFUSE@|$langfuse|g" -e "s|@LANGFUSE_HOST@|${langfuse%:*}|g" \
    -e "s|@LANGFUSE_PORT@|${langfuse##*:}|g" -e "s|@PUBLIC_KEY@|${keys%%:*}|g" -e "s|@SECRET_KEY@|${keys#*:}|g" \
    -e "s|@MODULE@|$repository/filters/ai-tracing.wasm|g" "$1"
}

case $print in
  help) usage; exit 0 ;;
  kong) print_configuration "$here/smoke/kong.yml"; exit 0 ;;
  nginx) print_configuration "$here/smoke/nginx.conf"; exit 0 ;;
  envoy) print_configuration "$here/smoke/envoy.yaml"; exit 0 ;;
esac
[[ -n $base ]] || { usage >&2; exit 2; }

run=$$-$RANDOM
client_key=sk-smoke-client-$run
work=$(mktemp -d)
kit=
passed=0
failed=0
traces=()

finish() {
  if [[ -n $kit ]]; then
    kill "$kit" 2>/dev/null || true
    wait "$kit" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# shellcheck source=smoke/checks.sh
source "$here/smoke/checks.sh"
# shellcheck source=smoke/calls.sh
source "$here/smoke/calls.sh"

start_kit
if reach; then
  guide
  demo
  other_apis
  sizes
  not_inferences
  quick
  echo "      waiting for traces, $patience s at the most" >&2
  wait_for_traces "all calls"
  for trace in "${traces[@]}"; do
    judged "${trace#*|}: trace" "trace/${trace%%|*}" || true
  done
  fails nowhere "an upstream that refuses"
  fails slow "an upstream that is too slow"
  outage unavailable "Langfuse answers 503"
  outage dead "Langfuse is dead"
  outage breaking "Langfuse's answers break off"
  if [[ $long == yes ]]; then
    outage refusing "Langfuse refuses the keys"
  fi
  judged "every call has one trace: none lost, none doubled" whole/once || true
  judged "what is no inference is not traced" whole/untraced || true
  judged "trace ids are distinct" whole/ids || true
  judged "times are those of the run" whole/times || true
  judged "no key is in a trace" whole/secrets || true
  judged "nothing that Langfuse would get wrong" whole/rules || true
fi

echo "$((passed + failed)) checks: $passed passed, $failed failed"
[[ $failed == 0 ]] || exit 1
