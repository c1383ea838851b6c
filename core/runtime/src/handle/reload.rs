//! Taking a configuration into service without a restart, as far as nothing that runs was built from what differs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_config::{Difference, Site, differences};
use twinhub_redundancy::Input;

use super::Handle;
use super::accounts::Author;
use crate::engine::alarms::AlarmJob;
use crate::error::CommandError;
use crate::inbox::Job;
use crate::node::alarms_of;
use crate::view::ReloadView;

/// An engine takes in its alarms sooner.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

impl Handle {
    /// Takes what the next start would run into service now, if that needs no restart. Nothing is changed otherwise.
    ///
    /// # Errors
    /// What is wrong with that configuration, or why it cannot be taken in.
    pub async fn reload(&self, author: &Author) -> Result<ReloadView, CommandError> {
        let (_, site) = self.next_site().await?;
        let shared = &self.0.shared;
        let view = |is_loaded, found: &[Difference]| ReloadView {
            node: shared.node.clone(),
            hash: format!("{:016x}", shared.config_hash()),
            loaded: is_loaded,
            differs: found.iter().map(ToString::to_string).collect(),
            restart: found.iter().filter(|found| !found.is_live).map(ToString::to_string).collect(),
        };
        if site.hash == shared.config_hash() {
            return Ok(view(true, &[]));
        }
        let Some(found) = self.differences(shared.config_hash(), &site).await else {
            let part = "what this node runs is no revision".to_owned();
            return Ok(view(false, &[Difference { part, is_live: false }]));
        };
        if found.iter().any(|found| !found.is_live) {
            return Ok(view(false, &found));
        }
        for (group, inbox) in &self.0.inboxes {
            let alarms = Box::new(alarms_of(&site, group, &self.0.table));
            let (done, taken) = oneshot::channel();
            inbox.push(Job::Alarms(Box::new(AlarmJob::Rules { alarms, done })));
            match tokio::time::timeout(ANSWER_TIME_MAX, taken).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(CommandError::Stopping),
                Err(_) => return Err(CommandError::Timeout { seconds: ANSWER_TIME_MAX.as_secs() }),
            }
        }
        let (hash, session, alarms) = (site.hash, site.web.session, site.alarms);
        let (table, interfaces) = (Arc::clone(&self.0.table), site.interfaces);
        let set = tokio::task::spawn_blocking(move || {
            let items = interfaces.iter().flat_map(|interface| &interface.items);
            table.set_texts(
                items.map(|item| (item.key.as_str(), item.unit.as_str(), item.description.as_str())),
            );
        });
        set.await.map_err(|error| CommandError::Internal { why: error.to_string() })?;
        shared.set_live(hash, session, alarms);
        for group in self.0.inboxes.keys() {
            self.0.control.engine(group, Input::Config { hash });
        }
        let parts: Vec<String> = found.iter().map(ToString::to_string).collect();
        let parts = parts.join(", ");
        self.note(author, format!("node `{}` took in {parts} without a restart", shared.node)).await;
        Ok(view(true, &found))
    }

    /// What differs between a revision that is kept and a configuration; none if there is no such revision.
    async fn differences(&self, from: u64, to: &Site) -> Option<Vec<Difference>> {
        let (documents, to) = (self.0.documents.clone(), to.clone());
        let compared = tokio::task::spawn_blocking(move || {
            documents.site_of(from).map(|before| differences(&before, &to))
        });
        compared.await.ok().flatten()
    }
}
