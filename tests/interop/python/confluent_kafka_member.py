"""confluent-kafka as a group's member; what members do and print is in README.md."""

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from member import BATCH_MAX, HEARTBEAT_MS, REBALANCE_TIMEOUT_MS, Events, parse_args, stop_requested

ARGS = parse_args()
EVENTS = Events()
# Next offset of each partition with records processed and not yet committed.
PENDING: dict[int, int] = {}


def numbers(places: list[TopicPartition]) -> list[int]:
    return [place.partition for place in places]


def on_revoke(consumer: Consumer, places: list[TopicPartition]) -> None:
    commit(consumer)
    EVENTS.revoked(numbers(places))


def on_lost(_consumer: Consumer, places: list[TopicPartition]) -> None:
    PENDING.clear()
    EVENTS.lost(numbers(places))


def commit(consumer: Consumer) -> None:
    if not PENDING:
        return
    offsets = [TopicPartition(ARGS.topic, partition, next) for partition, next in PENDING.items()]
    PENDING.clear()
    try:
        results = consumer.commit(offsets=offsets, asynchronous=False)
    except KafkaException as error:
        EVENTS.print("refused", error)
        return
    for result in results:
        if result.error is None:
            EVENTS.print("committed", result.partition, result.offset)
        else:
            EVENTS.print("refused", result.error)


def run(consumer: Consumer) -> None:
    stop = stop_requested()
    # Records processed since the last commit.
    batch = 0
    while not stop.is_set():
        # One record at a time: a rebalance happens inside poll, and must find no record unprocessed.
        message = consumer.poll(0.2 if batch == 0 else 0)
        if message is None:
            commit(consumer)
            batch = 0
            continue
        if message.error() is not None:
            if message.error().code() == KafkaError._FATAL:
                EVENTS.print("fenced")
                return
            EVENTS.print("refused", message.error())
            continue
        EVENTS.print("record", message.partition(), message.offset())
        PENDING[message.partition()] = message.offset() + 1
        batch += 1
        if batch == BATCH_MAX:
            commit(consumer)
            batch = 0
    commit(consumer)


config = {
    "bootstrap.servers": ARGS.bootstrap,
    "group.id": ARGS.group,
    "client.id": ARGS.name,
    "group.protocol": ARGS.protocol,
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "max.poll.interval.ms": REBALANCE_TIMEOUT_MS,
}
# In the other protocol the broker decides these.
if ARGS.protocol == "classic":
    config["session.timeout.ms"] = ARGS.session_ms
    config["heartbeat.interval.ms"] = HEARTBEAT_MS
    config["partition.assignment.strategy"] = "range"
if ARGS.instance is not None:
    config["group.instance.id"] = ARGS.instance

member = Consumer(config)
member.subscribe(
    [ARGS.topic],
    on_assign=lambda _, places: EVENTS.assigned(numbers(places)),
    on_revoke=on_revoke,
    on_lost=on_lost,
)
run(member)
member.close()
