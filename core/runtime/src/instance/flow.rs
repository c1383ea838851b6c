//! Whether an instance waits for room.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Interface, Port};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    is_wanted: AtomicBool,
}

impl Port {
    /// Whether nothing of an active, or not active, instance is taken at present for want of room. One that is refused hears
    /// when it is worth to try again; room that came in between is seen by the second look.
    pub(crate) fn is_full(&self, is_full: impl Fn() -> bool) -> bool {
        if !is_full() {
            return false;
        }
        self.flow_control.is_wanted.store(true, Ordering::SeqCst);
        is_full()
    }
}

impl Port {
    /// The instance was refused for want of room elsewhere, and there is some again.
    pub(crate) fn want_room(&self) {
        self.flow_control.is_wanted.store(true, Ordering::SeqCst);
    }
}

impl Interface {
    /// Tells the instance that it is worth to try again, if it was refused and nothing stands in its way.
    pub(crate) fn tell_room(&self) {
        let (flow, port) = (&self.port.flow_control, &self.port);
        if !flow.is_wanted.load(Ordering::Relaxed) || port.accepting.is_stalled() || port.is_turning() {
            return;
        }
        if let Some(instance) = self.instance().filter(|_| flow.is_wanted.swap(false, Ordering::SeqCst)) {
            instance.room();
        }
    }
}
