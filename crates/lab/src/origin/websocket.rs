//! A WebSocket that says back whatever it is told: text and binary, pings, fragments as they come.

use std::io::{Error, ErrorKind, Result};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::message::{Request, answer, head};

/// The longest frame that is echoed.
const FRAME_BYTES: u64 = 1024 * 1024;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Answers the handshake and echoes until the client closes.
pub(super) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, request: &Request) -> Result<()> {
    let Some(key) = request.field("Sec-WebSocket-Key") else {
        return answer(stream, request, "426 Upgrade Required", &[("Upgrade", "websocket")], b"").await;
    };
    let accept = accept_value(&key);
    let fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept.as_str())];
    let mut handshake = head("101 Switching Protocols", &fields);
    handshake.extend_from_slice(b"\r\n");
    stream.write_all(&handshake).await?;
    stream.flush().await?;

    loop {
        let (first, payload) = read_frame(stream).await?;
        let opcode = first & 0x0f;
        let reply = if opcode == PING { (first & 0xf0) | PONG } else { first };
        if opcode != PONG {
            write_frame(stream, reply, &payload).await?;
        }
        if opcode == CLOSE {
            return Ok(());
        }
    }
}

/// What the server must answer to a client's `Sec-WebSocket-Key` (RFC 6455, 4.2.2).
pub(super) fn accept_value(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// The first byte of a frame (FIN and opcode) and its unmasked payload.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let second = stream.read_u8().await?;
    if second & 0x80 == 0 {
        return Err(Error::new(ErrorKind::InvalidData, "a client must mask its frames"));
    }
    let length = match second & 0x7f {
        126 => u64::from(stream.read_u16().await?),
        127 => stream.read_u64().await?,
        short => u64::from(short),
    };
    let length = usize::try_from(length.min(FRAME_BYTES + 1)).unwrap_or(usize::MAX);
    if length as u64 > FRAME_BYTES {
        return Err(Error::new(ErrorKind::InvalidData, "frame too long"));
    }

    let mut mask = [0; 4];
    stream.read_exact(&mut mask).await?;
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
    Ok((first, payload))
}

async fn write_frame(stream: &mut (impl AsyncWrite + Unpin), first: u8, payload: &[u8]) -> Result<()> {
    let mut frame = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..=125), _) => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    stream.write_all(&frame).await?;
    stream.flush().await
}
