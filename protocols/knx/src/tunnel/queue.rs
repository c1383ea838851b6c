//! What waits to be sent: the most urgent first, within a priority the oldest.

use std::collections::VecDeque;

use crate::Priority;

/// Waiting jobs of each priority, bounded in total.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    lanes: [VecDeque<T>; 4],
    max: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new(max: usize) -> Queue<T> {
        Queue { lanes: std::array::from_fn(|_| VecDeque::new()), max }
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Gives the job back if there is no room.
    pub(crate) fn push(&mut self, priority: Priority, job: T) -> Result<(), T> {
        if self.len() >= self.max {
            return Err(job);
        }
        self.lanes[lane(priority)].push_back(job);
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }
}

const fn lane(priority: Priority) -> usize {
    match priority {
        Priority::System => 0,
        Priority::Urgent => 1,
        Priority::Normal => 2,
        Priority::Low => 3,
    }
}
