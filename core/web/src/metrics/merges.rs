//! What is joined after a split.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, Page};

impl Page {
    pub(super) fn merge(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let help =
            "Bytes of what another node wrote alone during a split that this node still has to look at";
        let mut remaining = Family::new(node, "twinhub_merge_remaining_bytes", help);
        let mut merged = Family::new(
            node,
            "twinhub_merged_records",
            "Records of nodes that wrote alone during a split which this node took into its journal since start",
        );
        for group in &self.view.cluster.groups {
            let label = [("group", group.id.as_str())];
            let bytes = group.merge.as_ref().map_or(0, |merge| merge.remaining_bytes);
            remaining.row(&label, i64::try_from(bytes).unwrap_or(i64::MAX));
            merged.row(&label, group.merged_records);
        }
        remaining.gauge(encoder)?;
        merged.counter(encoder)
    }
}
