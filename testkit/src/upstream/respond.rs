//! Writing a scripted answer to its connection.

use super::script::{Ending, Framing, Script};
use crate::http1::{Connection, encode_chunk, find, write_head};
use std::io;
use std::time::Duration;

/// An RST discards what the peer has not read yet; this gives it the time to read what was sent before.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// What became of the connection.
pub(super) enum After {
    KeepAlive(Box<Connection>),
    Closed,
    PeerGone,
}

/// Writes the answer; an error means that the peer has gone.
pub(super) async fn respond(mut connection: Connection, method: &str, script: &Script) -> io::Result<After> {
    pause(script.delay_before_head).await;
    connection.write(&head(script)).await?;
    if script.status == 101 {
        return echo(connection).await;
    }
    let has_body = method != "HEAD" && script.status != 204 && script.status != 304;
    if has_body {
        write_pieces(&mut connection, script).await?;
        return end(connection, script).await;
    }
    Ok(After::KeepAlive(Box::new(connection)))
}

fn head(script: &Script) -> Vec<u8> {
    let mut headers = script.headers.clone();
    // An unfinished body must be seen as such: one byte that was promised never comes.
    let promised = script.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>()
        + usize::from(script.ending != Ending::Complete);
    let framing = match script.framing {
        _ if script.status == 101 || script.status == 204 => None,
        Framing::ContentLength => Some(("content-length", promised.to_string())),
        Framing::Chunked => Some(("transfer-encoding", "chunked".to_owned())),
        Framing::Close => Some(("connection", "close".to_owned())),
    };
    if let Some((name, value)) = framing.filter(|(name, _)| find(&headers, name).is_none()) {
        headers.push((name.to_owned(), value.into_bytes()));
    }
    write_head(&format!("HTTP/1.1 {} Scripted", script.status), &headers)
}

async fn write_pieces(connection: &mut Connection, script: &Script) -> io::Result<()> {
    for piece in &script.pieces {
        pause(piece.delay_before).await;
        if piece.bytes.is_empty() {
            continue;
        }
        match script.framing {
            Framing::Chunked => connection.write(&encode_chunk(&piece.bytes)).await?,
            Framing::ContentLength | Framing::Close => connection.write(&piece.bytes).await?,
        }
    }
    Ok(())
}

async fn end(mut connection: Connection, script: &Script) -> io::Result<After> {
    match (script.ending, script.framing) {
        (Ending::Complete, Framing::Close) | (Ending::Cut, _) => Ok(After::Closed),
        (Ending::Complete, Framing::ContentLength) => Ok(After::KeepAlive(Box::new(connection))),
        (Ending::Complete, Framing::Chunked) => {
            connection.write(b"0\r\n\r\n").await?;
            Ok(After::KeepAlive(Box::new(connection)))
        }
        (Ending::Reset, _) => {
            tokio::time::sleep(BEFORE_RESET).await;
            connection.reset();
            Ok(After::Closed)
        }
        (Ending::Hang, _) => {
            connection.gone().await;
            Ok(After::PeerGone)
        }
    }
}

async fn echo(mut connection: Connection) -> io::Result<After> {
    loop {
        let bytes = connection.raw().await?;
        if bytes.is_empty() {
            return Ok(After::Closed);
        }
        connection.write(&bytes).await?;
    }
}

async fn pause(duration: Duration) {
    if !duration.is_zero() {
        tokio::time::sleep(duration).await;
    }
}
