#!/usr/bin/env bash
# Restarts the brokers of a cluster one after the other, without a gap for its clients.
#
#   BROKERS=a:9092,b:9092,c:9092 rolling-restart.sh COMMAND NODE…
#
# COMMAND restarts one broker; {} in it is the node's id: 'ssh broker-{} systemctl restart thalweg'.
# SIGTERM is all that a broker needs to hand its leaderships over before it goes. Each next broker
# waits until `thalweg cluster health` has nothing to complain of but leaders that are elsewhere for a
# while. Nothing is restarted while a replica is missing; after LIMIT seconds (300) it gives up.
set -euo pipefail

: "${BROKERS:?set BROKERS to HOST:PORT,…}"
thalweg=${THALWEG:-thalweg}
limit=${LIMIT:-300}
command=${1:?give the command that restarts one broker}
shift
(($#)) || { echo "give the ids of the brokers to restart" >&2; exit 2; }

# Whether every broker is up and every replica in sync. Leaders may be anywhere.
whole() {
    "$thalweg" cluster health -b "$BROKERS" --output json 2>/dev/null | python3 -c '
import json, sys
said = json.load(sys.stdin)
bad = ("brokers_fenced", "without_leader", "under_replicated", "moving")
sys.exit(any(said.get(key) for key in bad))'
}

wait_until_whole() {
    local since=$SECONDS
    until whole; do
        if ((SECONDS - since > limit)); then
            echo "the cluster is not whole after $limit s; see: thalweg cluster health" >&2
            exit 1
        fi
        sleep 1
    done
}

for node in "$@"; do
    wait_until_whole
    echo "restarting broker $node"
    bash -c "${command//\{\}/$node}"
    # It has to be missed first, or come back so fast that nobody could miss it.
    sleep 4
done
wait_until_whole
echo "done: all brokers are back and every replica is in sync"
