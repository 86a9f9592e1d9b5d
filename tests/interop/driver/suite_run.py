"""Runs one suite: a program that prints "ok STEP" and "FAIL STEP: REASON" lines."""

import os
import subprocess
import threading
import time

from driver.suites import CACHE, Suite
from driver.table import Table

# A suite takes seconds; one that takes this long hangs.
SUITE_DEADLINE_S = 180


def run_suite(suite: Suite, table: Table, address: str) -> None:
    table.restart_clock()
    errors = CACHE / f"suite-{suite.name}.log"
    failures, steps = len(table.failures), table.passed
    environment = {
        **os.environ,
        **suite.environment,
        "BOOTSTRAP": address,
        "INTEROP_RUN": f"{int(time.time())}-{os.getpid()}",
    }
    try:
        with errors.open("w") as log:
            process = subprocess.Popen(
                suite.command, env=environment, text=True, errors="replace",
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            )
    except OSError as error:
        table.row(suite.name, "start", str(error))
        return
    hung = threading.Event()
    alarm = threading.Timer(SUITE_DEADLINE_S, lambda: (hung.set(), process.kill()))
    alarm.start()
    for line in process.stdout:
        report(table, suite, line.rstrip("\n"))
    code = process.wait()
    alarm.cancel()
    if hung.is_set():
        table.row(suite.name, "exit", f"killed after {SUITE_DEADLINE_S} s, more in {errors}")
    elif len(table.failures) > failures:
        print(f"    more in {errors}", flush=True)
    elif code != 0:
        last = errors.read_text(errors="replace").strip().splitlines()[-1:]
        table.row(suite.name, "exit", f"status {code} ({' '.join(last)}), more in {errors}")
    elif table.passed == steps:
        table.row(suite.name, "exit", "the suite ran no step")


def report(table: Table, suite: Suite, line: str) -> None:
    """Turns a suite's "ok STEP" and "FAIL STEP: REASON" lines into rows."""
    verdict, _, rest = line.partition(" ")
    if verdict == "ok":
        table.row(suite.name, rest)
    elif verdict == "FAIL":
        step, _, reason = rest.partition(": ")
        table.row(suite.name, step, reason or "no reason given")
    else:
        print(f"    {line}", flush=True)
