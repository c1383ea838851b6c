//! What waits to be sent: the most urgent first, within a priority the oldest.

use std::collections::VecDeque;
use std::rc::Rc;

use tokio::time::Instant;
use twinhub_knx_protocol::{Apdu, GroupAddress, LData, Priority};
use twinhub_plugin::{Code, Deadline, Epoch, WriteBatch, WriteId};

/// A telegram to a group.
#[derive(Debug)]
pub(crate) struct Job {
    pub group: GroupAddress,
    pub priority: Priority,
    pub apdu: Apdu,
    pub since: Instant,
    /// The write that wants it; none for an answer to a read.
    pub write: Option<Write>,
}

/// Whom the outcome is told.
#[derive(Debug)]
pub(crate) struct Write {
    pub batch: Rc<WriteBatch>,
    pub id: WriteId,
    pub epoch: Epoch,
    pub deadline: Deadline,
}

impl Job {
    pub(crate) fn telegram(&self) -> LData {
        LData::group_request(self.group, self.priority, self.apdu.clone())
    }

    /// Tells the outcome.
    pub(crate) fn done(&self, code: impl Into<Code>) {
        if let Some(write) = &self.write {
            write.batch.done(write.id, code);
        }
    }
}

/// Waiting jobs, bounded in total.
#[derive(Debug)]
pub(crate) struct Queue {
    lanes: [VecDeque<Job>; 4],
    max: usize,
}

impl Queue {
    pub(crate) fn new(max: usize) -> Self {
        Self { lanes: std::array::from_fn(|_| VecDeque::new()), max }
    }

    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Waiting jobs by priority, the most urgent first.
    pub(crate) fn depths(&self) -> [usize; 4] {
        [0, 1, 2, 3].map(|lane: usize| self.lanes[lane].len())
    }

    /// Gives the job back if there is no room.
    pub(crate) fn push(&mut self, job: Job) -> Result<(), Job> {
        if self.len() >= self.max {
            return Err(job);
        }
        self.lanes[lane(job.priority)].push_back(job);
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Option<Job> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Whether an answer for a group waits already.
    pub(crate) fn has_answer(&self, group: GroupAddress) -> bool {
        self.lanes.iter().flatten().any(|job| job.write.is_none() && job.group == group)
    }

    /// Takes out all of a kind.
    pub(crate) fn take(&mut self, mut wanted: impl FnMut(&Job) -> bool) -> Vec<Job> {
        let mut taken = Vec::new();
        for lane in &mut self.lanes {
            for job in std::mem::take(lane) {
                if wanted(&job) {
                    taken.push(job);
                } else {
                    lane.push_back(job);
                }
            }
        }
        taken
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

#[cfg(test)]
mod tests {
    use super::*;

    fn job(group: u16, priority: Priority) -> Job {
        let apdu = Apdu::GroupValueRead;
        Job { group: GroupAddress(group), priority, apdu, since: Instant::now(), write: None }
    }

    #[test]
    fn the_most_urgent_goes_first_and_what_has_no_room_comes_back() {
        let mut queue = Queue::new(4);
        for (group, priority) in
            [(1, Priority::Low), (2, Priority::Normal), (3, Priority::System), (4, Priority::Low)]
        {
            queue.push(job(group, priority)).unwrap();
        }
        assert_eq!(queue.push(job(5, Priority::System)).unwrap_err().group, GroupAddress(5));
        assert_eq!(queue.depths(), [1, 0, 1, 2]);
        assert!(queue.has_answer(GroupAddress(4)) && !queue.has_answer(GroupAddress(5)));
        assert_eq!(queue.take(|job| job.group == GroupAddress(1)).len(), 1);
        let order: Vec<u16> = std::iter::from_fn(|| queue.pop()).map(|job| job.group.0).collect();
        assert_eq!(order, [3, 2, 4]);
        assert_eq!(queue.len(), 0);
    }
}
