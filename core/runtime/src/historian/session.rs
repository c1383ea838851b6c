//! From a connection to its end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use tokio::time::sleep;
use twinhub_config::Writers;
use twinhub_historian::{Database, Progress, Target};
use twinhub_history::{Mark, Reader, Row, SealedFile, Taken};
use twinhub_model::{Moment, Position, Severity, Timestamp};
use twinhub_redundancy::NodeState;

use super::{TAIL_BYTES, Trouble, Worker};
use crate::clock;

/// A connection that has nothing to do is tried so often; how far all is, is written so often where nothing comes.
const IDLE: Duration = Duration::from_secs(5);
/// The history's thread writes a file within this time, or is asked again.
const SEAL_MAX: Duration = Duration::from_secs(60);
/// It is looked so often whether it has.
const SEAL_LOOK: Duration = Duration::from_millis(10);
/// No more bytes of text are written at once.
const BATCH_TEXT_BYTES: usize = 1 << 20;

/// What is known of files beyond a connection.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    progress: Option<Progress>,
    /// Files that the database lacks, by their last seal: first seal and rows.
    waiting: BTreeMap<u64, (u64, u64)>,
}

impl Keeper {
    /// Counts what waits, and what was deleted before it was sent.
    pub(super) fn look(&mut self, worker: &Worker, sent: Option<&BTreeMap<String, u64>>) {
        let Ok(reader) = worker.shelf.reader() else { return };
        let groups = writing(worker);
        worker.shelf.historian.set_writes(!groups.is_empty());
        let Some(progress) = self.progress.as_ref().filter(|_| !groups.is_empty()) else {
            self.waiting.clear();
            return;
        };
        let files = reader.sealed();
        let none = BTreeMap::new();
        let sent = sent.unwrap_or(&none);
        let lacking: Vec<&SealedFile> =
            files.iter().filter(|file| !lacking(worker, file, &groups, progress, sent).is_empty()).collect();
        let is_there =
            |seal: u64| files.iter().any(|file| file.first_seal() <= seal && seal <= file.last_seal());
        let gone: u64 =
            self.waiting.iter().filter(|(last, _)| !is_there(**last)).map(|(_, (_, rows))| rows).sum();
        self.waiting =
            lacking.iter().map(|file| (file.last_seal(), (file.first_seal(), file.row_count()))).collect();
        if gone > 0 {
            let text = format!(
                "about {gone} values were deleted from the history of this node before they were in the database"
            );
            tracing::error!(rows = gone, "values were deleted before they were in the central database");
            worker.shelf.historian.on_lost(gone);
            worker.note(Severity::Error, "TH-HISTORIAN-004", &text);
        }
        let rows = self.waiting.values().map(|(_, rows)| rows).sum::<u64>();
        let rows = rows + reader.totals().pending_rows;
        let oldest = lacking.iter().filter_map(|file| file.oldest()).min();
        worker.shelf.historian.set_lag(rows, oldest);
    }
}

/// Groups whose values this node writes now. Whoever does not know yet that it lost the role does no harm.
fn writing(worker: &Worker) -> Vec<String> {
    let shared = &worker.shared;
    let is_ours = |group: &&twinhub_config::Group| match worker.config.write {
        Writers::All => true,
        Writers::Active => {
            matches!(shared.group(&group.id).state, Some(NodeState::Active | NodeState::Draining))
        }
    };
    shared.site.groups.iter().filter(is_ours).map(|group| group.id.clone()).collect()
}

/// Groups that this node writes, and of which the database may lack rows that are in the file. What a group left that is
/// configured no more is the first one's.
fn lacking(
    worker: &Worker,
    file: &SealedFile,
    groups: &[String],
    progress: &Progress,
    sent: &BTreeMap<String, u64>,
) -> Vec<String> {
    let shared = &worker.shared;
    let writes_first = is_in(groups, shared.first_group());
    let is_configured = |group: &str| shared.site.groups.iter().any(|known| known.id == group);
    let former = file.groups().filter(|group| writes_first && !is_configured(group));
    let groups = groups.iter().map(String::as_str).chain(former);
    groups.filter(|group| lacks(file, group, progress, sent)).map(str::to_owned).collect()
}

/// Whether the database may lack rows of this group that are in the file.
fn lacks(file: &SealedFile, group: &str, progress: &Progress, sent: &BTreeMap<String, u64>) -> bool {
    let is_sent = sent.get(group).is_some_and(|seal| file.last_seal() <= *seal);
    !is_sent && file.cursor(group).is_none_or(|cursor| !progress.covers(&cursor))
}

/// See the module.
#[derive(Debug)]
pub(super) struct Session<'a> {
    worker: &'a Worker,
    reader: Reader,
    database: Database,
    keeper: &'a mut Keeper,
    /// For each group: the last seal that was sent over this connection.
    sent: BTreeMap<String, u64>,
    /// A refused row was said.
    told_refusal: bool,
    spoken_at: Moment,
}

impl<'a> Session<'a> {
    pub(super) async fn begin(
        worker: &'a Worker,
        target: &Target,
        reader: Reader,
        keeper: &'a mut Keeper,
    ) -> Result<Session<'a>, Trouble> {
        let site = &worker.shared.site.site;
        let texts = Arc::clone(&worker.texts);
        let database = Database::connect(target, site, &worker.shared.node, texts).await?;
        keeper.progress = Some(database.progress().await?);
        Ok(Session {
            worker,
            reader,
            database,
            keeper,
            sent: BTreeMap::new(),
            told_refusal: false,
            spoken_at: clock::now(),
        })
    }

    pub(super) async fn run(mut self) -> Result<Infallible, Trouble> {
        self.worker.shelf.historian.on_connected();
        loop {
            let groups = writing(self.worker);
            self.worker.shelf.historian.set_writes(!groups.is_empty());
            if groups.is_empty() {
                self.rest().await?;
                continue;
            }
            // Another node may have written meanwhile.
            self.keeper.progress = Some(self.database.progress().await?);
            self.catch_up(&groups).await?;
            let begun = self.reader.begin_tail(TAIL_BYTES);
            // What is in memory goes into a file; what comes from now on is in the tail.
            self.seal().await;
            if self.reader.is_sealed(begun) {
                self.catch_up(&groups).await?;
                self.follow(&groups).await?;
            } else {
                // A disk that takes nothing; the history says so itself.
                self.rest().await?;
            }
            self.reader.end_tail();
        }
    }

    /// Waits until the history's thread has answered; nobody waits for this wait, which ends where it stands.
    async fn seal(&self) {
        let Some(done) = self.worker.shelf.lines.begin_seal() else { return };
        let until = clock::now() + SEAL_MAX;
        while done.try_recv() == Err(TryRecvError::Empty) && clock::now() < until {
            sleep(SEAL_LOOK).await;
        }
    }

    /// A standby writes nothing, and sees whether it could.
    async fn rest(&mut self) -> Result<(), Trouble> {
        sleep(self.worker.config.interval.min(IDLE)).await;
        self.keeper.look(self.worker, Some(&self.sent));
        if clock::now().since(self.spoken_at) >= IDLE {
            self.database.ping().await?;
            self.spoken_at = clock::now();
        }
        Ok(())
    }

    fn progress(&mut self) -> &mut Progress {
        self.keeper.progress.get_or_insert_default()
    }

    fn is_over(&self, groups: &[String]) -> bool {
        writing(self.worker) != groups
    }

    /// Sends files that the database lacks, in their order, until there are none or the role changes.
    async fn catch_up(&mut self, groups: &[String]) -> Result<(), Trouble> {
        while !self.is_over(groups) {
            self.keeper.look(self.worker, Some(&self.sent));
            let progress = self.keeper.progress.clone().unwrap_or_default();
            let next = self.reader.sealed().into_iter().find_map(|file| {
                let lacking = lacking(self.worker, &file, groups, &progress, &self.sent);
                (!lacking.is_empty()).then_some((file, lacking))
            });
            let Some((file, lacking)) = next else { return Ok(()) };
            if !self.send_file(&file, &lacking, groups).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sends a file, of which the database lacks some groups; false if the role changed before its end. All rows go: the
    /// group that an item is in now says nothing of the journal that its rows came with.
    async fn send_file(
        &mut self,
        file: &SealedFile,
        lacking: &[String],
        groups: &[String],
    ) -> Result<bool, Trouble> {
        let (mut rows, mut batch, mut text) = (file.rows(), Vec::new(), 0);
        let most = self.worker.config.batch as usize;
        while let Some((key, block)) = rows.next_block()? {
            for row in block {
                text += row.value.text_bytes();
                batch.push((Arc::clone(&key), row));
                if batch.len() >= most || text >= BATCH_TEXT_BYTES {
                    self.write(&batch, &[]).await?;
                    batch.clear();
                    text = 0;
                    if self.is_over(groups) {
                        return Ok(false);
                    }
                }
            }
        }
        self.leave_out(file, rows.damaged());
        let reached = lacking.iter().filter_map(|group| file.reached(group));
        let marks: Vec<Mark> = reached.filter(|mark| mark.at > Position::START).collect();
        self.write(&batch, &marks).await?;
        for group in lacking {
            self.sent.insert(group.clone(), file.last_seal());
        }
        Ok(true)
    }

    /// Damage in a file: what it took is missing now, which the marks heed.
    fn leave_out(&self, file: &SealedFile, blocks: u64) {
        if blocks == 0 {
            return;
        }
        tracing::error!(
            blocks,
            file = file.last_seal(),
            "damaged values are not sent to the central database"
        );
        self.worker.shelf.historian.on_damaged(blocks);
        let text = format!(
            "{blocks} damaged blocks of the history were left out; their values are looked for in the journal and on \
             other nodes, and follow from there"
        );
        self.worker.note(Severity::Warning, "TH-HISTORIAN-005", &text);
    }

    /// Sends what comes, until the role changes or too much comes at once.
    async fn follow(&mut self, groups: &[String]) -> Result<(), Trouble> {
        while !self.is_over(groups) {
            let now = clock::utc();
            let Some(Taken { rows, mut reached }) = self.reader.take_tail(&|group| is_in(groups, group))
            else {
                return Ok(());
            };
            let is_idle = clock::now().since(self.spoken_at) >= IDLE;
            reached.retain(|mark| !self.progress().covers(mark));
            if !rows.is_empty() || (is_idle && !reached.is_empty()) {
                self.write_all(&rows, &reached).await?;
            } else if is_idle {
                self.database.ping().await?;
                self.spoken_at = clock::now();
            }
            self.complete(now);
            sleep(self.worker.config.interval).await;
        }
        Ok(())
    }

    /// Everything that came before `now` is there.
    fn complete(&mut self, now: Timestamp) {
        if self.worker.shelf.historian.on_complete(now) {
            tracing::info!("the central database has all values again");
            let text = "the database is there again, and has all values that this node keeps";
            self.worker.note(Severity::Info, "TH-HISTORIAN-002", text);
        }
    }

    async fn write_all(&mut self, rows: &[(Arc<str>, Row)], marks: &[Mark]) -> Result<(), Trouble> {
        let (mut from, mut text) = (0, 0);
        for (index, (_, row)) in rows.iter().enumerate() {
            text += row.value.text_bytes();
            if index + 1 - from >= self.worker.config.batch as usize || text >= BATCH_TEXT_BYTES {
                self.write(&rows[from..=index], &[]).await?;
                (from, text) = (index + 1, 0);
            }
        }
        self.write(&rows[from..], marks).await
    }

    async fn write(&mut self, rows: &[(Arc<str>, Row)], marks: &[Mark]) -> Result<(), Trouble> {
        let written = self.database.write(rows, marks).await?;
        self.spoken_at = clock::now();
        for mark in marks {
            self.progress().note(mark);
        }
        self.worker.shelf.historian.on_written(&written);
        if let Some(refusal) = written.refusal
            && !std::mem::replace(&mut self.told_refusal, true)
        {
            tracing::error!(refusal, "the central database refuses values");
            let text =
                format!("the database refuses values that others like them are not refused for: {refusal}");
            self.worker.note(Severity::Warning, "TH-HISTORIAN-003", &text);
        }
        Ok(())
    }
}

fn is_in(groups: &[String], group: &str) -> bool {
    groups.iter().any(|known| known == group)
}
