//! What was joined after splits, for readers.

use std::time::Duration;

use tokio::sync::oneshot;

use super::Handle;
use crate::engine::merging::MergesAsk;
use crate::error::CommandError;
use crate::inbox::Job;
use crate::view::MergeView;

/// An engine that is taking over answers within this.
const PATIENCE: Duration = Duration::from_secs(10);

impl Handle {
    /// What was joined after splits, of one group or of all; the newest first.
    ///
    /// # Errors
    /// [`CommandError::UnknownGroup`], or [`CommandError::Busy`] if an engine does not answer.
    pub async fn merges(&self, group: Option<&str>) -> Result<Vec<MergeView>, CommandError> {
        if let Some(group) = group.filter(|group| !self.0.inboxes.contains_key(*group)) {
            return Err(CommandError::UnknownGroup { group: group.to_owned() });
        }
        let mut found = Vec::new();
        for (id, inbox) in self.0.inboxes.iter().filter(|(id, _)| group.is_none_or(|wanted| wanted == *id)) {
            let (reply, answer) = oneshot::channel();
            inbox.push(Job::Merges(MergesAsk { reply }));
            let reports = match tokio::time::timeout(PATIENCE, answer).await {
                Ok(Ok(reports)) => reports,
                Ok(Err(_)) => return Err(CommandError::Stopping),
                Err(_) => return Err(CommandError::Busy),
            };
            found.extend(reports.iter().map(|report| (report.began, MergeView::of(report, id))));
        }
        found.sort_by_key(|(began, _)| std::cmp::Reverse(*began));
        Ok(found.into_iter().map(|(_, view)| view).collect())
    }
}
