//! How records are written: the options that `produce` and `bench produce` share.

use std::time::Duration;

use clap::{Args, ValueEnum};
use thalweg_client::producer::{Acks, ProducerBuilder};
use thalweg_client::{Client, Codec};

use super::pairs::{bytes, duration};

/// How records are written.
#[derive(Args, Clone, Debug)]
pub(super) struct WriteFlags {
    /// When a record counts as written.
    #[arg(long, value_enum, default_value_t = AcksFlag::All, value_name = "ACKS")]
    acks: AcksFlag,
    /// How batches are compressed.
    #[arg(short = 'z', long, value_enum, default_value_t = CodecFlag::None, value_name = "CODEC")]
    compression: CodecFlag,
    /// The size at which a batch is full [default: 128KiB].
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    batch_bytes: Option<usize>,
    /// How long a record waits for others to share its batch [default: while one is under way].
    #[arg(long, value_name = "TIME", value_parser = duration)]
    linger: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum AcksFlag {
    /// When as many replicas have it as the topic demands.
    #[value(alias = "-1")]
    All,
    /// When the partition's leader has it.
    #[value(name = "1")]
    Leader,
    /// When it is sent: nobody notices if it is lost.
    #[value(name = "0")]
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CodecFlag {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl WriteFlags {
    pub(super) fn producer(&self, client: &Client) -> ProducerBuilder {
        let acks = match self.acks {
            AcksFlag::All => Acks::All,
            AcksFlag::Leader => Acks::Leader,
            AcksFlag::None => Acks::None,
        };
        let codec = match self.compression {
            CodecFlag::None => Codec::None,
            CodecFlag::Gzip => Codec::Gzip,
            CodecFlag::Snappy => Codec::Snappy,
            CodecFlag::Lz4 => Codec::Lz4,
            CodecFlag::Zstd => Codec::Zstd,
        };
        let mut builder = client.producer().acks(acks).compression(codec);
        if let Some(bytes) = self.batch_bytes {
            builder = builder.batch_bytes(bytes).request_bytes_max(bytes.max(1024 * 1024));
        }
        if let Some(linger) = self.linger {
            builder = builder.linger(linger);
        }
        builder
    }
}
