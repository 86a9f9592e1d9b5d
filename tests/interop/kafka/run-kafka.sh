#!/usr/bin/env bash
# Runs one Apache Kafka broker (KRaft, broker and controller in one process) on loopback, in the
# foreground: the caller owns the process, waits for its port, and ends it by its id. It is the
# yardstick: what our suites and benchmarks ask of thalweg is first asked of Kafka.
#
#   run-kafka.sh --install                         fetch the jars into the cache and stop
#   run-kafka.sh DATA_DIR [PORT] [KEY=VALUE ...]   serve on 127.0.0.1:PORT (default 9092); the
#                                                  controller listens on PORT+1; KEY=VALUE lines
#                                                  are broker settings that override ours
#
# INTEROP_CACHE holds the jars (default: target/interop of this repository).
# KAFKA_HEAP is the Java heap (default 512m), KAFKA_JAVA_OPTS further options for the JVM,
# KAFKA_LOG the lowest level logged to standard error (default warn).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${INTEROP_CACHE:-$here/../../../target/interop}
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")
libs=$cache/kafka-$version

# Two that install at once both succeed: the folder appears whole, by a rename.
install() {
    if [[ -d $libs ]]; then return; fi
    mkdir -p "$cache"
    local staging
    staging=$(mktemp -d -p "$(realpath "$cache")" kafka.XXXXXX)
    mvn -B -q -Dstyle.color=never -f "$here/pom.xml" dependency:copy-dependencies \
        -DoutputDirectory="$staging" >&2
    mv -T "$staging" "$libs" 2>/dev/null || rm -rf "$staging"
}

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
}

install
if [[ ${1:-} == --install ]]; then exit 0; fi
if [[ $# -lt 1 || $1 == -* ]]; then usage; fi

data=$1
port=${2:-9092}
overrides=("${@:3}")
mkdir -p "$data"
data=$(realpath "$data")

# One broker can hold one replica, so its internal topics must not ask for three.
cat >"$data/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$data/logs
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
EOF
# A later line wins in a properties file.
if ((${#overrides[@]})); then printf '%s\n' "${overrides[@]}" >>"$data/server.properties"; fi

if [[ ! -e $data/logs/meta.properties ]]; then
    java -Xmx128m -cp "$libs/*" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
        kafka.tools.StorageTool format --config "$data/server.properties" \
        --cluster-id="$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=')" >/dev/null
fi
# shellcheck disable=SC2086 # KAFKA_JAVA_OPTS is a list of words.
exec java -Xms"${KAFKA_HEAP:-512m}" -Xmx"${KAFKA_HEAP:-512m}" -cp "$libs/*" \
    -Dorg.slf4j.simpleLogger.defaultLogLevel="${KAFKA_LOG:-warn}" ${KAFKA_JAVA_OPTS:-} \
    kafka.Kafka "$data/server.properties"
