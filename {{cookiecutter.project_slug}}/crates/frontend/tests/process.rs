//! Drives the built binary. What it shares with the service is tested there.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::{Command, Output};

fn run(args: &[&str], backend_url: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontend"));
    command.env_clear().env("BACKEND_URL", backend_url).args(args).output().unwrap()
}

#[test]
fn the_version_is_that_of_the_workspace() {
    let output = run(&["--version"], "http://localhost");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(concat!("frontend ", env!("CARGO_PKG_VERSION"))), "{text}");
}

#[test]
fn a_bad_backend_is_one_line_and_status_2() {
    let output = run(&[], "https://localhost");
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("--backend-url") && text.contains("https://localhost"), "{text}");
}
