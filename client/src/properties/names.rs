//! The names of properties: those of Kafka's Java client 4.3 and of librdkafka 2.12, and what each
//! means here.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Bootstrap,
    ClientId,
    RequestTimeout,
    OperationTimeout,
    ConnectTimeout,
    MetadataAge,
    RetryBackoff,
    ReconnectBackoff,
    ResponseBytes,
    Security,
    Acks,
    Compression,
    Linger,
    BatchBytes,
    ProduceBytes,
    BufferMemory,
    BufferKib,
    DeliveryTimeout,
    InFlight,
    Idempotence,
    Partitioner,
    CreateTopics,
    Group,
    InstanceId,
    Rack,
    SessionTimeout,
    HeartbeatInterval,
    MaxPollInterval,
    AutoCommit,
    AutoStore,
    AutoCommitInterval,
    OffsetReset,
    Assignors,
    Protocol,
    ServerAssignor,
    FetchMin,
    FetchMax,
    FetchWait,
    PartitionBytes,
    PrefetchKib,
    CheckCrcs,
    Isolation,
    /// It is accepted, but does nothing, for this reason.
    Nothing(&'static str),
}

const BYTES: Meaning = Meaning::Nothing(
    "no effect: keys and values are bytes here; the application makes sense of them",
);
const HOOK: Meaning = Meaning::Nothing("no effect: classes of other languages cannot be loaded");
const SOCKET: Meaning = Meaning::Nothing("no effect: sockets are left as the system makes them");
const RETRIES: Meaning = Meaning::Nothing(
    "no effect: attempts are limited by time, see delivery.timeout.ms and its like",
);
const QUEUE: Meaning = Meaning::Nothing("no effect: queues are limited by bytes, not by counts");
const POLL: Meaning =
    Meaning::Nothing("no effect: records are given one by one or by batch, not by poll");
const LOGS: Meaning =
    Meaning::Nothing("no effect: the application's `tracing` subscriber decides upon logs");
const OWN_WAY: Meaning = Meaning::Nothing("no effect: it is always so, or done in another way");

const NAMES: &[(&str, Meaning)] = &[
    ("bootstrap.servers", Meaning::Bootstrap),
    ("metadata.broker.list", Meaning::Bootstrap),
    ("client.id", Meaning::ClientId),
    ("request.timeout.ms", Meaning::RequestTimeout),
    ("socket.timeout.ms", Meaning::RequestTimeout),
    ("default.api.timeout.ms", Meaning::OperationTimeout),
    ("socket.connection.setup.timeout.ms", Meaning::ConnectTimeout),
    ("socket.connection.setup.timeout.max.ms", OWN_WAY),
    ("metadata.max.age.ms", Meaning::MetadataAge),
    ("topic.metadata.refresh.interval.ms", Meaning::MetadataAge),
    ("retry.backoff.ms", Meaning::RetryBackoff),
    ("retry.backoff.max.ms", OWN_WAY),
    ("reconnect.backoff.ms", Meaning::ReconnectBackoff),
    ("reconnect.backoff.max.ms", OWN_WAY),
    ("receive.message.max.bytes", Meaning::ResponseBytes),
    ("security.protocol", Meaning::Security),
    ("acks", Meaning::Acks),
    ("request.required.acks", Meaning::Acks),
    ("compression.type", Meaning::Compression),
    ("compression.codec", Meaning::Compression),
    ("linger.ms", Meaning::Linger),
    ("queue.buffering.max.ms", Meaning::Linger),
    ("batch.size", Meaning::BatchBytes),
    ("max.request.size", Meaning::ProduceBytes),
    ("message.max.bytes", Meaning::ProduceBytes),
    ("buffer.memory", Meaning::BufferMemory),
    ("queue.buffering.max.kbytes", Meaning::BufferKib),
    ("delivery.timeout.ms", Meaning::DeliveryTimeout),
    ("message.timeout.ms", Meaning::DeliveryTimeout),
    ("max.in.flight.requests.per.connection", Meaning::InFlight),
    ("max.in.flight", Meaning::InFlight),
    ("enable.idempotence", Meaning::Idempotence),
    ("partitioner.class", Meaning::Partitioner),
    ("partitioner", Meaning::Partitioner),
    ("allow.auto.create.topics", Meaning::CreateTopics),
    ("group.id", Meaning::Group),
    ("group.instance.id", Meaning::InstanceId),
    ("client.rack", Meaning::Rack),
    ("session.timeout.ms", Meaning::SessionTimeout),
    ("heartbeat.interval.ms", Meaning::HeartbeatInterval),
    ("max.poll.interval.ms", Meaning::MaxPollInterval),
    ("enable.auto.commit", Meaning::AutoCommit),
    ("auto.commit.interval.ms", Meaning::AutoCommitInterval),
    ("enable.auto.offset.store", Meaning::AutoStore),
    ("auto.offset.reset", Meaning::OffsetReset),
    ("partition.assignment.strategy", Meaning::Assignors),
    ("group.protocol", Meaning::Protocol),
    ("group.remote.assignor", Meaning::ServerAssignor),
    ("fetch.min.bytes", Meaning::FetchMin),
    ("fetch.max.bytes", Meaning::FetchMax),
    ("fetch.max.wait.ms", Meaning::FetchWait),
    ("fetch.wait.max.ms", Meaning::FetchWait),
    ("max.partition.fetch.bytes", Meaning::PartitionBytes),
    ("fetch.message.max.bytes", Meaning::PartitionBytes),
    ("queued.max.messages.kbytes", Meaning::PrefetchKib),
    ("check.crcs", Meaning::CheckCrcs),
    ("isolation.level", Meaning::Isolation),
    ("key.serializer", BYTES),
    ("value.serializer", BYTES),
    ("key.deserializer", BYTES),
    ("value.deserializer", BYTES),
    ("interceptor.classes", HOOK),
    ("metric.reporters", HOOK),
    ("metrics.num.samples", HOOK),
    ("metrics.recording.level", HOOK),
    ("metrics.sample.window.ms", HOOK),
    ("statistics.interval.ms", HOOK),
    ("plugin.library.paths", HOOK),
    ("send.buffer.bytes", SOCKET),
    ("receive.buffer.bytes", SOCKET),
    ("socket.send.buffer.bytes", SOCKET),
    ("socket.receive.buffer.bytes", SOCKET),
    ("socket.keepalive.enable", SOCKET),
    ("socket.nagle.disable", SOCKET),
    ("socket.max.fails", SOCKET),
    ("connections.max.idle.ms", SOCKET),
    ("broker.address.family", SOCKET),
    ("broker.address.ttl", SOCKET),
    ("client.dns.lookup", SOCKET),
    ("retries", RETRIES),
    ("message.send.max.retries", RETRIES),
    ("max.block.ms", OWN_WAY),
    ("batch.num.messages", QUEUE),
    ("queue.buffering.max.messages", QUEUE),
    ("queued.min.messages", QUEUE),
    ("max.poll.records", POLL),
    ("enable.partition.eof", POLL),
    ("go.events.channel.enable", HOOK),
    ("log_level", LOGS),
    ("debug", LOGS),
    ("log.connection.close", LOGS),
    ("api.version.request", OWN_WAY),
    ("api.version.fallback.ms", OWN_WAY),
    ("broker.version.fallback", OWN_WAY),
    ("enable.metrics.push", OWN_WAY),
    ("exclude.internal.topics", OWN_WAY),
    ("metadata.max.idle.ms", OWN_WAY),
    ("metadata.recovery.strategy", OWN_WAY),
    ("partitioner.ignore.keys", OWN_WAY),
    ("partitioner.adaptive.partitioning.enable", OWN_WAY),
    ("partitioner.availability.timeout.ms", OWN_WAY),
    ("sticky.partitioning.linger.ms", OWN_WAY),
];

/// What a name means; none if neither client knows it.
pub(super) fn meaning(name: &str) -> Option<Meaning> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

/// Why a name that others know cannot be taken; none if nobody knows it.
pub(super) fn unsupported(name: &str) -> Option<&'static str> {
    let is_of = |family: &str| name.starts_with(family);
    if is_of("ssl.") || is_of("sasl.") || is_of("oauthbearer.") {
        Some("this client speaks neither TLS nor SASL yet")
    } else if is_of("transaction") {
        Some("this client has no transactions yet")
    } else {
        None
    }
}

/// How many suggestions help rather than confuse.
const NEAREST_MAX: usize = 3;

/// The names that are likest.
pub(super) fn nearest(name: &str) -> Vec<&'static str> {
    let mut names: Vec<(usize, &str)> =
        NAMES.iter().map(|(known, _)| (distance(name, known), *known)).collect();
    names.sort_unstable();
    names.into_iter().take(NEAREST_MAX).map(|(_, known)| known).collect()
}

/// How many letters must be changed, added or removed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_stands_twice_and_slips_are_recognised() {
        for (at, (name, _)) in NAMES.iter().enumerate() {
            assert!(NAMES[..at].iter().all(|(before, _)| before != name), "{name}");
        }
        assert_eq!(nearest("bootstrap.server")[0], "bootstrap.servers");
        assert_eq!(nearest("linger_ms")[0], "linger.ms");
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
