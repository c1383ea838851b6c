//! What is heard, and what is to be said to it.

use tokio::time::Instant;
use twinhub_knx_protocol::{Apdu, GroupAddress, LData};
use twinhub_plugin::Role;

use super::Driver;
use crate::machine::{Answer, Outcome};
use crate::queue::Job;

impl Driver {
    pub(super) fn received(&mut self, telegram: &LData) {
        if let Some((group, _)) = telegram.group_apdu()
            && !self.settings.takes(group)
        {
            self.count(|counts| counts.filtered += 1);
            return;
        }
        {
            let mut monitor = self.inbox.monitor.borrow_mut();
            monitor.counts.received += 1;
            monitor.note(telegram, telegram.source, false);
        }
        if let Some((group, Apdu::GroupValueRead)) = telegram.group_apdu() {
            self.asked(group);
        }
        self.value(telegram);
    }

    /// The value in a telegram goes to the items of its group.
    pub(super) fn value(&mut self, telegram: &LData) {
        let Some((group, Apdu::GroupValueWrite(payload) | Apdu::GroupValueResponse(payload))) =
            telegram.group_apdu()
        else {
            return;
        };
        let is_news = self.inbox.image.borrow_mut().value(group, payload);
        if is_news {
            self.owe_value(group);
        }
    }

    /// Somebody reads a group.
    fn asked(&mut self, group: GroupAddress) {
        if self.role != Role::Active || self.inbox.role_pending() {
            return;
        }
        let image = self.inbox.image.borrow();
        let Some((point, payload)) = image.answer(group) else { return };
        let mut queue = self.inbox.queue.borrow_mut();
        if queue.has_answer(group) {
            return;
        }
        let apdu = Apdu::GroupValueResponse(payload.clone());
        let job = Job { group, priority: point.priority, apdu, since: Instant::now(), write: None };
        let is_full = queue.push(job).is_err();
        drop((queue, image));
        if is_full {
            self.count(|counts| counts.overflow += 1);
            self.cx.count("knx.queue_overflow", 1);
        } else {
            self.count(|counts| counts.answers += 1);
        }
    }

    /// What became of a read.
    pub(super) fn read_done(&mut self, id: u64, answer: &Answer) {
        let Some(group) = self.reads.ended(id) else { return };
        match answer {
            // The value comes with the telegram.
            Answer::Answered { .. } => self.count(|counts| counts.reads_answered += 1),
            Answer::Nobody { waited_ms } => {
                self.count(|counts| counts.reads_unanswered += 1);
                tracing::info!(%group, waited_ms, "nobody answers a read");
                self.inbox.image.borrow_mut().unanswered(group);
            }
            Answer::NotAsked(Outcome::Refused(why)) => {
                self.count(|counts| counts.reads_unanswered += 1);
                tracing::info!(%group, why, "a read was refused");
                self.inbox.image.borrow_mut().unanswered(group);
            }
            // With the connection; all is read again in the next one.
            Answer::NotAsked(Outcome::Done | Outcome::Unknown(_) | Outcome::NotSent(_)) => {}
        }
        if self.reads.first_ended() {
            self.owe_reads();
        }
        self.report();
    }

    /// Plans the first reads: all, or those of which nothing was heard.
    pub(super) fn begin_reads(&mut self, is_all: bool) {
        self.reads.begin(&self.inbox.image.borrow(), is_all);
        if self.reads.depths().0 > 0 {
            self.owe_reads();
        }
    }

    /// Values that are given to who reads them, as the node before left them.
    pub(super) fn begin_answers(&mut self) {
        let mut image = self.inbox.image.borrow_mut();
        for group in image.unknown_answers() {
            if let Some(payload) = self.legacy.value(group) {
                image.recall(group, payload);
            }
        }
    }
}
