"""One run against one broker: its options, what it installs, the broker's start and end.

`run` and `groups` are two such runs; they differ in what they do with the broker's address.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from driver.broker import Broker, BrokerFailed, start_kafka, start_thalweg
from driver.suites import InstallFailed, install
from driver.table import Table


def parse_options(doc: str, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("thalweg", nargs="?", help="path of the thalweg binary to test")
    parser.add_argument("--kafka", action="store_true", help="start and test Apache Kafka")
    parser.add_argument("--install", action="store_true", help="install what is needed, and stop")
    parser.add_argument("--only", action="append", choices=names, help=f"one of: {', '.join(names)}")
    options = parser.parse_args()
    brokers = [options.thalweg, options.kafka, os.environ.get("BOOTSTRAP")]
    if not options.install and sum(map(bool, brokers)) != 1:
        parser.error("give one of: a thalweg binary, --kafka, or BOOTSTRAP in the environment")
    return options


def run_parts(
    options: argparse.Namespace, packages: Iterable[str], parts: list[Callable[[Table, str], None]]
) -> int:
    """Runs each part with the table and the broker's address; the status to exit with."""
    # Whoever is told to stop ends what it has started, as it does at Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    table = Table()
    _install_all(table, [*(["kafka"] if options.kafka else []), *packages])
    if options.install:
        return 0 if table.close() else 1
    broker = None
    try:
        broker = _open_broker(options, table)
        address = broker.address if broker else os.environ["BOOTSTRAP"]
        for part in parts:
            part(table, address)
            if broker:
                broker.require_running()
    except BrokerFailed as failure:
        table.row("broker", "serve", str(failure))
    finally:
        if broker:
            _close_broker(table, broker)
    return 0 if table.close() else 1


def _install_all(table: Table, packages: list[str]) -> None:
    """Installs everything at once: the installers wait for different things."""

    def outcome(package: str) -> tuple[str | None, float]:
        start = time.monotonic()
        reason = None
        try:
            install(package)
        except InstallFailed as failure:
            reason = str(failure)
        return reason, time.monotonic() - start

    packages = list(dict.fromkeys(packages))
    with ThreadPoolExecutor() as pool:
        for package, (reason, seconds) in zip(packages, pool.map(outcome, packages)):
            table.row(package, "install", reason, seconds)
    table.restart_clock()


def _open_broker(options: argparse.Namespace, table: Table) -> Broker | None:
    if options.thalweg is None and not options.kafka:
        return None
    broker = start_kafka() if options.kafka else start_thalweg(options.thalweg)
    try:
        broker.wait_ready()
    except BaseException:
        broker.kill()
        _print_kept(broker)
        raise
    table.row("broker", "start")
    return broker


def _close_broker(table: Table, broker: Broker) -> None:
    table.restart_clock()
    try:
        broker.stop()
        table.row("broker", "stop")
    except BrokerFailed as failure:
        table.row("broker", "stop", str(failure))
    if table.failures:
        _print_kept(broker)
    else:
        broker.remove_data()


def _print_kept(broker: Broker) -> None:
    print(f"the broker's data and log are kept in {broker.data}", flush=True)
