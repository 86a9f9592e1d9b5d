//! What the figures were measured on, for the head of the report.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Machine, kernel, disk, load, date and commit, as lines of text.
pub(crate) fn describe(dir: &Path, repository: &Path) -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = value_of("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into());
    let memory = value_of("/proc/meminfo", "MemTotal");
    let memory = memory.and_then(|it| it.trim_end_matches(" kB").parse::<f64>().ok());
    let gigabytes = memory.unwrap_or(f64::NAN) * 1024.0 / 1e9;
    let commit =
        output("git", &["-C", &repository.to_string_lossy(), "rev-parse", "--short", "HEAD"]);
    let file_system = output("stat", &["-f", "-c", "%T", &dir.to_string_lossy()]);
    vec![
        format!("{cores} cores of {processor}, {gigabytes:.0} GB of memory, data on {file_system}"),
        format!("Linux {}", line_of("/proc/sys/kernel/osrelease")),
        format!("load average before: {}", load_average()),
        format!("{}, commit {commit}", output("date", &["-u", "+%F %H:%M UTC"])),
    ]
}

/// Over one, five and fifteen minutes.
pub(crate) fn load_average() -> String {
    line_of("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(", ")
}

fn value_of(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    match Command::new(program).args(arguments).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "unknown".to_owned(),
    }
}
