//! The listener for Prometheus: `GET /metrics` of the monitor that leads, where `mgr/prometheus/server_port` says so
//! (`ceph config set mgr mgr/prometheus/server_port 9283`); `mgr/prometheus/server_addr` is the monitor's own address by default.
//!
//! Reads only, no authentication, as stock's module: whoever reaches the port sees names, sizes and states, no secrets.

use crate::shell::Shell;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 16;
/// A request's head must be there after so long, and a connection ends after the second.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// After an address could not be opened.
const RETRY: Duration = Duration::from_secs(30);

/// What listens now.
#[derive(Default)]
pub struct Metrics {
    at: Option<SocketAddr>,
    task: Option<AbortHandle>,
}

impl Metrics {
    /// Listens where it should: at `wanted`, or nowhere.
    pub fn follow(&mut self, shell: &Rc<Shell>, wanted: Option<SocketAddr>) {
        if wanted == self.at {
            return;
        }
        self.stop();
        self.at = wanted;
        if let Some(at) = wanted {
            let task = tokio::task::spawn_local(listen(Rc::downgrade(shell), at));
            self.task = Some(task.abort_handle());
        }
    }
    /// Ends the listener and its connections.
    pub fn stop(&mut self) {
        if let Some(t) = self.task.take() {
            t.abort();
        }
    }
}

async fn listen(shell: Weak<Shell>, at: SocketAddr) {
    let listener = loop {
        match TcpListener::bind(at).await {
            Ok(l) => break l,
            Err(e) => tracing::warn!("no metrics: cannot listen at {at}: {e}"),
        }
        tokio::time::sleep(RETRY).await;
    };
    tracing::info!("metrics at http://{at}/metrics");
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    // (Dropped with this task, and the connections with it.)
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shell = shell.clone();
        connections.spawn_local(async move {
            let service = service_fn(move |r| answer(shell.clone(), r));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(16 << 10);
            let connection = http.serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(place);
        });
    }
}

async fn answer<B>(shell: Weak<Shell>, r: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, text) = match (r.method(), r.uri().path(), shell.upgrade()) {
        (_, _, None) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", "stopping\n".to_owned()),
        (&Method::GET, "/metrics", Some(s)) => {
            (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", s.metrics())
        }
        (&Method::GET, "/", _) => {
            (StatusCode::OK, "text/html", "<a href=\"/metrics\">Metrics</a>\n".to_owned())
        }
        (&Method::GET, _, _) => {
            (StatusCode::NOT_FOUND, "text/plain", "not found: /metrics is here\n".to_owned())
        }
        _ => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET only\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}
