#!/usr/bin/env bash
# kcat: librdkafka from a shell, as Debian packages it (an older librdkafka than the other suites').
#
# kcat cannot create, describe or delete topics and cannot choose timestamps. So the topic comes to
# be by auto-creation, everything goes to its partition 0, and the timestamps expected are those read
# back. What a record is: lines of "partition offset key-length:key value-length:value headers",
# where a length of -1 is null.
set -uo pipefail

topic=interop-kcat-${INTEROP_RUN:-$$}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
format='%p %o %K:%k %S:%s %h\n'
per_codec=2000
count=10000
# A record whose timestamp is read from; it lies inside a batch.
probe=6543

# Runs one step's function; its standard error is the reason when it fails.
step() {
    if "${@:2}" 2>"$work/reason"; then
        echo "ok $1"
    else
        failed=1
        echo "FAIL $1: $(tr -s '[:space:]' ' ' <"$work/reason" | cut -c1-500)"
    fi
}

kcat_() {
    timeout 15 kcat -b "$BOOTSTRAP" -q "$@"
}

# The lines of one half of a codec's block, "key<TAB>value". Every tenth lacks a key and every tenth
# a value.
lines() {
    awk -v first="$1" -v n=$((per_codec / 2)) 'BEGIN {
        for (i = first; i < first + n; i++)
            printf "%s\t%s\n", i % 10 == 3 ? "" : "key-" i,
                i % 10 == 7 ? "" : "value-" i "-" substr(i * i * i * i "", 1, i % 13)
    }'
}

# What reading gives back for those lines: with "null" what is empty was written as null.
expect() {
    lines "$1" | awk -F '\t' -v offset="$1" -v empty="$2" -v headers="$3" '
        function field(s) { return s == "" ? empty ":" : length(s) ":" s }
        { print 0, offset + NR - 1, field($1), field($2), headers }'
}

produce() {
    local codec=$1 first=$2 middle=$(($2 + per_codec / 2))
    local options=(-P -t "$topic" -p 0 -K '\t' -z "$codec" -X enable.idempotence=true -X linger.ms=20)
    lines "$first" | kcat_ "${options[@]}" -Z || return
    lines "$middle" | kcat_ "${options[@]}" -H "codec=$codec" -H dup=a -H dup=b -H empty= || return
    expect "$first" -1 '' >>"$work/expected"
    expect "$middle" 0 "codec=$codec,dup=a,dup=b,empty=" >>"$work/expected"
}

# Answers "<topic> [0] offset N" with N.
query() {
    kcat_ -Q -t "$topic:0:$1" | sed -n 's/.* offset \(-\{0,1\}[0-9]*\)$/\1/p'
}

require_equal() {
    if [[ $1 == "$2" ]]; then return; fi
    echo "got '$1', expected '$2'" >&2
    return 1
}

# Leaves the first line that differs as the reason.
require_same() {
    cmp -s "$1" "$2" && return
    diff "$1" "$2" | head -n 4 >&2
    return 1
}

metadata() {
    kcat_ -L -t "$topic" >"$work/metadata" || return
    grep -q "topic \"$topic\" with [1-9]" "$work/metadata" &&
        grep -q 'partition 0, leader [0-9]' "$work/metadata" && return
    cat "$work/metadata" >&2
    return 1
}

list_offsets() {
    require_equal "$(query -2)" 0 && require_equal "$(query -1)" "$count"
}

read_all() {
    kcat_ -C -t "$topic" -p 0 -o beginning -e -X check.crcs=true -f "$format" >"$work/read" || return
    require_same "$work/expected" "$work/read"
}

read_from_timestamp() {
    kcat_ -C -t "$topic" -p 0 -o beginning -e -f '%o %T\n' >"$work/timestamps" || return
    local when first
    when=$(awk -v probe=$probe '$1 == probe { print $2 }' "$work/timestamps")
    first=$(awk -v when="$when" '$2 >= when { print $1; exit }' "$work/timestamps")
    require_equal "$(query "$when")" "$first" || return
    kcat_ -C -t "$topic" -p 0 -o "s@$when" -e -f "$format" >"$work/read" || return
    tail -n +$((first + 1)) "$work/expected" >"$work/expected-tail"
    require_same "$work/expected-tail" "$work/read"
}

: >"$work/expected"
first=0
for codec in none gzip snappy lz4 zstd; do
    step "produce-$codec" produce $codec $first
    first=$((first + per_codec))
done
step describe-topic metadata
step list-offsets list_offsets
step read-all read_all
step read-from-timestamp read_from_timestamp
exit $failed
