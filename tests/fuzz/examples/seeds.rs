//! Writes the first inputs of every target below `seeds/`: `cargo run --example seeds`, here.
//!
//! They are made up from a fixed seed, so that running this again changes a file only when the
//! protocol or a target has changed.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;
use thalweg_protocol::arbitrary::{Arbitrary, Source, arbitrary};
use thalweg_protocol::batch::{BatchBuilder, BatchOptions};
use thalweg_protocol::compression::{Codec, compress};
use thalweg_protocol::{
    ApiKey, Message, Request, SERVED, encode_request, encode_response, for_each_api, messages,
};

fn main() -> io::Result<()> {
    macro_rules! messages_of {
        ($($api:ident: $request:ident, $response:ident;)+) => {
            $(
                request::<messages::$request>(ApiKey::$api)?;
                response::<messages::$response>(ApiKey::$api)?;
            )+
        };
    }
    for_each_api!(messages_of);
    for codec in Codec::ALL {
        let batches = [batch(codec, 1), batch(codec, 40)].concat();
        write("batches", codec.name(), &batches)?;
        let mut compressed = vec![u8::from(codec), 13];
        compress(codec, None, &batches, &mut compressed).map_err(io::Error::other)?;
        write("codecs", codec.name(), &compressed)?;
    }
    for (act, name) in (0..).zip(["flip", "flip", "cut", "zero", "grow", "move", "lose", "swap"]) {
        let acts = [act, 1, 0, 90, 0, 200, 1];
        write("votes", name, &acts)?;
        write("recovery", name, &[&[act], &acts[..]].concat())?;
    }
    Ok(())
}

/// An input's two choosing bytes, for the newest version, and that version.
fn chosen(key: ApiKey) -> ([u8; 2], i16) {
    let index = SERVED.iter().position(|api| api.key == key).expect("served");
    let versions = &SERVED[index].versions;
    let choice = u8::try_from(versions.end() - versions.start()).expect("few versions");
    ([u8::try_from(index).expect("few APIs"), choice], *versions.end())
}

fn request<R: Request + Arbitrary>(key: ApiKey) -> io::Result<()> {
    let (choice, version) = chosen(key);
    let request: R = arbitrary(&mut Source::new(1), version).expect("a version");
    let frame = encode_request(7, Some("seed".into()), &request, version);
    let frame = frame.map_err(io::Error::other)?.into_bytes();
    // Length, key and version are left out: the target puts the last two in.
    write("frames", key.name(), &[&choice, &frame[8..]].concat())
}

fn response<M: Message + Arbitrary>(key: ApiKey) -> io::Result<()> {
    let (choice, version) = chosen(key);
    let response: M = arbitrary(&mut Source::new(1), version).expect("a version");
    let frame = encode_response(7, &response, version);
    let frame = frame.map_err(io::Error::other)?.into_bytes();
    write("responses", key.name(), &[&choice, &frame[4..]].concat())
}

fn batch(codec: Codec, records: i64) -> Bytes {
    let mut builder = BatchBuilder::with_capacity(256);
    for record in 0..records {
        let value = format!("value {record}");
        let key = (record % 2 == 0).then_some(&b"key"[..]);
        builder.append(1_000 + record, key, Some(value.as_bytes()), &[]).expect("a small record");
    }
    let options = BatchOptions { codec, ..BatchOptions::default() };
    builder.finish(&options).expect("a small batch")
}

fn write(target: &str, name: &str, input: &[u8]) -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), input)
}
