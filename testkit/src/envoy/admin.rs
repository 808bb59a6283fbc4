//! Envoy's admin interface: <https://www.envoyproxy.io/docs/envoy/latest/operations/admin>.

use super::process::ADMIN_FILE;
use super::{Envoy, POLL};
use crate::client::{Request, Response, send};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

impl Envoy {
    /// The address of the admin interface.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// GETs a path of the admin interface.
    pub async fn admin(&self, path: &str) -> String {
        send(self.admin, Request::get(path)).await.text()
    }

    /// POSTs to a path of the admin interface.
    pub async fn post_admin(&self, path: &str) -> String {
        let request = Request { method: "POST".into(), path: path.into(), ..Request::default() };
        send(self.admin, request).await.text()
    }

    /// All counters and gauges.
    pub async fn stats(&self) -> BTreeMap<String, u64> {
        let text = self.admin("/stats").await;
        let line =
            |line: &str| line.split_once(": ").and_then(|(name, value)| Some((name.to_owned(), value.parse().ok()?)));
        text.lines().filter_map(line).collect()
    }

    /// One counter or gauge; 0 when it does not exist yet.
    pub async fn stat(&self, name: &str) -> u64 {
        self.stats().await.get(name).copied().unwrap_or_default()
    }

    /// Waits until a counter or gauge (0 when absent) is as wanted, and gives it; panics with its last value when the
    /// time is over.
    pub async fn wait_for_stat(&self, name: &str, wanted: impl Fn(u64) -> bool, timeout: Duration) -> u64 {
        let mut last = 0;
        let wait = async {
            loop {
                last = self.stat(name).await;
                if wanted(last) {
                    return;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let in_time = tokio::time::timeout(timeout, wait).await.is_ok();
        assert!(in_time, "{name} is {last} after {timeout:?}");
        last
    }
}

/// Admin and listener addresses once Envoy is ready and all `wanted` listeners are bound.
pub(super) async fn listening(folder: &Path, wanted: usize) -> Option<(SocketAddr, Vec<SocketAddr>)> {
    let admin: SocketAddr = std::fs::read_to_string(folder.join(ADMIN_FILE)).ok()?.trim().parse().ok()?;
    if get(admin, "/ready").await?.status != 200 {
        return None;
    }
    let listeners = listeners(&get(admin, "/listeners?format=json").await?.json());
    (listeners.len() == wanted).then_some((admin, listeners))
}

async fn get(admin: SocketAddr, path: &str) -> Option<Response> {
    // The file with the address may be there before the socket listens.
    drop(tokio::net::TcpStream::connect(admin).await.ok()?);
    Some(send(admin, Request::get(path)).await)
}

/// The addresses, ordered by the listeners' names.
fn listeners(answer: &Value) -> Vec<SocketAddr> {
    let statuses = answer["listener_statuses"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<(usize, SocketAddr)> = statuses.iter().filter_map(listener).collect();
    found.sort();
    found.into_iter().map(|(_, addr)| addr).collect()
}

fn listener(status: &Value) -> Option<(usize, SocketAddr)> {
    let index = status["name"].as_str()?.strip_prefix("listener_")?.parse().ok()?;
    let socket = &status["local_address"]["socket_address"];
    let port = u16::try_from(socket["port_value"].as_u64()?).ok().filter(|port| *port != 0)?;
    Some((index, SocketAddr::new(socket["address"].as_str()?.parse().ok()?, port)))
}
