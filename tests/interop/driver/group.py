"""One group under test: its topic and producer, its members, its history, and the states to wait for."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driver import history
from driver.history import Event, History
from driver.members import CLIENTS, Member
from driver.suites import CACHE, GO, HERE, VENV
from driver.table import Table

READY_DEADLINE_S = 30


class ScenarioFailed(Exception):
    """A step failed, and the ones after it would only say so again. Its row is written."""


class Group:
    """A context: whatever way a scenario ends, its processes end with it."""

    def __init__(self, scenario: str, table: Table, address: str, partitions: int) -> None:
        self.name = f"groups-{scenario}-{int(time.time())}-{os.getpid()}"
        self.partitions = set(range(partitions))
        self.history = History()
        # The members that must own something when the group is settled.
        self.members: dict[str, Member] = {}
        self.states: list[str] = []
        self._scenario = scenario
        self._table = table
        self._address = address
        self._all: list[Member] = []
        self._programs: list[subprocess.Popen] = []
        self._producer: subprocess.Popen | None = None

    def __enter__(self) -> "Group":
        self._table.restart_clock()
        return self

    def __exit__(self, kind, _error, _trace) -> bool:
        for member in self._all:
            member.destroy()
        for program in self._programs:
            if program.poll() is None:
                program.kill()
                program.wait()
        self.history.write(CACHE / f"history-{self._scenario}.log")
        return kind is ScenarioFailed

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        try:
            yield
        except (AssertionError, OSError) as error:
            self._table.row(self._scenario, name, str(error) or type(error).__name__)
            raise ScenarioFailed(name) from error
        self._table.row(self._scenario, name)

    def start(self, client: str, name: str | None = None, **options: object) -> Member:
        """Starts a member that counts as one from now on."""
        where = (self._address, self.name, self.name)
        member = Member(self.history, CLIENTS[client], where, name or client, **options)
        self._all.append(member)
        self.members[member.name] = member
        return member

    def forget(self, *names: str) -> list[Member]:
        """These no longer count, whatever becomes of them."""
        return [self.members.pop(name) for name in names]

    def stop(self, *names: str) -> None:
        """Lets members leave, all at once, and waits until they have."""
        leaving = self.forget(*names)
        for member in leaving:
            member.ask_to_stop()
        for member in leaving:
            member.wait()

    def settled(self) -> None:
        """Waits until the members own all partitions, each at least one and none in common."""
        self.history.wait(self._unsettled, self._require_running)

    def _unsettled(self) -> str | None:
        owned = {name: self.history.owned(name) for name in self.members}
        told = ", ".join(f"{name} {sorted(partitions)}" for name, partitions in owned.items())
        shared = sum(map(len, owned.values())) != len(self.partitions)
        if shared or set().union(*owned.values()) != self.partitions:
            return f"all partitions are owned once: {told}"
        return None if all(owned.values()) else f"every member owns a partition: {told}"

    def _require_running(self) -> None:
        for member in self.members.values():
            member.require_running()

    def wait_event(self, member: Member, kind: str, mark: int) -> None:
        def missing() -> str | None:
            events = self.history.since(mark)
            found = any(event.member == member.name and event.kind == kind for event in events)
            return None if found else f"{member.name} tells {kind}"

        self.history.wait(missing)

    def wait_processed(self, count: int, mark: int = 0) -> None:
        def few() -> str | None:
            done = sum(event.kind == "record" for event in self.history.since(mark))
            return None if done >= count else f"{count} records are processed (now {done})"

        self.history.wait(few, self._require_running)

    def wait_state(self, wanted: str) -> None:
        """Waits for a state and type as an administrator sees them, such as "stable classic"."""
        self.history.wait(
            lambda: None if self.states[-1:] == [wanted] else f"the group is {wanted} ({self.states[-1:]})"
        )

    def make_topic(self, rate: int) -> None:
        """Makes the topic, for `rate` records a second, and watches the group from now on."""
        words = [self.name, str(len(self.partitions)), str(rate)]
        producer = [str(VENV / "bin" / "python"), str(HERE / "python" / "group_producer.py")]
        self._producer = self._program("producer", producer, *words)
        ready = threading.Timer(READY_DEADLINE_S, self._producer.kill)
        ready.start()
        line = self._producer.stdout.readline()
        ready.cancel()
        assert line == "ready\n", f"the producer says {line!r}, more in {self._log('producer')}"
        observer = self._program("observer", [str(GO / "group-observer")], self.name)
        threading.Thread(target=self._read_observer, args=[observer], daemon=True).start()

    def produce(self) -> None:
        """Keeps writing until `drain`."""
        self._producer.stdin.write("go\n")
        self._producer.stdin.flush()

    def drain(self) -> dict[int, int]:
        """Ends the producer, and waits until the group has committed all; the partitions' ends."""
        self._producer.stdin.close()
        kind, _, words = self._producer.stdout.readline().strip().partition(" ")
        assert kind == "ends", f"the producer failed, more in {self._log('producer')}"
        ends = dict(enumerate(map(int, words.split(","))))

        def uncommitted() -> str | None:
            committed = {partition: offset for _, partition, offset in self.history.broker_commits}
            left = {p: (committed.get(p), end) for p, end in ends.items() if committed.get(p) != end}
            return f"all is committed: {left}" if left else None

        self.history.wait(uncommitted, self._require_running)
        return ends

    def check(self, ends: dict[int, int], exactly_once: bool = False) -> None:
        """Judges the whole history; call it when all members have ended."""
        events, commits = self.history.since(0), self.history.broker_commits
        with self.step("every-record-processed"):
            history.every_record_processed(events, ends)
        if exactly_once:
            with self.step("no-record-twice"):
                history.no_record_twice(events)
        with self.step("nothing-skipped"):
            history.nothing_skipped(events, commits)
        with self.step("commits-never-go-back"):
            history.commits_never_go_back(commits)
        with self.step("one-owner-at-a-time"):
            history.one_owner_at_a_time(events)

    def _program(self, role: str, command: list[str], *words: str) -> subprocess.Popen:
        with self._log(role).open("w") as log:
            program = subprocess.Popen(
                [*command, self._address, *words],
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._programs.append(program)
        return program

    def _log(self, role: str) -> Path:
        return CACHE / f"{role}-{self._scenario}.log"

    def _read_observer(self, observer: subprocess.Popen) -> None:
        for line in observer.stdout:
            micros, kind, *words = line.split()
            if kind == "offset":
                self.history.add_broker_commit(int(micros), *map(int, words))
            else:
                self.states.append(" ".join(words))


def rebalanced(events: list[Event], old: set[str]) -> str | None:
    """The first change of ownership, but for what a member is given first that is not an old one."""
    known = set(old)
    for event in events:
        if event.kind in ("assigned", "revoked", "lost") and event.numbers:
            if event.kind != "assigned" or event.member in known:
                return f"{event.member} {event.kind} {event.numbers}"
            known.add(event.member)
    return None
