//! The binary `thalweg`: a broker, and the tools to work with any broker. All of it is in
//! [`thalweg::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    thalweg::cli::main()
}
