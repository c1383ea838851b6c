//! Values of the past.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, Page};

impl Page {
    pub(super) fn history(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(history) = &self.view.cluster.history else { return Ok(()) };
        let node = self.node();
        let mut rows = Family::new(node, "twinhub_history_rows", "Values taken into the history");
        rows.row(&[], history.rows_taken);
        rows.counter(encoder)?;
        let mut lost = Family::new(
            node,
            "twinhub_history_lost_records",
            "Journal records that were gone before the history could read them",
        );
        lost.row(&[], history.lost_records);
        lost.counter(encoder)?;
        let mut bytes = Family::new(node, "twinhub_history_bytes", "Size of the history's files");
        bytes.row(&[], i64::try_from(history.bytes).unwrap_or(i64::MAX));
        bytes.gauge(encoder)
    }
}
