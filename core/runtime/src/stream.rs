//! Following values from outside: a snapshot or a cursor first, then what comes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};
use twinhub_model::{Epoch, ItemId, Moment, NodeRank, Position, Record, Sample, SampleFlags};

use crate::clock;
use crate::inbox::{Inbox, Job, ReadAnswer};
use crate::json::to_json;
use crate::shared::{LiveFrame, Shared};
use crate::table::ItemTable;
use crate::view::{StreamFrame, StreamItem};

/// Which items a stream carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFilter {
    /// Only keys that begin so.
    pub prefix: String,
}

/// How far a reader got: a journal position for each group. A site with one group shows it as
/// `counter.rank:seq`, others as `group=counter.rank:seq` with commas between.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor(BTreeMap<String, Position>);

impl Cursor {
    /// Reads a cursor as a frame of this or another node showed it. A position without a group belongs to the
    /// only group, or to `site`, or to the first one.
    pub fn parse(text: &str, groups: &[&str]) -> Option<Cursor> {
        let main = groups.iter().find(|group| **group == "site").or(groups.first())?;
        let mut positions = BTreeMap::new();
        for part in text.split(',') {
            let (group, position) = part.split_once('=').unwrap_or((main, part));
            // A group that is not configured any more has nothing to go on with.
            if groups.contains(&group) {
                positions.insert(group.to_owned(), parse_position(position)?);
            } else {
                parse_position(position)?;
            }
        }
        Some(Cursor(positions))
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (1, Some((_, position))) = (self.0.len(), self.0.iter().next()) {
            return write!(f, "{position}");
        }
        for (index, (group, position)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{group}={position}")?;
        }
        Ok(())
    }
}

/// Where the values of one group are found.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Leads to the group's journal.
    pub(crate) inbox: Arc<Inbox>,
    /// The items of each interface, as ranges of ids.
    pub(crate) items: Vec<Range<u32>>,
}

/// Values as they come, of all groups. Slow readers read on from the journals, so nothing that these still hold
/// is missed.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    table: Arc<ItemTable>,
    groups: BTreeMap<String, Feed>,
    filter: StreamFilter,
    live: broadcast::Receiver<LiveFrame>,
    cursor: Cursor,
    /// Groups of which the present values are sent first.
    unseen: BTreeSet<String>,
    /// Groups that are read from the journal until it ends.
    behind: BTreeSet<String>,
    /// What the last snapshot showed. The table is ahead of the journal, so what comes next may be known.
    shown: BTreeMap<ItemId, Sample>,
    /// What is shown need not be compared any more with what came after this.
    compared_until: Moment,
}

impl Stream {
    pub(crate) fn new(
        shared: Arc<Shared>,
        table: Arc<ItemTable>,
        groups: BTreeMap<String, Feed>,
        filter: StreamFilter,
        from: Option<Cursor>,
    ) -> Stream {
        let live = shared.listen();
        let cursor = from.unwrap_or_default();
        let (behind, unseen) = groups.keys().cloned().partition(|group| cursor.0.contains_key(group));
        let (shown, compared_until) = (BTreeMap::new(), Moment::ZERO);
        Stream { shared, table, groups, filter, live, cursor, unseen, behind, shown, compared_until }
    }

    /// The next frame; `None` when the node stops.
    pub async fn next(&mut self) -> Option<StreamFrame> {
        if let Some(group) = self.unseen.pop_first() {
            return Some(self.snapshot(&group));
        }
        loop {
            if self.shared.stopping.load(Ordering::Acquire) {
                return None;
            }
            if let Some(group) = self.behind.first().cloned() {
                if let Some(frame) = self.read_on(&group).await? {
                    return Some(frame);
                }
                continue;
            }
            match tokio::time::timeout(Duration::from_secs(1), self.live.recv()).await {
                Ok(Ok(frame)) => {
                    let group = &*frame.group;
                    if self.cursor.0.get(group).is_some_and(|seen| frame.position <= *seen) {
                        continue;
                    }
                    self.cursor.0.insert(group.to_owned(), frame.position);
                    if !self.shown.is_empty() && clock::now() > self.compared_until {
                        self.shown = BTreeMap::new();
                    }
                    let items = self.items_of(&frame.samples);
                    if !items.is_empty() {
                        return Some(self.frame(frame.position, items));
                    }
                }
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => {
                    self.behind = self.groups.keys().cloned().collect();
                }
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                Err(_) => {}
            }
        }
    }

    fn snapshot(&mut self, group: &str) -> StreamFrame {
        let position = self.shared.group(group).position;
        let table = &self.table;
        let items = self.groups.get(group).map(|feed| feed.items.as_slice()).unwrap_or_default();
        let shown: BTreeMap<ItemId, Sample> = items
            .iter()
            .flat_map(Clone::clone)
            .map(ItemId)
            .filter(|item| table.key(*item).starts_with(&self.filter.prefix))
            .map(|item| (item, table.read(item)))
            .collect();
        let items = shown.values().map(|sample| stream_item(table, sample)).collect();
        self.shown.extend(shown);
        self.compared_until = clock::now() + COMPARED;
        self.cursor.0.insert(group.to_owned(), position);
        self.frame(position, items)
    }

    /// Reads from the journal; `Some(None)` if nothing there is for this stream.
    async fn read_on(&mut self, group: &str) -> Option<Option<StreamFrame>> {
        let after = self.cursor.0.get(group).copied().unwrap_or(Position::START);
        let inbox = Arc::clone(&self.groups.get(group)?.inbox);
        let (reply, answer) = oneshot::channel();
        inbox.push(Job::Read { after, reply });
        let ReadAnswer { entries, gap, last } = answer.await.ok()?;
        if gap {
            self.behind.remove(group);
            return Some(Some(self.snapshot(group)));
        }
        let mut items = Vec::new();
        let mut position = after;
        for (read, record) in entries {
            position = read;
            if let Record::Samples(samples) = record {
                items.extend(self.items_of(&samples));
            }
        }
        self.cursor.0.insert(group.to_owned(), position);
        // A cursor of another node may be ahead of this journal; what comes is then skipped up to it.
        if position >= last {
            self.behind.remove(group);
        }
        Some((!items.is_empty()).then(|| self.frame(position, items)))
    }

    fn frame(&self, position: Position, items: Vec<StreamItem>) -> StreamFrame {
        StreamFrame { epoch: position.epoch.to_string(), cursor: self.cursor.to_string(), items }
    }

    fn items_of(&self, samples: &[Sample]) -> Vec<StreamItem> {
        let table = &self.table;
        samples
            .iter()
            // What is older than what was shown is for the history.
            .filter(|sample| !sample.flags.contains(SampleFlags::OLD))
            .filter(|sample| table.key(sample.item).starts_with(&self.filter.prefix))
            .filter(|sample| !self.shown.get(&sample.item).is_some_and(|shown| is_in(sample, shown)))
            .map(|sample| stream_item(table, sample))
            .collect()
    }
}

/// Whether a snapshot that showed `shown` needs `sample` no more.
fn is_in(sample: &Sample, shown: &Sample) -> bool {
    let same_moment = (sample.source, sample.server) == (shown.source, shown.server);
    sample.server < shown.server || (same_moment && sample.value == shown.value)
}

/// The journal is not further behind the table than this.
const COMPARED: Duration = Duration::from_secs(2);

fn stream_item(table: &ItemTable, sample: &Sample) -> StreamItem {
    StreamItem {
        key: table.key(sample.item).to_owned(),
        value: to_json(&sample.value),
        quality: sample.quality.word().to_owned(),
        source_time: sample.source.to_string(),
    }
}

/// Reads `counter.rank:seq`.
pub(crate) fn parse_position(text: &str) -> Option<Position> {
    let (epoch, seq) = text.split_once(':')?;
    let (counter, rank) = epoch.split_once('.')?;
    let counter: u64 = counter.parse().ok().filter(|counter| *counter < 1 << 56)?;
    Some(Position::new(Epoch::new(counter, NodeRank(rank.parse().ok()?)), seq.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_shown() {
        let position = Position::new(Epoch::new(17, NodeRank(1)), 905);
        assert_eq!(parse_position(&position.to_string()), Some(position));
        for text in ["", "1", "1.2", "a.b:c", "1.300:4", "99999999999999999999.1:1"] {
            assert_eq!(parse_position(text), None, "{text}");
        }
    }

    #[test]
    fn a_cursor_of_many_groups_is_read_as_it_was_shown() {
        let groups = ["energy", "site"];
        let text = "energy=3.1:8,site=17.0:905";
        assert_eq!(Cursor::parse(text, &groups).unwrap().to_string(), text);
        let of_one = Cursor::parse("17.0:905", &groups).unwrap();
        assert_eq!(of_one.0.keys().collect::<Vec<_>>(), ["site"]);
        assert_eq!(of_one.to_string(), "17.0:905");
        let gone = Cursor::parse("old=3.1:8,site=17.0:905", &groups).unwrap();
        assert_eq!(gone, of_one);
        for text in ["", "x=", "site=1", "energy=3.1:8,", "old=nonsense"] {
            assert_eq!(Cursor::parse(text, &groups), None, "{text}");
        }
    }
}
