//! Many requests at a time, over kept-alive connections: load without a load generator.

use super::exchange::Exchange;
use super::{Request, Response};
use crate::http1::Connection;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;

/// Sends `total` requests over `concurrency` connections; request and result `i` belong together.
pub async fn burst<F>(addr: SocketAddr, total: usize, concurrency: usize, make: F) -> Vec<Result<Response, String>>
where
    F: Fn(usize) -> Request + Send + Sync + 'static,
{
    let make = Arc::new(make);
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..concurrency.clamp(1, total.max(1)) {
        workers.spawn(work(addr, total, Arc::clone(&next), Arc::clone(&make)));
    }
    let mut results: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

async fn work<F>(
    addr: SocketAddr,
    total: usize,
    next: Arc<AtomicUsize>,
    make: Arc<F>,
) -> Vec<(usize, Result<Response, String>)>
where
    F: Fn(usize) -> Request,
{
    let mut kept = None;
    let mut results = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= total {
            return results;
        }
        let request = make(index);
        results.push((index, one(addr, &mut kept, &request).await));
    }
}

async fn one(addr: SocketAddr, kept: &mut Option<Connection>, request: &Request) -> Result<Response, String> {
    let connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::new(TcpStream::connect(addr).await.map_err(|error| format!("connect: {error}"))?),
    };
    let mut exchange = Exchange::on(connection, &addr.to_string(), request).await;
    let response = exchange.finish().await;
    if exchange.keeps_alive(&response) {
        *kept = Some(exchange.connection);
    }
    match response.status {
        0 => Err("the connection broke before an answer".into()),
        _ => Ok(response),
    }
}
