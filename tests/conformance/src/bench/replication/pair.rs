//! Two journals, sender and receiver of `core/replica`, frames of `core/wire`, and a connection as the nodes have one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use twinhub_model::{
    Epoch, ItemId, ItemKey, NodeRank, Position, Quality, Record, Sample, SampleFlags, Timestamp, Value,
};
use twinhub_replica::{
    EntryBatch, Message, Receiver, ReceiverAction, Relation, Sender, SenderOptions, SnapshotHead, TailEnd,
    TailRead, TailSource,
};
use twinhub_store::{Journal, JournalOptions, ReadEnd, SyncOutcome};
use twinhub_wire::{FRAME_BODY_MAX, FrameReader, Kind, record, write_frame};

use super::{Measured, ReplicationOptions};
use crate::error::{Error, Result};

/// How the nodes are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As the product: TLS 1.3 of rustls with ring.
    Tls,
    /// TCP alone, for comparison.
    Plain,
}

impl Transport {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tls => "Twinhub, TLS",
            Self::Plain => "Twinhub, plain TCP",
        }
    }
}

/// What one run is made of.
#[derive(Clone, Copy, Debug)]
enum Task {
    /// So many values, as fast as they are acknowledged.
    Flood(u64),
    /// A full copy of so many items.
    Copy(u32),
    /// Values per second, for this long.
    Steady(u64, Duration),
}

#[derive(Debug, Default)]
struct Done {
    values: u64,
    bytes: u64,
    time: Duration,
    lags_ms: Vec<f64>,
    stored_ms: Vec<f64>,
}

pub(super) fn measure(options: &ReplicationOptions, transport: Transport) -> Result<Measured> {
    let flood = run(Task::Flood(options.values), transport)?;
    let copy = run(Task::Copy(options.items), transport)?;
    let mut steady = run(Task::Steady(options.rate, Duration::from_secs(options.seconds)), transport)?;
    steady.lags_ms.sort_by(f64::total_cmp);
    steady.stored_ms.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (values, bytes) = (flood.values as f64, flood.bytes as f64);
    Ok(Measured {
        name: transport.name().to_owned(),
        values_per_second: values / flood.time.as_secs_f64(),
        bytes_per_value: bytes / values,
        first_sync: copy.time,
        lags_ms: steady.lags_ms,
        stored_ms: steady.stored_ms,
    })
}

fn run(task: Task, transport: Transport) -> Result<Done> {
    let certificates = Certificates::new()?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(Error::file("loopback"))?;
    let address = listener.local_addr().map_err(Error::file("loopback"))?;
    listener.set_nonblocking(true).map_err(Error::file("loopback"))?;
    let server = certificates.server.clone();
    let standby = thread::spawn(move || {
        on_thread(async move {
            let listener = TcpListener::from_std(listener).map_err(Error::file("loopback"))?;
            let (stream, _) = listener.accept().await.map_err(Error::file("loopback"))?;
            stream.set_nodelay(true).map_err(Error::file("loopback"))?;
            match transport {
                Transport::Plain => follow(stream, task).await,
                Transport::Tls => {
                    let accepted = tokio_rustls::TlsAcceptor::from(server).accept(stream).await;
                    follow(accepted.map_err(Error::file("TLS"))?, task).await
                }
            }
        })
    });
    let done = on_thread(async move {
        let stream = TcpStream::connect(address).await.map_err(Error::file("loopback"))?;
        stream.set_nodelay(true).map_err(Error::file("loopback"))?;
        match transport {
            Transport::Plain => lead(stream, task).await,
            Transport::Tls => {
                let connector = tokio_rustls::TlsConnector::from(certificates.client);
                let name =
                    ServerName::try_from("standby").map_err(|error| Error::State(error.to_string()))?;
                let connected = connector.connect(name, stream).await;
                lead(connected.map_err(Error::file("TLS"))?, task).await
            }
        }
    });
    let followed = standby.join().map_err(|_| Error::State("the standby panicked".to_owned()))?;
    let done = done?;
    followed?;
    Ok(done)
}

/// A node's data runtime has one thread.
fn on_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::file("runtime"))?.block_on(work)
}

/// The active node: appends, sends, hears what is acknowledged.
async fn lead(stream: impl AsyncRead + AsyncWrite + Send + 'static, task: Task) -> Result<Done> {
    let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let items = match task {
        Task::Copy(items) => items,
        Task::Flood(_) | Task::Steady(..) => BATCH,
    };
    let (mut journal, _) = Journal::open(options(folder.path()), dictionary(items)?).map_err(failed)?;
    journal.begin_epoch(Epoch::new(1, NodeRank(0))).map_err(failed)?;
    let mut source = Source { journal, table: samples(0, items) };
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (tell, mut told) = mpsc::channel(1024);
    let reading = tokio::spawn(async move {
        let mut frames = FrameReader::new(FRAME_BODY_MAX);
        let mut bytes = Vec::with_capacity(READ_BYTES);
        while reader.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
            for message in unpack(&mut frames, &mut bytes)? {
                // The other end is gone when the run is over.
                drop(tell.send(message).await);
            }
        }
        Ok::<(), Error>(())
    });
    let mut sender = Sender::new(SenderOptions::default());
    let mut out = Vec::new();
    let mut done = Done::default();
    let want = told.recv().await.ok_or_else(gone)?;
    let mut begun = Instant::now();
    sender.handle(want, &mut source).map_err(|error| Error::State(error.to_string()))?;
    let (mut unheard, mut unstored) = (Waiting::default(), Waiting::default());
    let mut received = Position::START;
    let mut number = 0_u32;
    let mut is_copied = matches!(task, Task::Copy(_));
    loop {
        if !is_copied && sender.is_caught_up() {
            // What is measured comes behind the copy with which it begins.
            (is_copied, begun, done.bytes) = (true, Instant::now(), 0);
        }
        if is_copied {
            let made = produce(task, begun, done.values, &mut source, &mut number)?;
            done.values += made.1;
            if matches!(task, Task::Steady(..)) {
                unheard.0.extend(made.0.iter().copied());
                unstored.0.extend(made.0);
            }
        }
        source.journal.write().map_err(failed)?;
        while let Some(message) = sender.poll(&mut source) {
            pack(&message, &mut out);
            if out.len() >= SEND_BYTES {
                break;
            }
        }
        let has_more = out.len() >= SEND_BYTES;
        if !out.is_empty() {
            done.bytes += out.len() as u64;
            writer.write_all(&out).await.map_err(Error::file("connection"))?;
            writer.flush().await.map_err(Error::file("connection"))?;
            out.clear();
        }
        let mut next = if has_more {
            // What is there is heard on the way; nothing is waited for.
            tokio::task::yield_now().await;
            told.try_recv().ok()
        } else {
            tokio::time::timeout(TICK, told.recv()).await.ok().flatten()
        };
        while let Some(message) = next {
            if let Message::Ack { received: taken, .. } = &message {
                received = *taken;
            }
            sender.handle(message, &mut source).map_err(|error| Error::State(error.to_string()))?;
            next = told.try_recv().ok();
        }
        unheard.drain(received, &mut done.lags_ms);
        unstored.drain(sender.durable(), &mut done.stored_ms);
        if is_copied && is_over(task, begun, &done, &sender, &source) {
            break;
        }
    }
    done.time = begun.elapsed();
    writer.shutdown().await.map_err(Error::file("connection"))?;
    reading.abort();
    Ok(done)
}

/// Records that the other side has not acknowledged, and since when.
#[derive(Debug, Default)]
struct Waiting(VecDeque<(Position, Instant)>);

impl Waiting {
    fn drain(&mut self, through: Position, lags_ms: &mut Vec<f64>) {
        while let Some((_, at)) = self.0.front().copied().filter(|(place, _)| *place <= through) {
            lags_ms.push(at.elapsed().as_secs_f64() * 1e3);
            self.0.pop_front();
        }
    }
}

/// Appends what is due; gives the records with their times, and how many values that is.
fn produce(
    task: Task,
    begun: Instant,
    so_far: u64,
    source: &mut Source,
    number: &mut u32,
) -> Result<(Vec<(Position, Instant)>, u64)> {
    let due = match task {
        Task::Flood(total) => total,
        Task::Copy(_) => 0,
        Task::Steady(rate, time) => {
            let elapsed = begun.elapsed().min(time);
            u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX) * rate / 1_000_000
        }
    };
    let mut made = 0;
    let mut records = Vec::new();
    while so_far + made < due && source.journal.unwritten_bytes() < SEND_BYTES && made < MADE_MAX {
        let count = u32::try_from((due - so_far - made).min(u64::from(BATCH))).unwrap_or(BATCH);
        *number += 1;
        let position = source.journal.append_samples(samples(*number, count)).map_err(failed)?;
        records.push((position, Instant::now()));
        made += u64::from(count);
    }
    Ok((records, made))
}

fn is_over(task: Task, begun: Instant, done: &Done, sender: &Sender, source: &Source) -> bool {
    let is_stored = sender.durable() >= source.journal.last();
    match task {
        Task::Flood(total) => done.values >= total && is_stored,
        Task::Copy(_) => sender.is_caught_up(),
        Task::Steady(_, time) => begun.elapsed() >= time && is_stored,
    }
}

/// The standby: takes, applies, stores and acknowledges.
async fn follow(stream: impl AsyncRead + AsyncWrite + Send + 'static, task: Task) -> Result<()> {
    let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    let (mut journal, _) = Journal::open(options(folder.path()), dictionary(1)?).map_err(failed)?;
    let mut receiver = Receiver::new(journal.last(), journal.first(), 1);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (synced, mut outcomes) = mpsc::unbounded_channel::<SyncOutcome>();
    let mut is_syncing = false;
    let mut table = Vec::new();
    let (mut frames, mut bytes, mut out) =
        (FrameReader::new(FRAME_BODY_MAX), Vec::with_capacity(READ_BYTES), Vec::new());
    pack(&receiver.want(), &mut out);
    let applied = Arc::new(AtomicU64::new(0));
    loop {
        if !is_syncing && let Some(ticket) = journal.begin_sync().map_err(failed)? {
            is_syncing = true;
            let synced = synced.clone();
            // It is collected through the channel.
            drop(tokio::task::spawn_blocking(move || synced.send(ticket.run())));
        }
        let durable = journal.durable().min(receiver.received());
        if let Some(ack) = receiver.ack(durable) {
            pack(&ack, &mut out);
        }
        if !out.is_empty() {
            if writer.write_all(&out).await.is_err() || writer.flush().await.is_err() {
                return Ok(());
            }
            out.clear();
        }
        tokio::select! {
            read = reader.read_buf(&mut bytes) => match read {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {
                    for message in unpack(&mut frames, &mut bytes)? {
                        let action = receiver.handle(message).map_err(|error| Error::State(error.to_string()))?;
                        apply(action, &mut journal, &mut table, &applied, task)?;
                    }
                }
            },
            outcome = outcomes.recv() => {
                is_syncing = false;
                if let Some(outcome) = outcome {
                    journal.finish_sync(outcome).map_err(failed)?;
                }
            }
        }
    }
}

fn apply(
    action: ReceiverAction,
    journal: &mut Journal,
    table: &mut Vec<Value>,
    applied: &AtomicU64,
    task: Task,
) -> Result<()> {
    let mut store = |body: &[u8]| -> Result<()> {
        let record = record::decode(body).map_err(|error| Error::State(error.to_string()))?;
        if let Record::Samples(samples) = record {
            applied.fetch_add(samples.len() as u64, Ordering::Relaxed);
            for sample in samples.iter() {
                let index = sample.item.index();
                if index >= table.len() {
                    table.resize(index + 1, Value::Null);
                }
                table[index] = sample.value.clone();
            }
        }
        Ok(())
    };
    match action {
        ReceiverAction::AppendEntries { batch } => {
            for (position, body) in batch.iter() {
                journal.append_encoded(position, body).map_err(failed)?;
                store(body)?;
            }
        }
        ReceiverAction::ApplySamples { body } => store(&body)?,
        ReceiverAction::EndSnapshot { at, .. } => journal.restart_at(at).map_err(failed)?,
        ReceiverAction::UseDictionary { record, .. } => {
            journal.set_dictionary_record(&record).map_err(failed)?;
        }
        ReceiverAction::Diverged { common } => {
            return Err(Error::State(format!("{task:?}: diverged at {common}")));
        }
        ReceiverAction::Nothing
        | ReceiverAction::Send(_)
        | ReceiverAction::BeginSnapshot { .. }
        | ReceiverAction::ApplyState { .. } => {}
    }
    Ok(())
}

/// What the sender reads, as the engine gives it.
struct Source {
    journal: Journal,
    table: Vec<Sample>,
}

impl TailSource for Source {
    fn relation(&mut self, position: Position) -> Relation {
        match self.journal.relation(position) {
            // Without records there is only the image.
            _ if self.journal.last() == Position::START => Relation::TooOld,
            twinhub_store::Relation::Present => Relation::Present,
            twinhub_store::Relation::TooOld => Relation::TooOld,
            twinhub_store::Relation::Diverged { common } => Relation::Diverged { common },
        }
    }

    fn read_after(&mut self, after: Position, max_bytes: usize, out: &mut EntryBatch) -> TailRead {
        let dictionary = self.journal.dictionary_after(after);
        let end = self.journal.visit_after(after, max_bytes, &mut |position, body| out.push(position, body));
        let end = match end {
            Ok(ReadEnd::More) => TailEnd::More,
            Ok(ReadEnd::CaughtUp) => TailEnd::CaughtUp,
            Ok(ReadEnd::Gap { .. }) | Err(_) => TailEnd::Gap,
        };
        TailRead { end, dictionary }
    }

    fn dictionary(&mut self, hash: u64, out: &mut Vec<u8>) -> bool {
        self.journal.dictionary_record(hash).is_ok_and(|record| {
            out.extend_from_slice(&record);
            true
        })
    }

    fn snapshot_begin(&mut self) -> SnapshotHead {
        SnapshotHead {
            at: self.journal.last(),
            items: self.table.len() as u64,
            dictionary: self.journal.dictionary_after(self.journal.last()),
        }
    }

    fn snapshot_chunk(&mut self, cursor: u32, max_bytes: usize, out: &mut Vec<u8>) -> Option<u32> {
        let (from, count) = (cursor as usize, max_bytes / 24);
        let end = self.table.len().min(from + count);
        record::encode_samples(&self.table[from..end], out);
        (end < self.table.len()).then(|| u32::try_from(end).unwrap_or(u32::MAX))
    }

    fn snapshot_state(&mut self, _number: u32) -> Option<(String, Vec<u8>)> {
        None
    }

    fn last(&mut self) -> Position {
        self.journal.last()
    }
}

/// One value for each of `count` items: measured ones, of the same moment, as a poll gives them.
fn samples(number: u32, count: u32) -> Vec<Sample> {
    let now = Timestamp(1_700_000_000_000_000_000 + i64::from(number) * 1_000_000);
    (0..count)
        .map(|item| Sample {
            item: ItemId(item),
            value: Value::F64(f64::from(item) * 0.37 + f64::from(number) * 0.013),
            quality: Quality::GOOD,
            source: now,
            server: now,
            flags: SampleFlags::default(),
        })
        .collect()
}

fn dictionary(items: u32) -> Result<Arc<[(ItemId, ItemKey)]>> {
    let key = |item| ItemKey::new("plc", &format!("line/{item}")).map(|key| (ItemId(item), key));
    let entries: std::result::Result<Vec<_>, _> = (0..items).map(key).collect();
    entries.map(Into::into).map_err(|error| Error::State(error.to_string()))
}

fn options(folder: &std::path::Path) -> JournalOptions {
    JournalOptions { retain_bytes: 1 << 30, ..JournalOptions::new(folder) }
}

fn pack(message: &Message, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(64);
    message.encode(&mut body);
    write_frame(Kind::Replica, &body, out);
}

fn unpack(frames: &mut FrameReader, bytes: &mut Vec<u8>) -> Result<Vec<Message>> {
    frames.push(bytes);
    bytes.clear();
    let mut messages = Vec::new();
    while let Some(frame) = frames.next_frame().map_err(|error| Error::State(error.to_string()))? {
        messages.push(Message::decode(frame.body).map_err(|error| Error::State(error.to_string()))?);
    }
    Ok(messages)
}

struct Certificates {
    server: Arc<rustls::ServerConfig>,
    client: Arc<rustls::ClientConfig>,
}

impl Certificates {
    fn new() -> Result<Self> {
        let wrong = |error: &dyn std::fmt::Display| Error::State(format!("certificate: {error}"));
        let made =
            rcgen::generate_simple_self_signed(["standby".to_owned()]).map_err(|error| wrong(&error))?;
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate.clone()).map_err(|error| wrong(&error))?;
        let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(&error))?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .map_err(|error| wrong(&error))?;
        let client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { server: Arc::new(server), client: Arc::new(client) })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: twinhub_store::StoreError) -> Error {
    Error::State(format!("journal: {error}"))
}

fn gone() -> Error {
    Error::State("the standby went away".to_owned())
}

/// Values of one record.
const BATCH: u32 = 1_000;
/// Values made before the connection has its turn.
const MADE_MAX: u64 = 64_000;
const READ_BYTES: usize = 256 * 1024;
const SEND_BYTES: usize = 1024 * 1024;
const TICK: Duration = Duration::from_millis(1);
