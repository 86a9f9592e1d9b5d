"""Starts a broker on free loopback ports, waits until it serves, and ends it by its own id."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from driver.suites import CACHE, HERE

READY_DEADLINE_S = 30
STOP_DEADLINE_S = 30


class BrokerFailed(Exception):
    """The broker did not start, did not stay, or did not stop; says which."""


class Broker:
    def __init__(self, command: list[str], data: Path, address: str, readiness: str | None) -> None:
        self.address = address
        self.data = data
        self.log = data / "broker.log"
        self.readiness = readiness
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "INTEROP_CACHE": str(CACHE)},
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_DEADLINE_S
        while not self._is_ready():
            self.require_running()
            if time.monotonic() > deadline:
                raise BrokerFailed(f"not ready after {READY_DEADLINE_S} s{self._log_end()}")
            time.sleep(0.01)

    def _is_ready(self) -> bool:
        """Readiness as the broker itself reports it, or an open port where it has no report."""
        if self.readiness is not None:
            try:
                with urllib.request.urlopen(self.readiness, timeout=5) as answer:
                    return answer.status == 200
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    return False
            except OSError:
                return False
        host, port = self.address.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError:
            return False
        return True

    def require_running(self) -> None:
        code = self.process.poll()
        if code is not None:
            raise BrokerFailed(f"the broker exited with {code}{self._log_end()}")

    def stop(self) -> None:
        """Asks the broker to stop; one that does not is killed and reported."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BrokerFailed(f"did not stop within {STOP_DEADLINE_S} s{self._log_end()}") from None

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def remove_data(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)

    def _log_end(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-30:]
        return "; its last words:\n" + "\n".join(lines) if lines else ""


def start_thalweg(binary: str) -> Broker:
    data = _data_directory()
    listen, admin = (f"127.0.0.1:{port}" for port in _free_ports(2))
    command = [str(Path(binary).resolve()), "serve", "--data-dir", str(data / "data")]
    command += ["--listen", listen, "--admin-listen", admin]
    return Broker(command, data, listen, f"http://{admin}/readyz")


def start_kafka() -> Broker:
    data = _data_directory()
    [port] = _free_ports(1, span=2)
    command = [str(HERE / "kafka" / "run-kafka.sh"), str(data / "data"), str(port)]
    return Broker(command, data, f"127.0.0.1:{port}", readiness=None)


def _data_directory() -> Path:
    return Path(tempfile.mkdtemp(prefix="interop-"))


def _free_ports(count: int, span: int = 1) -> list[int]:
    """Ports nobody listens on now, each the first of `span` such ports in a row."""
    found: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(found) < count:
            first = _bind(0)
            held.append(first)
            port = first.getsockname()[1]
            try:
                held.extend(_bind(port + step) for step in range(1, span))
            except OSError:
                continue
            found.append(port)
    finally:
        for each in held:
            each.close()
    return found


def _bind(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound
