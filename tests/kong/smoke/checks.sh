# The kit beside the gateway, and the checks; read by smoke.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # smoke.sh sets and reads them

start_kit() {
  local arguments=(--upstream "${bind:-${upstream%:*}}:${upstream##*:}"
    --langfuse "${bind:-${langfuse%:*}}:${langfuse##*:}" --control "$control"
    --keys "$keys" --run "$run" --host "$host")
  if [[ -n ${SMOKE_BIN:-} ]]; then
    "$SMOKE_BIN" "${arguments[@]}" &
  else
    local of=(--quiet --locked --manifest-path "$repository/Cargo.toml" -p testkit --bin smoke)
    cargo build "${of[@]}" || die "the kit does not build"
    # cargo becomes the program, so that its pid is the program's.
    cargo run "${of[@]}" -- "${arguments[@]}" &
  fi
  kit=$!
  local deadline=$((SECONDS + 60))
  until [[ $(control ready 2>/dev/null) == "$run" ]]; do
    kill -0 "$kit" 2>/dev/null || die "the kit has not started"
    [[ $SECONDS -lt $deadline ]] || die "the kit does not answer on $control"
    sleep 0.1
  done
}

# Asks the kit; what can be asked stands in testkit/src/smoke/control.rs.
control() {
  curl --silent --show-error --fail --noproxy '*' --max-time $((patience + 60)) "http://$control/$1"
}

# pass TITLE [NOTE], fail TITLE REASON
pass() {
  passed=$((passed + 1))
  echo "PASS  $1${2:+  ($2)}"
}

fail() {
  failed=$((failed + 1))
  echo "FAIL  $1: $2"
}

# The kit's own judgement: judged TITLE QUERY. False when it fails.
judged() {
  local verdict
  verdict=$(control "$2") || verdict="FAIL the kit does not answer"
  case $verdict in
    PASS) pass "$1" ;;
    "PASS "*) pass "$1" "${verdict#PASS }" ;;
    *)
      fail "$1" "${verdict#FAIL }"
      return 1
      ;;
  esac
}

# The result of the last call: HTTP status, and curl's exit code.
status=
code=

# call NAME CURL-ARGUMENTS: makes a call; question and answer are kept.
call() {
  local name=$1 argument previous=
  shift
  for argument in "$@"; do
    case $previous in
      -d) printf '%s' "$argument" >"$work/$name.question" ;;
      --data-binary) cp "${argument#@}" "$work/$name.question" ;;
    esac
    previous=$argument
  done
  code=0
  status=$(curl --silent --noproxy '*' --globoff --max-time 60 -o "$work/$name.answer" -w '%{http_code}' "$@") ||
    code=$?
}

# ask NAME CURL-ARGUMENTS: a call of this kit's own, with a session that names it and the client's keys.
ask() {
  local name=$1
  shift
  call "${name%%.*}" -H "Content-Type: application/json" -H "X-User-Id: user-12345" \
    -H "X-Session-Id: smoke-$run-$name" -H "Authorization: Bearer $client_key" -H "api-key: $client_key" "$@"
}

# same NAME STATUS TITLE: the bytes of the last call are those that were sent, in both directions.
same() {
  local name=$1 wanted=$2 title="$3: bytes"
  if [[ $code != 0 ]]; then
    fail "$title" "no whole answer (curl's exit code $code, HTTP status $status)"
  elif ! sent "$name"; then
    fail "$title" "HTTP $status, and the call has not reached the kit's upstream"
  elif [[ $status != "$wanted" ]]; then
    fail "$title" "HTTP $status, not $wanted"
  elif ! cmp -s "$work/sent" "$work/$name.answer"; then
    fail "$title" "the client got other bytes than the upstream sent"
  elif [[ -e $work/$name.question ]] && ! received_as_sent "$name"; then
    fail "$title" "the upstream got other bytes than the client sent"
  else
    pass "$title"
  fi
}

# What the upstream answered to a call; false when the call has not reached it.
sent() {
  control "answer/$1" >"$work/sent" 2>/dev/null
}

received_as_sent() {
  control "question/$1" >"$work/received" 2>/dev/null && cmp -s "$work/received" "$work/$1.question"
}

# traced NAME TITLE: to be judged when the traces have arrived.
traced() {
  traces+=("$1|$2")
}

# Waits for the traces of all calls so far. After a failure there is no point in such patience again.
wait_for_traces() {
  judged "$1: every trace arrives" "wait/$patience" || patience=$((patience < 3 ? patience : 3))
}
