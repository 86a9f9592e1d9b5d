#!/usr/bin/env python3
"""What replication costs: `replicas.py path/to/thalweg [GIGABYTES] [ROUNDS]`.

Writes the same records with `thalweg bench produce` to topics with one and with three replicas on the
same three brokers, in alternation, with and without `write.caching`. Prints throughput and the
processor time of all three brokers together, user and system apart, per gigabyte written by the
client. Needs only Python and a release binary.
"""

import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

BINARY = sys.argv[1]
GIGABYTES = float(sys.argv[2]) if len(sys.argv) > 2 else 1.0
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 5
TICKS = os.sysconf("SC_CLK_TCK")
NODES = (1, 2, 3)
NET = f"127.{os.getpid() >> 8 & 0x7F | 0x80}.{os.getpid() & 0xFF}"
BROKERS = ",".join(f"{NET}.{node}:9092" for node in NODES)


def spawn(directory: str, node: int) -> subprocess.Popen:
    seeds = ",".join(f"{NET}.{it}:9192" for it in NODES)
    return subprocess.Popen(
        [BINARY, "serve", "--node-id", str(node), "--seeds", seeds]
        + ["--listen", f"{NET}.{node}:9092", "--node-listen", f"{NET}.{node}:9192"]
        + ["--admin-listen", "off", "--data-dir", f"{directory}/{node}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def thalweg(*arguments: str) -> str:
    return subprocess.run(
        [BINARY, *arguments, "-b", BROKERS], check=True, capture_output=True, text=True
    ).stdout


def processor(brokers: list[subprocess.Popen]) -> tuple[float, float]:
    user = system = 0
    for broker in brokers:
        fields = pathlib.Path(f"/proc/{broker.pid}/stat").read_text().rsplit(")", 1)[1].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    return user / TICKS, system / TICKS


def measure(brokers: list[subprocess.Popen], name: str, replicas: int, caching: bool) -> list[float]:
    thalweg("topic", "create", name, "--partitions", "6", "--replicas", str(replicas),
            "--config", f"write.caching={str(caching).lower()}")
    records = int(GIGABYTES * 1e9 / 1024)
    before = processor(brokers)
    said = json.loads(thalweg("bench", "produce", name, "--records", str(records),
                              "--record-size", "1KiB", "--output", "json"))
    after = processor(brokers)
    thalweg("topic", "delete", name)
    seconds = said["seconds"]
    return [GIGABYTES * 1000 / seconds,
            (after[0] - before[0]) / GIGABYTES, (after[1] - before[1]) / GIGABYTES]


def main() -> None:
    directory = tempfile.mkdtemp(prefix="thalweg-figures-")
    brokers = [spawn(directory, node) for node in NODES]
    try:
        for broker in brokers:
            assert broker.stdout.readline(), "a broker ended"
        print("| replicas | write.caching | MB/s | user s/GB | system s/GB |")
        print("|---:|---|---:|---:|---:|")
        for caching in (True, False):
            rows: dict[int, list[list[float]]] = {1: [], 3: []}
            # The first round warms everything up and is not shown.
            for turn in range(ROUNDS + 1):
                for replicas, seen in rows.items():
                    figures = measure(brokers, f"replicas-{caching}-{turn}-{replicas}", replicas, caching)
                    if turn:
                        seen.append(figures)
            for replicas, seen in rows.items():
                rate, user, system = (statistics.median(column) for column in zip(*seen))
                print(f"| {replicas} | {str(caching).lower()} | {rate:.0f} | {user:.2f} | {system:.2f} |")
            ratios = [sum(three[1:]) / sum(one[1:]) for one, three in zip(rows[1], rows[3])]
            print(f"<!-- CPU with three replicas over one: {statistics.median(ratios):.2f} "
                  f"({min(ratios):.2f} to {max(ratios):.2f}) -->", flush=True)
    finally:
        for broker in brokers:
            broker.send_signal(signal.SIGKILL)
            broker.wait()
        shutil.rmtree(directory)


main()
