//! Another version of the plugin takes the place of the one that runs, and may have to give it back.
//!
//! ```text
//! prepare:  other version: create, start, items     on a thread of its own; the interface works on
//!           snapshot -> apply                       so that a state that is not understood is found out here
//! swap:     inputs closed -> snapshot -> role cold -> apply -> the other one is in charge -> its role
//! trial:    the former one stays, cold, with nothing open
//!           fault -> the former one is in charge again
//! keep:     the former one is destroyed
//! ```
//! Two versions never hold a link at once. What fails on the way leaves the interface with the version that it had.

use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use twinhub_contract::{code, role};
use twinhub_loader::{HostSink, Instance, Role};
use twinhub_model::Epoch;

use super::lead::{Hosted, Lead, call, equip};
use super::seat::Seat;
use super::{Moves, Port, ROLE_MAX, Step};
use crate::clock;
use crate::inbox::Job;

/// The version that runs lets go of its link within this time.
const LEAVE_MAX: Duration = Duration::from_secs(2);

/// An instance that is not in charge.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) instance: Arc<Instance>,
    pub(super) seat: Arc<Seat>,
    pub(super) hosted: Hosted,
    /// Whether it was in charge before the one that is.
    pub(super) is_former: bool,
}

/// Makes an instance of another version aside, and gives it to the thread that leads the interface.
pub(super) fn prepare(port: &Arc<Port>, number: u64, hosted: Hosted, steps: &mpsc::Sender<Step>) {
    let name: String = format!("new-{}", port.setup.id).chars().take(15).collect();
    let (port, answer) = (Arc::clone(port), steps.clone());
    let spawned = std::thread::Builder::new().name(name).stack_size(256 * 1024).spawn(move || {
        let made = make(&port, hosted);
        // The interface may have ended meanwhile.
        drop(answer.send(Step::Prepared { number, made: made.map(Box::new) }));
    });
    if let Err(error) = spawned {
        drop(steps.send(Step::Prepared { number, made: Err(error.to_string()) }));
    }
}

fn make(port: &Arc<Port>, hosted: Hosted) -> Result<Spare, String> {
    let seat = Seat::new(port, false);
    let sink: Arc<dyn HostSink> = Arc::clone(&seat) as Arc<dyn HostSink>;
    let instance = hosted
        .library
        .create(&port.setup.id, &hosted.config_json, sink)
        .map_err(|error| error.to_string())?;
    let instance = Arc::new(instance);
    if let Err(why) = equip(port, &instance) {
        end(port, instance);
        return Err(why);
    }
    Ok(Spare { instance, seat, hosted, is_former: false })
}

/// Stops and destroys an instance that nobody uses any more.
pub(super) fn end(port: &Arc<Port>, instance: Arc<Instance>) {
    let deadline = Instant::now() + Duration::from_secs(2);
    if let Err(error) = call(port, "stop", deadline, |op| instance.stop(op)) {
        tracing::debug!(interface = %port.setup.id, error, "plugin did not stop in order");
    }
    // The engine may hold a clone for the length of one write call.
    let mut shared = instance;
    for _ in 0..1000 {
        match Arc::try_unwrap(shared) {
            Ok(instance) => {
                instance.destroy();
                return;
            }
            Err(still) => shared = still,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    tracing::warn!(interface = %port.setup.id, "plugin instance is still in use and is leaked");
    std::mem::forget(shared);
}

impl Lead {
    /// The other version is there, or is not. Whether it understands what the present one keeps is tried at once.
    pub(super) fn take_spare(&mut self, number: u64, made: Result<Box<Spare>, String>) {
        if number != self.port.preparing.load(std::sync::atomic::Ordering::Acquire) {
            // Nobody waits for it any more; it must not pass for the one that is waited for.
            return made.into_iter().for_each(|spare| self.end_aside(*spare));
        }
        let result = made.and_then(|spare| match self.rehearse(&spare) {
            Ok(()) => {
                self.discard();
                self.spare = Some(*spare);
                Ok(())
            }
            Err(why) => {
                self.end_aside(*spare);
                Err(why)
            }
        });
        self.port.inbox.push(Job::Prepared { interface: self.port.number, result });
    }

    fn rehearse(&self, spare: &Spare) -> Result<(), String> {
        match self.snapshot() {
            Some((version, bytes)) => {
                spare.instance.apply(version, &bytes).map_err(|error| not_understood(error.code))
            }
            None => Ok(()),
        }
    }

    fn snapshot(&self) -> Option<(u32, Vec<u8>)> {
        if self.port.setup.moves == Moves::Nothing {
            return None;
        }
        self.current().and_then(|instance| instance.snapshot().ok())
    }

    /// The spare one takes the place of the one that runs, which becomes the spare one.
    ///
    /// # Errors
    /// Why not; then the one that ran before runs again, and nothing is spare.
    pub(super) fn swap(&mut self) -> Result<(), String> {
        let Some(next) = self.spare.take() else { return Err("no other version is ready".to_owned()) };
        if let Some(why) = next.seat.why_faulted() {
            self.end_aside(next);
            return Err(why);
        }
        let wanted = self.wanted_role();
        let state = match self.leave(wanted) {
            Ok(state) => state,
            Err(why) => {
                self.end_aside(next);
                return Err(why);
            }
        };
        let applied = match &state {
            Some((version, bytes)) => next.instance.apply(*version, bytes),
            None => Ok(()),
        };
        // It has what it knew itself when it was in charge, and goes on from there.
        if let (Err(error), false) = (&applied, next.is_former) {
            let why = not_understood(error.code);
            self.resume(wanted);
            self.end_aside(next);
            return Err(why);
        }
        let goes_back = next.is_former;
        let former = self.place(next);
        let (to, epoch) = wanted;
        if let Err(why) = self.move_to(to, epoch, clock::now() + ROLE_MAX) {
            let Some(former) = former else {
                self.take_down();
                return Err(why);
            };
            if let Some(failed) = self.place(former) {
                if self.leave_role(&failed.instance, epoch).is_ok() {
                    self.end_aside(failed);
                } else {
                    // It may hold the link still.
                    end(&self.port, failed.instance);
                }
            }
            self.resume(wanted);
            return Err(why);
        }
        self.spare = former.map(|former| Spare { is_former: !goes_back, ..former });
        Ok(())
    }

    /// The one that runs stops to be heard and lets go of its links; what it knew is returned.
    fn leave(&self, (to, epoch): (u32, Epoch)) -> Result<Option<(u32, Vec<u8>)>, String> {
        let (Some(instance), Some(seat)) = (self.current(), &self.seat) else { return Ok(None) };
        self.hush(&instance);
        seat.close();
        let state = self.snapshot();
        if let Err(why) = self.leave_role(&instance, epoch) {
            seat.open();
            drop(self.move_to(to, epoch, clock::now() + ROLE_MAX));
            return Err(format!("the version that runs does not let go of its link: {why}"));
        }
        Ok(state)
    }

    fn leave_role(&self, instance: &Arc<Instance>, epoch: Epoch) -> Result<(), String> {
        let deadline = clock::now() + LEAVE_MAX;
        call(&self.port, "set_role", Instant::now() + LEAVE_MAX, |op| {
            instance.set_role(op, Role::Cold, epoch.0, clock::contract_deadline(deadline))
        })
    }

    /// The one that left goes on.
    fn resume(&mut self, (to, epoch): (u32, Epoch)) {
        let Some(seat) = &self.seat else { return };
        seat.open();
        if let Err(why) = self.move_to(to, epoch, clock::now() + ROLE_MAX) {
            HostSink::fault(
                &**seat,
                code::DEVICE,
                &format!("it does not go on after another version was tried: {why}"),
            );
        }
    }

    /// Puts an instance in charge; the one before is returned.
    fn place(&mut self, next: Spare) -> Option<Spare> {
        if let Some(seat) = &self.seat {
            seat.close();
        }
        let Spare { instance, seat, hosted, is_former: _ } = next;
        let is_isolated = !hosted.library.is_here();
        self.port.asking.turn_to(&instance);
        let before = self.instance.lock().unwrap_or_else(PoisonError::into_inner).replace(instance);
        let (seat_before, hosted_before) =
            (self.seat.replace(Arc::clone(&seat)), std::mem::replace(&mut self.hosted, hosted));
        self.port.note_code(&self.hosted);
        self.port.isolated.store(is_isolated, std::sync::atomic::Ordering::Release);
        self.restarts.clear();
        seat.open();
        Some(Spare { instance: before?, seat: seat_before?, hosted: hosted_before, is_former: true })
    }

    /// Whether a fault of the one that runs is answered by its predecessor, which then runs again.
    pub(super) fn falls_back(&mut self) -> bool {
        let Some(former) = self.spare.take_if(|spare| spare.is_former && spare.seat.why_faulted().is_none())
        else {
            return false;
        };
        self.take_down();
        drop(self.place(former));
        true
    }

    /// Nothing is spare any more.
    pub(super) fn discard(&mut self) {
        if let Some(spare) = self.spare.take() {
            self.end_aside(spare);
        }
    }

    /// Ends an instance on a thread of its own: orders of roles do not wait for it.
    fn end_aside(&self, spare: Spare) {
        spare.seat.close();
        let (port, instance) = (Arc::clone(&self.port), spare.instance);
        let name: String = format!("old-{}", port.setup.id).chars().take(15).collect();
        let spawned =
            std::thread::Builder::new().name(name).stack_size(256 * 1024).spawn(move || end(&port, instance));
        if let Err(error) = spawned {
            tracing::warn!(interface = %self.port.setup.id, %error, "a plugin instance is dropped at once");
        }
    }

    pub(super) fn wanted_role(&self) -> (u32, Epoch) {
        if self.port.setup.relevant { self.wanted } else { (role::ACTIVE, Epoch(1)) }
    }
}

fn not_understood(code: i32) -> String {
    if code == code::STATE_VERSION {
        "the other version cannot read what the present one keeps: a restart of the node begins without it"
            .to_owned()
    } else {
        format!("the other version does not take what the present one keeps: {}", super::explain(code, ""))
    }
}
