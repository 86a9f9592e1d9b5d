"""The scenarios of consumer groups; README.md says what each demands."""

from collections.abc import Callable
from functools import partial

from driver import planted
from driver.group import Group, rebalanced
from driver.members import CLIENTS, SESSION_MS_MIN
from driver.suite_run import run_suite
from driver.suites import group_suites
from driver.table import Table

STATIC = [name for name, client in CLIENTS.items() if client.can_be_static]
FENCED = [name for name, client in CLIENTS.items() if client.can_be_fenced]


def mixed(table: Table, address: str) -> None:
    with Group("mixed", table, address, partitions=14) as group:
        with group.step("first-join"):
            group.make_topic(rate=200)
            group.produce()
            # These two are to miss their sessions.
            group.start("java", session_ms=SESSION_MS_MIN)
            group.start("franz-go", session_ms=SESSION_MS_MIN)
            group.start("aiokafka")
            group.start("sarama")
            group.settled()
        with group.step("everyone-joins"):
            for client in CLIENTS.keys() - group.members.keys():
                group.start(client)
            group.settled()
        with group.step("leave"):
            group.stop("sarama", "aiokafka")
            group.settled()
        with group.step("kill-and-pause"):
            [killed, paused] = group.forget("franz-go", "java")
            killed.kill()
            paused.pause()
            group.settled()
        with group.step("continue-after-session"):
            paused.resume()
            group.members[paused.name] = paused
            group.settled()
        with group.step("join-again"):
            for client in ["franz-go", "sarama", "aiokafka"]:
                group.start(client, f"{client}-again")
            group.settled()
        with group.step("drain"):
            ends = group.drain()
            group.stop(*group.members)
        group.check(ends)


def resume(table: Table, address: str) -> None:
    """Clean stops leave nothing to read twice, whichever client goes on."""
    first = ["java", "sarama", "kafkajs", "aiokafka"]
    second = [client for client in CLIENTS if client not in first]
    with Group("resume", table, address, partitions=9) as group:
        with group.step("first-members"):
            group.make_topic(rate=100)
            for client in first:
                group.start(client)
            group.settled()
            group.produce()
            group.wait_processed(200)
            group.stop(*first)
        with group.step("other-members"):
            for client in second:
                group.start(client)
            group.settled()
            group.wait_processed(600)
        with group.step("drain"):
            ends = group.drain()
            group.stop(*second)
        group.check(ends, exactly_once=True)


def static(table: Table, address: str) -> None:
    with Group("static", table, address, partitions=14) as group:
        witness = "kafkajs"
        with group.step("join"):
            group.make_topic(rate=100)
            group.produce()
            group.start(witness)
            for client in STATIC:
                group.start(client, instance=client)
            group.settled()
        mark, joined = group.history.mark(), set(group.members)
        for client in STATIC:
            with group.step(f"restart-{client}"):
                before = group.history.owned(client)
                [old] = group.forget(client)
                old.kill()
                group.start(client, f"{client}-restarted", instance=client)
                group.settled()
                after = group.history.owned(f"{client}-restarted")
                assert before == after, f"owned {before} before, {after} after"
                rebalance = rebalanced(group.history.since(mark), joined)
                assert rebalance is None, f"a rebalance: {rebalance}"
        with group.step("fence"):
            mark = group.history.mark()
            fenced = group.forget(*(f"{client}-restarted" for client in FENCED))
            for client in FENCED:
                # It goes on until its next heartbeat, as one that is paused does once it continues.
                group.history.tell(f"{client}-restarted", "replaced")
                group.start(client, f"{client}-twin", instance=client)
            for member in fenced:
                group.wait_event(member, "fenced", mark)
                member.wait()
            group.settled()
        with group.step("drain"):
            ends = group.drain()
            # The dynamic one last: a rebalance would wait for the static ones, which do not leave.
            group.stop(*(group.members.keys() - {witness}))
            group.stop(witness)
        group.check(ends)


def consumer(table: Table, address: str) -> None:
    """The consumer protocol (KIP-848), then classic members in it and without it."""
    with Group("consumer", table, address, partitions=6) as group:
        start = partial(group.start, protocol="consumer")
        with group.step("join"):
            group.make_topic(rate=100)
            group.produce()
            start("java")
            start("librdkafka")
            start("thalweg")
            group.settled()
            group.wait_state("stable consumer")
        with group.step("leave-and-join"):
            group.stop("librdkafka")
            group.settled()
            start("confluent-kafka")
            group.settled()
        with group.step("classic-members-join"):
            group.start("java", "java-classic")
            group.start("franz-go")
            group.settled()
            group.wait_state("stable consumer")
        with group.step("downgrade"):
            group.stop("java", "confluent-kafka", "thalweg")
            group.settled()
            group.wait_state("stable classic")
        with group.step("upgrade"):
            start("librdkafka", "librdkafka-again")
            group.settled()
            group.wait_state("stable consumer")
        with group.step("drain"):
            ends = group.drain()
            group.stop(*group.members)
        group.check(ends)


def admin(protocol: str, table: Table, address: str) -> None:
    for suite in group_suites(protocol):
        run_suite(suite, table, address)


SCENARIOS: dict[str, Callable[[Table, str], None]] = {
    "checks": planted.checks,
    "mixed": mixed,
    "resume": resume,
    "static": static,
    "consumer": consumer,
    "admin-classic": partial(admin, "classic"),
    "admin-consumer": partial(admin, "consumer"),
}
