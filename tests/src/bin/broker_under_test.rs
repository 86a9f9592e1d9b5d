//! The real `thalweg` binary under another name: Cargo tells integration tests only of the binaries
//! of their own package.

use std::process::ExitCode;

fn main() -> ExitCode {
    thalweg::cli::main()
}
