"""What the members of one group did, as they told it, and what must be true of it.

Members stamp their events with the machine's clock, in microseconds. An event is printed before its
effect can be seen elsewhere ("revoked" before the partitions are given up) or after its cause is over
("committed" after the broker's answer), so the order of the stamps is the order that matters.
"""

import bisect
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

STATE_DEADLINE_S = 45
# What the driver did to a member, or saw of it, after which it may own what it cannot know it has lost.
OWNERSHIP_ENDS = ("killed", "ended", "paused", "replaced")


@dataclass(frozen=True)
class Event:
    micros: int
    member: str
    kind: str
    # Partitions of "assigned", "revoked", "lost"; partition and offset of "record", "committed".
    numbers: tuple[int, ...]
    reason: str = ""

    @staticmethod
    def parse(member: str, line: str) -> "Event | None":
        micros, _, rest = line.strip().partition(" ")
        kind, _, words = rest.partition(" ")
        if not micros.isdigit():
            return None
        try:
            if kind in ("assigned", "revoked", "lost"):
                return Event(int(micros), member, kind, tuple(int(word) for word in words.split(",") if word))
            if kind in ("record", "committed"):
                partition, offset = words.split()
                return Event(int(micros), member, kind, (int(partition), int(offset)))
        except ValueError:
            return None
        return Event(int(micros), member, kind, (), words) if kind in ("refused", "fenced") else None


@dataclass(frozen=True)
class Ownership:
    partition: int
    member: str
    start: int
    end: int | float


class History:
    """All events of one group; threads add to it, the scenario waits for states and judges."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        self.events: list[Event] = []
        # (micros, partition, offset), as the broker answered it.
        self.broker_commits: list[tuple[int, int, int]] = []
        self._changed = threading.Condition()
        self._owned: dict[str, set[int]] = defaultdict(set)

    def add(self, event: Event) -> None:
        with self._changed:
            self.events.append(event)
            owned = self._owned[event.member]
            if event.kind == "assigned":
                owned.update(event.numbers)
            elif event.kind in ("revoked", "lost"):
                owned.difference_update(event.numbers)
            elif event.kind in OWNERSHIP_ENDS:
                owned.clear()
            self._changed.notify_all()

    def tell(self, member: str, kind: str) -> None:
        """Adds what the driver does to a member, before it does it."""
        self.add(Event(now_micros(), member, kind, ()))

    def write(self, path: Path) -> None:
        with self._changed, path.open("w") as file:
            for event in sorted(self.events, key=lambda each: each.micros):
                numbers = ",".join(map(str, event.numbers))
                file.write(f"{event.micros} {event.member} {event.kind} {numbers}{event.reason}\n")

    def add_broker_commit(self, micros: int, partition: int, offset: int) -> None:
        with self._changed:
            self.broker_commits.append((micros, partition, offset))
            self._changed.notify_all()

    def owned(self, member: str) -> set[int]:
        with self._changed:
            return set(self._owned[member])

    def mark(self) -> int:
        """A place in the history, for `since`."""
        with self._changed:
            return len(self.events)

    def since(self, mark: int) -> list[Event]:
        with self._changed:
            return self.events[mark:]

    def wait(self, what: Callable[[], str | None], alive: Callable[[], None] = lambda: None) -> None:
        """Waits until `what` has no complaint left; its last one is the failure."""
        deadline = time.monotonic() + STATE_DEADLINE_S
        with self._changed:
            while complaint := what():
                alive()
                assert time.monotonic() < deadline, f"not so after {STATE_DEADLINE_S} s: {complaint}"
                self._changed.wait(0.2)


def now_micros() -> int:
    return time.time_ns() // 1000


def every_record_processed(events: Iterable[Event], ends: dict[int, int]) -> None:
    seen = _first_processed(events)
    for partition, end in ends.items():
        missing = [offset for offset in range(end) if (partition, offset) not in seen]
        assert not missing, (
            f"partition {partition}: {len(missing)} of {end} never processed, first {missing[0]}"
        )


def no_record_twice(events: Iterable[Event]) -> None:
    seen: dict[tuple[int, ...], str] = {}
    for event in events:
        if event.kind == "record":
            before = seen.get(event.numbers)
            assert before is None, f"record {event.numbers}: by {before} and again by {event.member}"
            seen[event.numbers] = event.member


def nothing_skipped(events: Iterable[Event], commits: Iterable[tuple[int, int, int]]) -> None:
    """Whoever reads from a committed offset on misses nothing: all below it was processed before."""
    seen = _first_processed(events)
    told = [(event.micros, *event.numbers) for event in events if event.kind == "committed"]
    # For each offset of a partition, when all records below it had been processed.
    done: dict[int, list[float]] = defaultdict(lambda: [0])
    for micros, partition, offset in [*told, *commits]:
        times = done[partition]
        while len(times) <= offset:
            last = seen.get((partition, len(times) - 1), float("inf"))
            times.append(max(times[-1], last))
        unprocessed = bisect.bisect_right(times, micros, hi=offset + 1) - 1
        assert unprocessed == offset, (
            f"partition {partition}: {offset} committed before record {unprocessed} was processed"
        )


def commits_never_go_back(commits: Iterable[tuple[int, int, int]]) -> None:
    last: dict[int, int] = {}
    for _, partition, offset in commits:
        before = last.get(partition, offset)
        assert offset >= before, f"partition {partition}: committed {before}, then {offset}"
        last[partition] = offset


def one_owner_at_a_time(events: Iterable[Event]) -> None:
    by_partition: dict[int, list[Ownership]] = defaultdict(list)
    for ownership in ownerships(events):
        by_partition[ownership.partition].append(ownership)
    for partition, owners in by_partition.items():
        owners.sort(key=lambda each: each.start)
        for before, after in zip(owners, owners[1:]):
            assert before.end <= after.start, (
                f"partition {partition}: {after.member} owns it "
                f"{(before.end - after.start) / 1000:.1f} ms before {before.member} gives it up"
            )


def ownerships(events: Iterable[Event]) -> list[Ownership]:
    """Who owned what, and when."""
    found: list[Ownership] = []
    starts: dict[tuple[str, int], int] = {}

    def end(member: str, partition: int, micros: int) -> None:
        start = starts.pop((member, partition), None)
        if start is not None:
            found.append(Ownership(partition, member, start, micros))

    for event in sorted(events, key=lambda each: each.micros):
        if event.kind == "assigned":
            for partition in event.numbers:
                starts.setdefault((event.member, partition), event.micros)
        elif event.kind in ("revoked", "lost"):
            for partition in event.numbers:
                end(event.member, partition, event.micros)
        elif event.kind in OWNERSHIP_ENDS:
            for member, partition in [key for key in starts if key[0] == event.member]:
                end(member, partition, event.micros)
    found += [Ownership(p, member, start, float("inf")) for (member, p), start in starts.items()]
    return found


def _first_processed(events: Iterable[Event]) -> dict[tuple[int, ...], int]:
    seen: dict[tuple[int, ...], int] = {}
    for event in events:
        if event.kind == "record":
            seen[event.numbers] = min(event.micros, seen.get(event.numbers, event.micros))
    return seen
