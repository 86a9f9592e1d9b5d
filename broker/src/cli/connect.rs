//! How client commands find the cluster and how long they try.

use std::time::Duration;

use clap::Args;
use thalweg_client::Client;

use super::failure::Failure;

/// Which cluster to ask.
#[derive(Args, Clone, Debug)]
pub(super) struct ConnectFlags {
    /// Brokers to begin with, separated by commas; the others are found through them.
    #[arg(
        short,
        long,
        global = true,
        env = "THALWEG_BROKERS",
        default_value = "127.0.0.1:9092",
        value_name = "HOST:PORT"
    )]
    pub(super) brokers: String,
    /// How long to go on trying before giving up, in seconds.
    #[arg(long, global = true, default_value_t = 30, value_name = "SECONDS")]
    pub(super) timeout: u64,
}

impl ConnectFlags {
    pub(super) async fn connect(&self) -> Result<Client, Failure> {
        let limit = Duration::from_secs(self.timeout.max(1));
        let builder = Client::builder(&self.brokers)
            .client_id("thalweg-cli")
            .connect_timeout(limit.min(Duration::from_secs(10)))
            .request_timeout(limit)
            .operation_timeout(limit);
        Ok(builder.connect().await?)
    }
}
