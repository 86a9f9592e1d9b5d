import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The Java client as a group's member; what members do and print is in README.md. */
public final class Member implements ConsumerRebalanceListener {
    private final String topic;
    private final KafkaConsumer<byte[], byte[]> consumer;

    private Member(String[] args) {
        topic = args[2];
        Map<String, Object> config = new HashMap<>(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, args[0],
                ConsumerConfig.GROUP_ID_CONFIG, args[1],
                ConsumerConfig.CLIENT_ID_CONFIG, args[3],
                ConsumerConfig.GROUP_PROTOCOL_CONFIG, args[4],
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false",
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
                ConsumerConfig.MAX_POLL_RECORDS_CONFIG, "50",
                ConsumerConfig.MAX_POLL_INTERVAL_MS_CONFIG, "30000"));
        // In the other protocol the broker decides these.
        if (args[4].equals("classic")) {
            config.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, args[5]);
            config.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, "500");
            config.put(ConsumerConfig.PARTITION_ASSIGNMENT_STRATEGY_CONFIG, RangeAssignor.class.getName());
        }
        if (args.length > 6) {
            config.put(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, args[6]);
        }
        consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    public static void main(String[] args) {
        Member member = new Member(args);
        AtomicBoolean stopped = new AtomicBoolean();
        Thread listener = new Thread(() -> {
            awaitStop();
            stopped.set(true);
        });
        listener.setDaemon(true);
        listener.start();
        member.consumer.subscribe(List.of(member.topic), member);
        try {
            while (!stopped.get()) {
                member.process(member.consumer.poll(Duration.ofMillis(200)));
            }
        } catch (FencedInstanceIdException fenced) {
            print("fenced");
        }
        member.consumer.close();
    }

    private void process(ConsumerRecords<byte[], byte[]> batch) {
        if (batch.isEmpty()) {
            return;
        }
        Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : batch) {
            print("record " + record.partition() + " " + record.offset());
            next.put(new TopicPartition(topic, record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        try {
            consumer.commitSync(next);
            next.forEach((place, offset) -> print("committed " + place.partition() + " " + offset.offset()));
        } catch (CommitFailedException | RebalanceInProgressException refused) {
            print("refused " + refused.getClass().getSimpleName());
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> places) {
        print("assigned " + list(places));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> places) {
        print("revoked " + list(places));
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> places) {
        print("lost " + list(places));
    }

    private static String list(Collection<TopicPartition> places) {
        return places.stream().map(place -> "" + place.partition()).collect(Collectors.joining(","));
    }

    private static synchronized void print(String event) {
        System.out.println(ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now()) + " " + event);
        System.out.flush();
    }

    /** Returns at the line "stop", or when whoever started this process is gone. */
    private static void awaitStop() {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        lines.lines().anyMatch(line -> line.equals("stop"));
    }
}
