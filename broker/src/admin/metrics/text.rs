//! The older Prometheus text format (0.0.4), made from OpenMetrics.
//!
//! The two differ, for what this broker writes, in three things: OpenMetrics names a counter
//! without the `_total` of its samples, ends with `# EOF`, and has another content type. Scrapers
//! that do not ask for OpenMetrics, and people with curl, get this one.

use std::collections::BTreeSet;
use std::fmt::Write;

/// `openmetrics` in the older format.
pub fn plain_text(openmetrics: &str) -> String {
    let counters: BTreeSet<&str> = openmetrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines().filter(|line| *line != "# EOF") {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|keyword| {
            let (name, rest) = line.strip_prefix(keyword)?.split_once(' ')?;
            counters.contains(name).then_some((keyword, name, rest))
        });
        let written = match described {
            Some((keyword, name, rest)) => writeln!(text, "{keyword}{name}_total {rest}"),
            None => writeln!(text, "{line}"),
        };
        written.expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_described_by_the_name_of_their_samples() {
        let openmetrics = "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\na_bytes_total 1\n\
                           # HELP b Level.\n# TYPE b gauge\nb 2\n# EOF\n";
        assert_eq!(
            plain_text(openmetrics),
            "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\na_bytes_total 1\n\
             # HELP b Level.\n# TYPE b gauge\nb 2\n"
        );
    }
}
