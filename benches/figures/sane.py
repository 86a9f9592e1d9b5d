#!/usr/bin/env python3
"""Runs `thalweg bench` against a broker for a moment and checks that what it prints makes sense.

    benches/figures/sane.py target/release/thalweg

Nothing here depends on how fast the machine is: records must add up, and percentiles must rise.
"""

import json
import subprocess
import sys
import tempfile

BINARY = sys.argv[1]


def bench(brokers: str, *arguments: str) -> dict:
    command = [BINARY, "bench", *arguments, "--json", "-b", brokers]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(" ".join(command[1:-3]), json.dumps(json.loads(said)), flush=True)
    return json.loads(said)


def expect_sane_rate(figures: dict, records: int) -> None:
    assert figures["records"] == records, figures
    assert figures["seconds"] > 0 and figures["records_per_second"] > 0, figures
    close = figures["records_per_second"] * figures["seconds"] / records
    assert 0.999 < close < 1.001, figures


def expect_sane_latency(latency: dict) -> None:
    values = [latency[key] for key in ("p50", "p90", "p99", "p999", "max")]
    assert 0 < values[0] and values == sorted(values), latency
    assert 0 < latency["mean"] <= latency["max"], latency


def check(brokers: str) -> None:
    several = ["--connections", "4", "--in-flight", "1", "-p", "20", "--round-robin"]
    written = bench(brokers, "produce", "sane", "--records", "2k", *several)
    expect_sane_rate(written, 2000)
    expect_sane_latency(written["latency_ms"])
    paced = bench(brokers, "produce", "sane", "--records", "500", "--rate", "1k")
    expect_sane_rate(paced, 500)
    assert paced["seconds"] >= 0.499, "records were written before they were due"
    expect_sane_latency(paced["latency_ms"])
    expect_sane_rate(bench(brokers, "consume", "sane", "--connections", "4"), 2500)
    caught_up = bench(brokers, "catch-up", "sane", "--backlog", "1MiB", "--alone", "200ms")
    assert caught_up["read"]["records"] >= 2500 + 1024, caught_up
    expect_sane_latency(caught_up["latency_ms_alone"])
    expect_sane_latency(caught_up["latency_ms_beside"])


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="thalweg-sane-") as directory:
        command = [BINARY, "serve", "-o", "json", "--listen", "127.0.0.1:0"]
        command += ["--admin-listen", "off", "--data-dir", directory + "/data"]
        broker = subprocess.Popen(command, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True)
        try:
            check(json.loads(broker.stdout.readline())["clients"])
        finally:
            broker.kill()
            broker.wait()


main()
