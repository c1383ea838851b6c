//! Values on their way to a central database: a follower of the history, on its own thread.
//!
//! ```text
//! history -- files that the database lacks, then what comes --> historian -- batches --> database
//!                         ^                                                                 |
//!                         `----------- how far it is, asked at the beginning --------------'
//! ```
//! Nothing is kept here: what the database lacks follows from what it says and from what the history's files say of
//! themselves ([`twinhub_historian`]). With each connection, and whenever a role changes, the thread asks how far the
//! database is, sends the files that it lacks, has what is in memory sealed, and then follows what comes. What comes too
//! fast is dropped here and read from the files. So rows that were merged after a split or copied from another node go
//! the same way as all others, at whatever time they are of.
//!
//! Engines and history never wait for it: it takes what the history has, and the history keeps no more for it than
//! [`TAIL_BYTES`].

mod board;
mod session;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use twinhub_config::{Historian, Site, resolve_secrets};
use twinhub_historian::{DatabaseError, ItemText, Target};
use twinhub_history::HistoryError;
use twinhub_model::Severity;

use crate::clock;
use crate::error::StartError;
use crate::history::Shelf;
use crate::shared::Shared;

pub(crate) use board::Board;
use session::Session;

/// So much may come while a batch is on its way.
const TAIL_BYTES: usize = 8 << 20;
/// Between two attempts to connect: doubled from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// No file of a certificate is larger.
const AUTHORITY_BYTES_MAX: u64 = 1 << 20;

/// Units and descriptions of the items whose values are kept.
pub(crate) type Texts = Arc<HashMap<Box<str>, ItemText>>;

/// Takes them from a configuration that still has its items; nothing if there is no database.
pub(crate) fn texts_of(site: &Site) -> Texts {
    let mut texts = HashMap::new();
    if site.historian.is_some() {
        let items = site.interfaces.iter().flat_map(|interface| &interface.items);
        for item in items.filter(|item| item.historize) {
            let text = ItemText { unit: item.unit.clone(), description: item.description.clone() };
            texts.insert(Box::from(item.key.as_str()), text);
        }
    }
    Arc::new(texts)
}

/// The thread, and how to end it.
#[derive(Debug)]
pub(crate) struct HistorianThread {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl HistorianThread {
    /// Ends it: what it has not written is in the history.
    pub(crate) fn stop(self) {
        self.stop.send_replace(true);
        // A panic was reported when it happened.
        drop(self.thread.join());
    }
}

/// Begins to write into the database, if one is configured.
///
/// # Errors
/// [`StartError::Thread`].
pub(crate) fn start(
    texts: Texts,
    config_dir: PathBuf,
    shelf: &Arc<Shelf>,
    shared: &Arc<Shared>,
) -> Result<Option<HistorianThread>, StartError> {
    let Some(config) = shared.site.historian.clone() else { return Ok(None) };
    shelf.historian.begin(format!("{}:{}/{}", config.host, config.port, config.database));
    let failed = |source| StartError::Thread { what: "the historian", source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (stop, mut stopped) = watch::channel(false);
    let worker = Worker { config, config_dir, texts, shelf: Arc::clone(shelf), shared: Arc::clone(shared) };
    let run = move || {
        runtime.block_on(async {
            tokio::select! {
                () = worker.run() => {}
                // The sender lives as long as the thread is wanted.
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
        // A name that is being looked up keeps nobody waiting.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("historian".to_owned()).spawn(run).map_err(failed)?;
    Ok(Some(HistorianThread { stop, thread }))
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("values cannot be read for the database: {0}")]
    History(#[from] HistoryError),
    #[error("{0}")]
    Settings(String),
    #[error("the database gets no values: this node keeps none")]
    NoHistory,
}

#[derive(Debug)]
struct Worker {
    config: Historian,
    config_dir: PathBuf,
    texts: Texts,
    shelf: Arc<Shelf>,
    shared: Arc<Shared>,
}

impl Worker {
    async fn run(self) {
        let mut wait = BACKOFF.0;
        let mut keeper = session::Keeper::default();
        loop {
            let begun = clock::now();
            let trouble = match self.session(&mut keeper).await {
                Ok(never) => match never {},
                Err(trouble) => trouble,
            };
            if let Ok(reader) = self.shelf.reader() {
                reader.end_tail();
            }
            let text = trouble.to_string();
            if self.shelf.historian.on_trouble(&text) {
                tracing::error!(error = text, "the central database gets no values; the history keeps them");
                self.note(Severity::Error, "TH-HISTORIAN-001", &text);
            }
            keeper.look(&self, None);
            // What went well for a while is tried again at once.
            if clock::now().since(begun) > BACKOFF.1 {
                wait = BACKOFF.0;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    async fn session(&self, keeper: &mut session::Keeper) -> Result<std::convert::Infallible, Trouble> {
        let reader = self.shelf.reader().map_err(|_| Trouble::NoHistory)?.clone();
        let target = self.target()?;
        Session::begin(self, &target, reader, keeper).await?.run().await
    }

    /// Where the database is. Secrets are read anew, so that a new password needs no restart.
    fn target(&self) -> Result<Target, Trouble> {
        let Historian { host, port, database, user, password, ca, schema, timeout, .. } = &self.config;
        let mut secret = serde_json::json!({ "password": password });
        resolve_secrets(&mut secret, &self.config_dir)
            .map_err(|error| Trouble::Settings(error.to_string()))?;
        let authority = ca.as_ref().map(|name| read_authority(&self.config_dir.join(name))).transpose()?;
        Ok(Target {
            host: host.clone(),
            port: *port,
            database: database.clone(),
            user: user.clone(),
            password: secret.get("password").and_then(|text| text.as_str()).map(str::to_owned),
            authority,
            schema: schema.clone(),
            program: format!("twinhub {}", self.shared.node),
            patience: *timeout,
        })
    }

    fn note(&self, severity: Severity, code: &str, text: &str) {
        self.shared.note_event(
            self.shared.first_group(),
            twinhub_model::Event {
                severity,
                source: "historian".into(),
                code: code.into(),
                text: text.into(),
                at: clock::utc(),
            },
        );
    }
}

fn read_authority(path: &Path) -> Result<Vec<u8>, Trouble> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| {
        Trouble::Settings(format!("cannot read {}, the authority of the database: {error}", path.display()))
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(AUTHORITY_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
