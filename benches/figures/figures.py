#!/usr/bin/env python3
"""The figures of a broker at rest and at its start: `figures.py path/to/thalweg [GIGABYTES]`.

Prints one line a figure. Needs only Python, a release binary and disk space: GIGABYTES (default
10) are written into 100 partitions, then the broker is killed with -9 and started again.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from wire import Connection, batch

BINARY = sys.argv[1]
GIGABYTES = float(sys.argv[2]) if len(sys.argv) > 2 else 10
TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    def __init__(self, data: str, *flags: str):
        self.port, self.admin = free_port(), free_port()
        listen = ["--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{self.admin}"]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--data-dir", data, *listen, *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def connect(self) -> Connection:
        while True:
            try:
                return Connection(("127.0.0.1", self.port))
            except ConnectionRefusedError:
                assert self.process.poll() is None, "the broker ended"
                time.sleep(0.0005)

    def wait_ready(self) -> float:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz").close()
                return time.monotonic() - self.began
            except OSError:
                assert self.process.poll() is None, "the broker ended"
                time.sleep(0.002)

    def resident_mb(self) -> float:
        """Memory of its own: pages of mapped files belong to the page cache."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields["RssAnon"].split()[0]) / 1000

    def rss_mb(self) -> float:
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        return int(fields["VmRSS"].split()[0]) / 1000

    def cpu(self) -> tuple[float, float]:
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) / TICKS, int(fields[12]) / TICKS

    def end(self, how: int = signal.SIGTERM) -> None:
        self.process.send_signal(how)
        self.process.wait(60)


def data_dir() -> str:
    return tempfile.mkdtemp(prefix="thalweg-figures-")


def first_acknowledgement() -> None:
    times = []
    for _ in range(5):
        data = data_dir()
        broker = Broker(data)
        connection = broker.connect()
        connection.metadata("first")
        record = batch([b"first"])
        while connection.produce("first", 0, record):
            time.sleep(0.0005)
        times.append(time.monotonic() - broker.began)
        broker.end()
        shutil.rmtree(data)
    shown = " ".join(f"{seconds * 1000:.0f}" for seconds in sorted(times))
    print(f"start to first acknowledged record (acks=all, empty directory), ms: {shown}")


def idle() -> None:
    data = data_dir()
    broker = Broker(data)
    broker.wait_ready()
    time.sleep(3)
    print(f"idle RSS: {broker.rss_mb():.1f} MB ({broker.resident_mb():.1f} MB of it anonymous)")
    connection = broker.connect()
    began = time.monotonic()
    connection.create("thousand", 1000, {})
    print(f"creating 1,000 partitions: {time.monotonic() - began:.2f} s")
    time.sleep(3)
    before, began = broker.cpu(), time.monotonic()
    time.sleep(10)
    user, system = (after - start for after, start in zip(broker.cpu(), before))
    share = (user + system) / (time.monotonic() - began) * 100
    print(f"1,000 empty partitions: RSS {broker.rss_mb():.1f} MB, {share:.2f} % of a core at rest")
    broker.end()
    shutil.rmtree(data)


def restart() -> None:
    data = data_dir()
    broker = Broker(data)
    connection = broker.connect()
    connection.create("big", 100, {"write.caching": "true"})
    records = batch([os.urandom(1024)] * 900)
    count = int(GIGABYTES * 1e9 / len(records))
    before, began = broker.cpu(), time.monotonic()
    for number in range(count):
        code = connection.produce("big", number % 100, records)
        assert code == 0, f"error {code}"
    user, system = (after - start for after, start in zip(broker.cpu(), before))
    seconds = time.monotonic() - began
    print(
        f"writing {GIGABYTES:g} GB in requests of {len(records) / 1000:.0f} kB, one at a time: "
        f"{seconds:.0f} s, broker CPU per GB: {user / GIGABYTES:.2f} s user, "
        f"{system / GIGABYTES:.2f} s system"
    )
    broker.end(signal.SIGKILL)
    again = Broker(data)
    ready = again.wait_ready()
    connection = again.connect()
    assert connection.produce("big", 0, batch([b"after"])) == 0
    print(f"restart after kill -9 with {GIGABYTES:g} GB in 100 partitions: serving after {ready:.2f} s")
    again.end()
    shutil.rmtree(data)


print(f"machine: {os.cpu_count()} cores, {os.uname().release}")
first_acknowledgement()
idle()
restart()
