//! One connection after its handshake: frames both ways, and the measuring of its path.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use twinhub_redundancy::VoterId;
use twinhub_wire::{Channel, FRAME_BODY_MAX, FRAME_CONTROL_MAX, FrameReader, Kind, Probe, write_frame};

use super::{Link, LinkEvent, Loss, LossCause, Manner, PeerInfo, Stream};
use crate::clock;

/// Frames waiting for one control connection. A full queue means a dead path; frames are dropped.
const CONTROL_QUEUE: usize = 64;
/// Frames waiting for one data connection; the sender stops above.
const DATA_QUEUE: usize = 16;
/// How often a connection's path is measured.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Carries frames both ways until the connection ends; says why it did.
pub(super) async fn converse(
    stream: Box<dyn Stream>,
    peer: VoterId,
    path: u8,
    info: PeerInfo,
    manner: Manner,
    events: &mpsc::Sender<LinkEvent>,
) -> Loss {
    let queue = match manner.channel {
        Channel::Control => CONTROL_QUEUE,
        Channel::Data => DATA_QUEUE,
    };
    let (sender, outgoing) = mpsc::channel::<Vec<u8>>(queue);
    // The queue ends when whoever was told of the link drops it, so what is kept here must not hold it open.
    let weak = sender.downgrade();
    let (protocol, peer_is_newer) = (info.protocol, info.is_newer);
    if events.send(LinkEvent::Up { link: Link { peer, path, protocol, sender }, info }).await.is_err() {
        return Loss { cause: LossCause::Other, error: "stopping".to_owned() };
    }
    let (input, output) = tokio::io::split(stream);
    let talk = Talk { peer, path, peer_is_newer, manner, events };
    tokio::select! {
        why = write(output, outgoing, manner) => why,
        why = talk.read(input, &weak) => why,
        // It also keeps a data connection alive that has nothing to carry.
        () = probe(&weak) => {
            Loss { cause: LossCause::Other, error: "replaced".to_owned() }
        }
    }
}

struct Talk<'a> {
    peer: VoterId,
    path: u8,
    peer_is_newer: bool,
    manner: Manner,
    events: &'a mpsc::Sender<LinkEvent>,
}

impl Talk<'_> {
    async fn read(&self, mut input: ReadHalf<Box<dyn Stream>>, answers: &mpsc::WeakSender<Vec<u8>>) -> Loss {
        let limit = match self.manner.channel {
            Channel::Control => FRAME_CONTROL_MAX,
            Channel::Data => FRAME_BODY_MAX,
        };
        let silence_max = self.manner.silence_max;
        let mut reader = FrameReader::new(limit).skipping_unknown(self.peer_is_newer);
        let mut skipped = 0;
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let count = match timeout(silence_max, input.read(&mut buffer)).await {
                Ok(Ok(0)) => return ended("closed by the peer"),
                Ok(Ok(count)) => count,
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return ended("closed by the peer without a goodbye");
                }
                Ok(Err(error)) => {
                    return Loss { error: format!("cannot receive: {error}"), ..Loss::of(&error) };
                }
                Err(_) => return Loss::silent(format!("silent for {} ms", silence_max.as_millis())),
            };
            reader.push(&buffer[..count]);
            loop {
                let event = match reader.next_frame() {
                    Ok(Some(frame)) if frame.kind == Kind::Probe => self.on_probe(frame.body, answers),
                    Ok(Some(frame)) => {
                        let (kind, body) = (frame.kind, frame.body.to_vec());
                        Some(LinkEvent::Frame { peer: self.peer, path: self.path, kind, body })
                    }
                    Ok(None) => break,
                    Err(error) => {
                        let error = format!("unreadable frame: {error}");
                        return Loss { cause: LossCause::Other, error };
                    }
                };
                if let Some(event) = event
                    && self.events.send(event).await.is_err()
                {
                    return Loss { cause: LossCause::Other, error: "stopping".to_owned() };
                }
            }
            let frames = reader.skipped() - skipped;
            if frames > 0 {
                skipped = reader.skipped();
                if self.events.send(LinkEvent::Skipped { peer: self.peer, frames }).await.is_err() {
                    return Loss { cause: LossCause::Other, error: "stopping".to_owned() };
                }
            }
        }
    }

    /// Answers a question; hands on what an answer says.
    fn on_probe(&self, body: &[u8], answers: &mpsc::WeakSender<Vec<u8>>) -> Option<LinkEvent> {
        let probe = match Probe::decode(body) {
            Ok(probe) => probe,
            Err(error) => {
                tracing::debug!(peer = %self.peer, %error, "unreadable probe");
                return None;
            }
        };
        if let Some(answer) = probe.answer(clock::utc()) {
            if let Some(sender) = answers.upgrade() {
                // A full queue makes a slow path; not to answer says so.
                drop(sender.try_send(frame_of(answer)));
            }
            return None;
        }
        let measured = probe.measure(clock::now())?;
        Some(LinkEvent::Measured { peer: self.peer, path: self.path, measured })
    }
}

async fn write(
    mut output: WriteHalf<Box<dyn Stream>>,
    mut outgoing: mpsc::Receiver<Vec<u8>>,
    manner: Manner,
) -> Loss {
    let mut batch = Vec::new();
    while let Some(bytes) = outgoing.recv().await {
        batch.clear();
        batch.extend_from_slice(&bytes);
        while batch.len() < BATCH_BYTES_MAX
            && let Ok(more) = outgoing.try_recv()
        {
            batch.extend_from_slice(&more);
        }
        let sent = async {
            output.write_all(&batch).await?;
            output.flush().await
        };
        match timeout(manner.silence_max, sent).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Loss { error: format!("cannot send: {error}"), ..Loss::of(&error) },
            Err(_) => {
                let waited_ms = manner.silence_max.as_millis();
                return Loss::silent(format!("the peer took nothing for {waited_ms} ms"));
            }
        }
    }
    Loss { cause: LossCause::Other, error: "replaced".to_owned() }
}

/// Asks again and again until the queue is closed.
async fn probe(sender: &mpsc::WeakSender<Vec<u8>>) {
    let mut ticks = tokio::time::interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(sender) = sender.upgrade() else { return };
        // A full queue is a dead path, which its silence shows.
        drop(sender.try_send(frame_of(Probe::ask(clock::now(), clock::utc()))));
    }
}

fn frame_of(probe: Probe) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_frame(Kind::Probe, &probe.encode(), &mut bytes);
    bytes
}

fn ended(how: &str) -> Loss {
    Loss { cause: LossCause::ProcessEnded, error: how.to_owned() }
}

/// Frames that wait are sent together up to this.
const BATCH_BYTES_MAX: usize = 64 * 1024;
