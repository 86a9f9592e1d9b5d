//! Both sides of a handshake over a pipe: what each learns, and how strangers fare.

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

fn hello() -> Hello {
    Hello {
        version: VERSION,
        purpose: Purpose::Raft { shard: 3 },
        cluster_id: Some("a-cluster".to_owned()),
        node: 2,
        disk: Uuid::from_u128(2),
        address: "broker-2.example.com:9192".to_owned(),
    }
}

fn welcomed() -> Welcome {
    let founder = Founder { node: 1, disk: Uuid::from_u128(1), address: "[::1]:9192".to_owned() };
    Welcome {
        version: VERSION,
        node: 1,
        disk: founder.disk,
        cluster_id: Some("a-cluster".to_owned()),
        voters: vec![founder],
        seeds: vec!["[::1]:9192".to_owned()],
    }
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let (mut caller, mut called) = duplex(16);
    let answer = async {
        let heard = receive(&mut called).await.expect("a broker calls");
        welcome(&mut called, &welcomed()).await.expect("the caller listens");
        heard
    };
    let hello = hello();
    let (answered, heard) = tokio::join!(greet(&mut caller, &hello), answer);
    assert_eq!(answered.expect("welcome"), welcomed());
    assert_eq!(heard, hello);
}

#[tokio::test]
async fn a_refused_caller_reads_why() {
    let (mut caller, mut called) = duplex(1024);
    refuse(&mut called, "because").await.expect("the caller listens");
    let refused = greet(&mut caller, &hello()).await;
    assert!(matches!(refused, Err(HandshakeError::Refused(reason)) if reason == "because"));
}

#[tokio::test]
async fn another_version_is_refused_even_if_nothing_else_of_it_is_understood() {
    let (mut caller, mut called) = duplex(1024);
    const NEXT: u16 = VERSION + 1;
    let future = format!(r#"{{"version": {NEXT}, "greetings": []}}"#).into();
    frame::write(&mut caller, kind::HELLO, &[future]).await.expect("a pipe takes it");
    assert!(matches!(receive(&mut called).await, Err(HandshakeError::OtherVersion(NEXT))));
    let (kind, payload) = frame::read(&mut caller, 1024).await.expect("an answer");
    let Refused { reason } = serde_json::from_slice(&payload).expect("JSON");
    assert_eq!(kind, kind::REFUSED);
    let (ours, theirs) = (format!("version {VERSION}"), format!("version {NEXT}"));
    assert!(reason.contains(&ours) && reason.contains(&theirs), "{reason}");
}

#[tokio::test]
async fn fields_that_a_newer_broker_adds_are_passed_over() {
    let (mut caller, mut called) = duplex(1024);
    let mut value = serde_json::to_value(hello()).expect("JSON");
    value["rack"] = "north".into();
    let payload = serde_json::to_vec(&value).expect("JSON").into();
    frame::write(&mut caller, kind::HELLO, &[payload]).await.expect("a pipe takes it");
    assert_eq!(receive(&mut called).await.expect("understood"), hello());
}

#[tokio::test]
async fn strangers_are_known_as_such_and_get_no_answer() {
    // The first bytes of a Kafka client (ApiVersions 3), of a TLS client, and of a browser.
    let kafka =
        b"\x00\x00\x00\x1b\x00\x12\x00\x03\x00\x00\x00\x01\x00\x07rdkafka\x00\x08rdkafka\x00";
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let http = b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n";
    for first in [&kafka[..], tls, http] {
        let (mut caller, mut called) = duplex(1024);
        caller.write_all(first).await.expect("a pipe takes it");
        // What is missing of the frame that a Kafka client's size announces.
        caller.write_all(&[0; 64]).await.expect("a pipe takes it");
        let error = receive(&mut called).await.expect_err("no broker");
        assert!(error.is_strangers(), "{error}");
        drop(called);
        let mut answer = Vec::new();
        caller.read_to_end(&mut answer).await.expect("the end");
        assert!(answer.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_does_not_hold_anybody() {
    let (mut caller, mut called) = duplex(1024);
    assert!(matches!(receive(&mut called).await, Err(HandshakeError::TimedOut)));
    assert!(matches!(greet(&mut caller, &hello()).await, Err(HandshakeError::TimedOut)));
}

#[tokio::test]
async fn every_damaged_hello_is_an_error() {
    let mut sent = Vec::new();
    send(&mut sent, kind::HELLO, &hello()).await.expect("a buffer takes it");
    for cut in 0..sent.len() {
        let (mut caller, mut called) = duplex(1024);
        caller.write_all(&sent[..cut]).await.expect("a pipe takes it");
        drop(caller);
        assert!(receive(&mut called).await.is_err(), "cut at {cut}");
    }
    for at in 0..sent.len() {
        let (mut caller, mut called) = duplex(1024);
        let mut flipped = sent.clone();
        flipped[at] ^= 0x10;
        caller.write_all(&flipped).await.expect("a pipe takes it");
        drop(caller);
        assert!(receive(&mut called).await.is_err(), "byte {at}");
    }
}
