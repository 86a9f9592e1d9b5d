"""Histories with a planted fault, each of which the judges of `history` must find.

A judge that finds nothing in a good run proves nothing until it has found something in a bad one.
"""

from driver import history
from driver.history import Event
from driver.table import Table


def _events(*lines: str) -> list[Event]:
    """From lines such as "10 a assigned 0,1"."""
    found = []
    for line in lines:
        micros, member, words = line.split(" ", 2)
        if words in ("killed", "paused", "continued", "ended"):
            found.append(Event(int(micros), member, words, ()))
        else:
            found.append(Event.parse(member, f"{micros} {words}"))
    return found


GOOD = _events(
    "1 a assigned 0,1",
    "2 a record 0 0",
    "3 a record 0 1",
    "4 a committed 0 2",
    "5 a revoked 0,1",
    "6 b assigned 0",
    "6 a assigned 1",
    "7 b record 0 2",
    "8 a paused",
    "9 b assigned 1",
    "10 a continued",
    "11 a lost 1",
)
GOOD_ENDS = {0: 3, 1: 0}
GOOD_COMMITS = [(5, 0, 2), (9, 0, 3)]

# Each must be found in the history given with it.
FAULTS = {
    "lost-record": lambda: history.every_record_processed(GOOD, {0: 4}),
    "doubled-record": lambda: history.no_record_twice([*GOOD, *_events("12 b record 0 1")]),
    "told-commit-too-early": lambda: history.nothing_skipped(
        _events("1 a record 0 0", "2 a committed 0 2", "3 a record 0 1"), []
    ),
    "commit-too-early": lambda: history.nothing_skipped(GOOD, [(6, 0, 3)]),
    "commit-beyond-the-end": lambda: history.nothing_skipped(GOOD, [(20, 0, 4)]),
    "commit-back": lambda: history.commits_never_go_back([(1, 0, 5), (2, 1, 1), (3, 0, 4)]),
    "two-owners": lambda: history.one_owner_at_a_time(
        _events("1 a assigned 0", "2 b assigned 0", "3 a revoked 0")
    ),
    "owner-for-ever": lambda: history.one_owner_at_a_time(_events("1 a assigned 0", "2 b assigned 0")),
}


def checks(table: Table, _address: str) -> None:
    for fault, judge in FAULTS.items():
        try:
            judge()
        except AssertionError:
            table.row("checks", fault)
        else:
            table.row("checks", fault, "the planted fault is not found")
    try:
        history.every_record_processed(GOOD, GOOD_ENDS)
        history.no_record_twice(GOOD)
        history.nothing_skipped(GOOD, GOOD_COMMITS)
        history.commits_never_go_back(GOOD_COMMITS)
        history.one_owner_at_a_time(GOOD)
        table.row("checks", "no-fault")
    except AssertionError as error:
        table.row("checks", "no-fault", str(error))
