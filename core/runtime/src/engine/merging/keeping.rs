//! What was set aside and is on all nodes is kept for a while, for people, and then deleted.

use std::time::{Duration, SystemTime};

use twinhub_model::{Moment, Part, Severity};
use twinhub_replica::MergeId;
use twinhub_store::Aside;

use super::MergeState;
use crate::clock;
use crate::engine::Engine;

/// Looked for that often.
const LOOK_INTERVAL: Duration = Duration::from_secs(600);

impl Engine {
    /// Deletes what came to all nodes so long ago that nobody looks for it any more.
    pub(super) fn delete_old_asides(&mut self, now: Moment) {
        let is_due = self.merging.kept_at.is_none_or(|at| now >= at + LOOK_INTERVAL);
        if !is_due || self.merging.current.is_some() {
            return;
        }
        self.merging.kept_at = Some(now);
        let asides = std::mem::take(&mut self.merging.asides);
        let (old, kept): (Vec<Aside>, Vec<Aside>) = asides.into_iter().partition(|aside| self.is_old(aside));
        self.merging.asides = kept;
        if old.is_empty() {
            return;
        }
        for aside in old {
            let (common, bytes) = (aside.common(), aside.bytes());
            let pieces = self.pieces_file(common, Part::DOCUMENTS).remove();
            if let Err(error) = aside.delete().and(pieces) {
                tracing::warn!(%error, "what was set aside and is on all nodes cannot be deleted");
                continue;
            }
            let text = format!(
                "{bytes} bytes that this node wrote alone after {common} were deleted: they have been on all nodes for \
                 [journal] keep_aside"
            );
            tracing::info!(group = %self.group, text, "set aside records are deleted");
            self.event(Severity::Info, "journal", "TH-MERGE-005", &text);
        }
        // What could not be deleted is still there.
        self.merging.look(&self.journal);
    }

    fn is_old(&self, aside: &Aside) -> bool {
        let id = MergeId { node: self.shared.node.clone(), common: aside.common() };
        let Some(state) = self.parts.get::<MergeState>().filter(|state| state.merges().is_done(&id)) else {
            return false;
        };
        let keep = self.shared.site.journal.keep_aside;
        let since = match state.merges().report(&id).and_then(|report| report.ended) {
            Some(ended) => clock::utc().0.saturating_sub(ended),
            // So many were joined since that its report is gone.
            None => aside
                .written()
                .and_then(|written| SystemTime::now().duration_since(written).ok())
                .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        };
        u128::from(since.max(0).unsigned_abs()) > keep.as_nanos()
    }
}
