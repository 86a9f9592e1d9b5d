"""aiokafka: the asyncio client."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from records import CODECS, COUNT, PARTITIONS, PROBE, Expected, Record
from steps import DEADLINE_S, Steps, bootstrap, topic

TOPIC = topic("aiokafka")
EXPECTED = Expected()
PLACES = [TopicPartition(TOPIC, p) for p in range(PARTITIONS)]


async def produce(codec: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap(),
        compression_type=None if codec == "none" else codec,
        enable_idempotence=True,
        linger_ms=20,
    )
    block = EXPECTED.codec_block(codec)
    async with producer:
        futures = [
            await producer.send(
                TOPIC,
                key=record.key,
                value=record.value,
                headers=record.headers,
                partition=record.partition,
                timestamp_ms=record.timestamp,
            )
            for record in block
        ]
        placed = await asyncio.wait_for(asyncio.gather(*futures), DEADLINE_S)
    assert [(p.partition, p.offset) for p in placed] == [(r.partition, r.offset) for r in block]


async def read(consumer: AIOKafkaConsumer, count: int) -> list[Record]:
    seen: list[Record] = []
    async with asyncio.timeout(DEADLINE_S):
        while len(seen) < count:
            for messages in (await consumer.getmany(timeout_ms=1000, max_records=1000)).values():
                seen += [
                    Record(m.partition, m.offset, m.timestamp, m.key, m.value, list(m.headers))
                    for m in messages
                ]
    return seen


async def listed(admin: AIOKafkaAdminClient, wanted: bool) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (TOPIC in await admin.list_topics()) != wanted:
            await asyncio.sleep(0.05)


async def describe(admin: AIOKafkaAdminClient, kind: ConfigResourceType, name: str) -> dict[str, str]:
    [answer] = await admin.describe_configs([ConfigResource(kind, name)])
    [(error, message, _, _, entries)] = answer.resources
    assert error == 0, message
    return {entry[0]: entry[1] for entry in entries}


async def main(steps: Steps) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap())
    await admin.start()

    with steps.step("create-topic"):
        new_topic = NewTopic(TOPIC, PARTITIONS, 1, topic_configs={"retention.ms": "86400000"})
        answer = await admin.create_topics([new_topic])
        assert all(error[1] == 0 for error in answer.topic_errors), answer

    with steps.step("describe-topic"):
        await listed(admin, True)
        [described] = await admin.describe_topics([TOPIC])
        partitions = described["partitions"]
        assert sorted(p["partition"] for p in partitions) == list(range(PARTITIONS)), partitions
        assert all(p["leader"] in p["isr"] for p in partitions), partitions

    for codec in CODECS:
        with steps.step(f"produce-{codec}"):
            await produce(codec)

    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap(), group_id=None, check_crcs=True, auto_offset_reset="earliest"
    )
    await consumer.start()
    consumer.assign(PLACES)

    with steps.step("list-offsets"):
        assert await consumer.beginning_offsets(PLACES) == {p: 0 for p in PLACES}
        ends = {p: EXPECTED.end_offset(p.partition) for p in PLACES}
        assert await consumer.end_offsets(PLACES) == ends

    with steps.step("read-all"):
        await consumer.seek_to_beginning(*PLACES)
        EXPECTED.check(await read(consumer, COUNT))

    with steps.step("read-from-timestamp"):
        found = await consumer.offsets_for_times({p: EXPECTED.probe_timestamp() for p in PLACES})
        for place in PLACES:
            first = EXPECTED.partition(place.partition, PROBE)[0]
            assert (found[place].offset, found[place].timestamp) == (first.offset, first.timestamp)
            consumer.seek(place, found[place].offset)
        EXPECTED.check(await read(consumer, COUNT - PROBE), PROBE)

    with steps.step("describe-topic-configs"):
        configs = await describe(admin, ConfigResourceType.TOPIC, TOPIC)
        assert configs["cleanup.policy"] == "delete", configs["cleanup.policy"]
        assert configs["retention.ms"] == "86400000", configs["retention.ms"]

    with steps.step("describe-broker-configs"):
        broker = (await admin.describe_cluster())["brokers"][0]["node_id"]
        configs = await describe(admin, ConfigResourceType.BROKER, str(broker))
        assert int(configs["message.max.bytes"]) > 0, configs["message.max.bytes"]

    with steps.step("delete-records"):
        await admin.delete_records({PLACES[0]: RecordsToDelete(100)})
        assert (await consumer.beginning_offsets(PLACES))[PLACES[0]] == 100

    await consumer.stop()
    with steps.step("delete-topic"):
        answer = await admin.delete_topics([TOPIC])
        assert all(error == 0 for _, error in answer.topic_error_codes), answer
        await listed(admin, False)

    await admin.close()


report = Steps()
asyncio.run(main(report))
report.exit()
