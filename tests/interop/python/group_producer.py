"""Makes a topic and keeps writing numbered records to it, one partition after the other.

Prints "ready" when the topic is there, writes from the line "go" to the line "stop", and then prints
the end offset of each partition.
"""

import sys
import time

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from member import stop_requested

BOOTSTRAP, TOPIC, PARTITIONS, RATE = sys.argv[1:]
PARTITION_COUNT = int(PARTITIONS)
# Records leave in gusts: a sleep for each would be at the scheduler's mercy.
GUST_S = 0.1
DEADLINE_S = 20

ends = [0] * PARTITION_COUNT


def on_delivery(error, message) -> None:
    if error is not None:
        raise KafkaException(error)
    ends[message.partition()] = max(ends[message.partition()], message.offset() + 1)


def create_topic() -> None:
    admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
    for created in admin.create_topics([NewTopic(TOPIC, PARTITION_COUNT, 1)]).values():
        created.result(DEADLINE_S)
    deadline = time.monotonic() + DEADLINE_S
    while not has_leaders(admin):
        assert time.monotonic() < deadline, f"{TOPIC} has no leaders"
        time.sleep(0.05)


def has_leaders(admin: AdminClient) -> bool:
    topic = admin.list_topics(TOPIC, timeout=DEADLINE_S).topics[TOPIC]
    leaders = [partition.leader for partition in topic.partitions.values()]
    return len(leaders) == PARTITION_COUNT and min(leaders) >= 0


create_topic()
producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "linger.ms": 5})
print("ready", flush=True)
assert sys.stdin.readline() == "go\n", "nothing is wanted"
stop = stop_requested()
number = 0
while not stop.wait(GUST_S):
    for _ in range(int(float(RATE) * GUST_S)):
        producer.produce(TOPIC, str(number), partition=number % PARTITION_COUNT, on_delivery=on_delivery)
        number += 1
    producer.poll(0)
assert producer.flush(DEADLINE_S) == 0, "records are left"
assert sum(ends) == number, f"{number} records written, {ends}"
print("ends", ",".join(map(str, ends)), flush=True)
