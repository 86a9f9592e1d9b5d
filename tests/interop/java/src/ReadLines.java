import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Writes the values of a topic's partition 0 to standard output, a line each: what realfile.sh
 * compares with the file it wrote. Arguments: bootstrap address, topic.
 */
public final class ReadLines {
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    public static void main(String[] args) throws IOException {
        Map<String, Object> config = Map.of("bootstrap.servers", args[0], "isolation.level", "read_committed");
        TopicPartition place = new TopicPartition(args[1], 0);
        try (var consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                OutputStream lines = new BufferedOutputStream(System.out, 1 << 20)) {
            consumer.assign(List.of(place));
            consumer.seekToBeginning(List.of(place));
            long end = consumer.endOffsets(List.of(place)).get(place);
            while (consumer.position(place) < end) {
                var records = consumer.poll(PATIENCE);
                if (records.isEmpty()) {
                    throw new IOException("nothing came after offset " + consumer.position(place) + " of " + end);
                }
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    lines.write(record.value());
                    lines.write('\n');
                }
            }
        }
    }
}
