//! Responses as a client reads them, from a broker that cannot be trusted.
//!
//! The first two bytes choose the API and the version that the client has asked for; the rest is
//! the frame. A body that decodes must be written again in exactly the length foretold, and mean
//! the same when read back.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::{Corpus, fuzz_target};
use thalweg_protocol::{
    ApiKey, Message, Reader, ResponseHeader, SERVED, encode_response, for_each_api, messages,
};

fuzz_target!(|input: &[u8]| -> Corpus {
    let [api, version, frame @ ..] = input else { return Corpus::Reject };
    let api = &SERVED[usize::from(*api) % SERVED.len()];
    let span = i16::try_from(api.versions.clone().count()).expect("few versions");
    let version = api.versions.start() + i16::from(*version) % span;
    let mut reader = Reader::new(Bytes::copy_from_slice(frame));
    let Ok(header) = ResponseHeader::decode(&mut reader, api.key, version) else {
        return Corpus::Keep;
    };
    macro_rules! body {
        ($($api:ident: $request:ident, $response:ident;)+) => {
            match api.key {
                $(ApiKey::$api => read_and_write::<messages::$response>(reader, &header, version),)+
                _ => unreachable!("only served APIs are drawn"),
            }
        };
    }
    for_each_api!(body);
    Corpus::Keep
});

fn read_and_write<M: Message>(mut reader: Reader, header: &ResponseHeader, version: i16) {
    let Ok(response) = M::decode(&mut reader, version) else { return };
    let len = response.encoded_len(version).expect("what was decoded can be encoded");
    let written = write(&response, header, version);
    let mut reader = Reader::new(written.slice(4..));
    let again = ResponseHeader::decode(&mut reader, M::API_KEY, version).expect("our own header");
    assert_eq!(again.correlation_id, header.correlation_id);
    assert_eq!(reader.remaining(), len, "the length foretold");
    // Written in fewer bytes it may exceed the allowance, which is in proportion to them.
    if let Ok(response) = M::decode(&mut reader, version) {
        assert_eq!(write(&response, header, version), written, "the same message again");
    }
}

fn write<M: Message>(response: &M, header: &ResponseHeader, version: i16) -> Bytes {
    encode_response(header.correlation_id, response, version)
        .expect("what was decoded can be encoded")
        .into_bytes()
}
