//! What hostile and broken clients send. Each gets the answer it deserves, or none; and whatever
//! they do, other clients' records keep being acknowledged, and are all there in the end.

use std::io::{ErrorKind, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use bytes::Bytes;
use thalweg_protocol::batch::{BatchHeader, BatchOptions, BatchView, HEADER_LEN};
use thalweg_protocol::messages::{ApiVersionsRequest, FetchRequest};
use thalweg_protocol::{ApiKey, ErrorCode, SERVED, encode_request};
use thalweg_tests::broker::{LocalBroker, allow_open_files};
use thalweg_tests::load::{self, Load};
use thalweg_tests::topic::{self, batch, fetch, produce, produce_acks};
use thalweg_tests::wait::eventually;
use thalweg_tests::wire::Wire;

const VICTIM: &str = "victim";
const PARTITIONS: usize = 2;

/// Runs `attack` on a broker whose other clients must not notice.
fn unharmed(settings: &[(&str, &str)], attack: impl FnOnce(&LocalBroker)) {
    let dir = tempfile::tempdir().unwrap();
    let settings = [&[("shards", "2")], settings].concat();
    let broker = LocalBroker::start(dir.path(), &settings);
    let mut wire = broker.connect();
    topic::create(&mut wire, VICTIM, 2, &[]);
    let load = Load::start(broker.address(), VICTIM, PARTITIONS);
    load.go_on_for(20);
    attack(&broker);
    load.go_on_for(20);
    let acknowledged = load.finish();
    assert_eq!(acknowledged.failures, [""; 0]);
    load::verify(&mut wire, VICTIM, &acknowledged);
    drop(wire);
    broker.stop();
}

/// A stream of numbers that is the same in every run (SplitMix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// The broker may answer or close, but must do so soon.
fn until_closed(wire: &mut Wire) {
    // The peer may have closed with our bytes unread.
    let _ = wire.stream().shutdown(Shutdown::Write);
    loop {
        match wire.receive_frame() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("neither"),
            Err(_) => return,
        }
    }
}

#[test]
fn random_bytes() {
    unharmed(&[], |broker| {
        let mut noise = Noise(1);
        for len in [1, 2, 3, 4, 5, 60, 1000, 100_000] {
            let mut wire = broker.connect();
            // The broker may close, rightly, before it has been sent everything.
            let _ = wire.send_raw(&noise.bytes(len));
            until_closed(&mut wire);
        }
    });
}

#[test]
fn random_bodies_behind_valid_headers() {
    unharmed(&[], |broker| {
        let mut noise = Noise(2);
        for api in SERVED.iter().filter(|api| !decides_about_everything(api.key)) {
            for version in api.versions.clone() {
                for len in [0, 1, 7, 40, 300] {
                    let mut wire = broker.connect();
                    let body = noise.bytes(len);
                    wire.send_frame(&[header(api.key.into(), version), body].concat()).unwrap();
                    until_closed(&mut wire);
                }
            }
        }
    });
}

/// No random bytes should hit on the name of the victim, but an empty list may mean all topics.
fn decides_about_everything(key: ApiKey) -> bool {
    matches!(key, ApiKey::DeleteTopics | ApiKey::DeleteRecords)
}

#[test]
fn hostile_counts() {
    unharmed(&[], |broker| {
        for count in [i32::MAX, i32::MAX - 1, 1 << 28, 1 << 20, -2, i32::MIN] {
            let mut wire = broker.connect();
            wire.send_frame(&[header(3, 1), count.to_be_bytes().to_vec()].concat()).unwrap();
            wire.expect_close();
        }
        // The compact form: one more than the count, as a varint.
        for count in [&[0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 10], &[0x80, 0x80]] {
            let mut wire = broker.connect();
            wire.send_frame(&[header(3, 12), vec![0], count.to_vec()].concat()).unwrap();
            wire.expect_close();
        }
    });
}

#[test]
fn impossible_frame_sizes() {
    unharmed(&[("limits.request_bytes_max", "1MiB")], |broker| {
        for size in [0, -1, i32::MIN, i32::MAX, (1 << 20) + 1] {
            let mut wire = broker.connect();
            wire.send_raw(&size.to_be_bytes()).unwrap();
            wire.expect_close();
        }
        // "GET " is a size, too.
        let mut wire = broker.connect();
        wire.send_raw(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        wire.expect_close();
    });
}

#[test]
fn half_a_frame_that_stalls() {
    unharmed(&[("limits.frame_stall_ms", "200")], |broker| {
        let halves: [&[u8]; 4] = [&[0], &[0, 0, 0], &[0, 0, 0, 9], &[0, 0, 0, 9, 0, 18, 0]];
        let mut wires = halves.map(|half| {
            let mut wire = broker.connect();
            wire.send_raw(half).unwrap();
            wire
        });
        wires.iter_mut().for_each(Wire::expect_close);
    });
}

#[test]
fn a_frame_that_only_trickles_in() {
    unharmed(&[("limits.frame_stall_ms", "200")], |broker| {
        let mut wire = broker.connect();
        wire.send_raw(&1_000_000_i32.to_be_bytes()).unwrap();
        let begun = Instant::now();
        while wire.send_raw(&[0]).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(8), "the broker still takes bytes");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
}

#[test]
fn frames_that_promise_all_the_memory_there_is() {
    let settings = [
        ("limits.frame_stall_ms", "300"),
        ("limits.request_bytes_max", "1MiB"),
        ("limits.request_memory_bytes", "2MiB"),
    ];
    unharmed(&settings, |broker| {
        let mut wires: Vec<Wire> = (0..20).map(|_| broker.connect()).collect();
        for wire in &mut wires {
            wire.send_raw(&(1_i32 << 20).to_be_bytes()).unwrap();
        }
        wires.iter_mut().for_each(Wire::expect_close);
    });
}

/// The batch with its header changed, and a CRC that fits again.
fn rewritten(batch: &Bytes, change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let original = BatchHeader::parse(batch).expect("a batch");
    let mut header = original;
    change(&mut header);
    header.derive_crc(&original);
    [&header.write()[..], &batch[HEADER_LEN..]].concat().into()
}

fn with_byte(batch: &Bytes, position: usize, change: impl FnOnce(u8) -> u8) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[position] = change(bytes[position]);
    bytes.into()
}

#[test]
fn batches_that_must_not_enter_the_log() {
    let large = ["x".repeat(3000)];
    unharmed(&[], |broker| {
        let mut wire = broker.connect();
        topic::create(&mut wire, "target", 1, &[("max.message.bytes", "2000")]);
        let good = batch(&["a", "b", "c"]);
        let control = BatchOptions { control: true, ..BatchOptions::default() };
        let refused = [
            ("a body of another CRC", with_byte(&good, good.len() - 1, |byte| byte ^ 1), 2),
            ("another CRC", with_byte(&good, 17, |byte| byte ^ 0x80), 2),
            ("half a batch", good.slice(..good.len() / 2 + HEADER_LEN / 2), 2),
            ("half a header", good.slice(..40), 2),
            ("nothing", Bytes::new(), 2),
            ("magic 1", with_byte(&good, 16, |_| 1), 87),
            ("magic 0", with_byte(&good, 16, |_| 0), 87),
            ("magic 3", with_byte(&good, 16, |_| 3), 87),
            ("two batches", [&good[..], &good].concat().into(), 87),
            ("bytes behind the batch", [&good[..], &[0]].concat().into(), 87),
            ("too large", batch(&large), 10),
            ("no records", batch::<&str>(&[]), 87),
            ("a control batch", topic::batch_with(&["x"], 0, &control), 87),
            (
                "fewer records than said",
                rewritten(&good, |header| {
                    header.record_count += 1;
                    header.last_offset_delta += 1;
                }),
                87,
            ),
            (
                "more records than said",
                rewritten(&good, |header| {
                    header.record_count -= 1;
                    header.last_offset_delta -= 1;
                }),
                87,
            ),
            (
                "no such codec",
                rewritten(&good, |header| {
                    let bits = header.attributes.bits() | 7;
                    header.attributes = thalweg_protocol::batch::Attributes::from_bits(bits);
                }),
                87,
            ),
            (
                "one of our own entries",
                rewritten(&good, |header| {
                    header.attributes = header.attributes.with_internal(true);
                }),
                87,
            ),
        ];
        for (what, records, code) in refused {
            let outcome = produce(&mut wire, "target", 0, records).unwrap();
            assert_eq!(outcome.error_code, code, "{what}: {:?}", outcome.error_message);
            assert_eq!(outcome.base_offset, -1, "{what}");
            assert!(outcome.error_message.is_some(), "{what}");
        }
        let outcome = produce(&mut wire, "target", 0, good).unwrap();
        assert_eq!((outcome.error_code, outcome.base_offset), (0, 0));
    });
}

#[test]
fn offsets_topics_and_acks_that_do_not_exist() {
    unharmed(&[], |broker| {
        let mut wire = broker.connect();
        topic::create(&mut wire, "target", 1, &[]);
        let records = batch(&["a", "b", "c"]);
        assert_eq!(produce(&mut wire, "target", 0, records.clone()).unwrap().error_code, 0);

        let out_of_range = ErrorCode::OffsetOutOfRange.code();
        for offset in [-1, -2, i64::MIN, 4, 1000, i64::MAX] {
            let data = fetch(&mut wire, "target", 0, offset).unwrap();
            assert_eq!(data.error_code, out_of_range, "offset {offset}");
            assert_eq!(data.records.map(|records| records.len()), Some(0), "offset {offset}");
        }
        let at_end = fetch(&mut wire, "target", 0, 3).unwrap();
        assert_eq!((at_end.error_code, at_end.high_watermark), (0, 3));

        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        for (topic, partition) in [
            ("nowhere", 0),
            ("target", 1),
            ("target", -1),
            ("target", i32::MAX),
            ("..", 0),
            ("", 0),
        ] {
            let produced = produce(&mut wire, topic, partition, records.clone()).unwrap();
            assert_eq!(produced.error_code, unknown, "{topic}-{partition}");
            let fetched = fetch(&mut wire, topic, partition, 0).unwrap();
            assert_eq!(fetched.error_code, unknown, "{topic}-{partition}");
        }
        for acks in [7, 2, -2, i16::MAX] {
            let outcome = produce_acks(&mut wire, "target", 0, records.clone(), acks).unwrap();
            assert_eq!(outcome.error_code, ErrorCode::InvalidRequiredAcks.code(), "acks={acks}");
        }
    });
}

#[test]
fn without_acks_there_is_silence_until_something_fails() {
    unharmed(&[], |broker| {
        let mut wire = broker.connect();
        topic::create(&mut wire, "target", 1, &[]);
        let good = batch(&["a"]);
        wire.send(&topic::produce_request("target", 0, good.clone(), 0), 9).unwrap();
        wire.send(&topic::produce_request("target", 0, good.clone(), 0), 9).unwrap();
        // The next thing that arrives is the answer to the next request.
        wire.call(&ApiVersionsRequest::default(), 2).unwrap();
        let broken = with_byte(&good, good.len() - 1, |byte| byte ^ 1);
        wire.send(&topic::produce_request("target", 0, broken, 0), 9).unwrap();
        wire.expect_close();
        // Nobody waited for the batches to be committed.
        let mut wire = broker.connect();
        let values = eventually("the batches are there", || {
            let values = topic::read_all(&mut wire, "target", 0, 0);
            (values.len() >= 2).then_some(values)
        });
        assert_eq!(values, ["a", "a"]);
    });
}

#[test]
fn two_thousand_idle_connections() {
    const CONNECTIONS: usize = 2000;
    allow_open_files(3 * CONNECTIONS as u64).expect("files can be opened");
    unharmed(&[], |broker| {
        let mut idle: Vec<Wire> = (0..CONNECTIONS).map(|_| broker.connect()).collect();
        for wire in idle.iter_mut().step_by(100) {
            wire.call(&ApiVersionsRequest::default(), 2).unwrap();
        }
    });
}

#[test]
fn connections_beyond_the_limit() {
    // The load has one for each partition, and the test itself has another.
    unharmed(&[("limits.connections_max", "10")], |broker| {
        let mut wires: Vec<Wire> = (0..30).map(|_| broker.connect()).collect();
        let served =
            wires.iter_mut().filter_map(|wire| wire.call(&ApiVersionsRequest::default(), 2).ok());
        assert_eq!(served.count(), 10 - PARTITIONS - 1);
    });
}

#[test]
fn ten_thousand_fetches_whose_answers_nobody_reads() {
    unharmed(&[], |broker| {
        let mut wire = broker.connect();
        topic::create(&mut wire, "target", 1, &[]);
        let megabyte = batch(&vec!["x".repeat(10_000); 90]);
        assert_eq!(produce(&mut wire, "target", 0, megabyte).unwrap().error_code, 0);

        let deaf = broker.connect();
        deaf.stream().set_nonblocking(true).unwrap();
        let fetch: FetchRequest = topic::fetch_request("target", 0, 0);
        let frame = encode_request(1, None, &fetch, 12).unwrap().into_bytes();
        let mut sent = 0;
        while sent < 10_000 {
            match deaf.stream().write(&frame) {
                Ok(written) if written == frame.len() => sent += 1,
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("after {sent}: {error}"),
            }
        }
        assert!(sent > 1000, "the kernel takes more than {sent} requests");
        // The load goes on while the broker sits on answers for the deaf one.
        let values = topic::read_all(&mut wire, "target", 0, 0);
        assert_eq!(values.len(), 90);
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    unharmed(&[], |broker| {
        let mut wire = broker.connect();
        topic::create(&mut wire, "target", 3, &[]);
        let mut expected = Vec::new();
        for number in 0..300 {
            let partition = number % 3;
            let request = topic::produce_request("target", partition, batch(&["x"]), -1);
            expected.push((wire.send(&request, 9).unwrap(), i64::from(number / 3)));
        }
        for (id, offset) in expected {
            let response =
                wire.receive::<thalweg_protocol::messages::ProduceRequest>(id, 9).unwrap();
            let outcome = &response.responses[0].partition_responses[0];
            assert_eq!((outcome.error_code, outcome.base_offset), (0, offset));
        }
    });
}

#[test]
fn a_bomb_of_compressed_records() {
    unharmed(&[], |broker| {
        let mut wire = broker.connect();
        topic::create(&mut wire, "target", 1, &[("compression.type", "uncompressed")]);
        let options = BatchOptions {
            codec: thalweg_protocol::compression::Codec::Zstd,
            ..BatchOptions::default()
        };
        let bomb = topic::batch_with(&[vec![0_u8; 200 << 20]], topic::now_ms(), &options);
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        BatchView::parse(bomb.clone()).unwrap().verify_crc().unwrap();
        let outcome = produce(&mut wire, "target", 0, bomb).unwrap();
        assert!(matches!(outcome.error_code, 10 | 87), "{}", outcome.error_code);
    });
}

/// A request header without client id and without tagged fields.
fn header(key: i16, version: i16) -> Vec<u8> {
    let (key, version) = (key.to_be_bytes(), version.to_be_bytes());
    [&key[..], &version, &1_i32.to_be_bytes(), &(-1_i16).to_be_bytes()].concat()
}
