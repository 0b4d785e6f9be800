#!/bin/sh
# Counts the lines, words and bytes of texts: a pull worker in POSIX shell, with curl, and jq for what came as JSON.
export LC_ALL=C
url=${WAITLESS_URL:-http://127.0.0.1:7878}
service=${WAITLESS_SERVICE:-texts}
# The work is made slow on purpose: each of its three steps takes this long.
step_seconds=${STEP_SECONDS:-1}
# A worker that dies is noticed after this time. As long as it lives, it extends its lease three times as often.
lease_seconds=${LEASE_SECONDS:-30}
beat_seconds=$(jq -n "$lease_seconds / 3")

folder=$(mktemp -d) || exit 1
token='' heartbeat='' child=''

# In the background, because a shell hears a signal at once in `wait` but not while a command runs.
run() {
  "$@" &
  child=$!
  wait "$child"
  code=$?
  child=''
  return "$code"
}

# post PATH FILE [CURL'S OPTIONS]: one request. Sets $status (000 where no answer came); the answer is in $folder/answer.
post() {
  path=$1 file=$2
  shift 2
  # The key goes in by a file: everyone can read a command line.
  run curl -sS --max-time 60 -o "$folder/answer" -w '%{http_code}' -H "@$folder/key" -H 'Content-Type: application/json' \
    --data-binary "@$file" "$@" "$url$path" >"$folder/status" 2>"$folder/error"
  status=$(cat "$folder/status")
}

# The same until there is an answer that a repeat would not change, also while the server restarts.
insist() {
  while :; do
    post "$@"
    case $status in 000 | 429 | 5*) ;; *) return 0 ;; esac
    echo "$1: $status $(cat "$folder/error"); again in a second" >&2
    run sleep 1
  done
}

# Answers or reports. Fails where the work was cancelled or belongs to somebody else by now.
tell() {
  insist "$@"
  case $status in
  200) ;;
  404 | 409) echo 'no longer ours' >&2 && return 1 ;;
  *) give_up ;;
  esac
}

give_up() {
  echo "$status $(cat "$folder/answer")" >&2
  leave 1
}

# Extends the lease while the work goes on; progress does so too, but not while one step takes long.
keep_alive() {
  trap 'kill "$nap" 2>/dev/null; exit' TERM
  while :; do
    sleep "$beat_seconds" &
    nap=$!
    wait "$nap"
    curl -sS --max-time 10 -o /dev/null -H "@$folder/key" -H 'Content-Type: application/json' \
      -d "{\"leaseSeconds\":$lease_seconds}" "$url/v1/leases/$token/extend" 2>/dev/null
  done
}

stop_heartbeat() {
  [ -n "$heartbeat" ] && kill "$heartbeat" 2>/dev/null && wait "$heartbeat" 2>/dev/null
  heartbeat=''
}

leave() {
  trap '' TERM INT
  [ -n "$child" ] && kill "$child" 2>/dev/null
  stop_heartbeat
  # Given back, work is free for the next worker at once and costs no attempt.
  if [ -n "$token" ]; then
    curl -sS --max-time 10 -o /dev/null -H "@$folder/key" -X POST "$url/v1/leases/$token/release"
  fi
  rm -rf "$folder"
  exit "$1"
}

# step NAME PERCENT: reports what is being done now, and takes its time over it.
step() {
  printf '{"stage":"counting %s","percent":%d}' "$1" "$2" >"$folder/report"
  tell "/v1/leases/$token/progress" "$folder/report" && run sleep "$step_seconds"
}

work() {
  text=$folder/text
  step lines 0 || return
  lines=$(wc -l <"$text")
  step words 33 || return
  words=$(tr -s ' \t\n\r\v\f' '\n' <"$text" | grep -ac .)
  step bytes 66 || return
  bytes=$(wc -c <"$text")
  printf '{"by":"shell","lines":%d,"words":%d,"bytes":%d}' "$lines" "$words" "$bytes" >"$folder/result"
  tell "/v1/leases/$token/reply" "$folder/result"
}

# A signal may come while stderr is a file.
exec 3>&2
trap 'echo stopped >&3; leave 0' TERM INT
printf '%s' "${WAITLESS_API_KEY:+Authorization: Bearer $WAITLESS_API_KEY}" >"$folder/key"
printf '{"worker":"shell","waitSeconds":30,"leaseSeconds":%s}' "$lease_seconds" >"$folder/ask"
while :; do
  insist "/v1/services/$service/leases" "$folder/ask"
  [ "$status" = 200 ] || give_up
  token=$(jq -r '.leases[0].token // empty' "$folder/answer")
  [ -n "$token" ] || continue
  if jq -e '.leases[0].request | has("bodyBase64")' "$folder/answer" >/dev/null; then
    jq -r '.leases[0].request.bodyBase64' "$folder/answer" | base64 -d >"$folder/text"
  else
    jq -j '.leases[0].request.body // ""' "$folder/answer" >"$folder/text"
  fi
  keep_alive &
  heartbeat=$!
  if [ -s "$folder/text" ]; then
    work
  else
    echo '{"code":"no-text","message":"there is no text to count","retry":false}' >"$folder/report"
    tell "/v1/leases/$token/fail" "$folder/report"
  fi
  stop_heartbeat
  token=''
done
