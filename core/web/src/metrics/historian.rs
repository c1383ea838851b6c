//! Values on their way to the central database.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, Page};

impl Page {
    pub(super) fn historian(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(historian) = &self.view.cluster.historian else { return Ok(()) };
        let node = self.node();
        let counters = [
            ("twinhub_historian_rows_written", "Values new in the central database", historian.rows_written),
            (
                "twinhub_historian_rows_known",
                "Values sent that were in the central database",
                historian.rows_known,
            ),
            (
                "twinhub_historian_rows_refused",
                "Values that the central database refused while it took others",
                historian.rows_refused,
            ),
            (
                "twinhub_historian_rows_lost",
                "Values deleted from the history before they were in the central database",
                historian.rows_lost,
            ),
            (
                "twinhub_historian_blocks_damaged",
                "Damaged blocks of the history that were left out for the central database",
                historian.blocks_damaged,
            ),
            (
                "twinhub_historian_errors",
                "Connections to the central database that failed or broke",
                historian.errors,
            ),
        ];
        for (name, help, value) in counters {
            let mut family = Family::new(node, name, help);
            family.row(&[], value);
            family.counter(encoder)?;
        }
        let gauges = [
            (
                "twinhub_historian_connected",
                "Whether the central database is connected",
                u64::from(historian.connected),
            ),
            (
                "twinhub_historian_writes",
                "Whether this node writes into the central database",
                u64::from(historian.writes),
            ),
            ("twinhub_historian_lag_rows", "Values that wait for the central database", historian.lag_rows),
            (
                "twinhub_historian_lag_seconds",
                "For how long the central database has not had all values",
                historian.lag_seconds,
            ),
        ];
        for (name, help, value) in gauges {
            let mut family = Family::new(node, name, help);
            family.row(&[], i64::try_from(value).unwrap_or(i64::MAX));
            family.gauge(encoder)?;
        }
        Ok(())
    }
}
