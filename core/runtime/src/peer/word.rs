//! A supervisor's word that its hub process is dead.
//!
//! A supervisor has a connection of its own to every voter, which stands ready, so that the word leaves in the
//! moment in which it is needed. Until then it carries nothing but signs of life. A connection on which nothing
//! at all is said also tests a path.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use twinhub_redundancy::VoterId;
use twinhub_wire::{Channel, FRAME_CONTROL_MAX, FrameReader, Kind, Probe, write_frame};

use super::{Endpoint, LinkEvent, PeerInfo, Stream, Target, WORD_PATH, connect};
use crate::clock;

/// A line that stands shows that it is alive this often.
const SIGN_INTERVAL: Duration = Duration::from_secs(5);
/// A line without a sign of life for this long is given up by the side that listens.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// A dead line is made again after this long.
const RETRY: Duration = Duration::from_secs(1);
/// Connecting, TLS and hello together may take this long.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The word is said to a peer within this time, or not at all.
const SAY_MAX: Duration = Duration::from_millis(500);

/// A line to one voter, on which nothing was said yet.
struct Line {
    stream: Box<dyn Stream>,
}

/// Keeps a line to one voter ready and says the word on it once it comes. The word is an answer channel and the
/// frames; whether the voter took them is the answer.
pub(crate) async fn keep_ready(
    endpoint: Endpoint,
    target: Target,
    mut words: mpsc::Receiver<(Vec<u8>, tokio::sync::oneshot::Sender<bool>)>,
) {
    let mut line = None;
    loop {
        let idle = async {
            match &mut line {
                Some(ready) => watch(ready).await,
                None => tokio::time::sleep(RETRY).await,
            }
        };
        let word = tokio::select! {
            word = words.recv() => word,
            () = idle => {
                line = timeout(CONNECT_MAX, open(&endpoint, &target)).await.ok().and_then(Result::ok);
                continue;
            }
        };
        let Some((frames, answer)) = word else { return };
        let said = timeout(SAY_MAX, async {
            if let Some(ready) = line.take()
                && say(ready, &frames).await.is_ok()
            {
                return Ok(());
            }
            // The line may have died unseen.
            say(open(&endpoint, &target).await?, &frames).await
        });
        let is_said = match said.await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(peer = target.name, %error, "not told that the hub process is dead");
                false
            }
            Err(_) => false,
        };
        // Whoever asked may have given up.
        answer.send(is_said).ok();
    }
}

/// Connects, proves who both are, says nothing and hangs up.
pub(crate) async fn test(endpoint: &Endpoint, target: &Target) -> io::Result<PeerInfo> {
    let (stream, info) = connect(endpoint, target, Channel::Control, PREFACE).await?;
    say(Line { stream }, &[]).await?;
    Ok(info)
}

async fn open(endpoint: &Endpoint, target: &Target) -> io::Result<Line> {
    let (stream, _) = connect(endpoint, target, Channel::Control, PREFACE).await?;
    Ok(Line { stream })
}

/// Shows signs of life until the line is dead.
async fn watch(line: &mut Line) {
    let mut nothing = [0; 64];
    loop {
        match timeout(SIGN_INTERVAL, line.stream.read(&mut nothing)).await {
            // Nothing is said on this side.
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return,
            Err(_) => {
                let mut sign = Vec::new();
                write_frame(Kind::Probe, &Probe::ask(clock::now(), clock::utc()).encode(), &mut sign);
                let sent = async {
                    line.stream.write_all(&sign).await?;
                    line.stream.flush().await
                };
                match timeout(SIGN_INTERVAL, sent).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        }
    }
}

/// Says frames and hangs up, once the peer has heard everything.
async fn say(mut line: Line, frames: &[u8]) -> io::Result<()> {
    let stream = &mut line.stream;
    stream.write_all(frames).await?;
    stream.flush().await?;
    stream.shutdown().await?;
    // Hanging up with something unread would reset the connection and take the frames back. The peer closes
    // once it has heard everything.
    let mut rest = [0; 1024];
    loop {
        match stream.read(&mut rest).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Takes the frames of a supervisor's word until it hangs up.
pub(super) async fn hear(
    mut stream: Box<dyn Stream>,
    peer: VoterId,
    info: &PeerInfo,
    events: &mpsc::Sender<LinkEvent>,
) -> io::Result<()> {
    let mut reader = FrameReader::new(FRAME_CONTROL_MAX).skipping_unknown(info.is_newer);
    let mut buffer = [0; 4096];
    loop {
        let read = timeout(SILENCE_MAX, stream.read(&mut buffer)).await;
        let count = read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if count == 0 {
            return Ok(());
        }
        reader.push(&buffer[..count]);
        while let Some(frame) = reader.next_frame().map_err(io::Error::other)? {
            if frame.kind == Kind::Probe {
                continue;
            }
            let body = frame.body.to_vec();
            let event = LinkEvent::Frame { peer, path: WORD_PATH, kind: frame.kind, body };
            events.send(event).await.map_err(io::Error::other)?;
        }
    }
}

const PREFACE: [u8; 4] = [b'T', b'H', b'R', WORD_PATH];
