//! Giving the role away in order, and losing it.
//!
//! **In order**: commands are refused, those under way come to their end, what the journal has goes to the disk
//! of the node that takes over while inputs still run, inputs are closed behind what was taken of them, the end
//! of the journal follows, interfaces let go of their links; then the control thread gives the role away. What
//! takes longer than the time that is given is said and left behind; outputs that are still under way then are
//! in doubt, and the role is not called drained.
//!
//! Inputs are closed by the thread that leads the interface, not here: what a plugin was told to be taken may
//! still wait in the ring of its process or in the line of the engine. Behind the last of it comes
//! [`crate::inbox::Job::InputsClosed`], and until that is here inputs go to the journal.
//!
//! **Lost**: the gate is shut already. Links of interfaces whose sink compares no epoch are cut before
//! anything else; what was under way is in doubt; when that is confirmed, interfaces go to their inactive
//! role. Until then the role machine holds a watchdog over the process.

use std::collections::BTreeSet;
use std::time::Duration;

use twinhub_contract::role;
use twinhub_model::{Epoch, Moment, NodeRank, Position, Severity};
use twinhub_redundancy::{Input, Reason};

use super::steps::Step;
use super::{Engine, Phase};
use crate::clock;
use crate::instance::ROLE_MAX;

/// What a role record says of a node that hands over in order.
pub(super) const DRAINING: &str = "draining";
/// Of the time for a drain this much is kept for letting go of links.
const LEAVE_MIN: Duration = Duration::from_millis(100);

/// Instances have this time to finish with events that they have.
const EVENTS_PATIENCE: Duration = Duration::from_millis(500);

/// On the way to standby, in order.
#[derive(Debug)]
pub(crate) struct Draining {
    pub(crate) epoch: Epoch,
    /// Who takes over, if anyone.
    to: Option<NodeRank>,
    /// What is not done then is left behind.
    deadline: Moment,
    /// What waits for others is given up here, so that there is time for the rest.
    patience: Moment,
    /// Events that an instance has are waited for until then.
    events_until: Moment,
    stage: Stage,
    /// Whether outputs were under way when the patience ended.
    in_doubt: bool,
}

/// What a drain waits for.
#[derive(Debug)]
enum Stage {
    /// Writes under way come to their end.
    Outputs,
    /// What is in the journal reaches the node that takes over; inputs still run.
    Tail { upto: Position },
    /// Nothing new is taken; what was comes to the journal.
    Inputs { left: BTreeSet<usize> },
    /// Inputs are closed; plugins say what their successors have to know.
    States,
    /// The end of the journal follows.
    End,
    /// Interfaces let go of their links.
    Leaving { left: BTreeSet<usize> },
    /// The control thread knows, or has to find out by its own time.
    Over,
}

/// On the way to standby, because the lease was lost.
#[derive(Debug)]
pub(crate) struct Closing {
    pub(crate) epoch: Epoch,
    /// Interfaces that have not said yet that they are inactive.
    left: BTreeSet<usize>,
    /// Interfaces whose link is cut, to be put into their inactive role afterwards.
    cut: BTreeSet<usize>,
}

impl Draining {
    /// Whether what plugins keep still goes to the journal.
    pub(crate) fn takes_states(&self) -> bool {
        self.takes_inputs() || matches!(self.stage, Stage::States)
    }

    /// Whether inputs still go to the journal.
    pub(crate) fn takes_inputs(&self) -> bool {
        match self.stage {
            Stage::Outputs | Stage::Tail { .. } | Stage::Inputs { .. } => true,
            Stage::States | Stage::End | Stage::Leaving { .. } | Stage::Over => false,
        }
    }
}

impl Engine {
    pub(crate) fn on_drain(&mut self, epoch: Epoch, to: Option<NodeRank>, deadline: Moment, reason: &Reason) {
        if !self.is_acting() || self.acting_epoch() != Some(epoch) {
            return;
        }
        let now = clock::now();
        self.begin_steps(now);
        tracing::info!(group = %self.group, %epoch, reason = self.shared.say(reason), "handing over");
        self.role_record(epoch, "active", DRAINING, reason);
        self.set_quorate(true);
        let patience = deadline.before(LEAVE_MIN.min(deadline.since(now) / 4));
        self.phase = Phase::Draining(Draining {
            epoch,
            to,
            deadline,
            patience,
            events_until: now + EVENTS_PATIENCE,
            stage: Stage::Outputs,
            in_doubt: false,
        });
        self.recovering.clear();
        self.step(Step::CommandsRefused);
    }

    /// Moves a drain on, as far as it goes at once.
    pub(crate) fn advance_drain(&mut self, now: Moment) {
        while self.drain_step(now) {}
    }

    /// Whether a stage came to its end.
    fn drain_step(&mut self, now: Moment) -> bool {
        let Phase::Draining(draining) = &self.phase else { return false };
        let (epoch, to, is_late) = (draining.epoch, draining.to, now >= draining.patience);
        let (deadline, in_doubt) = (draining.deadline, draining.in_doubt);
        let events_until = draining.events_until;
        match &draining.stage {
            Stage::Outputs => {
                let is_idle = self.outputs_idle();
                // The successor brings what is not over once more, and says so: that is no doubt.
                let awaits_events = !self.desks.are_idle() && now < events_until;
                if (!is_idle || awaits_events) && !is_late {
                    return false;
                }
                self.step(if is_idle { Step::OutputsDone } else { Step::OutputsInDoubt });
                self.abandon_commands();
                self.journal_cursors(now, true);
                self.journal_taken(now, true);
                let upto = self.push_journal(now);
                self.set_drain_stage(Stage::Tail { upto }, !is_idle)
            }
            Stage::Tail { upto } => {
                let is_stored = self.is_on_target(to, *upto);
                if !is_stored && !is_late {
                    self.push_journal(now);
                    return false;
                }
                if is_stored {
                    self.step(Step::TailStored);
                }
                let left: BTreeSet<usize> =
                    self.relevant().filter(|number| !self.down.contains(number)).collect();
                for number in &left {
                    self.interfaces[*number].close_inputs(epoch);
                }
                self.set_drain_stage(Stage::Inputs { left }, in_doubt)
            }
            Stage::Inputs { left } => {
                if !left.is_empty() && !is_late {
                    return false;
                }
                if !left.is_empty() {
                    self.say_open(&left.clone());
                }
                for number in self.relevant().collect::<Vec<_>>() {
                    self.interfaces[number].close();
                }
                self.step(Step::InputsClosed);
                self.journal_cursors(now, true);
                self.journal_taken(now, true);
                let stage = if self.ask_states() { Stage::States } else { Stage::End };
                self.push_journal(now);
                self.set_drain_stage(stage, in_doubt)
            }
            Stage::States => {
                if !self.has_all_states() && !is_late {
                    return false;
                }
                self.push_journal(now);
                self.set_drain_stage(Stage::End, in_doubt)
            }
            Stage::End => {
                let last = self.push_journal(now);
                let is_stored = self.is_on_target(to, last);
                if !is_stored && !is_late {
                    return false;
                }
                self.step(if is_stored { Step::EndStored } else { Step::EndMissing });
                if !is_stored {
                    self.say_missing(to, last);
                }
                let left: BTreeSet<usize> =
                    self.relevant().filter(|number| !self.down.contains(number)).collect();
                for number in &left {
                    let interface = &self.interfaces[*number];
                    interface.set_role(
                        interface.port.setup.standby_role,
                        epoch,
                        deadline.max(now + LEAVE_MIN),
                    );
                }
                self.set_drain_stage(Stage::Leaving { left }, in_doubt)
            }
            Stage::Leaving { left } => {
                if !left.is_empty() && now < deadline {
                    return false;
                }
                if left.is_empty() {
                    self.step(Step::LinksReleased);
                } else {
                    self.say_clinging(&left.clone());
                }
                // With outputs in doubt the role is not drained: the control thread's own time ends it.
                if !in_doubt {
                    self.step(Step::Drained);
                    tracing::info!(group = %self.group, %epoch, steps = %self.timeline, "handed over");
                    self.tell(Input::Drained { epoch, position: self.journal.last() });
                }
                self.set_drain_stage(Stage::Over, in_doubt);
                false
            }
            Stage::Over => false,
        }
    }

    fn set_drain_stage(&mut self, stage: Stage, in_doubt: bool) -> bool {
        if let Phase::Draining(draining) = &mut self.phase {
            draining.stage = stage;
            draining.in_doubt |= in_doubt;
        }
        true
    }

    /// Sends the journal's end on its way to disks and followers; gives where it is.
    fn push_journal(&mut self, now: Moment) -> Position {
        self.sync_wanted = true;
        self.flush(now);
        self.replicate(now);
        self.journal.last()
    }

    /// Whether the node that takes over has the journal up to here on its disk; if nobody in particular takes
    /// over, any follower counts, and none is waited for.
    fn is_on_target(&self, to: Option<NodeRank>, position: Position) -> bool {
        match to {
            Some(node) => self.durable_on(node) >= position,
            None => !self.has_standby_in_sync() || self.durable_on_standby() >= position,
        }
    }

    fn say_missing(&mut self, to: Option<NodeRank>, last: Position) {
        let (who, stored) = match to {
            Some(node) => (self.shared.name_of(node), self.durable_on(node)),
            None => ("the standby".to_owned(), self.durable_on_standby()),
        };
        let text = format!(
            "handed over although {who} has stored the journal up to {stored} only, its end is {last}: the \
             records in between are kept here and reported when this node follows"
        );
        tracing::warn!(group = %self.group, text, "drain");
        self.event(Severity::Warning, "journal", "TH-ROLE-003", &text);
    }

    fn say_open(&mut self, left: &BTreeSet<usize>) {
        let why = "although these interfaces did not close their inputs in time, the last values of which may be missing";
        self.say_left(why, left);
    }

    fn say_clinging(&mut self, left: &BTreeSet<usize>) {
        self.say_left("although these interfaces are not inactive yet", left);
    }

    fn say_left(&mut self, why: &str, left: &BTreeSet<usize>) {
        let names: Vec<&str> =
            left.iter().map(|number| self.interfaces[*number].port.setup.id.as_str()).collect();
        let text = format!("handed over {why}: {}", names.join(", "));
        tracing::warn!(group = %self.group, text, "drain");
        self.event(Severity::Warning, "interfaces", "TH-ROLE-003", &text);
    }

    pub(crate) fn on_close(&mut self, epoch: Epoch, reason: &Reason, abort_links: bool) {
        let now = clock::now();
        self.begin_steps(now);
        tracing::warn!(group = %self.group, %epoch, reason = self.shared.say(reason), "gates are shut");
        self.step(Step::GatesShut);
        let left: BTreeSet<usize> = self.relevant().filter(|number| !self.down.contains(number)).collect();
        let mut cut = BTreeSet::new();
        for number in &left {
            let interface = &self.interfaces[*number];
            interface.close();
            if abort_links && interface.port.setup.sequence.cut_on_loss {
                // Without a link nothing that waits in a socket or a device's queue is sent later.
                interface.set_role(role::COLD, epoch, now + ROLE_MAX);
                cut.insert(*number);
            } else {
                interface.set_role(interface.port.setup.standby_role, epoch, now + ROLE_MAX);
            }
        }
        self.recovering.clear();
        self.sync_wanted = true;
        self.phase = Phase::Closing(Closing { epoch, left, cut });
        self.finish_closing();
    }

    /// What was taken of an interface has been dealt with, and no more will be.
    pub(crate) fn on_inputs_closed(&mut self, interface: usize, of: Epoch) {
        if let Phase::Draining(Draining { epoch, stage: Stage::Inputs { left }, .. }) = &mut self.phase
            && *epoch == of
        {
            left.remove(&interface);
        }
    }

    /// An interface reached a role while the node stops acting.
    pub(crate) fn on_left(&mut self, interface: usize, reached: u32) {
        if reached == role::ACTIVE {
            // The answer to an order from before.
            return;
        }
        match &mut self.phase {
            Phase::Closing(closing) => {
                closing.left.remove(&interface);
                self.finish_closing();
            }
            Phase::Draining(draining) => {
                if let Stage::Leaving { left } = &mut draining.stage {
                    left.remove(&interface);
                }
            }
            Phase::Standby | Phase::Activating(_) | Phase::Active { .. } => {}
        }
    }

    fn finish_closing(&mut self) {
        let Phase::Closing(closing) = &self.phase else { return };
        if !closing.left.is_empty() {
            return;
        }
        let (epoch, cut) = (closing.epoch, closing.cut.clone());
        self.step(Step::LinksAborted);
        self.abandon_commands();
        self.step(Step::CommandsInDoubt);
        self.step(Step::Closed);
        tracing::info!(group = %self.group, %epoch, steps = %self.timeline, "nothing acts here any more");
        self.phase = Phase::Standby;
        self.tell(Input::GatesClosed);
        for number in cut {
            let interface = &self.interfaces[number];
            if interface.port.setup.standby_role != role::COLD {
                let deadline = clock::now() + ROLE_MAX;
                interface.set_role(interface.port.setup.standby_role, epoch, deadline);
            }
        }
    }
}
