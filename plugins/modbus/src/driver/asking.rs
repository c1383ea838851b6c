//! Questions of people between the polls: one read at a time, when none is due, with what a poll would need.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use twinhub_plugin::{Browse, Code, Error, Role};

use super::{Driver, wait_until};
use crate::session::{Fault, Reads};
use crate::survey::{Heard, Walk};

/// A question that is being answered.
#[derive(Debug)]
pub(crate) struct Survey {
    browse: Browse,
    walk: Walk,
    /// What has been found by then is the answer.
    until: Instant,
    /// No read before.
    next_at: Instant,
}

impl Survey {
    pub(crate) fn new(browse: Browse, walk: Walk) -> Self {
        let now = Instant::now();
        Self { browse, walk, until: now + SURVEY_MAX, next_at: now }
    }

    fn end(self) {
        if self.walk.has_asked() || self.walk.next().is_none() {
            self.browse.answer(&self.walk.page());
        } else {
            let text =
                "polling leaves no time to look: ask when less is polled, or on an interface without items";
            self.browse.refuse(&Error::new(Code::Again, text));
        }
    }

    fn refuse(self, code: Code, why: impl Into<String>) {
        self.browse.refuse(&Error::new(code, why));
    }
}

impl Driver {
    /// A role in which the device is not read ends a question.
    pub(super) fn refuse_survey(&self) {
        if self.role < Role::Hot
            && let Some(survey) = self.inbox.survey.take()
        {
            survey.refuse(Code::NotActive, NOT_READ);
        }
    }

    /// A question ends that cannot be answered now, or in time.
    pub(super) fn end_survey(&self) {
        let Some(survey) = self.inbox.survey.take() else { return };
        if self.session.waits_until().is_some() {
            survey.refuse(Code::Device, format!("{}: not connected", self.settings.endpoint));
        } else if Instant::now() >= survey.until {
            survey.end();
        } else {
            self.inbox.survey.replace(Some(survey));
        }
    }

    /// The next read of a question, or a wait for the time to make it; false if there is none.
    pub(super) async fn survey(&mut self) -> bool {
        let Some(mut survey) = self.inbox.survey.take() else { return false };
        let now = Instant::now();
        let Some((unit, span)) = survey.walk.next().filter(|_| now < survey.until) else {
            survey.end();
            return true;
        };
        let is_sought = survey.walk.is_over_units();
        let trouble = self.image.units.get(&unit).and_then(|state| state.trouble.as_ref());
        if let Some((_, cause)) = trouble.filter(|_| !is_sought) {
            // To wait for it once more would hold up the polls of the others.
            let why = format!("unit {unit} does not answer at present: {cause}");
            survey.refuse(Code::Device, why);
            return true;
        }
        let next_poll = self.image.classes.iter().map(|class| class.next_due).min();
        // A poll that is due while the read is under way would wait for it.
        let is_tight = next_poll.is_some_and(|next| now + self.read_took * 2 >= next);
        let ready_at = if is_tight { next_poll } else { Some(survey.next_at).filter(|at| *at > now) };
        if ready_at.is_some() {
            let until = survey.until;
            self.inbox.survey.replace(Some(survey));
            let inbox = std::rc::Rc::clone(&self.inbox);
            tokio::select! {
                () = inbox.changed.notified() => {}
                () = wait_until(ready_at) => {}
                () = wait_until(next_poll) => {}
                () = sleep_until(until) => {}
            }
            return true;
        }
        let heard = match self.read(unit, span.area, span.start, span.count).await {
            Ok(data) => Ok(Heard::Data(data)),
            Err(Fault::Refused(code)) => Ok(Heard::Refused(code)),
            Err(Fault::Timeout(_)) => Ok(Heard::Silence),
            Err(Fault::Aborted) => {
                // The role changes: whether it allows more is seen then.
                self.inbox.survey.replace(Some(survey));
                return true;
            }
            Err(Fault::Suppressed(_)) => Err((Code::NotActive, "the lease has ended".to_owned())),
            Err(fault @ (Fault::Waiting | Fault::Connect(_) | Fault::Closed(_) | Fault::Garbled(_))) => {
                Err((Code::Device, format!("{}: {fault}", self.settings.endpoint)))
            }
        };
        survey.next_at = Instant::now() + SURVEY_PAUSE.max(self.settings.config.request_delay.0);
        let gone_on = heard.and_then(|heard| survey.walk.heard(heard).map_err(|why| (Code::Device, why)));
        match gone_on {
            Ok(()) => drop(self.inbox.survey.replace(Some(survey))),
            Err((code, why)) => survey.refuse(code, why),
        }
        true
    }
}

impl Driver {
    /// Notes how units and poll classes are.
    pub(super) fn note(&self) {
        let troubles = self
            .image
            .units
            .iter()
            .map(|(unit, state)| (*unit, state.trouble.as_ref().map(|(_, cause)| cause.as_str())));
        self.inbox.notes.borrow_mut().looks(&self.image.classes, troubles, self.pace.most());
    }

    pub(super) fn note_reads(&self, unit: u8, asked: usize, reads: &Reads) {
        let mut notes = self.inbox.notes.borrow_mut();
        notes.asked(asked);
        for answer in &reads.answers {
            match answer {
                Ok(_) => notes.answered(unit),
                Err(code) => notes.refused(unit, *code),
            }
        }
        if let Some(Fault::Timeout(_)) = reads.fault {
            notes.timed_out(unit);
        }
    }
}

/// Why a standby does not look.
pub(crate) const NOT_READ: &str = "a cold or warm standby does not read the device; ask the active node";
/// The hub waits 30 s for an answer; a read may take a few.
const SURVEY_MAX: Duration = Duration::from_secs(8);
/// A device that answers at once has other clients, too.
const SURVEY_PAUSE: Duration = Duration::from_millis(10);
