#!/usr/bin/env bash
# Puts a large real text through a broker that is killed with SIGKILL on the way, and compares
# what comes out byte for byte, read by kcat, by the Java client and by thalweg's own consumer.
#
#   realfile.sh THALWEG [BYTES]    a thalweg binary; BYTES defaults to 1 GiB
#   realfile.sh --kafka [BYTES]    the same with Apache Kafka (thalweg's consumer is left out)
#
# KILLS is how often the broker is killed (default 2), INTEROP_CACHE as for `run`. The lines are
# whatever source code and documentation this machine has, each begun with its number so that no
# two are alike: one lost, doubled or out of place shows. Exits 0 only if everything is equal.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export INTEROP_CACHE=${INTEROP_CACHE:-$here/../../target/interop}
topic=realfile
ready_deadline_s=60
produce_deadline_s=900

if [[ $# -lt 1 ]]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
fi
binary=$1
bytes=${2:-$((1 << 30))}
kills=${KILLS:-2}
[[ $binary == --kafka ]] || binary=$(realpath "$binary")

work=$(mktemp -d)
broker_pid=
producer_pid=
finish() {
    local code=$?
    local pid
    for pid in $producer_pid $broker_pid; do kill -9 "$pid" 2>/dev/null || true; done
    if ((code == 0)); then rm -rf "$work"; else echo "FAIL; the pieces are kept in $work" >&2; fi
}
trap finish EXIT

say() {
    printf '%6.1f s  %s\n' "$(echo "$(date +%s.%N) - $started" | bc)" "$*"
}

# Every text found, again and again; ends when nobody reads on.
text() {
    local trees=(/usr/share/doc /usr/share/perl /usr/include /usr/lib/python3 /usr/local/go/src)
    trees+=("$HOME/.cargo/registry/src" "$(python3 -c 'import os; print(os.path.dirname(os.__file__))')")
    find "${trees[@]}" -type f -size -2000k -size +0 \
        \( -name '*.rs' -o -name '*.go' -o -name '*.py' -o -name '*.h' -o -name '*.p[lm]' \
        -o -name '*.txt' -o -name '*.md' -o -name 'copyright' -o -name 'README*' \) \
        -print0 2>/dev/null | LC_ALL=C sort -z >"$work/sources" || true
    [[ -s $work/sources ]] || return 1
    # 123: a file has gone since it was found.
    while xargs -0 cat <"$work/sources" 2>/dev/null || (($? == 123)); do :; done
}

# At least $bytes of it as numbered lines. An absurdly long line is cut: this is no test of limits.
make_lines() {
    { text || true; } | LC_ALL=C tr -d '\000' | LC_ALL=C awk -v bytes="$bytes" '
        { line = NR ": " substr($0, 1, 20000); print line; written += length(line) + 1 }
        written >= bytes { exit }' || true
}

free_ports() {
    python3 - <<'EOF'
import socket
while True:
    held = [socket.socket() for _ in range(3)]
    held[0].bind(("127.0.0.1", 0))
    port = held[0].getsockname()[1]
    try:
        held[1].bind(("127.0.0.1", port + 1))
        held[2].bind(("127.0.0.1", 0))
    except OSError:
        continue
    print(port, held[2].getsockname()[1])
    break
EOF
}

start_broker() {
    if [[ $binary == --kafka ]]; then
        "$here/kafka/run-kafka.sh" "$work/data" "$port" >>"$work/broker.log" 2>&1 &
    else
        "$binary" serve --data-dir "$work/data" --listen "$address" \
            --admin-listen "127.0.0.1:$admin_port" >>"$work/broker.log" 2>&1 &
    fi
    broker_pid=$!
    local deadline=$((SECONDS + ready_deadline_s))
    until kcat -b "$address" -L -m 1 >/dev/null 2>&1; do
        if ! kill -0 "$broker_pid" 2>/dev/null || ((SECONDS > deadline)); then
            echo "the broker does not serve; its last words:" >&2
            tail -n 30 "$work/broker.log" >&2
            return 1
        fi
        sleep 0.05
    done
}

end_offset() {
    kcat -b "$address" -Q -t "$topic:0:-1" 2>/dev/null | sed -n 's/.* offset \([0-9]*\)$/\1/p'
}

# Waits until the log holds that many records; fails when the producer ends before.
wait_for_offset() {
    local deadline=$((SECONDS + produce_deadline_s)) now
    while now=$(end_offset); ((${now:-0} < $1)); do
        if ! kill -0 "$producer_pid" 2>/dev/null; then
            echo "the producer ended at offset ${now:-0}, before $1" >&2
            tail -n 5 "$work/producer.log" >&2
            return 1
        fi
        ((SECONDS < deadline)) || { echo "offset $1 is not reached" >&2; return 1; }
        sleep 0.02
    done
    reached=$now
}

compare() {
    if "${@:2}" 2>"$work/reader.log" | cmp - "$work/lines"; then
        say "$1 reads the same bytes"
    else
        tail -n 5 "$work/reader.log" >&2
        return 1
    fi
}

"$here/run" --install --only kcat --only java >"$work/install.log" || { cat "$work/install.log" >&2; exit 1; }
[[ $binary != --kafka ]] || "$here/kafka/run-kafka.sh" --install
read -r port admin_port < <(free_ports)
address=127.0.0.1:$port
started=$(date +%s.%N)

make_lines >"$work/lines"
count=$(wc -l <"$work/lines")
size=$(stat -c %s "$work/lines")
((size >= bytes)) || { echo "found no text to send on this machine" >&2; exit 1; }
say "made $count lines, $size bytes, sha256 $(sha256sum "$work/lines" | cut -d' ' -f1)"

start_broker
# With idempotence a batch sent again after the kill is not written twice; -E goes on while the
# broker is away.
timeout "$produce_deadline_s" kcat -b "$address" -P -t "$topic" -p 0 -E -l "$work/lines" \
    -X acks=all -X enable.idempotence=true -X message.timeout.ms=600000 -X linger.ms=5 \
    -X reconnect.backoff.max.ms=500 -X topic.metadata.refresh.interval.ms=1000 \
    2>"$work/producer.log" &
producer_pid=$!
for ((kill_number = 1; kill_number <= kills; kill_number++)); do
    wait_for_offset $((count * kill_number / (kills + 1)))
    kill -9 "$broker_pid"
    wait "$broker_pid" 2>/dev/null || true
    say "killed the broker at offset $reached"
    start_broker
    say "it serves again, from offset $(end_offset)"
done
wait "$producer_pid" || { tail -n 5 "$work/producer.log" >&2; exit 1; }
producer_pid=
say "the producer is done"
[[ $(end_offset) == "$count" ]] || { echo "the log ends at $(end_offset), not $count" >&2; exit 1; }

compare kcat kcat -b "$address" -C -q -t "$topic" -p 0 -o beginning -e -f '%s\n'
compare java java -Xmx512m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -cp "$INTEROP_CACHE/java/classes:$INTEROP_CACHE/java/libs/*" ReadLines "$address" "$topic"
if [[ $binary != --kafka ]]; then
    compare thalweg "$binary" consume "$topic" -b "$address" --offset start -n "$count" -f '%v\n'
fi
kill "$broker_pid"
wait "$broker_pid" || true
broker_pid=
say "ok: $count lines, $kills kills, nothing lost, nothing doubled"
