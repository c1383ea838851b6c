//! Looks up which telegrams of a node that was alone this node's history has, too.

use std::collections::BTreeSet;

use twinhub_history::Reader;

use super::follower::Follower;
use super::{Twins, TwinsAsk};
use crate::inbox::Job;

impl Follower {
    /// Keeps a question until the history is far enough.
    pub(super) fn on_twins_ask(&mut self, ask: TwinsAsk) {
        self.twins.retain(|known| known.group != ask.group);
        self.twins.push(ask);
    }

    /// Answers what can be answered now.
    pub(super) fn answer_twins(&mut self) {
        for ask in std::mem::take(&mut self.twins) {
            // A full disk does not hold it up: what is in memory can be looked at, too.
            if self.store.cursor(&ask.group) < ask.after && !self.store.is_full() {
                self.twins.push(ask);
                continue;
            }
            let twins = find_twins(&self.store.reader(), &ask);
            if let Some(feed) = self.feeds.iter().find(|feed| feed.group == ask.group) {
                feed.inbox.push_later(Job::Twins { number: ask.number, twins });
            }
        }
    }
}

/// The telegrams of a question that have twins in a history.
pub(crate) fn find_twins(reader: &Reader, ask: &TwinsAsk) -> Twins {
    let mut twins = Twins::new();
    for (item, telegrams) in &ask.telegrams {
        match reader.twins(item, telegrams, &ask.fork, ask.tolerance) {
            Ok(found) => {
                let numbered = found.into_iter().enumerate();
                let found: BTreeSet<usize> =
                    numbered.filter_map(|(number, is_twin)| is_twin.then_some(number)).collect();
                if !found.is_empty() {
                    twins.insert(item.clone(), found);
                }
            }
            Err(error) => {
                tracing::warn!(%item, %error, "values of a node that was alone may be in the history twice");
            }
        }
    }
    twins
}
