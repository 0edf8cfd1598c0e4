//! The client side of the readiness probe, for images that hold neither a shell nor curl. It needs
//! the standard library only: no runtime is started to ask one question.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, ensure};

const TIMEOUT: Duration = Duration::from_secs(2);

/// Succeeds if the instance that listens on `addr` says that it is ready.
pub(crate) fn run(addr: SocketAddr) -> anyhow::Result<()> {
    let addr = reachable(addr);
    let mut stream = TcpStream::connect_timeout(&addr, TIMEOUT)
        .with_context(|| format!("cannot connect to {addr}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // In one piece: `write!` would send a packet for each part of the text.
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;

    let mut status = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut status).with_context(|| format!("no answer from {addr}"))?;
    ensure!(&status == b"HTTP/1.1 200", "not ready: {}", String::from_utf8_lossy(&status));
    Ok(())
}

/// Where to find an instance that listens on every address: on the loopback interface.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        net::TcpListener,
        thread,
    };

    use super::*;

    #[test]
    fn every_address_includes_loopback() {
        for (listening, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
        ] {
            assert_eq!(reachable(listening.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn only_status_200_is_ready() {
        for (answer, ready) in [
            ("HTTP/1.1 200 OK\r\n\r\n", true),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", false),
            ("SSH-2.0-server\r\n", false),
            ("", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                // All of it: closing with a rest unread would reset the connection.
                let mut request = BufReader::new(&stream).lines();
                while request.next().unwrap().unwrap() != "" {}
                stream.write_all(answer.as_bytes()).unwrap();
            });
            assert_eq!(run(addr).is_ok(), ready, "{answer:?}");
            server.join().unwrap();
        }
    }
}
