"""What administrators ask about a group of the protocol given, through confluent-kafka."""

import sys
import time

from confluent_kafka import (
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    ConsumerGroupType,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from steps import DEADLINE_S, Steps, bootstrap, topic

PARTITIONS = range(3)
RECORDS_EACH = 10


class GroupAdmin:
    """The steps, for one group; its topic has its name."""

    def __init__(self, steps: Steps, admin: AdminClient, protocol: str) -> None:
        self.steps = steps
        self.admin = admin
        self.protocol = protocol
        self.name = topic(f"confluent-admin-{protocol}")

    def run(self) -> None:
        with self.steps.step("join-and-commit"):
            self.fill()
            consumer = self.join()
        with self.steps.step("list-groups"):
            listing = self.listed()
            assert listing.state == ConsumerGroupState.STABLE, listing.state
            assert listing.type == ConsumerGroupType[self.protocol.upper()], listing.type
            assert self.listed(states={ConsumerGroupState.STABLE}) is not None
            assert self.listed(states={ConsumerGroupState.EMPTY}) is None
        with self.steps.step("describe-group"):
            self.check_description()
        with self.steps.step("list-offsets-and-lag"):
            places = {TopicPartition(self.name, p): OffsetSpec.latest() for p in PARTITIONS}
            ends = {p.partition: end.result(DEADLINE_S).offset for p, end in self.admin.list_offsets(places).items()}
            lags = {p: ends[p] - offset for p, offset in self.committed().items()}
            assert lags == {p: RECORDS_EACH - 4 - p for p in PARTITIONS}, lags
        with self.steps.step("refuse-to-delete-live"):
            self.require_refused(KafkaError.NON_EMPTY_GROUP, self.delete)
        with self.steps.step("refuse-to-reset-live"):
            self.require_refused(KafkaError.UNKNOWN_MEMBER_ID, lambda: self.reset(0))
            assert self.committed() == {p: 4 + p for p in PARTITIONS}, self.committed()
        with self.steps.step("leave"):
            consumer.close()
            described = self.described()
            assert described.state == ConsumerGroupState.EMPTY and not described.members, described.state
        with self.steps.step("reset-offsets"):
            self.reset(1)
            assert self.committed() == {p: 1 for p in PARTITIONS}, self.committed()
        with self.steps.step("delete-group"):
            self.delete()
            assert self.listed() is None
            assert self.committed() == {}, self.committed()
            self.require_refused(KafkaError.GROUP_ID_NOT_FOUND, self.delete)
        with self.steps.step("delete-topic"):
            self.admin.delete_topics([self.name])[self.name].result(DEADLINE_S)

    def fill(self) -> None:
        self.admin.create_topics([NewTopic(self.name, len(PARTITIONS), 1)])[self.name].result(DEADLINE_S)
        producer = Producer({"bootstrap.servers": bootstrap()})
        for number in range(RECORDS_EACH * len(PARTITIONS)):
            producer.produce(self.name, str(number), partition=number % len(PARTITIONS))
        assert producer.flush(DEADLINE_S) == 0

    def join(self) -> Consumer:
        consumer = Consumer({
            "bootstrap.servers": bootstrap(),
            "group.id": self.name,
            "group.protocol": self.protocol,
            "client.id": "the-member",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        })
        consumer.subscribe([self.name])
        deadline = time.monotonic() + DEADLINE_S
        while len(consumer.assignment()) < len(PARTITIONS):
            assert time.monotonic() < deadline, "no assignment"
            consumer.poll(0.1)
        consumer.commit(offsets=[TopicPartition(self.name, p, 4 + p) for p in PARTITIONS], asynchronous=False)
        return consumer

    def check_description(self) -> None:
        described = self.described()
        assert described.state == ConsumerGroupState.STABLE, described.state
        assert described.type == ConsumerGroupType[self.protocol.upper()], described.type
        [member] = described.members
        assert member.client_id == "the-member", member.client_id
        assert "127.0.0.1" in member.host, member.host
        assigned = sorted(place.partition for place in member.assignment.topic_partitions)
        assert assigned == list(PARTITIONS), assigned

    def listed(self, **options):
        groups = self.admin.list_consumer_groups(**options).result(DEADLINE_S)
        assert not groups.errors, groups.errors
        return next((group for group in groups.valid if group.group_id == self.name), None)

    def described(self):
        return self.admin.describe_consumer_groups([self.name])[self.name].result(DEADLINE_S)

    def committed(self) -> dict[int, int]:
        asked = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self.name)])
        places = asked[self.name].result(DEADLINE_S).topic_partitions
        return {place.partition: place.offset for place in places}

    def reset(self, offset: int) -> None:
        places = [TopicPartition(self.name, p, offset) for p in PARTITIONS]
        asked = self.admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(self.name, places)])
        for place in asked[self.name].result(DEADLINE_S).topic_partitions:
            if place.error is not None:
                raise KafkaException(place.error)

    def delete(self) -> None:
        self.admin.delete_consumer_groups([self.name])[self.name].result(DEADLINE_S)

    @staticmethod
    def require_refused(code: int, ask) -> None:
        try:
            ask()
        except KafkaException as error:
            assert error.args[0].code() == code, error
        else:
            raise AssertionError(f"expected {KafkaError(code).name()}")


report = Steps()
GroupAdmin(report, AdminClient({"bootstrap.servers": bootstrap()}), sys.argv[1]).run()
report.exit()
