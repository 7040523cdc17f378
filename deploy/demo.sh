#!/usr/bin/env bash
# From a text to a stream on this machine in about two and a half minutes after installation: `make demo`.
# Trains on Python's standard library, exports, serves, streams, shows the metrics, and stops what it started.
#
#   deploy/demo.sh BIN [MINUTES]     BIN is the folder with the nextchar commands
set -euo pipefail
bin=$1
minutes=${2:-1}
run=runs/demo
log=$(mktemp)
server=

finish() {
  if [ -n "$server" ] && kill -TERM "$server" 2>/dev/null; then wait "$server" || true; fi
  rm -f "$log"
}
trap finish EXIT

step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }

# Prints the value of a key in the server's `serving` log line; prints nothing before that line.
served() {
  "$bin/python" - "$log" "$1" <<'PYTHON'
import json, sys
for line in open(sys.argv[1]):
    event = json.loads(line) if line.startswith("{") else {}
    if event.get("event") == "serving":
        print(event[sys.argv[2]])
PYTHON
}

step nextchar-train fit stdlib --out $run --minutes "$minutes" --overwrite
"$bin/nextchar-train" fit stdlib --out $run --minutes "$minutes" --overwrite

step nextchar-train export $run --out $run/model.onnx
"$bin/nextchar-train" export $run --out $run/model.onnx

step nextchar-server --model $run/model.onnx
"$bin/nextchar-server" --model $run/model.onnx --grpc-port 0 --http-port 0 2>"$log" &
server=$!
until port=$(served grpc_port) && [ -n "$port" ]; do
  if ! kill -0 "$server" 2>/dev/null; then
    cat "$log" >&2
    exit 1
  fi
  sleep 0.1
done
http=$(served http_port)
echo "serving gRPC on port $port, metrics on port $http"

prompt='    def __init__(self, '
step nextchar generate "'$prompt'" --seed 7 --max-characters 600 --temperature 0.7 --echo
"$bin/nextchar" generate "$prompt" --seed 7 --max-characters 600 --temperature 0.7 --echo --newline --endpoint "127.0.0.1:$port"

step curl --noproxy "*" "http://127.0.0.1:$http/metrics"
"$bin/python" - "$http" <<'PYTHON'
import re, sys, urllib.request

shown = re.compile(
    r"nextchar_((prompt|generated)_characters_total|finished_total|model_info|active_streams"
    r"|(time_to_first_character|step)_seconds_(sum|count))|grpc_server_handled_total"
)
url = f"http://127.0.0.1:{sys.argv[1]}/metrics"
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy reaches this machine's own address
for line in direct.open(url).read().decode().splitlines():
    if shown.match(line):
        print(line)
PYTHON

step kill -TERM "$server"
kill -TERM "$server"
wait "$server"
server=
cat <<NEXT

The server drained and stopped. The run is in $run: report.md, loss.png, samples.txt, model.onnx.

Next (first run: . $bin/activate)
  nextchar-server --model $run/model.onnx                    serve it again; then, in another terminal:
  nextchar generate "import " --seed 1                            stream from it
  nextchar-train fit my-text.txt --out runs/mine --minutes 10     train on a text of your own
NEXT
