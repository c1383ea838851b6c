//! Connections between nodes, and to the witness.
//!
//! Of two nodes the one of higher rank dials; every node dials the witness. Each of the lower node's `links`
//! is a path of its own. A connection opens with a four-byte preface (`T`, `H`, channel, path) that lets the
//! listener hand data connections to another thread before TLS starts; then mutual TLS, then a hello frame
//! each way, then frames. Nothing a stranger sends before it proved a certificate costs more than a bounded
//! buffer, one of a few handshake places, and a time-out.
//!
//! **Control** connections carry what roles are decided by. They live on the control thread, lose frames
//! rather than wait, and are given up when silent. **Data** connections carry replication and may wait.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use twinhub_model::{Incarnation, NodeRank};
use twinhub_redundancy::VoterId;
use twinhub_trust::Code;
use twinhub_wire::{
    Channel, FRAME_CONTROL_MAX, FRAME_HEADER_BYTES, FrameReader, Hello, Kind, Measured, negotiate,
    write_frame,
};

use crate::pki::{Credentials, server_name};
use crate::trust::nodes::{self, ToldCode};

mod conversation;
pub(crate) mod word;

use conversation::converse;

/// The path of a supervisor's word, which is no path of the node.
pub(crate) const WORD_PATH: u8 = u8::MAX;
/// Connecting, TLS and hello together may take this long.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// Handshakes under way at once on one listener; a further one waits in the kernel's queue.
const HANDSHAKES_MAX: usize = 32;

/// Who this process is among the others.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) incarnation: Incarnation,
    /// Of the configuration that this process runs; it changes when one is taken in without a restart.
    pub(crate) config_hash: Arc<AtomicU64>,
    /// The newest protocol it speaks.
    pub(crate) protocol: u16,
    /// The code of plugins that it runs, if it tells that.
    pub(crate) plugins: Option<ToldCode>,
    pub(crate) credentials: Credentials,
    /// Everyone who may speak here; the witness under its name.
    pub(crate) members: Arc<BTreeMap<String, VoterId>>,
    /// Whether a node that is not in `members` is accepted (the witness knows no configuration).
    pub(crate) accept_any_node: bool,
}

/// One live connection.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) peer: VoterId,
    pub(crate) path: u8,
    /// The protocol both sides agreed on: nothing newer is sent.
    pub(crate) protocol: u16,
    pub(crate) sender: mpsc::Sender<Vec<u8>>,
}

/// What a peer said of itself.
#[derive(Debug, Clone)]
pub(crate) struct PeerInfo {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) config_hash: u64,
    /// The protocol both sides agreed on.
    pub(crate) protocol: u16,
    /// Whether it speaks a newer protocol than this process knows.
    pub(crate) is_newer: bool,
    /// The code of plugins that it runs, if it said so.
    pub(crate) plugins: Option<Code>,
}

/// What happens on connections.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    Up {
        link: Link,
        info: PeerInfo,
    },
    Frame {
        peer: VoterId,
        path: u8,
        kind: Kind,
        body: Vec<u8>,
    },
    Measured {
        peer: VoterId,
        path: u8,
        measured: Measured,
    },
    /// Frames of kinds that only the peer's newer version knows.
    Skipped {
        peer: VoterId,
        frames: u64,
    },
    Down {
        peer: VoterId,
        path: u8,
        loss: Loss,
    },
}

/// Why a path does not stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) cause: LossCause,
    pub(crate) error: String,
}

/// What the end of a connection says of the machine at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LossCause {
    /// Its kernel answered, its process did not: the process ended.
    ProcessEnded,
    /// Nothing came: the machine or the network.
    Silent,
    /// Something else, which the text says.
    Other,
}

impl Loss {
    fn of(error: &io::Error) -> Loss {
        let ended = [
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::ConnectionReset,
            io::ErrorKind::ConnectionAborted,
            io::ErrorKind::BrokenPipe,
            io::ErrorKind::UnexpectedEof,
        ];
        let silent =
            [io::ErrorKind::TimedOut, io::ErrorKind::HostUnreachable, io::ErrorKind::NetworkUnreachable];
        let cause = if ended.contains(&error.kind()) {
            LossCause::ProcessEnded
        } else if silent.contains(&error.kind()) {
            LossCause::Silent
        } else {
            LossCause::Other
        };
        Loss { cause, error: error.to_string() }
    }

    fn silent(error: String) -> Loss {
        Loss { cause: LossCause::Silent, error }
    }
}

/// Where to dial.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) voter: VoterId,
    pub(crate) path: u8,
    pub(crate) address: String,
}

/// How a connection of this channel behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) channel: Channel,
    /// Without a frame for this long the connection is given up.
    pub(crate) silence_max: Duration,
    pub(crate) backoff_min: Duration,
    pub(crate) backoff_max: Duration,
}

/// Keeps one path to one peer connected for as long as the event receiver lives.
pub(crate) async fn keep_dialed(
    endpoint: Endpoint,
    target: Target,
    manner: Manner,
    events: mpsc::Sender<LinkEvent>,
) {
    let mut backoff = manner.backoff_min;
    let mut last_error = String::new();
    while !events.is_closed() {
        let attempt = timeout(HANDSHAKE_MAX, dial(&endpoint, &target, manner.channel)).await;
        let loss = match attempt {
            Ok(Ok((stream, info))) => {
                backoff = manner.backoff_min;
                last_error.clear();
                converse(stream, target.voter, target.path, info, manner, &events).await
            }
            Ok(Err(error)) => Loss::of(&error),
            Err(_) => {
                let (address, seconds) = (&target.address, HANDSHAKE_MAX.as_secs());
                Loss::silent(format!("no answer from {address} within {seconds} s"))
            }
        };
        if loss.error != last_error {
            tracing::info!(peer = %target.name, address = %target.address, error = loss.error, "peer link down");
            last_error.clone_from(&loss.error);
            let down = LinkEvent::Down { peer: target.voter, path: target.path, loss };
            if events.send(down).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(jittered(backoff)).await;
        backoff = (backoff * 2).min(manner.backoff_max);
    }
}

/// Accepts connections until the event receiver is gone. Data connections go to `data`, still without TLS.
pub(crate) async fn accept(
    endpoint: Endpoint,
    listener: TcpListener,
    manner: Manner,
    events: mpsc::Sender<LinkEvent>,
    data: Option<mpsc::Sender<(std::net::TcpStream, u8)>>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = events.closed() => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a peer connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (endpoint, events, data) = (endpoint.clone(), events.clone(), data.clone());
        tokio::spawn(async move {
            let result = timeout(HANDSHAKE_MAX, welcome(&endpoint, stream, data.as_ref())).await;
            drop(place);
            match result {
                Ok(Ok(Some((stream, voter, WORD_PATH, info)))) => {
                    // A word that is cut short was not said.
                    drop(word::hear(stream, voter, &info, &events).await);
                }
                Ok(Ok(Some((stream, voter, path, info)))) => {
                    let peer = info.name.clone();
                    let loss = converse(stream, voter, path, info, manner, &events).await;
                    tracing::info!(peer, path, error = loss.error, "peer link down");
                    // A closed receiver means the node is stopping.
                    drop(events.send(LinkEvent::Down { peer: voter, path, loss }).await);
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "refused a peer connection"),
                Err(_) => tracing::debug!("a peer connection did not finish its handshake in time"),
            }
        });
    }
}

/// Takes over a data connection that the control thread accepted.
pub(crate) async fn adopt(
    endpoint: Endpoint,
    stream: std::net::TcpStream,
    path: u8,
    manner: Manner,
    events: mpsc::Sender<LinkEvent>,
) {
    let hello = async {
        let stream = TcpStream::from_std(stream)?;
        secure_server(&endpoint, stream, path, Channel::Data).await
    };
    match timeout(HANDSHAKE_MAX, hello).await {
        Ok(Ok((stream, voter, path, info))) => {
            let loss = converse(stream, voter, path, info, manner, &events).await;
            // A closed receiver means the node is stopping.
            drop(events.send(LinkEvent::Down { peer: voter, path, loss }).await);
        }
        Ok(Err(error)) => tracing::debug!(%error, "refused a data connection"),
        Err(_) => tracing::debug!("a data connection did not finish its handshake in time"),
    }
}

type Secured = (Box<dyn Stream>, VoterId, u8, PeerInfo);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn dial(
    endpoint: &Endpoint,
    target: &Target,
    channel: Channel,
) -> io::Result<(Box<dyn Stream>, PeerInfo)> {
    let preface = [b'T', b'H', channel_letter(channel), target.path];
    connect(endpoint, target, channel, preface).await
}

async fn connect(
    endpoint: &Endpoint,
    target: &Target,
    channel: Channel,
    preface: [u8; 4],
) -> io::Result<(Box<dyn Stream>, PeerInfo)> {
    let mut stream = TcpStream::connect(&target.address).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot connect to {}: {error}", target.address))
    })?;
    stream.set_nodelay(true)?;
    stream.write_all(&preface).await?;
    let name: ServerName<'static> = server_name(&target.name).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::clone(&endpoint.credentials.client));
    let mut stream = connector.connect(name, stream).await.map_err(|error| {
        let (name, address) = (&target.name, &target.address);
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe
        ) {
            return io::Error::new(error.kind(), format!("{name} at {address} hung up before it proved who it is"));
        }
        io::Error::other(format!(
            "{name} at {address} did not prove to be of this cluster ({error}): both need certificates of the \
             same authority, see `twinhub init`"
        ))
    })?;
    let (_, info) = exchange_hello(endpoint, &mut stream, &target.name, channel).await?;
    Ok((Box::new(stream), info))
}

async fn welcome(
    endpoint: &Endpoint,
    mut stream: TcpStream,
    data: Option<&mpsc::Sender<(std::net::TcpStream, u8)>>,
) -> io::Result<Option<Secured>> {
    stream.set_nodelay(true)?;
    let mut preface = [0; 4];
    stream.read_exact(&mut preface).await?;
    match preface {
        [b'T', b'H', b'C', path] if path != WORD_PATH => {
            secure_server(endpoint, stream, path, Channel::Control).await.map(Some)
        }
        [b'T', b'H', b'R', _] => secure_server(endpoint, stream, WORD_PATH, Channel::Control).await.map(Some),
        [b'T', b'H', b'D', path] => {
            let Some(data) = data else {
                return Err(io::Error::other("data connections are not served here"));
            };
            // A full queue is a flood; the dialer tries again.
            drop(data.try_send((stream.into_std()?, path)));
            Ok(None)
        }
        other => Err(io::Error::other(format!("not a twinhub peer: it opened with {other:02x?}"))),
    }
}

async fn secure_server(
    endpoint: &Endpoint,
    stream: TcpStream,
    path: u8,
    channel: Channel,
) -> io::Result<Secured> {
    let acceptor = TlsAcceptor::from(Arc::clone(&endpoint.credentials.server));
    let mut stream = acceptor.accept(stream).await?;
    let (theirs, info) = exchange_hello(endpoint, &mut stream, "", channel).await?;
    let certificate = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first())
        .ok_or_else(|| io::Error::other("the peer showed no certificate"))?;
    let parsed = rustls::server::ParsedCertificate::try_from(certificate).map_err(io::Error::other)?;
    let name = server_name(&theirs.from).map_err(io::Error::other)?;
    rustls::client::verify_server_name(&parsed, &name).map_err(|error| {
        io::Error::other(format!(
            "the peer calls itself `{}` but its certificate does not ({error})",
            theirs.from
        ))
    })?;
    let voter = match endpoint.members.get(&theirs.from) {
        Some(voter) => *voter,
        None if endpoint.accept_any_node => VoterId::Node(NodeRank(theirs.rank)),
        None => {
            return Err(io::Error::other(format!("`{}` is not a node of this configuration", theirs.from)));
        }
    };
    Ok((Box::new(stream), voter, path, info))
}

async fn exchange_hello<S: AsyncRead + AsyncWrite + Unpin>(
    endpoint: &Endpoint,
    stream: &mut S,
    to: &str,
    channel: Channel,
) -> io::Result<(Hello, PeerInfo)> {
    let rank = endpoint.members.get(&endpoint.name).and_then(|voter| voter.node()).map_or(0, |node| node.0);
    let version = env!("CARGO_PKG_VERSION");
    let mut mine = Hello::new(&endpoint.name, to, channel, endpoint.credentials.cluster)
        .with_protocol(endpoint.protocol)
        .with_process(rank, endpoint.incarnation, version, endpoint.config_hash.load(Ordering::Acquire));
    if let Some(plugins) = &endpoint.plugins {
        mine = mine.with_plugins(plugins.get());
    }
    let mut bytes = Vec::new();
    write_frame(Kind::Hello, &mine.encode(), &mut bytes);
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    // Exactly the hello is read: what follows it belongs to whoever reads on.
    let mut bytes = vec![0; FRAME_HEADER_BYTES];
    stream.read_exact(&mut bytes).await?;
    let [_, _, _, _, a, b, c, d, ..] = bytes[..] else {
        return Err(io::Error::other("a frame header is short"));
    };
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > FRAME_CONTROL_MAX {
        return Err(io::Error::other(format!("the peer's hello has {length} bytes")));
    }
    bytes.resize(FRAME_HEADER_BYTES + length, 0);
    stream.read_exact(&mut bytes[FRAME_HEADER_BYTES..]).await?;
    let mut reader = FrameReader::new(FRAME_CONTROL_MAX);
    reader.push(&bytes);
    let frame = reader
        .next_frame()
        .map_err(io::Error::other)?
        .ok_or_else(|| io::Error::other("the peer's first frame is cut"))?;
    if frame.kind != Kind::Hello {
        return Err(io::Error::other("the peer's first frame is no hello"));
    }
    let theirs = Hello::decode(frame.body).map_err(io::Error::other)?;
    let protocol = negotiate(&mine, &theirs).map_err(io::Error::other)?;
    let info = PeerInfo {
        name: theirs.from.clone(),
        version: theirs.version.clone(),
        config_hash: theirs.config_hash,
        protocol,
        is_newer: theirs.protocol > mine.protocol,
        plugins: theirs.plugins.as_ref().map(nodes::heard),
    };
    Ok((theirs, info))
}

const fn channel_letter(channel: Channel) -> u8 {
    match channel {
        Channel::Control => b'C',
        Channel::Data => b'D',
    }
}

/// Between half and all of `backoff`, so that two machines that started together drift apart.
fn jittered(backoff: Duration) -> Duration {
    let half = backoff / 2;
    let noise = crate::clock::now().0 % 1024;
    half + half * u32::try_from(noise).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests;
