import static org.apache.kafka.clients.CommonClientConfigs.BOOTSTRAP_SERVERS_CONFIG;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Future;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The Java client, the reference for all others: producer, consumer and admin. */
public final class Suite {
    private static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    private static final String TOPIC =
            "interop-java-" + System.getenv().getOrDefault("INTEROP_RUN", "" + ProcessHandle.current().pid());
    private static final ConfigResource TOPIC_RESOURCE = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC);
    private static final List<TopicPartition> PLACES = IntStream.range(0, Records.PARTITIONS)
            .mapToObj(partition -> new TopicPartition(TOPIC, partition))
            .toList();

    private final Steps steps = new Steps();
    private final Records records = new Records(TOPIC);
    private final Admin admin = Admin.create(Map.of(BOOTSTRAP_SERVERS_CONFIG, BOOTSTRAP));

    public static void main(String[] args) {
        Suite suite = new Suite();
        suite.cluster();
        suite.create();
        suite.produce();
        suite.read();
        suite.configs();
        suite.change();
        suite.delete();
        suite.admin.close();
        System.exit(suite.steps.failed() ? 1 : 0);
    }

    private void cluster() {
        steps.step("describe-cluster", () -> {
            var cluster = admin.describeCluster();
            Collection<Node> nodes = cluster.nodes().get();
            Steps.require(cluster.clusterId().get() != null, "the cluster has no id");
            Steps.require(nodes.contains(cluster.controller().get()), "the controller is not among " + nodes);
        });
    }

    private void create() {
        NewTopic topic = new NewTopic(TOPIC, Records.PARTITIONS, (short) 1).configs(Map.of("retention.ms", "86400000"));
        steps.step("create-topic", () -> {
            var created = admin.createTopics(List.of(topic));
            created.all().get();
            Steps.requireEqual(Records.PARTITIONS, created.numPartitions(TOPIC).get());
            Steps.requireEqual("86400000", created.config(TOPIC).get().get("retention.ms").value());
        });
        steps.step("create-topic-again", () ->
                Steps.requireFailure(TopicExistsException.class, admin.createTopics(List.of(topic)).all()));
        steps.step("describe-topic", () -> {
            Steps.eventually("topic is listed", () -> admin.listTopics().names().get().contains(TOPIC));
            TopicDescription described = describeTopic();
            Steps.requireEqual(Records.PARTITIONS, described.partitions().size());
            described.partitions().forEach(partition ->
                    Steps.require(partition.isr().contains(partition.leader()), "leader not in sync: " + partition));
        });
    }

    private void produce() {
        for (String codec : Records.CODECS) {
            steps.step("produce-" + codec, () -> produceBlock(codec));
        }
    }

    /** Idempotence, acks=all, linger and batch size are what the client does by default. */
    private void produceBlock(String codec) throws Exception {
        Map<String, Object> config = Map.of(
                BOOTSTRAP_SERVERS_CONFIG, BOOTSTRAP, ProducerConfig.COMPRESSION_TYPE_CONFIG, codec);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> record : records.codecBlock(codec)) {
                sent.add(producer.send(record));
            }
            int i = Records.CODECS.indexOf(codec) * Records.PER_CODEC;
            for (Future<RecordMetadata> future : sent) {
                Steps.requireEqual(Records.offset(i), future.get().offset());
                i++;
            }
        }
    }

    private void read() {
        steps.step("list-offsets", () -> {
            requireOffsets(OffsetSpec.earliest(), place -> 0L);
            requireOffsets(OffsetSpec.latest(), place -> Records.endOffset(place.partition()));
            requireOffsets(OffsetSpec.maxTimestamp(), place -> Records.endOffset(place.partition()) - 1);
            requireOffsets(
                    OffsetSpec.forTimestamp(records.timestamp(Records.PROBE)),
                    place -> Records.offset(Records.firstOf(place.partition(), Records.PROBE)));
            // Nothing is so young: the answer is "none", not an error.
            requireOffsets(OffsetSpec.forTimestamp(records.timestamp(Records.COUNT)), place -> -1L);
        });
        for (String isolation : List.of("read_uncommitted", "read_committed")) {
            steps.step("read-all-" + isolation, () -> {
                try (var consumer = openConsumer(isolation)) {
                    consumer.assign(PLACES);
                    consumer.seekToBeginning(PLACES);
                    records.check(readRecords(consumer, Records.COUNT), 0);
                }
            });
        }
        steps.step("read-from-timestamp", () -> {
            try (var consumer = openConsumer("read_committed")) {
                consumer.assign(PLACES);
                long when = records.timestamp(Records.PROBE);
                Map<TopicPartition, OffsetAndTimestamp> found = consumer.offsetsForTimes(
                        PLACES.stream().collect(Collectors.toMap(Function.identity(), place -> when)));
                found.forEach((place, start) -> consumer.seek(place, start.offset()));
                records.check(readRecords(consumer, Records.COUNT - Records.PROBE), Records.PROBE);
            }
        });
    }

    private void configs() {
        steps.step("describe-topic-configs", () -> {
            Config config = describeConfigs(TOPIC_RESOURCE);
            Steps.requireEqual("delete", config.get("cleanup.policy").value());
            Steps.requireEqual(ConfigEntry.ConfigSource.DEFAULT_CONFIG, config.get("cleanup.policy").source());
            Steps.requireEqual("86400000", config.get("retention.ms").value());
            Steps.requireEqual(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("retention.ms").source());
        });
        steps.step("describe-broker-configs", () -> {
            String broker = admin.describeCluster().nodes().get().iterator().next().idString();
            Config config = describeConfigs(new ConfigResource(ConfigResource.Type.BROKER, broker));
            Steps.require(config.get("message.max.bytes") != null, "message.max.bytes is not described");
        });
        steps.step("alter-configs", () -> {
            var set = new AlterConfigOp(new ConfigEntry("retention.ms", "3600000000"), AlterConfigOp.OpType.SET);
            admin.incrementalAlterConfigs(Map.of(TOPIC_RESOURCE, List.of(set))).all().get();
            Steps.eventually("retention.ms is altered", () -> retention().value().equals("3600000000"));
            var unset = new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE);
            admin.incrementalAlterConfigs(Map.of(TOPIC_RESOURCE, List.of(unset))).all().get();
            Steps.eventually("retention.ms is a default again", () ->
                    retention().source() != ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG
                            && !retention().value().equals("3600000000"));
        });
        steps.step("describe-log-dirs", () -> {
            List<Integer> brokers = admin.describeCluster().nodes().get().stream().map(Node::id).toList();
            long replicas = 0;
            for (Map<String, LogDirDescription> dirs : admin.describeLogDirs(brokers).allDescriptions().get().values()) {
                for (LogDirDescription dir : dirs.values()) {
                    Steps.requireEqual(null, dir.error());
                    replicas += dir.replicaInfos().entrySet().stream()
                            .filter(info -> PLACES.contains(info.getKey()) && info.getValue().size() > 0)
                            .count();
                }
            }
            Steps.requireEqual((long) Records.PARTITIONS, replicas);
        });
    }

    private void change() {
        steps.step("delete-records", () -> {
            TopicPartition place = PLACES.get(0);
            var deleted = admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(100)));
            Steps.requireEqual(100L, deleted.lowWatermarks().get(place).get().lowWatermark());
            requireOffsets(OffsetSpec.earliest(), each -> each.equals(place) ? 100L : 0L);
        });
        steps.step("create-partitions", () -> {
            admin.createPartitions(Map.of(TOPIC, NewPartitions.increaseTo(Records.PARTITIONS + 1))).all().get();
            Steps.eventually("a fourth partition", () -> describeTopic().partitions().size() == Records.PARTITIONS + 1);
        });
    }

    private void delete() {
        steps.step("delete-topic", () -> {
            admin.deleteTopics(List.of(TOPIC)).all().get();
            Steps.eventually("topic is gone", () -> !admin.listTopics().names().get().contains(TOPIC));
        });
        steps.step("delete-topic-again", () ->
                Steps.requireFailure(UnknownTopicOrPartitionException.class, admin.deleteTopics(List.of(TOPIC)).all()));
    }

    private TopicDescription describeTopic() throws Exception {
        return admin.describeTopics(List.of(TOPIC)).allTopicNames().get().get(TOPIC);
    }

    private Config describeConfigs(ConfigResource resource) throws Exception {
        return admin.describeConfigs(List.of(resource)).all().get().get(resource);
    }

    private ConfigEntry retention() throws Exception {
        return describeConfigs(TOPIC_RESOURCE).get("retention.ms");
    }

    private void requireOffsets(OffsetSpec spec, Function<TopicPartition, Long> expected) throws Exception {
        var found = admin.listOffsets(PLACES.stream().collect(Collectors.toMap(Function.identity(), place -> spec)));
        for (TopicPartition place : PLACES) {
            Steps.requireEqual(expected.apply(place), found.partitionResult(place).get().offset());
        }
    }

    private static KafkaConsumer<byte[], byte[]> openConsumer(String isolation) {
        Map<String, Object> config = Map.of(
                BOOTSTRAP_SERVERS_CONFIG, BOOTSTRAP, ConsumerConfig.ISOLATION_LEVEL_CONFIG, isolation);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private static List<ConsumerRecord<byte[], byte[]>> readRecords(
            KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> seen = new ArrayList<>();
        long deadline = System.nanoTime() + Steps.DEADLINE.toNanos();
        while (seen.size() < count && System.nanoTime() < deadline) {
            consumer.poll(Duration.ofSeconds(1)).forEach(seen::add);
        }
        return seen;
    }
}
