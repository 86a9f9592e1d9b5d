//! Requests as a broker reads them: header, then body.
//!
//! The first two bytes choose an API and one of its versions, so that every input reaches a
//! decoder; the rest is the frame after those two numbers. A body that decodes must be written
//! again in exactly the length foretold, and mean the same when read back.

#![no_main]

use bytes::{BufMut, Bytes, BytesMut};
use libfuzzer_sys::{Corpus, fuzz_target};
use thalweg_protocol::{
    ApiKey, Reader, Request, RequestHeader, SERVED, encode_request, for_each_api, messages,
};

fuzz_target!(|input: &[u8]| -> Corpus {
    let [api, version, rest @ ..] = input else { return Corpus::Reject };
    let api = &SERVED[usize::from(*api) % SERVED.len()];
    let span = i16::try_from(api.versions.clone().count()).expect("few versions");
    let mut frame = BytesMut::with_capacity(4 + rest.len());
    frame.put_i16(i16::from(api.key));
    frame.put_i16(api.versions.start() + i16::from(*version) % span);
    frame.put_slice(rest);
    serve(frame.freeze());
    // The whole input as a frame too: keys and versions that nobody serves.
    let _ = RequestHeader::decode(&mut Reader::new(Bytes::copy_from_slice(input)));
    Corpus::Keep
});

fn serve(frame: Bytes) {
    let mut reader = Reader::new(frame);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    macro_rules! body {
        ($($api:ident: $request:ident, $response:ident;)+) => {
            match header.api_key {
                $(ApiKey::$api => read_and_write::<messages::$request>(reader, &header),)+
                _ => unreachable!("only served APIs have a header"),
            }
        };
    }
    for_each_api!(body);
}

fn read_and_write<R: Request>(mut reader: Reader, header: &RequestHeader) {
    let version = header.api_version;
    let Ok(request) = R::decode(&mut reader, version) else { return };
    let len = request.encoded_len(version).expect("what was decoded can be encoded");
    let written = write(&request, header);
    let mut reader = Reader::new(written.slice(4..));
    let again = RequestHeader::decode(&mut reader).expect("our own header");
    assert_eq!(again.correlation_id, header.correlation_id);
    assert_eq!(again.client_id, header.client_id);
    assert_eq!(reader.remaining(), len, "the length foretold");
    // Written in fewer bytes it may exceed the allowance, which is in proportion to them.
    if let Ok(request) = R::decode(&mut reader, version) {
        assert_eq!(write(&request, header), written, "the same message again");
    }
}

fn write<R: Request>(request: &R, header: &RequestHeader) -> Bytes {
    let client_id = header.client_id.clone();
    encode_request(header.correlation_id, client_id, request, header.api_version)
        .expect("what was decoded can be encoded")
        .into_bytes()
}
