"""The ten thousand records every suite writes and reads back.

README.md states the rule; each language's suite has its own copy, so that a mistake in one
of them cannot hide the same mistake in the broker.
"""

import time
from dataclasses import dataclass

PARTITIONS = 3
COUNT = 10_000
# Each codec compresses one fifth of the records, in this order.
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PER_CODEC = COUNT // len(CODECS)
# Reading from the timestamp of this record must begin at exactly this record. It lies inside
# a batch, so a broker that answers with the batch's first offset is found out.
PROBE = 6_543

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[Header]


class Expected:
    """The records as one suite's topic must hold them."""

    def __init__(self, null_header: bool = True) -> None:
        """`null_header` is false for clients that cannot write a header without a value."""
        self.null_header = null_header
        # An hour ago: no broker takes that for a clock gone wrong, nor for expired.
        self.base_timestamp = (int(time.time()) - 3600) * 1000

    def record(self, i: int) -> Record:
        key = None if i % 10 == 3 else b"key-%d" % i
        if i % 10 == 7:
            value = None
        elif i % 10 == 8:
            value = b""
        else:
            value = b"value-%d-" % i + bytes((i + j) % 256 for j in range(i * 31 % 400))
        headers: list[Header] = []
        if i % 4 != 0:
            headers = [("n", b"%d" % i), ("dup", b"a"), ("dup", b"b"), ("empty", b"")]
            if self.null_header:
                headers.append(("null", None))
        timestamp = self.base_timestamp + 10 * i
        return Record(i % PARTITIONS, i // PARTITIONS, timestamp, key, value, headers)

    def codec_block(self, codec: str) -> list[Record]:
        start = CODECS.index(codec) * PER_CODEC
        return [self.record(i) for i in range(start, start + PER_CODEC)]

    def partition(self, partition: int, start: int = 0) -> list[Record]:
        """The records of one partition from record number `start` on."""
        first = next(i for i in range(start, start + PARTITIONS) if i % PARTITIONS == partition)
        return [self.record(i) for i in range(first, COUNT, PARTITIONS)]

    def end_offset(self, partition: int) -> int:
        return len(range(partition, COUNT, PARTITIONS))

    def probe_timestamp(self) -> int:
        return self.record(PROBE).timestamp

    def check(self, seen: list[Record], start: int = 0) -> None:
        """Raises unless `seen` is every record from number `start` on, in order per partition."""
        for partition in range(PARTITIONS):
            want = self.partition(partition, start)
            got = [record for record in seen if record.partition == partition]
            for expected, actual in zip(want, got):
                assert actual == expected, f"read {actual}, expected {expected}"
            assert len(got) == len(want), f"partition {partition}: {len(got)} of {len(want)} records"
