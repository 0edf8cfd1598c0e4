//! Drives the built binary as an orchestrator does: environment, signals, exit statuses.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

const NAME: &str = env!("CARGO_PKG_NAME");
const BINARY: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

/// Longer than any test takes, however busy the machine is, and shorter than what tests cut short.
const LONG: Duration = Duration::from_secs(30);

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.env_clear().args(args);
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// What a failed run wrote to standard error, if that is a single line.
fn only_line(output: Output) -> String {
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// A running instance, on a port that was free.
struct Service {
    process: Child,
    addr: String,
}

impl Service {
    fn start(args: &[&str]) -> Self {
        let mut process = command(&["--listen-addr", "127.0.0.1:0", "--log-format", "json"])
            .args(args)
            .env("TOKIO_WORKER_THREADS", "1") // which takes connections in their order
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let (_, rest) = line.split_once(r#""addr":""#).unwrap_or_else(|| panic!("{line}"));
        let addr = rest.split('"').next().unwrap().to_owned();
        // The pipe must not fill up.
        thread::spawn(move || log.lines().for_each(drop));
        Self { process, addr }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// Opens a request and leaves it open: its head lacks the empty line.
    fn open_request(&self) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n").unwrap();
        self.get("/healthz"); // came later: once it is answered, the other one has been read
        stream
    }

    fn healthcheck(&self) -> bool {
        command(&["healthcheck"]).env("LISTEN_ADDR", &self.addr).status().unwrap().success()
    }

    fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Sends SIGTERM and waits until it takes effect: no connection is accepted any more.
    fn stop_listening(&self) {
        self.signal("TERM");
        while TcpStream::connect(&self.addr).is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal, waits for the end and tells how long that took.
    fn stop(mut self, signal: &str) -> Duration {
        let started = Instant::now();
        self.signal(signal);
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        started.elapsed()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn version_and_help_go_to_standard_output() {
    let version = String::from_utf8(run(&["--version"]).stdout).unwrap();
    let expected = match option_env!("GIT_SHA") {
        None | Some("") => format!("{NAME} {}\n", env!("CARGO_PKG_VERSION")),
        Some(sha) => format!("{NAME} {} ({sha})\n", env!("CARGO_PKG_VERSION")),
    };
    assert_eq!(version, expected);

    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    assert!(help.contains("LISTEN_ADDR") && help.contains("healthcheck"), "{help}");
}

#[test]
fn a_bad_address_is_one_line_and_status_2() {
    let output = command(&[]).env("LISTEN_ADDR", "localhost").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let line = only_line(output);
    assert!(line.contains("LISTEN_ADDR") && line.contains("'localhost'"), "{line}");
}

#[test]
fn an_unknown_option_is_status_2() {
    let output = run(&["--no-such-option"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--no-such-option"));
}

#[test]
fn a_taken_port_is_one_line_and_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let output = run(&["--listen-addr", &addr]);
    assert_eq!(output.status.code(), Some(1));
    let line = only_line(output);
    assert!(line.starts_with(NAME) && line.contains(&addr), "{line}");
}

#[test]
fn healthcheck_fails_where_nothing_listens() {
    let addr = "127.0.0.1:1"; // no program is ever given port 1
    let output = run(&["healthcheck", "--listen-addr", addr]);
    assert_eq!(output.status.code(), Some(1));
    let line = only_line(output);
    assert!(line.contains("cannot connect") && line.contains(addr), "{line}");
}

#[test]
fn a_running_service_is_healthy_and_tells_who_it_is() {
    let service = Service::start(&[]);
    assert!(service.healthcheck());
    for (path, expected) in [
        ("/", format!("{NAME} {}", env!("CARGO_PKG_VERSION"))),
        ("/healthz", "ok".to_owned()),
        ("/readyz", "ready".to_owned()),
        ("/info", format!(r#""name":"{NAME}""#)),
        ("/metrics", "build_info{".to_owned()),
    ] {
        let response = service.get(path);
        assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
        assert!(response.contains(&expected), "{response}");
    }
}

#[test]
fn either_signal_stops_an_idle_service_at_once() {
    for name in ["TERM", "INT"] {
        let service = Service::start(&["--grace", "60"]);
        // Connections without a request do not count: one fresh, one kept alive.
        let _fresh = service.connect();
        let mut kept = service.connect();
        kept.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
        assert_ne!(kept.read(&mut [0; 1024]).unwrap(), 0);

        let time = service.stop(name);
        assert!(time < LONG, "{time:?}");
    }
}

#[test]
fn an_open_request_is_finished_first() {
    let mut service = Service::start(&["--grace", "60"]);
    let mut request = service.open_request();
    service.stop_listening();
    assert_eq!(service.process.try_wait().unwrap(), None);

    request.write_all(b"\r\n").unwrap();
    let mut response = String::new();
    request.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(service.process.wait().unwrap().success());
}

#[test]
fn a_request_that_stays_open_only_delays_the_end() {
    let service = Service::start(&["--grace", "1"]);
    let _request = service.open_request();
    let time = service.stop("TERM");
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&time), "{time:?}");
}

#[test]
fn a_second_signal_ends_the_wait() {
    let service = Service::start(&["--grace", "60"]);
    let _request = service.open_request();
    service.stop_listening();
    let time = service.stop("TERM");
    assert!(time < LONG, "{time:?}");
}

#[test]
fn a_draining_service_answers_but_is_not_ready() {
    let service = Service::start(&["--drain", "60"]);
    service.signal("TERM");
    while service.healthcheck() {
        thread::sleep(Duration::from_millis(20));
    }
    assert!(service.get("/readyz").starts_with("HTTP/1.1 503"));
    assert!(service.get("/healthz").starts_with("HTTP/1.1 200"));

    let time = service.stop("TERM"); // no need to wait for the end of it
    assert!(time < LONG, "{time:?}");
}
