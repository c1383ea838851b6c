//! Writes: at most one at a time to each place, so that their order is kept, answered with what the device says.

use twinhub_bacnet_protocol::engine::{Failure, Reply};
use twinhub_bacnet_protocol::names::{ConfirmedService, PropertyIdentifier};
use twinhub_bacnet_protocol::services::WriteProperty;
use twinhub_bacnet_protocol::tag::Message;
use twinhub_bacnet_protocol::value::Value as Wire;
use twinhub_plugin::{Code, Item, Update};

use super::{Driver, Purpose};
use crate::commands::Command;
use crate::device::Standing;
use crate::inbox::Job;
use crate::item::Point;
use crate::values::decode;

impl Driver {
    /// Sends the writes that may be sent.
    pub(super) fn start_writes(&mut self) {
        let jobs: Vec<Job> = self.inbox.writes.borrow_mut().drain(..).collect();
        for job in jobs {
            match self.devices.get_mut(&job.point.place.device) {
                Some(device) => device.writes.push_back(job),
                None => job.done(Code::Invalid),
            }
        }
        let parallel = usize::from(self.settings.config.parallel);
        let busy: Vec<u32> =
            self.devices.iter().filter(|(_, device)| !device.writes.is_empty()).map(|(id, _)| *id).collect();
        for instance in busy {
            self.refuse_writes(instance);
            while let Some(job) = self
                .devices
                .get_mut(&instance)
                .filter(|device| device.is_present())
                .and_then(|device| device.next_write(parallel))
            {
                self.send_write(instance, job);
            }
        }
    }

    /// Writes whose time is over, or whose device is not there: nothing of them was sent.
    pub(super) fn refuse_writes(&mut self, instance: u32) {
        let Some(device) = self.devices.get_mut(&instance) else { return };
        let is_gone = matches!(device.standing, Standing::Silent(_) | Standing::Sought);
        let waiting = std::mem::take(&mut device.writes);
        for job in waiting {
            if job.deadline.has_passed() {
                job.done(Code::Expired);
            } else if is_gone {
                job.done(Code::Device);
            } else {
                device.writes.push_back(job);
            }
        }
    }

    fn send_write(&mut self, instance: u32, job: Job) {
        let peer = self.devices.get(&instance).and_then(|device| device.peer);
        let permit = self.cx.gate().permit(job.epoch).and_then(|permit| permit.recheck());
        let refused = match (peer, permit) {
            (None, _) => Some(Code::Device),
            (_, Err(suppressed)) => Some(Code::from(suppressed)),
            (Some(_), Ok(())) => None,
        };
        let (Some(peer), None) = (peer, refused) else {
            if let Some(device) = self.devices.get_mut(&instance) {
                device.writing.remove(&job.point.place);
            }
            return job.done(refused.unwrap_or(Code::Device));
        };
        if let Some(command) = command_of(&job.point).filter(|_| job.value != Wire::Null) {
            self.commands.note(&self.cx, command);
        }
        let write = WriteProperty {
            object: job.point.place.object,
            reference: job.point.place.reference,
            values: vec![job.value.clone()],
            priority: job.point.priority.filter(|_| takes_priority(&job.point)),
        };
        self.writes_open += 1;
        self.request(peer, ConfirmedService::WRITE_PROPERTY, write.encode(), Purpose::Write(Box::new(job)));
    }

    /// A write has come to its end: done when the device has said so.
    pub(super) fn on_written(&mut self, job: &Job, result: Result<Reply, Failure>) {
        self.writes_open = self.writes_open.saturating_sub(1);
        let instance = job.point.place.device;
        if let Some(device) = self.devices.get_mut(&instance) {
            device.writing.remove(&job.point.place);
        }
        match &result {
            Ok(_) => {
                self.answered(instance);
                if let Some(command) = command_of(&job.point).filter(|_| job.value == Wire::Null) {
                    self.commands.forget(&self.cx, command);
                }
                self.show(job);
            }
            Err(Failure::Silent { .. }) => self.fell_silent(instance, "no answer to a write"),
            Err(Failure::Stopped) => {}
            Err(failure) => {
                tracing::info!(place = %job.point.place, %failure, "the device does not take a write");
                self.answered(instance);
            }
        }
        job.done(result.map_or_else(|failure| code(&failure), |_| Code::Ok));
    }

    /// What no subscription shows is read again, or is what was written where nothing else can command.
    fn show(&mut self, job: &Job) {
        let point = &job.point;
        if !point.is_readable || !self.watches.is_polled(point) {
            return;
        }
        if takes_priority(point) {
            // Another priority may command: only the device knows.
            let now = tokio::time::Instant::now();
            if let Some(device) = self.devices.get_mut(&point.place.device) {
                for class in device.classes.iter_mut().filter(|class| class.items.contains(&point.item)) {
                    class.next_due = now;
                }
            }
            return;
        }
        let values = std::slice::from_ref(&job.value);
        let (value, quality) = decode(point.place.object.kind(), point.place.reference, values);
        self.publisher.push(Update::new(Item(point.item), value).quality(quality));
    }
}

/// Only `Present_Value` is commanded, clause 19.2.
fn takes_priority(point: &Point) -> bool {
    point.place.reference.property == PropertyIdentifier::PRESENT_VALUE
}

/// Which slot a write takes: outputs have a priority array, others may have one if a priority is named.
fn command_of(point: &Point) -> Option<Command> {
    let is_output = matches!(point.place.object.kind().number(), 1 | 4 | 14);
    if !takes_priority(point) || point.priority.is_none() && !is_output {
        return None;
    }
    Some(Command { place: point.place, priority: point.priority.unwrap_or(16) })
}

/// The answer to a write that failed: what may have reached the device is never reported as failed.
fn code(failure: &Failure) -> Code {
    match failure {
        Failure::Silent { .. } | Failure::GivenUp(_) | Failure::Stopped | Failure::UnreadableError => {
            Code::Timeout
        }
        Failure::QueueFull { .. } | Failure::TooManyPeers { .. } => Code::Again,
        Failure::TooLong { .. } => Code::Invalid,
        Failure::Error(_) | Failure::Rejected(_) | Failure::Aborted(_) => Code::Device,
        _ => Code::Timeout,
    }
}
