import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Future;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.UnknownMemberIdException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What administrators ask about groups, of a live group of the protocol given and of an empty one. */
public final class GroupAdmin {
    private static final int RECORDS_EACH = 10;
    private static final String BOOTSTRAP = System.getenv("BOOTSTRAP");
    private static final String RUN = System.getenv().getOrDefault("INTEROP_RUN", "" + ProcessHandle.current().pid());

    private final Steps steps;
    private final Admin admin;
    private final String protocol;
    private final String name;
    private final List<TopicPartition> places;
    private KafkaConsumer<byte[], byte[]> consumer;

    private GroupAdmin(Steps steps, Admin admin, String protocol) {
        this.steps = steps;
        this.admin = admin;
        this.protocol = protocol;
        this.name = "groups-java-admin-" + protocol + "-" + RUN;
        this.places = IntStream.range(0, 3).mapToObj(partition -> new TopicPartition(name, partition)).toList();
    }

    public static void main(String[] args) {
        Steps steps = new Steps();
        try (Admin admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, BOOTSTRAP))) {
            GroupAdmin suite = new GroupAdmin(steps, admin, args[0]);
            suite.join();
            suite.askLive();
            suite.refuseLive();
            suite.leave();
            suite.changeEmpty();
            suite.delete();
        }
        System.exit(steps.failed() ? 1 : 0);
    }

    private void join() {
        steps.step("join-and-commit", () -> {
            admin.createTopics(List.of(new NewTopic(name, places.size(), (short) 1))).all().get();
            Map<String, Object> config = Map.of(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, BOOTSTRAP);
            try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
                List<Future<?>> sent = new ArrayList<>();
                for (int i = 0; i < RECORDS_EACH * places.size(); i++) {
                    sent.add(producer.send(new ProducerRecord<>(name, i % places.size(), null, new byte[] {1})));
                }
                for (Future<?> each : sent) {
                    each.get();
                }
            }
            consumer = openConsumer();
            consumer.subscribe(List.of(name));
            Steps.eventually("all partitions are assigned", () -> {
                consumer.poll(Duration.ofMillis(100));
                return consumer.assignment().size() == places.size();
            });
            consumer.commitSync(offsets(place -> new OffsetAndMetadata(4 + place.partition(), "note")));
        });
    }

    private void askLive() {
        GroupType type = GroupType.parse(protocol);
        steps.step("list-groups", () -> {
            GroupListing listed = listed(new ListGroupsOptions()).orElseThrow();
            Steps.requireEqual(Optional.of(type), listed.type());
            Steps.requireEqual(Optional.of(GroupState.STABLE), listed.groupState());
            Steps.requireEqual("consumer", listed.protocol());
            var stable = ListGroupsOptions.forConsumerGroups().inGroupStates(Set.of(GroupState.STABLE));
            Steps.require(listed(stable).isPresent(), "not listed among the stable groups");
            var empty = new ListGroupsOptions().inGroupStates(Set.of(GroupState.EMPTY));
            Steps.require(listed(empty).isEmpty(), "listed among the empty groups");
            GroupType other = type == GroupType.CLASSIC ? GroupType.CONSUMER : GroupType.CLASSIC;
            var others = new ListGroupsOptions().withTypes(Set.of(other));
            Steps.require(listed(others).isEmpty(), "listed among the groups of another type");
        });
        steps.step("describe-group", () -> {
            ConsumerGroupDescription described = describe();
            Steps.requireEqual(GroupState.STABLE, described.groupState());
            Steps.requireEqual(type, described.type());
            Steps.requireEqual(type == GroupType.CLASSIC ? "range" : "uniform", described.partitionAssignor());
            Steps.require(described.coordinator() != null, "no coordinator");
            Steps.requireEqual(1, described.members().size());
            MemberDescription member = described.members().iterator().next();
            Steps.requireEqual("the-member", member.clientId());
            Steps.requireEqual(consumer.groupMetadata().memberId(), member.consumerId());
            Steps.require(member.host().contains("127.0.0.1"), "host is " + member.host());
            Steps.requireEqual(Set.copyOf(places), Set.copyOf(member.assignment().topicPartitions()));
        });
        steps.step("list-offsets-and-lag", () -> {
            Map<TopicPartition, OffsetAndMetadata> committed = committed();
            var ends = admin.listOffsets(places.stream().collect(Collectors.toMap(Function.identity(), place ->
                    OffsetSpec.latest()))).all().get();
            for (TopicPartition place : places) {
                Steps.requireEqual("note", committed.get(place).metadata());
                long lag = ends.get(place).offset() - committed.get(place).offset();
                Steps.requireEqual((long) RECORDS_EACH - 4 - place.partition(), lag);
            }
        });
    }

    private void refuseLive() {
        steps.step("refuse-to-delete-live", () -> Steps.requireFailure(
                GroupNotEmptyException.class, admin.deleteConsumerGroups(List.of(name)).all()));
        steps.step("refuse-to-reset-live", () -> Steps.requireFailure(
                UnknownMemberIdException.class,
                admin.alterConsumerGroupOffsets(name, offsets(place -> new OffsetAndMetadata(0))).all()));
        steps.step("refuse-to-delete-offsets-live", () -> Steps.requireFailure(
                GroupSubscribedToTopicException.class,
                admin.deleteConsumerGroupOffsets(name, Set.of(places.get(0))).partitionResult(places.get(0))));
        steps.step("keep-offsets", () -> Steps.requireEqual(
                offsets(place -> new OffsetAndMetadata(4 + place.partition(), "note")), withoutEpochs(committed())));
    }

    private void leave() {
        if (protocol.equals("classic")) {
            steps.step("remove-members", () -> {
                admin.removeMembersFromConsumerGroup(name, new RemoveMembersFromConsumerGroupOptions()).all().get();
                Steps.requireEqual(GroupState.EMPTY, describe().groupState());
            });
        }
        steps.step("leave", () -> {
            consumer.close();
            ConsumerGroupDescription described = describe();
            Steps.requireEqual(GroupState.EMPTY, described.groupState());
            Steps.requireEqual(0, described.members().size());
        });
    }

    private void changeEmpty() {
        steps.step("reset-offsets", () -> {
            admin.alterConsumerGroupOffsets(name, offsets(place -> new OffsetAndMetadata(1, "reset"))).all().get();
            Steps.requireEqual(offsets(place -> new OffsetAndMetadata(1, "reset")), withoutEpochs(committed()));
            try (var reader = openConsumer()) {
                Steps.requireEqual(1L, reader.committed(Set.copyOf(places)).get(places.get(0)).offset());
            }
        });
        steps.step("delete-offsets", () -> {
            admin.deleteConsumerGroupOffsets(name, Set.of(places.get(1))).all().get();
            Steps.requireEqual(Set.of(places.get(0), places.get(2)), committed().keySet());
        });
    }

    private void delete() {
        steps.step("delete-group", () -> {
            admin.deleteConsumerGroups(List.of(name)).all().get();
            Steps.require(listed(new ListGroupsOptions()).isEmpty(), "still listed");
            Steps.requireEqual(Map.of(), committed());
            Steps.requireFailure(
                    GroupIdNotFoundException.class, admin.describeConsumerGroups(List.of(name)).all());
            Steps.requireFailure(
                    GroupIdNotFoundException.class, admin.deleteConsumerGroups(List.of(name)).all());
        });
        steps.step("delete-topic", () -> admin.deleteTopics(List.of(name)).all().get());
    }

    private KafkaConsumer<byte[], byte[]> openConsumer() {
        Map<String, Object> config = new HashMap<>(Map.of(
                ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, BOOTSTRAP,
                ConsumerConfig.GROUP_ID_CONFIG, name,
                ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol,
                ConsumerConfig.CLIENT_ID_CONFIG, "the-member",
                ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, "false",
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"));
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private Optional<GroupListing> listed(ListGroupsOptions options) throws Exception {
        Collection<GroupListing> all = admin.listGroups(options).all().get();
        return all.stream().filter(group -> group.groupId().equals(name)).findFirst();
    }

    private ConsumerGroupDescription describe() throws Exception {
        return admin.describeConsumerGroups(List.of(name)).all().get().get(name);
    }

    private Map<TopicPartition, OffsetAndMetadata> committed() throws Exception {
        return admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get();
    }

    private Map<TopicPartition, OffsetAndMetadata> offsets(Function<TopicPartition, OffsetAndMetadata> offset) {
        return places.stream().collect(Collectors.toMap(Function.identity(), offset));
    }

    private static Map<TopicPartition, OffsetAndMetadata> withoutEpochs(Map<TopicPartition, OffsetAndMetadata> all) {
        return all.entrySet().stream().collect(Collectors.toMap(Map.Entry::getKey, entry ->
                new OffsetAndMetadata(entry.getValue().offset(), entry.getValue().metadata())));
    }
}
