//! Process entry point; the rest is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    service_kit::main(frontend::run)
}
