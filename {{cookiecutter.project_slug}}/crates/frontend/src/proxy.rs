//! The way to the service: `/api/x` becomes `/x` there. Bodies are streamed both ways.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, StatusCode, Uri,
        header::{
            CONNECTION, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
            TRANSFER_ENCODING, UPGRADE,
        },
        uri::PathAndQuery,
    },
    response::{IntoResponse as _, Response},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tower_http::timeout::TimeoutBody;
use tracing::warn;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Clones share one pool of connections.
#[derive(Clone)]
pub(crate) struct Proxy {
    client: Client<HttpConnector, Body>,
    backend: Uri,
    timeout: Duration,
}

impl Proxy {
    pub(crate) fn new(backend: Uri, timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        Self { client: Client::builder(TokioExecutor::new()).build(connector), backend, timeout }
    }

    /// Where the service has what was asked for here.
    fn target(&self, uri: &Uri) -> Option<Uri> {
        let path = uri.path_and_query().map_or("", PathAndQuery::as_str).strip_prefix("/api")?;
        let mut target = self.backend.clone().into_parts();
        target.path_and_query = Some(path.parse().ok()?);
        Uri::from_parts(target).ok()
    }
}

pub(crate) async fn forward(State(proxy): State<Proxy>, mut request: Request) -> Response {
    let Some(target) = proxy.target(request.uri()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    *request.uri_mut() = target;
    remove_hop_by_hop(request.headers_mut());
    if let Some(host) = request.headers_mut().remove(HOST) {
        request.headers_mut().insert("x-forwarded-host", host);
    }

    match tokio::time::timeout(proxy.timeout, proxy.client.request(request)).await {
        Ok(Ok(response)) => {
            let mut response =
                response.map(|body| Body::new(TimeoutBody::new(proxy.timeout, body)));
            remove_hop_by_hop(response.headers_mut());
            response
        }
        Ok(Err(error)) => {
            warn!(error = &error as &dyn std::error::Error, "the service cannot be reached");
            (StatusCode::BAD_GATEWAY, "the service cannot be reached\n").into_response()
        }
        Err(_) => {
            warn!(timeout = ?proxy.timeout, "the service does not answer");
            (StatusCode::GATEWAY_TIMEOUT, "the service does not answer\n").into_response()
        }
    }
}

/// Removes what one connection's ends say to each other, as RFC 9110, section 7.6.1, demands.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let always = [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        HeaderName::from_static("proxy-connection"),
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in always.into_iter().chain(named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        sync::Notify,
        time::pause,
    };
    use tower::ServiceExt as _;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Calls the frontend with a backend that is the next one to connect to the listener.
    async fn call(listener: &TcpListener, request: Request) -> Response {
        let backend = format!("http://{}", listener.local_addr().unwrap());
        crate::router(backend.parse().unwrap(), TIMEOUT).oneshot(request).await.unwrap()
    }

    async fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").await.unwrap()
    }

    async fn read_until(stream: &mut TcpStream, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push(char::from(stream.read_u8().await.unwrap()));
        }
        text
    }

    fn get(path: &str) -> Request {
        Request::get(path).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn requests_and_responses_lose_what_is_for_one_hop() {
        let listener = listener().await;
        let request = Request::get("/api/some/path?a=b%20c")
            .header(HOST, "frontend.example")
            .header(CONNECTION, "keep-alive, X-Hop")
            .header("x-hop", "secret")
            .header("x-end", "kept")
            .body(Body::empty())
            .unwrap();
        let backend = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let response = "HTTP/1.1 418 I'm a teapot\r\nConnection: close, X-Back\r\n\
                X-Back: secret\r\nX-End: kept\r\nContent-Length: 4\r\n\r\nbody";
            stream.write_all(response.as_bytes()).await.unwrap();
            head
        };
        let (head, response) = tokio::join!(backend, call(&listener, request));

        let host = format!("host: {}\r\n", listener.local_addr().unwrap());
        assert!(head.starts_with("GET /some/path?a=b%20c HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&host), "{head}");
        assert!(head.contains("x-forwarded-host: frontend.example\r\n"), "{head}");
        assert!(head.contains("x-end: kept\r\n") && !head.contains("x-hop"), "{head}");

        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        assert_eq!(response.headers()["x-end"], "kept");
        assert!(!response.headers().contains_key("x-back"));
        assert!(!response.headers().contains_key(CONNECTION));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "body");
    }

    #[tokio::test]
    async fn responses_are_streamed() {
        let listener = listener().await;
        let (arrived, notified) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let request = get("/api/stream");
        let backend = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(format!("{head}5\r\nfirst\r\n").as_bytes()).await.unwrap();
            arrived.notified().await;
            stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await.unwrap();
            notified.notify_one();
        };
        let client = async {
            let mut body = call(&listener, request).await.into_body();
            let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
            arrived.notify_one();
            notified.notified().await;
            (first, body.collect().await.unwrap().to_bytes())
        };
        let ((), (first, last)) = tokio::join!(backend, client);
        assert_eq!((first.as_ref(), last.as_ref()), (&b"first"[..], &b"last"[..]));
    }

    #[tokio::test]
    async fn a_backend_that_is_gone_is_a_bad_gateway() {
        // No program is ever given port 1.
        let backend = Uri::from_static("http://127.0.0.1:1");
        let response = crate::router(backend, TIMEOUT).oneshot(get("/api/info")).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "the service cannot be reached\n");
    }

    #[tokio::test]
    async fn a_backend_that_is_stuck_is_a_timeout() {
        let listener = listener().await;
        let backend = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            pause(); // from here on the clock jumps to the next timeout
            stream
        };
        let (_stream, response) = tokio::join!(backend, call(&listener, get("/api/info")));
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    }

    #[tokio::test]
    async fn a_response_that_gets_stuck_ends_in_an_error() {
        let listener = listener().await;
        let backend = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_until(&mut stream, "\r\n\r\n").await;
            let response = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
            stream.write_all(response.as_bytes()).await.unwrap();
            stream
        };
        let request = get("/api/info");
        let client = async {
            let body = call(&listener, request).await.into_body();
            pause();
            body.collect().await
        };
        let (_stream, body) = tokio::join!(backend, client);
        assert!(body.is_err());
    }
}
