"""confluent-kafka: librdkafka as Python applications use it."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from records import CODECS, COUNT, PARTITIONS, PROBE, Expected, Record
from steps import DEADLINE_S, Steps, bootstrap, eventually, topic

TOPIC = topic("confluent-kafka")
EXPECTED = Expected()
PARTITION_LIST = range(PARTITIONS)


def produce(codec: str) -> None:
    producer = Producer({
        "bootstrap.servers": bootstrap(),
        "compression.type": codec,
        "enable.idempotence": True,
        "linger.ms": 20,
        "message.timeout.ms": DEADLINE_S * 1000,
    })
    placed: list[tuple[int, int]] = []

    def on_delivery(error, message):
        assert error is None, error
        placed.append((message.partition(), message.offset()))

    block = EXPECTED.codec_block(codec)
    for record in block:
        producer.produce(
            TOPIC,
            key=record.key,
            value=record.value,
            headers=record.headers,
            partition=record.partition,
            timestamp=record.timestamp,
            on_delivery=on_delivery,
        )
    left = producer.flush(DEADLINE_S)
    assert left == 0, f"{left} records were not delivered"
    assert sorted(placed) == sorted((r.partition, r.offset) for r in block), "acknowledged offsets"


def open_consumer() -> Consumer:
    return Consumer({
        "bootstrap.servers": bootstrap(),
        # The library wants a name even where no group is joined.
        "group.id": "unused",
        "enable.auto.commit": False,
        "enable.partition.eof": False,
        "check.crcs": True,
    })


def read(consumer: Consumer, starts: list[TopicPartition], count: int) -> list[Record]:
    consumer.assign(starts)
    seen: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(seen) < count and time.monotonic() < deadline:
        for message in consumer.consume(min(1000, count - len(seen)), timeout=1):
            assert message.error() is None, message.error()
            seen.append(Record(
                message.partition(),
                message.offset(),
                message.timestamp()[1],
                message.key(),
                message.value(),
                message.headers() or [],
            ))
    return seen


def main() -> None:
    steps = Steps()
    admin = AdminClient({"bootstrap.servers": bootstrap()})
    consumer = open_consumer()

    with steps.step("create-topic"):
        new_topic = NewTopic(TOPIC, PARTITIONS, 1, config={"retention.ms": "86400000"})
        admin.create_topics([new_topic])[TOPIC].result(DEADLINE_S)

    with steps.step("describe-topic"):
        eventually(lambda: TOPIC in admin.list_topics(timeout=DEADLINE_S).topics, "topic is listed")
        partitions = admin.list_topics(timeout=DEADLINE_S).topics[TOPIC].partitions
        assert sorted(partitions) == list(PARTITION_LIST), partitions
        assert all(p.leader in p.replicas and p.leader in p.isrs for p in partitions.values())

    for codec in CODECS:
        with steps.step(f"produce-{codec}"):
            produce(codec)

    with steps.step("list-offsets"):
        for partition in PARTITION_LIST:
            place = TopicPartition(TOPIC, partition)
            low, high = consumer.get_watermark_offsets(place, timeout=DEADLINE_S)
            assert (low, high) == (0, EXPECTED.end_offset(partition)), (low, high)
            last = admin.list_offsets({place: OffsetSpec.max_timestamp()})[place].result(DEADLINE_S)
            assert last.offset == high - 1, f"max timestamp at {last.offset}"

    with steps.step("read-all"):
        starts = [TopicPartition(TOPIC, p, 0) for p in PARTITION_LIST]
        EXPECTED.check(read(consumer, starts, COUNT))

    with steps.step("read-from-timestamp"):
        when = EXPECTED.probe_timestamp()
        asked = [TopicPartition(TOPIC, p, when) for p in PARTITION_LIST]
        starts = consumer.offsets_for_times(asked, timeout=DEADLINE_S)
        assert all(start.error is None for start in starts), starts
        assert [s.offset for s in starts] == [EXPECTED.partition(p, PROBE)[0].offset for p in PARTITION_LIST]
        EXPECTED.check(read(consumer, starts, COUNT - PROBE), PROBE)

    with steps.step("describe-topic-configs"):
        resource = ConfigResource(ResourceType.TOPIC, TOPIC)
        configs = admin.describe_configs([resource])[resource].result(DEADLINE_S)
        assert configs["cleanup.policy"].value == "delete", configs["cleanup.policy"]
        assert configs["cleanup.policy"].is_default
        assert configs["retention.ms"].value == "86400000", configs["retention.ms"]
        assert not configs["retention.ms"].is_default

    with steps.step("describe-broker-configs"):
        broker = next(iter(admin.list_topics(timeout=DEADLINE_S).brokers))
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        configs = admin.describe_configs([resource])[resource].result(DEADLINE_S)
        assert int(configs["message.max.bytes"].value) > 0, configs["message.max.bytes"]

    with steps.step("delete-records"):
        before = {TopicPartition(TOPIC, 0, 100): 100}
        deleted = admin.delete_records(list(before))
        assert [f.result(DEADLINE_S).low_watermark for f in deleted.values()] == [100]
        low, _ = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=DEADLINE_S)
        assert low == 100, f"log starts at {low}"

    consumer.close()
    with steps.step("delete-topic"):
        admin.delete_topics([TOPIC])[TOPIC].result(DEADLINE_S)
        eventually(lambda: TOPIC not in admin.list_topics(timeout=DEADLINE_S).topics, "topic is gone")

    steps.exit()


main()
