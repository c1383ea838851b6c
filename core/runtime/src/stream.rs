//! Following values from outside: a snapshot or a cursor first, then what comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};
use twinhub_model::{Epoch, NodeRank, Position, Record, Sample};

use crate::handle::Handle;
use crate::inbox::{Job, ReadAnswer};
use crate::json::to_json;
use crate::shared::LiveFrame;
use crate::table::ItemTable;
use crate::view::{StreamFrame, StreamItem};

/// Which items a stream carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFilter {
    /// Only keys that begin so.
    pub prefix: String,
}

/// Values as they come. Slow readers read on from the journal, so nothing that it still holds is missed.
#[derive(Debug)]
pub struct Stream {
    pub(crate) handle: Handle,
    pub(crate) filter: StreamFilter,
    pub(crate) group: String,
    pub(crate) live: broadcast::Receiver<LiveFrame>,
    pub(crate) position: Option<Position>,
    pub(crate) snapshot_sent: bool,
    pub(crate) behind: bool,
}

impl Stream {
    /// The next frame; `None` when the node stops.
    pub async fn next(&mut self) -> Option<StreamFrame> {
        if !self.snapshot_sent {
            self.snapshot_sent = true;
            return Some(self.snapshot());
        }
        loop {
            if self.handle.inner().shared.stopping.load(Ordering::Acquire) {
                return None;
            }
            if self.behind {
                if let Some(frame) = self.read_on().await? {
                    return Some(frame);
                }
                continue;
            }
            match tokio::time::timeout(Duration::from_secs(1), self.live.recv()).await {
                Ok(Ok(frame)) => {
                    if *frame.group != *self.group || self.position.is_some_and(|seen| frame.position <= seen)
                    {
                        continue;
                    }
                    self.position = Some(frame.position);
                    if let Some(frame) = self.frame(frame.position, &frame.samples) {
                        return Some(frame);
                    }
                }
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => self.behind = true,
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                Err(_) => {}
            }
        }
    }

    fn snapshot(&mut self) -> StreamFrame {
        let position = self.handle.inner().shared.group(&self.group).position;
        self.position = Some(position);
        let table = &self.handle.inner().table;
        let items = table
            .ids()
            .filter(|item| table.key(*item).starts_with(&self.filter.prefix))
            .map(|item| stream_item(table, &table.read(item)))
            .collect();
        StreamFrame { epoch: position.epoch.to_string(), cursor: position.to_string(), items }
    }

    /// Reads from the journal; `Some(None)` if nothing there is for this stream.
    async fn read_on(&mut self) -> Option<Option<StreamFrame>> {
        let after = self.position.unwrap_or(Position::START);
        let inbox = Arc::clone(self.handle.inner().inboxes.get(&self.group)?);
        let (reply, answer) = oneshot::channel();
        inbox.push(Job::Read { after, reply });
        let ReadAnswer { entries, gap, last } = answer.await.ok()?;
        if gap {
            self.behind = false;
            return Some(Some(self.snapshot()));
        }
        let mut items = Vec::new();
        for (position, record) in entries {
            self.position = Some(position);
            if let Record::Samples(samples) = record {
                items.extend(self.items_of(&samples));
            }
        }
        // A cursor of another node may be ahead of this journal; what comes is then skipped up to it.
        if self.position.is_none_or(|position| position >= last) {
            self.behind = false;
        }
        let position = self.position.unwrap_or_default();
        Some((!items.is_empty()).then(|| StreamFrame {
            epoch: position.epoch.to_string(),
            cursor: position.to_string(),
            items,
        }))
    }

    fn frame(&self, position: Position, samples: &[Sample]) -> Option<StreamFrame> {
        let items = self.items_of(samples);
        (!items.is_empty()).then(|| StreamFrame {
            epoch: position.epoch.to_string(),
            cursor: position.to_string(),
            items,
        })
    }

    fn items_of(&self, samples: &[Sample]) -> Vec<StreamItem> {
        let table = &self.handle.inner().table;
        samples
            .iter()
            .filter(|sample| table.key(sample.item).starts_with(&self.filter.prefix))
            .map(|sample| stream_item(table, sample))
            .collect()
    }
}

fn stream_item(table: &ItemTable, sample: &Sample) -> StreamItem {
    StreamItem {
        key: table.key(sample.item).to_owned(),
        value: to_json(&sample.value),
        quality: sample.quality.word().to_owned(),
        source_time: sample.source.to_string(),
    }
}

/// Reads `counter.rank:seq`.
pub(crate) fn parse_cursor(text: &str) -> Option<Position> {
    let (epoch, seq) = text.split_once(':')?;
    let (counter, rank) = epoch.split_once('.')?;
    let counter: u64 = counter.parse().ok().filter(|counter| *counter < 1 << 56)?;
    Some(Position::new(Epoch::new(counter, NodeRank(rank.parse().ok()?)), seq.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_shown() {
        let position = Position::new(Epoch::new(17, NodeRank(1)), 905);
        assert_eq!(parse_cursor(&position.to_string()), Some(position));
        for text in ["", "1", "1.2", "a.b:c", "1.300:4", "99999999999999999999.1:1"] {
            assert_eq!(parse_cursor(text), None, "{text}");
        }
    }
}
