"""What a group's member is told and what it prints, in the form tests/interop/groups reads."""

import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

HEARTBEAT_MS = 500
REBALANCE_TIMEOUT_MS = 30_000
BATCH_MAX = 50


@dataclass(frozen=True)
class Args:
    bootstrap: str
    group: str
    topic: str
    name: str
    protocol: str
    session_ms: int
    # None for a dynamic member.
    instance: str | None


def parse_args() -> Args:
    bootstrap, group, topic, name, protocol, session_ms, *instance = sys.argv[1:]
    return Args(bootstrap, group, topic, name, protocol, int(session_ms), *(instance or [None]))


class Events:
    """Prints events, and knows from them what this member owns."""

    def __init__(self) -> None:
        self.owned: set[int] = set()
        self._printing = threading.Lock()

    def assigned(self, partitions: Iterable[int]) -> None:
        self._ownership("assigned", self.owned.update, partitions)

    def revoked(self, partitions: Iterable[int]) -> None:
        self._ownership("revoked", self.owned.difference_update, partitions)

    def lost(self, partitions: Iterable[int]) -> None:
        self._ownership("lost", self.owned.difference_update, partitions)

    def _ownership(self, event: str, change, partitions: Iterable[int]) -> None:
        partitions = sorted(partitions)
        change(partitions)
        self.print(event, ",".join(map(str, partitions)))

    def print(self, *words: object) -> None:
        with self._printing:
            print(time.time_ns() // 1000, *words, flush=True)


def stop_requested() -> threading.Event:
    """Set at the line "stop", or when whoever started this process is gone."""
    requested = threading.Event()

    def listen() -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                break
        requested.set()

    threading.Thread(target=listen, daemon=True).start()
    return requested
