//! Events between interfaces.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{Family, Page};

impl Page {
    pub(super) fn deliveries(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let node = self.node();
        let mut events = Family::new(
            node,
            "twinhub_interface_events",
            "Events that an interface gave (given), gave once more (doubled), could not give for want of room (refused), \
             has done (delivered) and was brought once more (redelivered)",
        );
        let mut waiting =
            Family::new(node, "twinhub_interface_events_waiting", "Events that wait for an interface");
        let mut dead = Family::new(
            node,
            "twinhub_interface_events_dead",
            "Events that cannot be delivered to an interface and wait for an operator",
        );
        for interface in &self.view.interfaces {
            let labels = [
                ("group", interface.group.as_str()),
                ("interface", interface.id.as_str()),
                ("plugin", interface.plugin.as_str()),
            ];
            let counts = interface.events;
            let [group, id, plugin] = labels;
            for (result, count) in [
                ("given", counts.given),
                ("doubled", counts.doubled),
                ("refused", counts.refused),
                ("delivered", counts.delivered),
                ("redelivered", counts.redelivered),
            ] {
                events.row(&[group, id, plugin, ("result", result)], count);
            }
            waiting.row(&labels, i64::try_from(counts.waiting).unwrap_or(i64::MAX));
            dead.row(&labels, i64::try_from(counts.dead).unwrap_or(i64::MAX));
        }
        events.counter(encoder)?;
        waiting.gauge(encoder)?;
        dead.gauge(encoder)
    }
}
