//! What commands print: tables for people, JSON for programs, and nothing else on stdout.
//!
//! A command hands its result over as a serializable value and a way to show it, and the option
//! `--output` decides. A [`Printer`] owns stdout for as long as the command runs, buffered, and
//! every write can fail: the reader of a pipe may go at any time.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::failure::Failure;

/// What results look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Aligned columns, for people.
    #[default]
    Table,
    /// One JSON value, for programs.
    Json,
}

/// Stdout, and how to write to it.
pub(super) struct Printer {
    pub(super) output: Output,
    stdout: BufWriter<StdoutLock<'static>>,
}

/// As large as a pipe holds.
const BUFFER_BYTES: usize = 64 * 1024;

impl Printer {
    pub(super) fn stdout(output: Output) -> Self {
        let stdout = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        Printer { output, stdout }
    }

    /// Prints `value` as JSON, or what `show` makes of it for people.
    pub(super) fn print<T: Serialize>(
        &mut self,
        value: &T,
        show: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        match self.output {
            Output::Json => serde_json::to_writer_pretty(&mut *self, value)?,
            Output::Table => self.write_all(show(value).trim_end().as_bytes())?,
        }
        self.write_all(b"\n")?;
        self.flush()
    }
}

impl Write for Printer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stdout.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Whether somebody watches stderr, so that progress and questions make sense.
pub(super) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Asks a question on stderr, if somebody is there to answer it, and fails unless it is yes.
pub(super) fn confirm(question: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !is_watched() {
        return Ok(());
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.map_err(|source| Failure::io("cannot read the answer", source))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Failed("nothing was changed".into())),
    }
}

/// A table without lines. Columns whose header begins with `>` are aligned to the right, as numbers
/// are.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.map(|name| Cell::new(name.trim_start_matches('>'))));
    for row in rows {
        table.add_row(row.map(Cell::new));
    }
    for (column, name) in table.column_iter_mut().zip(header) {
        column.set_padding((0, 2));
        if name.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

/// A size for people: three digits and a binary unit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut scaled = bytes as f64 / 1024.0;
    let mut unit = "KiB";
    for larger in UNITS.into_iter().skip(1) {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = larger;
    }
    if scaled < 10.0 { format!("{scaled:.1} {unit}") } else { format!("{scaled:.0} {unit}") }
}

/// A size that may be unknown.
pub(super) fn size_or_dash(bytes: Option<i64>) -> String {
    bytes.and_then(|bytes| u64::try_from(bytes).ok()).map_or_else(|| "-".to_owned(), size)
}

/// What is there, or a dash.
pub(super) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// `1 record`, `2 records`.
pub(super) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_right() {
        let rows = [["a".to_owned(), "5".to_owned()], ["longer".to_owned(), "1000".to_owned()]];
        assert_eq!(table(["NAME", ">SIZE"], rows), "NAME    SIZE\na          5\nlonger  1000\n");
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(10 << 20), "10 MiB");
        assert_eq!(size(u64::MAX), "16384 PiB");
    }
}
