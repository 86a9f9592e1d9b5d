#!/usr/bin/env bash
# Restarts the brokers of a cluster one after the other, without a gap for its clients.
#
#   BROKERS=a:9092,b:9092,c:9092 rolling-restart.sh COMMAND NODE…
#
# COMMAND restarts one broker; {} in it is the node's id: 'ssh broker-{} systemctl restart thalweg'.
# SIGTERM is all that a broker needs to hand its leaderships over before it goes. Each next broker
# waits until `thalweg cluster health` has nothing to complain of but leaders that are elsewhere for a
# while. Nothing is restarted while a replica is missing; after LIMIT seconds (300) it gives up.
#
# Needs bash 4, python3, and thalweg in PATH or in THALWEG. Topics need three replicas (or five): one
# with a single replica is away while its broker restarts.
set -euo pipefail

: "${BROKERS:?set BROKERS to HOST:PORT,…}"
thalweg=${THALWEG:-thalweg}
limit=${LIMIT:-300}
command=${1:?give the command that restarts one broker}
shift
(($#)) || { echo "give the ids of the brokers to restart" >&2; exit 2; }
type python3 "$thalweg" >/dev/null || { echo "python3 and $thalweg are needed" >&2; exit 2; }

# Whether every broker is up and every replica in sync. Leaders may be anywhere. Says nothing itself
# while no broker can be reached: that is one more way not to be whole.
whole() {
    "$thalweg" cluster health -b "$BROKERS" --timeout 10 --output json 2>/dev/null | python3 -c '
import json, sys
try:
    said = json.load(sys.stdin)
except ValueError:
    sys.exit(1)
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

# After how many seconds a broker that is silent has been missed: the setting that broker $1 goes by,
# and the second in which it is next looked at.
missed_after() {
    "$thalweg" config get -b "$BROKERS" --broker "$1" broker.session.timeout.ms --output json |
        python3 -c 'import json, sys; print(int(json.load(sys.stdin)[0]["value"]) // 1000 + 2)'
}

for node in "$@"; do
    wait_until_whole
    missed=$(missed_after "$node")
    echo "restarting broker $node"
    bash -c "${command//\{\}/$node}"
    # It has to be missed first, or come back so fast that nobody could miss it.
    sleep "$missed"
done
wait_until_whole
echo "done: all brokers are back and every replica is in sync"
