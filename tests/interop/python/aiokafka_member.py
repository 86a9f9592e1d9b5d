"""aiokafka as a group's member; what members do and print is in README.md."""

import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError

from member import BATCH_MAX, HEARTBEAT_MS, REBALANCE_TIMEOUT_MS, Events, parse_args, stop_requested

ARGS = parse_args()
EVENTS = Events()
# A rebalance runs in a task of its own; it waits until the batch at hand is committed.
BATCH = asyncio.Lock()


class Listener(ConsumerRebalanceListener):
    async def on_partitions_assigned(self, assigned):
        EVENTS.assigned(place.partition for place in assigned)

    async def on_partitions_revoked(self, revoked):
        async with BATCH:
            EVENTS.revoked(place.partition for place in revoked)


async def process(consumer: AIOKafkaConsumer, batch: dict) -> None:
    if not batch:
        return
    offsets: dict[TopicPartition, int] = {}
    for place, records in batch.items():
        for record in records:
            EVENTS.print("record", record.partition, record.offset)
        offsets[place] = records[-1].offset + 1
    try:
        await consumer.commit(offsets)
    except (CommitFailedError, IllegalStateError) as error:
        EVENTS.print("refused", type(error).__name__)
        return
    for place, next in offsets.items():
        EVENTS.print("committed", place.partition, next)


async def main() -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=ARGS.bootstrap,
        group_id=ARGS.group,
        client_id=ARGS.name,
        group_instance_id=ARGS.instance,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        partition_assignment_strategy=[RangePartitionAssignor],
        session_timeout_ms=ARGS.session_ms,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
        max_poll_interval_ms=REBALANCE_TIMEOUT_MS,
    )
    consumer.subscribe([ARGS.topic], listener=Listener())
    stop = asyncio.create_task(asyncio.to_thread(stop_requested().wait))
    await consumer.start()
    while not stop.done():
        # Not under the lock: during a rebalance this returns only when the rebalance is over.
        poll = asyncio.create_task(consumer.getmany(timeout_ms=200, max_records=BATCH_MAX))
        await asyncio.wait([poll, stop], return_when=asyncio.FIRST_COMPLETED)
        if not poll.done():
            poll.cancel()
            break
        async with BATCH:
            batch = poll.result()
            owned = {place: batch[place] for place in batch if place.partition in EVENTS.owned}
            await process(consumer, owned)
    # The client does not call the listener when it leaves.
    EVENTS.revoked(EVENTS.owned.copy())
    await consumer.stop()


asyncio.run(main())
