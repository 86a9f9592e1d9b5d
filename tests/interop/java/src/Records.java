import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** The ten thousand records every suite writes and reads back, by the rule in README.md. */
final class Records {
    static final int PARTITIONS = 3;
    static final int COUNT = 10_000;
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    static final int PER_CODEC = COUNT / CODECS.size();
    /** Reading from this record's timestamp begins at this record, which lies inside a batch. */
    static final int PROBE = 6_543;

    private final String topic;
    private final long baseTimestamp = (System.currentTimeMillis() / 1000 - 3600) * 1000;

    Records(String topic) {
        this.topic = topic;
    }

    ProducerRecord<byte[], byte[]> record(int i) {
        byte[] key = i % 10 == 3 ? null : ("key-" + i).getBytes(UTF_8);
        return new ProducerRecord<>(topic, i % PARTITIONS, timestamp(i), key, value(i), headers(i));
    }

    long timestamp(int i) {
        return baseTimestamp + 10L * i;
    }

    List<ProducerRecord<byte[], byte[]>> codecBlock(String codec) {
        int start = CODECS.indexOf(codec) * PER_CODEC;
        return IntStream.range(start, start + PER_CODEC).mapToObj(this::record).toList();
    }

    static long endOffset(int partition) {
        return (COUNT - partition + PARTITIONS - 1) / PARTITIONS;
    }

    /** The first record of a partition that is not before record number {@code start}. */
    static int firstOf(int partition, int start) {
        return IntStream.range(start, start + PARTITIONS)
                .filter(i -> i % PARTITIONS == partition)
                .findFirst()
                .orElseThrow();
    }

    static long offset(int i) {
        return i / PARTITIONS;
    }

    /** Throws unless {@code seen} is every record from number {@code start} on, in order per partition. */
    void check(List<ConsumerRecord<byte[], byte[]>> seen, int start) {
        for (int partition = 0; partition < PARTITIONS; partition++) {
            int wanted = partition;
            List<ConsumerRecord<byte[], byte[]>> got =
                    seen.stream().filter(record -> record.partition() == wanted).toList();
            int i = firstOf(partition, start);
            for (ConsumerRecord<byte[], byte[]> actual : got) {
                Steps.require(i < COUNT, "more records than were written: " + describe(actual));
                Steps.requireEqual(describe(record(i), offset(i)), describe(actual));
                i += PARTITIONS;
            }
            Steps.require(i >= COUNT, "partition " + partition + " ends before record " + i);
        }
    }

    private static byte[] value(int i) {
        if (i % 10 == 7) {
            return null;
        }
        if (i % 10 == 8) {
            return new byte[0];
        }
        byte[] start = ("value-" + i + "-").getBytes(UTF_8);
        byte[] value = Arrays.copyOf(start, start.length + i * 31 % 400);
        for (int j = 0; start.length + j < value.length; j++) {
            value[start.length + j] = (byte) (i + j);
        }
        return value;
    }

    private static List<Header> headers(int i) {
        List<Header> headers = new ArrayList<>();
        if (i % 4 != 0) {
            headers.add(new RecordHeader("n", String.valueOf(i).getBytes(UTF_8)));
            headers.add(new RecordHeader("dup", "a".getBytes(UTF_8)));
            headers.add(new RecordHeader("dup", "b".getBytes(UTF_8)));
            headers.add(new RecordHeader("empty", new byte[0]));
            headers.add(new RecordHeader("null", null));
        }
        return headers;
    }

    private static String describe(ProducerRecord<byte[], byte[]> record, long offset) {
        return describe(
                record.partition(), offset, record.timestamp(), record.key(), record.value(), record.headers());
    }

    private static String describe(ConsumerRecord<byte[], byte[]> record) {
        return describe(
                record.partition(), record.offset(), record.timestamp(), record.key(), record.value(), record.headers());
    }

    private static String describe(
            int partition, long offset, long timestamp, byte[] key, byte[] value, Iterable<Header> headers) {
        StringBuilder text = new StringBuilder();
        text.append(partition).append('@').append(offset).append(" at ").append(timestamp);
        text.append(" key ").append(hex(key)).append(" value ").append(hex(value));
        for (Header header : headers) {
            text.append(' ').append(header.key()).append('=').append(hex(header.value()));
        }
        return text.toString();
    }

    private static String hex(byte[] bytes) {
        return bytes == null ? "null" : "x" + HexFormat.of().formatHex(bytes);
    }
}
