//! `twinhub.flow/1` in a child: its publisher hears when the lane of values has room again.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Duration;

use twinhub_loader::Instance;

use crate::lane::{Lane, STACK};

/// Whether the instance was refused for want of room and is to hear of it.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    is_wanted: Mutex<bool>,
    changed: Condvar,
}

impl Flow {
    /// A batch found no room.
    pub(crate) fn want(&self) {
        *self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Tells the instance each time, as long as there is one.
    pub(crate) fn watch(self: &Arc<Self>, lane: Lane, instance: Weak<Instance>) -> std::io::Result<()> {
        let flow = Arc::clone(self);
        let thread = std::thread::Builder::new().name("hub-room".to_owned()).stack_size(STACK);
        thread.spawn(move || flow.run(&lane, &instance)).map(drop)
    }

    fn run(&self, lane: &Lane, instance: &Weak<Instance>) {
        loop {
            let wanted = self.is_wanted.lock().unwrap_or_else(PoisonError::into_inner);
            let is_unwanted = |is_wanted: &mut bool| !*is_wanted;
            let mut wanted =
                self.changed.wait_while(wanted, is_unwanted).unwrap_or_else(PoisonError::into_inner);
            *wanted = false;
            drop(wanted);
            while !lane.wait_for_room(PATIENCE) {
                if instance.strong_count() == 0 {
                    return;
                }
            }
            // Not longer than the call: whoever destroys it waits to be the last.
            match instance.upgrade() {
                Some(instance) => instance.room(),
                None => return,
            }
        }
    }
}

/// Between two looks whether the instance is still there.
const PATIENCE: Duration = Duration::from_millis(100);
