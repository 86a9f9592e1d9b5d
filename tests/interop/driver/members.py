"""The member programs, and the processes they run as.

A member is started, told to stop by a line on its standard input, killed, paused and continued. A
thread reads the events it prints into the scenario's history.
"""

import signal
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

from driver.history import Event, History
from driver.suites import CACHE, GO, HERE, JAVA_COMMAND, LIBRDKAFKA, NODE, TARGET, VENV

# Longer than any pause in the scheduling of a busy machine.
SESSION_MS = 20_000
# The least that a broker must accept; members are let to miss it.
SESSION_MS_MIN = 6_000
EXIT_DEADLINE_S = 20


@dataclass(frozen=True)
class Client:
    name: str
    package: str
    command: list[str]
    protocols: tuple[str, ...] = ("classic",)
    can_be_static: bool = True
    # Tells its application that another process has its instance id.
    can_be_fenced: bool = True
    environment: dict[str, str] = field(default_factory=dict)


def _python(file: str) -> list[str]:
    return [str(VENV / "bin" / "python"), str(HERE / "python" / file)]


BOTH_PROTOCOLS = ("classic", "consumer")
CLIENTS = {
    client.name: client
    for client in [
        Client("java", "java", [*JAVA_COMMAND, "Member"], BOTH_PROTOCOLS),
        Client(
            "thalweg",
            "thalweg",
            [str(TARGET / "debug" / "examples" / "group_member")],
            BOTH_PROTOCOLS,
        ),
        Client("librdkafka", "librdkafka", [str(LIBRDKAFKA / "debug" / "member")], BOTH_PROTOCOLS),
        Client("confluent-kafka", "python", _python("confluent_kafka_member.py"), BOTH_PROTOCOLS),
        Client("franz-go", "go", [str(GO / "franz-member")]),
        Client("sarama", "go", [str(GO / "sarama-member")]),
        Client("kafka-python", "python", _python("kafka_python_member.py")),
        # Its heartbeats carry no instance id, so that it only learns that its member id is unknown.
        Client("aiokafka", "python", _python("aiokafka_member.py"), can_be_fenced=False),
        Client(
            "kafkajs",
            "kafkajs",
            ["node", str(HERE / "kafkajs" / "member.js")],
            can_be_static=False,
            can_be_fenced=False,
            environment=NODE,
        ),
    ]
}


class Member:
    """One process in a group; `name` tells it from others of the same client."""

    def __init__(
        self,
        history: History,
        client: Client,
        where: tuple[str, str, str],
        name: str,
        protocol: str = "classic",
        session_ms: int = SESSION_MS,
        instance: str | None = None,
    ) -> None:
        assert protocol in client.protocols, f"{client.name} does not speak {protocol}"
        assert instance is None or client.can_be_static, f"{client.name} has no static members"
        self.name = name
        self.protocol = protocol
        self._history = history
        self.errors = CACHE / f"member-{name}.log"
        words = [*client.command, *where, name, protocol, str(session_ms), *([instance] if instance else [])]
        with self.errors.open("w") as log:
            self.process = subprocess.Popen(
                words,
                env={**history.environment, **client.environment},
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            event = Event.parse(self.name, line)
            if event is None:
                print(f"    {self.name}: {line.rstrip()}", flush=True)
            else:
                self._history.add(event)
        self._history.tell(self.name, "ended")

    def ask_to_stop(self) -> None:
        try:
            self.process.stdin.write("stop\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended already; `wait` tells how.

    def wait(self) -> None:
        """Waits until the member has left and ended well."""
        try:
            code = self.process.wait(EXIT_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.destroy()
            what = f"{self.name} did not stop in {EXIT_DEADLINE_S} s{self._last_words()}"
            raise AssertionError(what) from None
        self._reader.join()
        assert code == 0, f"{self.name} exited with {code}{self._last_words()}"

    def require_running(self) -> None:
        code = self.process.poll()
        assert code is None, f"{self.name} exited with {code}{self._last_words()}"

    def kill(self) -> None:
        """Ends the process without a word to the broker."""
        self._history.tell(self.name, "killed")
        self.process.kill()
        self.process.wait()
        self._reader.join()

    def pause(self) -> None:
        self._history.tell(self.name, "paused")
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self._history.tell(self.name, "continued")

    def destroy(self) -> None:
        """For the end of a scenario that failed; a paused process dies of it as well."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _last_words(self) -> str:
        lines = Path(self.errors).read_text(errors="replace").strip().splitlines()[-3:]
        return f", more in {self.errors}: {' / '.join(lines)}" if lines else ""
