# The calls; read by smoke.sh. `call` and `ask` make one, `same` compares its bytes, `traced` has its trace judged.
# shellcheck shell=bash
# shellcheck disable=SC2154 # smoke.sh sets them

reach() {
  ask models "$base/v1/models"
  if [[ $code != 0 ]]; then
    fail "the gateway answers" "curl's exit code $code at $base"
    return 1
  elif ! sent models; then
    fail "the gateway's service leads to the kit" "HTTP $status; let it lead to http://$upstream"
    return 1
  fi
  pass "the gateway's service leads to the kit"
  same models 200 "GET /v1/models"
}

# Sections 4 to 6 of the predecessor's guide, as printed there.
guide() {
  call hello -X POST "$base/v1/chat/completions" \
    -H "Content-Type: application/json" \
    -H "X-User-Id: user-12345" \
    -d '{
"model": "gpt-4",
"messages": [
{"role": "user", "content": "Explain quantum computing"}
],
"temperature": 0.7,
"max_tokens": 500
}'
  same hello 200 "hello world (guide, section 4)"
  traced hello "hello world (guide, section 4)"

  call context -X POST "$base/v1/chat/completions" \
    -H "Content-Type: application/json" \
    -H "X-User-Id: user-12345" \
    -H "X-Session-Id: session-abc" \
    -H "X-Chat-Id: chat-789" \
    -H "X-Organization-Id: org-acme" \
    -d '{
"model": "gpt-4",
"messages": [
{"role": "user", "content": "What is machine learning?"}
]
}'
  same context 200 "context in headers (guide, section 5)"
  traced context "context in headers (guide, section 5)"

  call metadata -X POST "$base/v1/chat/completions" \
    -H "Content-Type: application/json" \
    -H "X-User-Id: user-12345" \
    -d '{
"model": "gpt-4",
"messages": [
{"role": "user", "content": "Recommend a movie"}
],
"metadata": {
"user_id": "user-12345",
"chat_id": "chat-789",
"project_id": "project-xyz",
"features": {
"web_search": true,
"image_generation": false
},
"variables": {
"user_tier": "premium",
"language": "en"
}
}
}'
  same metadata 200 "metadata in the body (guide, section 6)"
  traced metadata "metadata in the body (guide, section 6)"
}

# The demo's other calls.
demo() {
  ask stream "$base/v1/chat/completions" -d '{"model": "gpt-4", "stream": true,
    "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "Write a haiku about rivers"}]}'
  same stream 200 "a stream"
  traced stream "a stream"

  ask stream-without-usage "$base/v1/chat/completions" -d '{"model": "gpt-4", "stream": true,
    "messages": [{"role": "user", "content": "Write a haiku about rivers"}]}'
  same stream-without-usage 200 "a stream without usage"
  traced stream-without-usage "a stream without usage"

  ask tool "$base/v1/chat/completions" -d '{"model": "gpt-4",
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
    "tools": [{"type": "function", "function": {"name": "get_weather", "description": "The weather of a city",
      "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]}'
  same tool 200 "a tool call"
  traced tool "a tool call"

  ask error "$base/v1/chat/completions" -d '{"model": "gpt-4",
    "messages": [{"role": "user", "content": "This one is refused"}]}'
  same error 429 "an upstream error"
  traced error "an upstream error"

  leave
}

# A client that leaves a stream of half a minute.
leave() {
  ask abort --max-time 2 "$base/v1/chat/completions" -d '{"model": "gpt-4", "stream": true,
    "messages": [{"role": "user", "content": "Count to one thousand in words"}]}'
  local title="a client that leaves mid-stream: bytes" size
  size=$(wc -c <"$work/abort.answer" 2>/dev/null || echo 0)
  if [[ $code != 28 || $status != 200 || $size -eq 0 ]]; then
    fail "$title" "curl's exit code $code (28 wanted), HTTP status $status, $size bytes"
  elif sent abort && cmp -s -n "$size" "$work/sent" "$work/abort.answer"; then
    pass "$title"
  else
    fail "$title" "the client got other bytes than the upstream sent"
  fi
  traced abort "a client that leaves mid-stream"
}

other_apis() {
  ask embeddings "$base/v1/embeddings" -d '{"model": "text-embedding-3-small", "input": ["one text", "another text"]}'
  same embeddings 200 "embeddings"
  traced embeddings "embeddings"

  ask completions "$base/v1/completions" -d '{"model": "gpt-3.5-turbo-instruct", "prompt": "Once upon a time,"}'
  same completions 200 "completions"
  traced completions "completions"

  ask generate "$base/generate" -d '{"prompt": "San Francisco is a", "max_tokens": 16, "temperature": 0}'
  same generate 200 "vLLM's /generate"
  traced generate "vLLM's /generate"
}

sizes() {
  # About 200 KB.
  local words
  words=$(seq -s ' ' 36000)
  printf '{"messages": [{"role": "user", "content": "%s"}], "model": "gpt-4"}' "$words" >"$work/large"
  ask large-question "$base/v1/chat/completions" --data-binary "@$work/large"
  same large-question 200 "a question of 200 KB"
  traced large-question "a question of 200 KB"

  ask large-answer "$base/v1/chat/completions" -d '{"model": "gpt-4",
    "messages": [{"role": "user", "content": "Write a megabyte"}]}'
  same large-answer 200 "an answer of 1 MB"
  traced large-answer "an answer of 1 MB"

  ask gzip "$base/v1/chat/completions" -H "Accept-Encoding: gzip" -d '{"model": "gpt-4",
    "messages": [{"role": "user", "content": "Answer compressed"}]}'
  same gzip 200 "an answer in gzip"
  traced gzip "an answer in gzip"
}

not_inferences() {
  ask get "$base/v1/chat/completions"
  same get 200 "GET /v1/chat/completions"
  ask head -I "$base/v1/chat/completions"
  if [[ $code == 0 && $status == 200 ]] && sent head; then
    pass "HEAD passes"
  else
    fail "HEAD passes" "HTTP $status"
  fi
}

# Four clients, fifty calls each, one after the other.
quick() {
  local client number clients=() wrong=0
  for client in 1 2 3 4; do
    local urls=()
    for number in {1..50}; do
      urls+=("$base/v1/chat/completions" -o "$work/quick.$client.$number")
    done
    curl --silent --noproxy '*' --globoff --max-time 120 -H "Content-Type: application/json" \
      -H "X-User-Id: user-12345" -H "X-Session-Id: smoke-$run-quick.$client" -H "Authorization: Bearer $client_key" \
      -d '{"model": "gpt-4", "messages": [{"role": "user", "content": "Quick"}]}' "${urls[@]}" &
    clients+=($!)
  done
  for client in "${clients[@]}"; do
    wait "$client" || wrong=$((wrong + 1))
  done
  sent quick || wrong=$((wrong + 1))
  for client in 1 2 3 4; do
    for number in {1..50}; do
      cmp -s "$work/sent" "$work/quick.$client.$number" || wrong=$((wrong + 1))
    done
  done
  if [[ $wrong == 0 ]]; then
    pass "200 quick calls: bytes"
  else
    fail "200 quick calls: bytes" "$wrong clients or calls did not get what the upstream sent"
  fi
  traced quick "200 quick calls"
}

# fails ROUTE TITLE: two calls that the gateway answers itself, where it has a route for them (--print-… has).
fails() {
  local route=$1 title=$2 number statuses=()
  for number in 1 2; do
    ask "$route.$number" "$base/$route/v1/chat/completions" -d '{"model": "gpt-4",
      "messages": [{"role": "user", "content": "Anybody?"}]}'
    statuses+=("$status")
  done
  if [[ ${statuses[0]} -lt 500 ]]; then
    echo "      not tried: $title (the gateway has no route /$route)" >&2
    return
  fi
  if [[ ${statuses[0]} == "${statuses[1]}" && $code == 0 ]]; then
    pass "$title: the gateway answers ${statuses[0]}"
  else
    fail "$title: the gateway answers" "HTTP ${statuses[*]}, curl's exit code $code"
  fi
  judged "$title: traces" "failed/$route/2/$patience" || true
}

# outage HOW TITLE: ten calls while Langfuse fails; they pass, and their traces arrive when it is back.
outage() {
  local how=$1 title=$2 number wrong=0 failures
  failures=$(control failures) || failures=0
  control "langfuse/$how" >/dev/null || die "the kit has ended"
  for number in {1..10}; do
    ask "$how.$number" "$base/v1/chat/completions" -d '{"model": "gpt-4",
      "messages": [{"role": "user", "content": "Go on"}]}'
    if [[ $code != 0 || $status != 200 ]] || ! sent "$how" || ! cmp -s "$work/sent" "$work/$how.answer"; then
      wrong=$((wrong + 1))
    fi
  done
  if [[ $wrong == 0 ]]; then pass "$title: calls pass"; else fail "$title: calls pass" "$wrong of 10 did not"; fi
  # WasmX hands an answer on that breaks off behind its head: the traces are taken, and there is nothing to meet.
  if [[ $how != breaking || $host == envoy ]]; then
    judged "$title: the filter has met it" "failures/$((failures + 1))/$patience" || true
  fi
  control langfuse/normal >/dev/null || die "the kit has ended"
  wait_for_traces "$title, then it is back"
}
