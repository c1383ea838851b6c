//! The telegram under way, those that wait, and reads without an answer.

use super::{Action, Endpoint, ReadOutcome, Reason, SendOutcome, State, Timer, Tunnel, millis, pause};
use crate::cemi::{LData, Message};
use crate::ip::{Frame, Sequenced, Status, TunnelLayer};
use crate::{Cemi, Error, GroupAddress, Moment};

#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) telegram: LData,
    pub(super) read: Option<GroupAddress>,
}

#[derive(Debug)]
pub(super) struct UnderWay {
    pub(super) job: Job,
    pub(super) sequence: u8,
    pub(super) frame: Vec<u8>,
    pub(super) sent: u8,
    pub(super) since: Moment,
    pub(super) acked: Option<Moment>,
    pub(super) ack_status: Option<Status>,
    pub(super) confirmation: Option<bool>,
}

#[derive(Debug)]
pub(super) struct PendingRead {
    pub(super) id: u64,
    pub(super) group: GroupAddress,
    /// Since the question was confirmed.
    pub(super) asked: Option<Moment>,
}

/// The most reads that wait for an answer.
pub const READS_MAX: usize = 64;

impl Tunnel {
    pub(super) fn on_send(&mut self, job: Job) {
        if !self.is_connected() {
            self.finish(&job, SendOutcome::NotConnected);
            return;
        }
        if self.config.layer != TunnelLayer::Link {
            self.finish(&job, SendOutcome::WrongLayer);
            return;
        }
        if let Err(job) = self.queue.push(job.telegram.control.priority, job) {
            self.counters.overflowed += 1;
            let waiting = self.queue.len();
            self.finish(&job, SendOutcome::QueueFull { waiting, max: self.config.queue_max });
        }
    }

    pub(super) fn on_confirmation(&mut self, telegram: &LData, now: Moment) {
        let State::Connected(connection) = &mut self.state else { return };
        // The gateway fills in the source, and may change control fields. Nothing else tells confirmations apart: one that
        // comes after its time-out counts for the next telegram if that says the same to the same group.
        let under_way = connection.under_way.as_mut().filter(|under_way| {
            let asked = &under_way.job.telegram;
            under_way.confirmation.is_none()
                && asked.destination == telegram.destination
                && asked.tpdu == telegram.tpdu
        });
        match under_way {
            // It may come before the acknowledgment, which is still waited for.
            Some(under_way) => under_way.confirmation = Some(!telegram.control.is_error),
            None => self.counters.unexpected += 1,
        }
        self.settle(now);
    }

    pub(super) fn on_ack(&mut self, header: Sequenced, status: Status, now: Moment) {
        let Some(connection) = self.connection(header.channel) else { return };
        connection.heard = now;
        let under_way = connection
            .under_way
            .as_mut()
            .filter(|under_way| under_way.sequence == header.sequence && under_way.acked.is_none());
        let Some(under_way) = under_way else {
            self.counters.unexpected += 1;
            return;
        };
        if !status.is_ok() {
            // As if it had not come: the request is sent again, once.
            under_way.ack_status = Some(status);
            return;
        }
        under_way.acked = Some(now);
        connection.send_sequence = connection.send_sequence.wrapping_add(1);
        self.timers.remove(&Timer::Ack);
        self.timers.insert(Timer::Confirmation, now + self.config.confirmation_timeout);
        self.settle(now);
    }

    /// Ends the request under way if it is acknowledged and confirmed.
    fn settle(&mut self, now: Moment) {
        let State::Connected(connection) = &mut self.state else { return };
        let is_settled = connection
            .under_way
            .as_ref()
            .is_some_and(|under_way| under_way.acked.is_some() && under_way.confirmation.is_some());
        let Some(under_way) = connection.under_way.take_if(|_| is_settled) else { return };
        self.timers.remove(&Timer::Confirmation);
        let after_ms = millis(now.since(under_way.since));
        if under_way.confirmation == Some(true) {
            self.counters.confirmed += 1;
            self.asked(&under_way.job, after_ms, now);
        } else {
            self.counters.failed += 1;
            self.finish(&under_way.job, SendOutcome::Negative { after_ms });
        }
    }

    /// A read waits for its answer; anything else is done.
    fn asked(&mut self, job: &Job, after_ms: u64, now: Moment) {
        if job.read.is_none() {
            self.finish(job, SendOutcome::Confirmed { after_ms });
            return;
        }
        for read in self.reads.iter_mut().filter(|read| read.id == job.id) {
            read.asked = Some(now);
        }
        self.time_reads();
    }

    pub(super) fn on_ack_missing(&mut self, now: Moment) {
        let State::Connected(connection) = &mut self.state else { return };
        let Some(under_way) = &mut connection.under_way else { return };
        if under_way.sent < SENT_MAX {
            under_way.sent += 1;
            self.counters.resent += 1;
            let frame = under_way.frame.clone();
            self.actions.push_back(Action::Transmit { to: Endpoint::Data, frame });
            self.timers.insert(Timer::Ack, now + self.config.ack_timeout);
            return;
        }
        let reason = Reason::AckMissing {
            sequence: under_way.sequence,
            sent: under_way.sent,
            waited_ms: millis(now.since(under_way.since)),
            status: under_way.ack_status,
        };
        self.disconnect(reason, now);
    }

    pub(super) fn end_reads(&mut self, now: Moment) {
        let timeout = self.config.read_timeout;
        let is_over = |read: &mut PendingRead| read.asked.is_some_and(|asked| asked + timeout <= now);
        let over = self.reads.extract_if(.., is_over);
        self.actions.extend(over.map(|read| Action::ReadDone {
            id: read.id,
            outcome: ReadOutcome::NoAnswer { waited_ms: millis(now.since(read.asked.unwrap_or(now))) },
        }));
        self.time_reads();
    }

    pub(super) fn time_reads(&mut self) {
        match self.reads.iter().filter_map(|read| read.asked).min() {
            Some(asked) => self.timers.insert(Timer::Read, asked + self.config.read_timeout),
            None => self.timers.remove(&Timer::Read),
        };
    }

    /// Sends what waits, if nothing is under way and the pace allows it.
    pub(super) fn send_next(&mut self, now: Moment) {
        loop {
            let State::Connected(connection) = &mut self.state else { return };
            if connection.under_way.is_some() || self.queue.len() == 0 {
                self.timers.remove(&Timer::Pace);
                return;
            }
            if now < self.next_send {
                self.timers.insert(Timer::Pace, self.next_send);
                return;
            }
            let Some(mut job) = self.queue.pop() else { return };
            job.telegram.message = Message::Request;
            let header = Sequenced { channel: connection.channel, sequence: connection.send_sequence };
            if job.read.is_some() && self.reads.len() >= READS_MAX {
                self.counters.overflowed += 1;
                self.finish(&job, SendOutcome::QueueFull { waiting: READS_MAX, max: READS_MAX });
                continue;
            }
            match write(header, &job.telegram) {
                Ok(frame) => return self.send(job, header.sequence, frame, now),
                Err(error) => self.finish(&job, SendOutcome::Unwritable(error)),
            }
        }
    }

    fn send(&mut self, job: Job, sequence: u8, frame: Vec<u8>, now: Moment) {
        self.next_send = now + pause(self.config.telegrams_per_second);
        self.timers.remove(&Timer::Pace);
        if let Some(group) = job.read {
            self.reads.push(PendingRead { id: job.id, group, asked: None });
        }
        self.actions.push_back(Action::Transmit { to: Endpoint::Data, frame: frame.clone() });
        let is_tcp = self.config.is_tcp();
        if is_tcp {
            self.timers.insert(Timer::Confirmation, now + self.config.confirmation_timeout);
        } else {
            self.timers.insert(Timer::Ack, now + self.config.ack_timeout);
        }
        if let State::Connected(connection) = &mut self.state {
            if is_tcp {
                connection.send_sequence = sequence.wrapping_add(1);
            }
            connection.under_way = Some(UnderWay {
                job,
                sequence,
                frame,
                sent: 1,
                since: now,
                acked: is_tcp.then_some(now),
                ack_status: None,
                confirmation: None,
            });
        }
    }

    /// Tells what became of a telegram or a read that was not asked.
    fn finish(&mut self, job: &Job, outcome: SendOutcome) {
        let id = job.id;
        if job.read.is_none() {
            self.actions.push_back(Action::Sent { id, outcome });
            return;
        }
        let is_pending = self.reads.iter().any(|read| read.id == id && read.asked.is_none());
        let was_sent = matches!(
            outcome,
            SendOutcome::Negative { .. } | SendOutcome::NotConfirmed { .. } | SendOutcome::InDoubt
        );
        // One that was sent and is no longer pending was answered already.
        if is_pending || !was_sent {
            self.reads.retain(|read| read.id != id || read.asked.is_some());
            self.actions.push_back(Action::ReadDone { id, outcome: ReadOutcome::NotAsked(outcome) });
        }
    }

    /// Nothing stays without an outcome when the connection ends.
    pub(super) fn end_jobs(&mut self) {
        if let State::Connected(connection) = &mut self.state
            && let Some(under_way) = connection.under_way.take()
        {
            self.counters.failed += 1;
            self.finish(&under_way.job, SendOutcome::InDoubt);
        }
        while let Some(job) = self.queue.pop() {
            self.finish(&job, SendOutcome::NotSent);
        }
        let reads = std::mem::take(&mut self.reads);
        self.actions.extend(reads.into_iter().map(|read| Action::ReadDone {
            id: read.id,
            outcome: ReadOutcome::NotAsked(SendOutcome::InDoubt),
        }));
    }

    pub(super) fn on_confirmation_missing(&mut self, now: Moment) {
        let State::Connected(connection) = &mut self.state else { return };
        let Some(under_way) = connection.under_way.take() else { return };
        self.counters.failed += 1;
        let waited_ms = millis(now.since(under_way.acked.unwrap_or(under_way.since)));
        self.finish(&under_way.job, SendOutcome::NotConfirmed { waited_ms });
    }
}

fn write(header: Sequenced, telegram: &LData) -> Result<Vec<u8>, Error> {
    let cemi = Cemi::Data(telegram.clone()).encode()?;
    Frame::TunnellingRequest { header, cemi }.encode()
}

/// How often a request is sent before the connection ends (`03_08_04`, §2.6).
const SENT_MAX: u8 = 2;
