"""Reports one line for each step, in the form tests/interop/run reads."""

import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# A broker that is slower than this at anything we ask has failed.
DEADLINE_S = 15


def bootstrap() -> str:
    return os.environ["BOOTSTRAP"]


def topic(client: str) -> str:
    return f"interop-{client}-{os.environ.get('INTEROP_RUN', os.getpid())}"


class Steps:
    def __init__(self) -> None:
        self.failed = False

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step that fails is reported and the next one still runs: one run shows all faults."""
        try:
            yield
            print(f"ok {name}", flush=True)
        except Exception as error:  # Whatever went wrong is this step's result.
            self.failed = True
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"FAIL {name}: {reason[:500]}", flush=True)
            traceback.print_exc(limit=3)

    def exit(self) -> None:
        sys.exit(1 if self.failed else 0)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Waits for a state that a broker reaches on its own, such as a deleted topic being gone."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"not so after {DEADLINE_S} s: {what}"
        time.sleep(0.05)
