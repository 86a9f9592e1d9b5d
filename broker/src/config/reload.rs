//! Reading the file again while the broker runs (SIGHUP).
//!
//! What the environment and the flags set stays; what the file no longer sets falls back to its
//! default. A setting that only counts at start keeps its running value, and is reported.

use std::path::Path;

use super::BrokerConfig;
use super::error::ConfigError;
use super::kafka_names::{BROKER_SETTINGS, Changeable};
use super::keys::KEYS;
use super::load::{Layers, read};
use super::row::Row;

/// What a reload came to.
#[derive(Debug)]
pub struct Reload {
    /// The configuration to run with from now on.
    pub config: BrokerConfig,
    /// The settings that changed and count at once.
    pub changed: Vec<&'static str>,
    /// The settings that the file changed but that count only after a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Reads `path` again. On an error the broker goes on with `old`.
pub fn reload(old: &BrokerConfig, path: &Path) -> Result<Reload, ConfigError> {
    let content = read(path)?;
    old.reloaded(path, &content)
}

impl BrokerConfig {
    /// This configuration with the file's settings replaced by those of `content`.
    pub(super) fn reloaded(&self, path: &Path, content: &str) -> Result<Reload, ConfigError> {
        let mut config =
            Self::unchecked(Layers { file: Some((path, content)), ..Layers::default() })?;
        for (name, entry) in self.entries.iter().filter(|(_, entry)| !entry.origin.is_file()) {
            let row = Row::find(name).expect("an entry is made from a row");
            config.set(row, &entry.text, entry.origin.clone())?;
        }
        config.kafka.keep_dynamic(&self.kafka);
        config.check()?;

        let mut changed = Vec::new();
        let mut needs_restart = Vec::new();
        for key in KEYS {
            let (running, wanted) = ((key.show)(self), (key.show)(&config));
            if running == wanted {
                continue;
            }
            if key.live {
                changed.push(key.name);
            } else {
                needs_restart.push(key.name);
                (key.apply)(&mut config, &running).expect("a value shown reads back");
            }
        }
        for setting in BROKER_SETTINGS {
            if self.kafka.get(setting.name) == config.kafka.get(setting.name) {
                continue;
            }
            if setting.change == Changeable::ByRestart {
                needs_restart.push(setting.name);
                config.kafka.keep_static(setting.name, &self.kafka);
            } else {
                changed.push(setting.name);
            }
        }
        for name in &needs_restart {
            match self.entries.get(name) {
                Some(entry) => config.entries.insert(name, entry.clone()),
                None => config.entries.remove(name),
            };
        }
        Ok(Reload { config, changed, needs_restart })
    }
}
