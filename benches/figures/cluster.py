#!/usr/bin/env python3
"""The figures of three brokers: `cluster.py path/to/thalweg [KILLS]`.

Prints one line a figure: how long partitions are without a leader when a broker is killed or
stopped, and what a thousand replicated partitions cost at rest and at a cold start. Needs only
Python and a release binary.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from wire import Connection, batch

BINARY = sys.argv[1]
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 20
TICKS = os.sysconf("SC_CLK_TCK")
NODES = (1, 2, 3)
RECORD = batch([b"record"])
# All of 127.0.0.0/8 is this machine, so every broker has an address of its own.
NET = f"127.{os.getpid() >> 8 & 0x7F | 0x80}.{os.getpid() & 0xFF}"


class Cluster:
    def __init__(self) -> None:
        self.dir = tempfile.mkdtemp(prefix="thalweg-figures-")
        self.processes: dict[int, subprocess.Popen] = {}
        self.connections: dict[int, Connection] = {}

    def spawn(self, node: int) -> None:
        seeds = ",".join(f"{NET}.{it}:9192" for it in NODES)
        self.processes[node] = subprocess.Popen(
            [BINARY, "serve", "--node-id", str(node), "--seeds", seeds]
            + ["--listen", f"{NET}.{node}:9092", "--node-listen", f"{NET}.{node}:9192"]
            + ["--admin-listen", "off", "--data-dir", f"{self.dir}/{node}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def start(self, *nodes: int) -> None:
        """Returns when they serve."""
        for node in nodes:
            self.spawn(node)
        for node in nodes:
            assert self.processes[node].stdout.readline(), f"broker {node} ended"

    def end(self, node: int, how: int) -> None:
        self.connections.pop(node, None)
        self.processes[node].send_signal(how)

    def wait(self, *nodes: int) -> None:
        for node in nodes:
            self.processes[node].wait(60)

    def at(self, node: int) -> Connection:
        if node not in self.connections:
            self.connections[node] = Connection((f"{NET}.{node}", 9092), timeout=5)
        return self.connections[node]

    def create(self, topic: str, partitions: int) -> float:
        began = time.monotonic()
        while True:
            try:
                self.at(1).create(topic, partitions, {}, replicas=3)
                break
            except RuntimeError:
                # Not every broker is known to this one yet.
                time.sleep(0.05)
                began = time.monotonic()
        self.wait_led(topic, partitions)
        return time.monotonic() - began

    def wait_led(self, topic: str, partitions: int) -> None:
        while True:
            leaders = [leader for leader, _ in self.at(1).partitions(topic).values()]
            if len(leaders) == partitions and min(leaders) > 0:
                return
            time.sleep(0.005)

    def wait_in_sync(self, topic: str) -> dict[int, int]:
        """Returns the leaders."""
        while True:
            leaders, in_sync = {}, True
            for node in NODES:
                for index, (leader, count) in self.at(node).partitions(topic).items():
                    if leader == node:
                        leaders[index] = node
                        in_sync = in_sync and count == 3
            if in_sync and len(leaders) == len(self.at(1).partitions(topic)):
                return leaders
            time.sleep(0.05)

    def cpu(self, node: int) -> float:
        stat = pathlib.Path(f"/proc/{self.processes[node].pid}/stat").read_text()
        fields = stat.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self, node: int) -> float:
        status = pathlib.Path(f"/proc/{self.processes[node].pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields["VmRSS"].split()[0]) / 1000

    def remove(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        shutil.rmtree(self.dir)


def first_acknowledgements(cluster: Cluster, topic: str, pending: set[int], gone: int) -> list[float]:
    """Seconds from now until each partition takes a record from somebody."""
    began, times = time.monotonic(), []
    others = [node for node in NODES if node != gone]
    while pending:
        for node in others:
            led = {it for it, (leader, _) in cluster.at(node).partitions(topic).items() if leader == node}
            for index in sorted(pending & led):
                if cluster.at(node).produce(topic, index, RECORD) == 0:
                    pending.discard(index)
                    times.append(time.monotonic() - began)
        time.sleep(0.002)
    return times


def show(what: str, seconds: list[float]) -> None:
    seconds = sorted(seconds)
    at = lambda share: f"{seconds[min(int(len(seconds) * share), len(seconds) - 1)] * 1000:.0f}"
    print(
        f"{what}, ms: least {at(0)}, median {at(0.5)}, p90 {at(0.9)}, p99 {at(0.99)}, "
        f"most {at(1)} ({len(seconds)} measured)",
        flush=True,
    )


def most_leading(leaders: dict[int, int]) -> int:
    return max(NODES, key=list(leaders.values()).count)


def failover() -> None:
    cluster = Cluster()
    cluster.start(*NODES)
    cluster.create("hundred", 100)
    each, first, last = [], [], []
    for _ in range(KILLS):
        leaders = cluster.wait_in_sync("hundred")
        victim = most_leading(leaders)
        led = {index for index, leader in leaders.items() if leader == victim}
        cluster.end(victim, signal.SIGKILL)
        times = first_acknowledgements(cluster, "hundred", led, victim)
        each += times
        first.append(times[0])
        last.append(times[-1])
        cluster.wait(victim)
        cluster.start(victim)
    show("kill -9 to a partition's first acknowledged record, 100 partitions", each)
    show("the same, until all partitions of a killed broker have one", last)

    gaps = []
    for _ in range(KILLS):
        leaders = cluster.wait_in_sync("hundred")
        victim = most_leading(leaders)
        index = next(index for index, leader in leaders.items() if leader == victim)
        gaps.append(longest_gap(cluster, index, victim))
        cluster.wait(victim)
        cluster.start(victim)
    show("SIGTERM of a leader of 100 partitions: longest gap of a producer", gaps)
    cluster.remove()


def longest_gap(cluster: Cluster, index: int, victim: int) -> float:
    """Between two acknowledgements, one request at a time, while the leader is stopped."""
    leader, told, last, longest = victim, False, time.monotonic(), 0.0
    until = last + 60
    while time.monotonic() < until:
        try:
            code = cluster.at(leader).produce("hundred", index, RECORD)
        except OSError:
            cluster.connections.pop(leader, None)
            code = -1
        now = time.monotonic()
        if code == 0:
            longest = max(longest, now - last) if told else 0.0
            last = now
            if not told:
                connection = cluster.at(victim)
                cluster.end(victim, signal.SIGTERM)
                cluster.connections[victim] = connection
                told, until = True, now + 60
            elif leader != victim and cluster.processes[victim].poll() is not None:
                cluster.connections.pop(victim, None)
                return longest
            continue
        for node in NODES:
            try:
                found = cluster.at(node).partitions("hundred")[index][0] if node != victim else -1
            except OSError:
                found = -1
            if found > 0 and found != victim:
                leader = found
                break
    raise RuntimeError("the partition takes no records any more")


def thousand() -> None:
    cluster = Cluster()
    cluster.start(*NODES)
    print(f"creating 1,000 partitions of 3 replicas: {cluster.create('thousand', 1000):.2f} s")
    cluster.wait_in_sync("thousand")
    time.sleep(5)
    before, began = {node: cluster.cpu(node) for node in NODES}, time.monotonic()
    time.sleep(20)
    seconds = time.monotonic() - began
    shares = [f"{(cluster.cpu(node) - before[node]) / seconds * 100:.1f}" for node in NODES]
    memory = [f"{cluster.rss_mb(node):.1f}" for node in NODES]
    print(f"1,000 partitions of 3 replicas at rest, a broker: {' '.join(shares)} % of a core, "
          f"RSS {' '.join(memory)} MB", flush=True)
    for how in (signal.SIGTERM, signal.SIGKILL):
        for node in NODES:
            cluster.end(node, how)
        cluster.wait(*NODES)
        began = time.monotonic()
        cluster.start(*NODES)
        cluster.wait_led("thousand", 1000)
        print(f"cold start of all three after {how.name}, until all 1,000 have a leader: "
              f"{time.monotonic() - began:.2f} s", flush=True)
    cluster.remove()


print(f"machine: {os.cpu_count()} cores, {os.uname().release}, load {os.getloadavg()[0]:.1f}")
failover()
thousand()
