//! What web clients take, who logged in, and what the site's nodes have in common.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, Page};

impl Page {
    pub(super) fn clients(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let clients = &self.doors.clients;
        let mut open = Family::new(node, "twinhub_web_connections", "Open connections of web clients");
        open.row(&[], i64::try_from(clients.open()).unwrap_or(i64::MAX));
        open.gauge(encoder)?;
        let mut dropped = Family::new(
            node,
            "twinhub_web_dropped",
            "Web clients refused or cut: all connections taken (full), too many of one address (address), no whole \
             request in time (idle), an answer not taken (reader), too many large answers not taken (memory)",
        );
        for (cause, count) in clients.counts() {
            dropped.row(&[("cause", cause.word())], count);
        }
        dropped.counter(encoder)?;
        for (name, help, attempts) in [
            (
                "twinhub_logins",
                "Passwords said to this node: right (ok), wrong (failed), or not compared, since who gave too many wrong \
                 ones has to wait (limited)",
                &self.doors.attempts,
            ),
            ("twinhub_joins", "Join codes said to this node, as for logins", &self.doors.joins),
        ] {
            let mut said = Family::new(node, name, help);
            for (outcome, count) in attempts.counts() {
                said.row(&[("result", outcome.word())], count);
            }
            said.counter(encoder)?;
        }
        Ok(())
    }

    pub(super) fn documents(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counts = &self.view.documents;
        for (name, help, count) in [
            ("twinhub_users", "Users who may log in", counts.users),
            ("twinhub_tokens", "Tokens of programs", counts.tokens),
            ("twinhub_sessions", "Logins that have not ended", counts.sessions),
            (
                "twinhub_config_revision",
                "Revision of the configuration in force, 0 before the first one was applied",
                counts.revision,
            ),
            (
                "twinhub_config_conflicts",
                "Documents that nodes changed alone and are not in force",
                counts.conflicts,
            ),
        ] {
            let mut family = Family::new(self.node(), name, help);
            family.row(&[], i64::try_from(count).unwrap_or(i64::MAX));
            family.gauge(encoder)?;
        }
        Ok(())
    }
}
