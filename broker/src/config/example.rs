//! The annotated example file: every setting with its meaning and its default, commented out.
//!
//! Prose lines begin with `# `, settings with `#` alone, so that dropping the `#` sets them. The
//! file in `docs/operations/thalweg.toml` is this text; a test compares the two.

use super::BrokerConfig;
use super::kafka_names::{BROKER_SETTINGS, BrokerSetting, Changeable};
use super::keys::KEYS;
use super::units::Unit;
use crate::topic_config::broker_documentation;

const WIDTH: usize = 96;

const HEADER: &str = "\
# Settings of a Thalweg broker: thalweg serve --config thalweg.toml
#
# Every setting is optional; what stands here, commented out, is its default. Sizes may be written
# as numbers or as \"64MiB\" or \"10GB\", durations as numbers or as \"500ms\", \"10s\", \"5m\", \"2h\" or
# \"7d\". An environment variable beats this file (listen is THALWEG_LISTEN, limits.maps_max is
# THALWEG_LIMITS_MAPS_MAX, Kafka's num.partitions is THALWEG_KAFKA_NUM_PARTITIONS), and a flag beats
# both. The broker reads the file again on SIGHUP; settings marked (restart) count at the next start.
";

const KAFKA_HEADER: &str = "
# Settings under Kafka's names. Most of them are what a topic inherits unless it sets its own. Admin
# clients can change those marked (dynamic) for all brokers while they run; what they set beats
# this file.
[kafka]
";

/// The example file.
pub fn example() -> String {
    let config = BrokerConfig::default();
    let mut text = HEADER.to_owned();
    let mut table = "";
    for key in KEYS {
        let (own_table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if own_table != table {
            table = own_table;
            text.push_str(&format!("\n[{table}]\n"));
        }
        let note = if key.live { "" } else { " (restart)" };
        push_prose(&mut text, &format!("{}{note}", key.documentation));
        text.push_str(&format!("#{name} = {}\n", toml_value(&(key.show)(&config))));
    }
    text.push_str(KAFKA_HEADER);
    for setting in BROKER_SETTINGS {
        let note = match setting.change {
            Changeable::Dynamically => " (dynamic)",
            Changeable::ByReload => "",
            Changeable::ByRestart => " (restart)",
        };
        push_prose(&mut text, &format!("{}{note}", broker_documentation(setting)));
        match setting.default {
            Some(default) => {
                let value = toml_value(&readable(setting, default));
                text.push_str(&format!("#{} = {value}\n", setting.name));
            }
            None => text.push_str(&format!("# {} is unset.\n", setting.name)),
        }
    }
    text
}

/// Large numbers with a suffix, unless the name already says the unit or the number is "never".
fn readable(setting: &BrokerSetting, default: &str) -> String {
    const CENTURY_MS: i64 = 100 * 365 * 86_400_000;
    match (setting.unit, default.parse()) {
        (Unit::Bytes, Ok(number)) => Unit::Bytes.pretty(number),
        (Unit::Milliseconds, Ok(number)) if number < CENTURY_MS => {
            Unit::Milliseconds.pretty(number)
        }
        _ => default.to_owned(),
    }
}

fn toml_value(text: &str) -> String {
    let is_bare =
        text.parse::<i64>().is_ok() || text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok();
    if is_bare { text.to_owned() } else { format!("{text:?}") }
}

fn push_prose(text: &mut String, prose: &str) {
    text.push('\n');
    let mut line = String::from("#");
    for word in prose.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
