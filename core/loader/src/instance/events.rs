//! Events that are brought to an instance, and what became of those that it gave.

use std::time::Instant;

use twinhub_contract::extension::{self, PluginEvents};
use twinhub_contract::{EventRef, code};

use super::Instance;

impl Instance {
    /// Brings an event to the instance. As [`Instance::write`] it may overlap control calls, but neither itself nor that
    /// one. Gives a code of the contract: `PENDING` if [`crate::HostSink::acknowledge`] follows, `UNSUPPORTED` if the
    /// plugin takes no events.
    pub fn deliver(&self, event: &EventRef<'_>) -> i32 {
        let Some(deliver) = self.events().and_then(|table| table.deliver) else { return code::UNSUPPORTED };
        let raw = event.raw();
        let begun = Instant::now();
        // SAFETY: the table is valid until `destroy`; the event and what it points to live for the call.
        let answer = unsafe { deliver(self.plugin, &raw const raw) };
        self.time("deliver", begun.elapsed());
        // No positive number but "pending" is an answer.
        if answer > code::PENDING { code::INVALID } else { answer }
    }

    /// Tells the instance what became of an event that it gave, if it wants to hear of it.
    pub fn taken(&self, number: u64, code: i32) {
        if let Some(taken) = self.events().and_then(|table| table.taken) {
            // SAFETY: the table is valid until `destroy`.
            unsafe { taken(self.plugin, number, code) };
        }
    }

    fn events(&self) -> Option<PluginEvents> {
        *self.events.get_or_init(|| self.table::<PluginEvents>(extension::EVENTS))
    }
}
