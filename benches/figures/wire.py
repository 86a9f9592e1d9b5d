"""Just enough of the Kafka protocol to time a broker without a client library's own delays."""

import socket
import struct
import time

CRC32C = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    CRC32C.append(byte)


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def varint(number: int) -> bytes:
    number = number << 1 ^ number >> 63
    out = bytearray()
    while number & ~0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def batch(values: list[bytes]) -> bytes:
    """One uncompressed record batch."""
    now = int(time.time() * 1000)
    body = b""
    for delta, value in enumerate(values):
        record = b"\0" + varint(0) + varint(delta) + varint(-1) + varint(len(value)) + value + b"\0"
        body += varint(len(record)) + record
    covered = struct.pack(">hiqqqhii", 0, len(values) - 1, now, now, -1, -1, -1, len(values)) + body
    return struct.pack(">qiibI", 0, len(covered) + 9, 0, 2, crc32c(covered)) + covered


def text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


class Connection:
    """A blocking connection that sends one request at a time."""

    def __init__(self, address: tuple[str, int], timeout: float = 60):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, key: int, version: int, body: bytes) -> bytes:
        frame = struct.pack(">hhi", key, version, 1) + text("figures") + body
        self.socket.sendall(struct.pack(">i", len(frame)) + frame)
        return self.take(struct.unpack(">i", self.take(4))[0])[4:]

    def take(self, count: int) -> bytes:
        got = bytearray()
        while len(got) < count:
            more = self.socket.recv(count - len(got))
            if not more:
                raise ConnectionError("the broker closed the connection")
            got += more
        return bytes(got)

    def create(
        self, topic: str, partitions: int, configs: dict[str, str], replicas: int = 1
    ) -> None:
        """CreateTopics v2."""
        pairs = b"".join(text(name) + text(value) for name, value in configs.items())
        body = struct.pack(">i", 1) + text(topic) + struct.pack(">ihi", partitions, replicas, 0)
        body += struct.pack(">i", len(configs)) + pairs + struct.pack(">i?", 60_000, False)
        answer = self.ask(19, 2, body)
        (code,) = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic))
        if code:
            raise RuntimeError(f"creating {topic}: error {code}")

    def metadata(self, topic: str) -> None:
        """Metadata v4, which creates a missing topic."""
        self.ask(3, 4, struct.pack(">i", 1) + text(topic) + b"\1")

    def partitions(self, topic: str) -> dict[int, tuple[int, int]]:
        """Metadata v4; the leader of each partition, or -1, and how many replicas are in sync."""
        answer = self.ask(3, 4, struct.pack(">i", 1) + text(topic) + b"\0")
        at = 4

        def take(form: str) -> int:
            nonlocal at
            (number,) = struct.unpack_from(">" + form, answer, at)
            at += struct.calcsize(form)
            return number

        def skip_text() -> None:
            nonlocal at
            length = take("h")
            at += max(length, 0)

        for _ in range(take("i")):
            take("i"), skip_text(), take("i"), skip_text()
        skip_text(), take("i"), take("i")
        if take("h"):
            return {}
        skip_text(), take("b")
        found = {}
        for _ in range(take("i")):
            _, index, leader = take("h"), take("i"), take("i")
            replicas = take("i")
            at += 4 * replicas
            in_sync = take("i")
            at += 4 * in_sync
            found[index] = (leader, in_sync)
        return found

    def produce(self, topic: str, partition: int, records: bytes, acks: int = -1) -> int:
        """Produce v3; the error code."""
        body = struct.pack(">hhi", -1, acks, 60_000) + struct.pack(">i", 1) + text(topic)
        body += struct.pack(">iii", 1, partition, len(records)) + records
        answer = self.ask(0, 3, body)
        (code,) = struct.unpack_from(">h", answer, 4 + 2 + len(topic) + 4 + 4)
        return code
