//! A real broker inside the process of a test, for applications that use [`thalweg_client`] or any
//! other Kafka client.
//!
//! It listens on a free port of the loopback interface and keeps its data in a temporary directory;
//! both are gone with it. It is the broker that production runs, not an imitation, so what holds
//! against it holds there. Any number of them may run at once.
//!
//! ```
//! use thalweg_client::Record;
//! use thalweg_testing::TestBroker;
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = TestBroker::start()?;
//! let client = broker.client().await?;
//! broker.create_topic("greetings", 3).await?;
//! let written = client.producer().build().send(Record::to("greetings").value("hello")).await?;
//! assert_eq!(written.offset, Some(0));
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;

use tempfile::TempDir;
use thalweg::broker::{Broker, StartError};
use thalweg::config::{BrokerConfig, ConfigError, Layers, ServeFlags};
use thalweg_client::admin::{AdminError, ItemError, NewTopic};
use thalweg_client::{Client, ClientError};
use thiserror::Error;

/// A broker that stops, and takes its data with it, when it is dropped.
pub struct TestBroker {
    /// None once it has stopped.
    broker: Option<Broker>,
    address: SocketAddr,
    _data_dir: TempDir,
}

/// The settings of a [`TestBroker`].
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until it starts"]
pub struct TestBrokerBuilder {
    settings: Vec<(String, String)>,
}

/// A broker for a test did not start.
#[derive(Debug, Error)]
pub enum TestBrokerError {
    /// There is no place for its data.
    #[error("no temporary directory: {0}")]
    DataDir(#[from] std::io::Error),
    /// A setting is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A topic for a test was not created.
#[derive(Debug, Error)]
pub enum CreateTopicError {
    /// The broker cannot be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The broker was not asked, or did not answer.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The broker refused.
    #[error(transparent)]
    Refused(#[from] ItemError),
}

impl TestBroker {
    /// Starts a broker with its usual settings. Returns when it serves.
    pub fn start() -> Result<Self, TestBrokerError> {
        TestBroker::builder().start()
    }

    /// Begins with the usual settings.
    pub fn builder() -> TestBrokerBuilder {
        TestBrokerBuilder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as `bootstrap.servers` wants it.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// A client with its usual settings. Cancel-safe.
    pub async fn client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.bootstrap()).await
    }

    /// Creates a topic.
    ///
    /// Cancel-safe, in that nothing is left behind; the topic may be created.
    pub async fn create_topic(&self, name: &str, partitions: i32) -> Result<(), CreateTopicError> {
        let admin = self.client().await?.admin();
        let topic = NewTopic::named(name).partitions(partitions);
        for created in admin.create_topics(&[topic], false).await? {
            created?;
        }
        Ok(())
    }

    /// Stops it, which dropping does too.
    pub fn stop(mut self) {
        self.end();
    }

    /// On a thread of its own: the broker ends runtimes, which cannot be done from within one, as
    /// an asynchronous test is.
    fn end(&mut self) {
        if let Some(broker) = self.broker.take()
            && std::thread::spawn(move || broker.stop()).join().is_err()
            && !std::thread::panicking()
        {
            panic!("the broker has panicked while it stopped");
        }
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        self.end();
    }
}

impl TestBrokerBuilder {
    /// Changes a setting of the broker, by the name it has in its configuration.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the broker. Returns when it serves.
    pub fn start(self) -> Result<TestBroker, TestBrokerError> {
        let data_dir = TempDir::with_prefix("thalweg-testing-")?;
        let flags = ServeFlags {
            data_dir: Some(data_dir.path().to_string_lossy().into_owned()),
            listen: Some("127.0.0.1:0".to_owned()),
            admin_listen: Some("off".to_owned()),
            set: self.settings,
            ..ServeFlags::default()
        };
        let layers = Layers { flags: Some(&flags), ..Layers::default() };
        let config = BrokerConfig::from_layers(layers)?;
        // As with stopping, not on a thread that may be a runtime's.
        let starting = std::thread::spawn(move || Broker::start(config)).join();
        let broker = starting.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let address = broker.address();
        Ok(TestBroker { broker: Some(broker), address, _data_dir: data_dir })
    }
}

/// The examples of the client's documentation, run against a broker.
#[cfg(doctest)]
#[doc = include_str!("../../client/src/guide.md")]
mod client_guide {}
