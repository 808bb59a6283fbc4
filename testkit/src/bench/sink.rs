//! The least that can stand in for Langfuse under load: reads what comes, keeps nothing, answers at once or never.

use crate::http1::{Body, Connection, Framing};
use crate::server::Server;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpStream;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// When a sink answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answering {
    AtOnce,
    /// The connection is accepted and what comes is read, but no answer is ever given.
    Never,
}

/// A running sink on a thread of its own; stops when dropped.
#[derive(Debug)]
pub(super) struct Sink {
    server: Server,
}

impl Sink {
    pub(super) fn start(answering: Answering) -> Self {
        let server = Server::start("sink", SocketAddr::from(([127, 0, 0, 1], 0)), move |stream| async move {
            drop(serve(stream, answering).await);
        });
        Self { server }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.server.addr()
    }
}

async fn serve(stream: TcpStream, answering: Answering) -> io::Result<()> {
    let mut connection = Connection::new(stream);
    while let Some(head) = connection.request_head().await? {
        if answering == Answering::Never {
            connection.gone().await;
            return Ok(());
        }
        discard(&mut connection, head.framing()?).await?;
        connection.write(ANSWER).await?;
    }
    Ok(())
}

async fn discard(connection: &mut Connection, mut left: Framing) -> io::Result<()> {
    // A body on which each read is forgotten again keeps no more than one read in memory.
    while connection.some_body(&mut left, &mut Body::default()).await? {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Request, send};
    use std::time::Duration;

    #[tokio::test]
    async fn one_answers_and_the_other_does_not() {
        let (live, dead) = (Sink::start(Answering::AtOnce), Sink::start(Answering::Never));
        let request = || Request { method: "POST".into(), body: vec![7; 300_000], ..Request::get("/") };
        assert_eq!(send(live.addr(), request()).await.status, 200);
        let unanswered = tokio::time::timeout(Duration::from_millis(200), send(dead.addr(), request()));
        assert!(unanswered.await.is_err());
    }
}
