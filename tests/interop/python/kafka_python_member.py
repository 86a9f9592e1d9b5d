"""kafka-python as a group's member; what members do and print is in README.md."""

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import CommitFailedError, FencedInstanceIdError, RebalanceInProgressError

from member import BATCH_MAX, HEARTBEAT_MS, REBALANCE_TIMEOUT_MS, Events, parse_args, stop_requested

ARGS = parse_args()
EVENTS = Events()


class Listener(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        EVENTS.assigned(place.partition for place in assigned)

    def on_partitions_revoked(self, revoked):
        EVENTS.revoked(place.partition for place in revoked)

    def on_partitions_lost(self, lost):
        EVENTS.lost(place.partition for place in lost)


def process(consumer: KafkaConsumer, batch: dict) -> None:
    if not batch:
        return
    offsets: dict[TopicPartition, OffsetAndMetadata] = {}
    for place, records in batch.items():
        for record in records:
            EVENTS.print("record", record.partition, record.offset)
        offsets[place] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
    try:
        consumer.commit(offsets)
    except (CommitFailedError, RebalanceInProgressError) as error:
        EVENTS.print("refused", type(error).__name__)
        return
    for place, next in offsets.items():
        EVENTS.print("committed", place.partition, next.offset)


member = KafkaConsumer(
    bootstrap_servers=ARGS.bootstrap,
    group_id=ARGS.group,
    client_id=ARGS.name,
    group_instance_id=ARGS.instance,
    enable_auto_commit=False,
    auto_offset_reset="earliest",
    partition_assignment_strategy=[RangePartitionAssignor],
    session_timeout_ms=ARGS.session_ms,
    heartbeat_interval_ms=HEARTBEAT_MS,
    max_poll_interval_ms=REBALANCE_TIMEOUT_MS,
    max_poll_records=BATCH_MAX,
)
member.subscribe([ARGS.topic], listener=Listener())
stop = stop_requested()
try:
    while not stop.is_set():
        process(member, member.poll(timeout_ms=200))
except FencedInstanceIdError:
    EVENTS.print("fenced")
member.close()
