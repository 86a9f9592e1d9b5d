//! A broker in this process, and the certainty that it did not panic.
//!
//! The broker survives a panic that a request causes, and to the client it looks like any other
//! closed connection. Tests must not survive it: every panic of a shard's thread is counted, and
//! [`LocalBroker::stop`] wants to see none.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, panic, thread};

use thalweg::broker::{Broker, StartError};
use thalweg::config::{BrokerConfig, Layers, ServeFlags};
use thalweg_storage::data_dir::DataDirError;

use crate::wait::eventually;
use crate::wire::Wire;

static SHARD_PANICS: AtomicUsize = AtomicUsize::new(0);

/// A broker on a free port, without an admin server.
pub struct LocalBroker {
    broker: Option<Broker>,
    address: SocketAddr,
}

impl LocalBroker {
    /// Starts a broker on `data_dir` with `settings`, which are written as after `--set`. Returns
    /// when it leads its partitions.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(data_dir: &Path, settings: &[(&str, &str)]) -> LocalBroker {
        count_shard_panics();
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let flags = ServeFlags {
            data_dir: Some(data_dir.to_str().expect("the directory has a plain name").to_owned()),
            listen: Some("127.0.0.1:0".to_owned()),
            admin_listen: Some("off".to_owned()),
            set: settings.iter().map(owned).collect(),
            ..ServeFlags::default()
        };
        let layers = Layers { flags: Some(&flags), ..Layers::default() };
        let config = BrokerConfig::from_layers(layers).expect("the test's settings are valid");
        let broker = start_once_free(&config);
        LocalBroker { address: broker.address(), broker: Some(broker) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection to it.
    ///
    /// # Panics
    /// If the broker takes none.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address).expect("the broker takes connections")
    }

    /// Stops the broker cleanly.
    ///
    /// # Panics
    /// If any broker of this process has panicked.
    pub fn stop(mut self) {
        self.end();
        let panics = SHARD_PANICS.load(Ordering::SeqCst);
        assert_eq!(panics, 0, "a broker has panicked, see stderr");
    }

    fn end(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
        }
    }
}

impl Drop for LocalBroker {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process that another test is just spawning has all our files open until it executes its
/// program, and so may hold the lock of a directory whose broker has stopped.
fn start_once_free(config: &BrokerConfig) -> Broker {
    eventually("the data directory is free", || match Broker::start(config.clone()) {
        Err(StartError::DataDir(DataDirError::InUse { .. })) => None,
        started => Some(started.expect("the broker starts")),
    })
}

fn count_shard_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if thread::current().name().is_some_and(|name| name.starts_with("shard-")) {
                SHARD_PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
    });
}

/// Lets this process open `files` files at once.
pub fn allow_open_files(files: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local structure of the type that the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_cur.max(files);
    limit.rlim_max = limit.rlim_max.max(files);
    // SAFETY: the pointer is to a local structure of the type that the call reads.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
