"""Prints a row for each step as it ends, and what failed once more at the end."""

import time


class Table:
    def __init__(self) -> None:
        self.passed = 0
        self.failures: list[str] = []
        self._mark = time.monotonic()
        print(f"{'suite':<18} {'step':<30} {'ok':<5} {'seconds':>7}", flush=True)

    def restart_clock(self) -> None:
        """The next row's seconds count from here."""
        self._mark = time.monotonic()

    def row(
        self, suite: str, step: str, reason: str | None = None, seconds: float | None = None
    ) -> None:
        """A step that passed, or failed for a reason; it took the time since the row before."""
        now = time.monotonic()
        if seconds is None:
            seconds = now - self._mark
        self._mark = now
        verdict = "ok" if reason is None else "FAIL"
        print(f"{suite:<18} {step:<30} {verdict:<5} {seconds:>7.2f}", flush=True)
        if reason is None:
            self.passed += 1
        else:
            self.failures.append(f"{suite} {step}: {reason}")
            print(f"    {reason}", flush=True)

    def close(self) -> bool:
        """Prints the summary; true when nothing failed and something was tried."""
        if self.failures:
            print("\nfailed:")
            for failure in self.failures:
                print(f"  {failure.splitlines()[0]}")
        print(f"\n{self.passed} passed, {len(self.failures)} failed", flush=True)
        return self.passed > 0 and not self.failures
