"""kafka-python: the client written in Python alone."""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from records import CODECS, COUNT, PARTITIONS, PROBE, Expected, Record
from steps import DEADLINE_S, Steps, bootstrap, eventually, topic

TOPIC = topic("kafka-python")
EXPECTED = Expected(null_header=False)
PLACES = [TopicPartition(TOPIC, p) for p in range(PARTITIONS)]


def produce(codec: str) -> None:
    producer = KafkaProducer(
        bootstrap_servers=bootstrap(),
        compression_type=None if codec == "none" else codec,
        enable_idempotence=True,
        linger_ms=20,
    )
    block = EXPECTED.codec_block(codec)
    futures = [
        producer.send(
            TOPIC,
            key=record.key,
            value=record.value,
            headers=record.headers,
            partition=record.partition,
            timestamp_ms=record.timestamp,
        )
        for record in block
    ]
    producer.flush(DEADLINE_S)
    for record, future in zip(block, futures):
        placed = future.get(timeout=DEADLINE_S)
        assert (placed.partition, placed.offset) == (record.partition, record.offset), placed
    producer.close()


def read(consumer: KafkaConsumer, count: int) -> list[Record]:
    seen: list[Record] = []
    deadline = time.monotonic() + DEADLINE_S
    while len(seen) < count and time.monotonic() < deadline:
        for messages in consumer.poll(timeout_ms=1000, max_records=1000).values():
            seen += [
                Record(m.partition, m.offset, m.timestamp, m.key, m.value, list(m.headers))
                for m in messages
            ]
    return seen


def describe(admin: KafkaAdminClient, kind: ConfigResourceType, name: str) -> dict[str, dict]:
    answer = admin.describe_configs([ConfigResource(kind, name)], config_filter="all")
    return answer[kind.name.lower()][name]


def main() -> None:
    steps = Steps()
    admin = KafkaAdminClient(bootstrap_servers=bootstrap())

    with steps.step("create-topic"):
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1, topic_configs={"retention.ms": "86400000"})])

    with steps.step("describe-topic"):
        eventually(lambda: TOPIC in admin.list_topics(), "topic is listed")
        [described] = admin.describe_topics([TOPIC])
        partitions = described["partitions"]
        assert sorted(p["partition_index"] for p in partitions) == list(range(PARTITIONS)), partitions
        assert all(p["leader_id"] in p["isr_nodes"] for p in partitions), partitions

    for codec in CODECS:
        with steps.step(f"produce-{codec}"):
            produce(codec)

    consumer = KafkaConsumer(bootstrap_servers=bootstrap(), group_id=None, check_crcs=True)
    consumer.assign(PLACES)

    with steps.step("list-offsets"):
        assert consumer.beginning_offsets(PLACES) == {p: 0 for p in PLACES}
        assert consumer.end_offsets(PLACES) == {p: EXPECTED.end_offset(p.partition) for p in PLACES}

    with steps.step("read-all"):
        consumer.seek_to_beginning(*PLACES)
        EXPECTED.check(read(consumer, COUNT))

    with steps.step("read-from-timestamp"):
        found = consumer.offsets_for_times({p: EXPECTED.probe_timestamp() for p in PLACES})
        for place in PLACES:
            first = EXPECTED.partition(place.partition, PROBE)[0]
            assert (found[place].offset, found[place].timestamp) == (first.offset, first.timestamp)
            consumer.seek(place, found[place].offset)
        EXPECTED.check(read(consumer, COUNT - PROBE), PROBE)

    with steps.step("describe-topic-configs"):
        configs = describe(admin, ConfigResourceType.TOPIC, TOPIC)
        assert configs["cleanup.policy"]["value"] == "delete", configs["cleanup.policy"]
        assert configs["cleanup.policy"]["config_source"] == "DEFAULT_CONFIG", configs["cleanup.policy"]
        assert configs["retention.ms"]["value"] == "86400000", configs["retention.ms"]
        assert configs["retention.ms"]["config_source"] == "DYNAMIC_TOPIC_CONFIG", configs["retention.ms"]

    with steps.step("describe-broker-configs"):
        broker = admin.describe_cluster()["brokers"][0]["broker_id"]
        configs = describe(admin, ConfigResourceType.BROKER, str(broker))
        assert int(configs["message.max.bytes"]["value"]) > 0, configs["message.max.bytes"]

    with steps.step("delete-records"):
        admin.delete_records({PLACES[0]: 100})
        assert consumer.beginning_offsets(PLACES)[PLACES[0]] == 100

    consumer.close()
    with steps.step("delete-topic"):
        admin.delete_topics([TOPIC])
        eventually(lambda: TOPIC not in admin.list_topics(), "topic is gone")

    admin.close()
    steps.exit()


main()
