//! The steps of a change of role, in the order in which they were done, with their times.
//!
//! The order is part of the product's safety; tests compare it, the log and an event show it.

use std::fmt;
use std::time::Duration;

use twinhub_model::Moment;

/// A step of a change of role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Activation: the epoch is begun in the journal; gates are closed.
    EpochBegun,
    /// What the node before left in doubt is known.
    DoubtsCollected,
    /// Values that nobody has read since are uncertain.
    InputsDoubted,
    /// Links that only one node can hold are claimed.
    ExclusiveClaimed,
    /// Interfaces of one order class are told to be active.
    ClassOrdered,
    /// What only this node received is in the journal.
    RingReplayed,
    /// Every interface has answered; outputs without a guard are open.
    GatesOpen,
    /// Outputs that waited for the guard are open, and nothing is in doubt any more.
    DoubtsSettled,
    /// Deactivation in order: commands are refused.
    CommandsRefused,
    /// No output is under way.
    OutputsDone,
    /// Outputs are still under way at the end of the time.
    OutputsInDoubt,
    /// What the journal had is on the disk of the node that takes over.
    TailStored,
    /// Inputs are closed.
    InputsClosed,
    /// The end of the journal is on the disk of the node that takes over.
    EndStored,
    /// It is not, at the end of the time.
    EndMissing,
    /// Interfaces have let go of their links and are in their inactive role.
    LinksReleased,
    /// The role may be given away.
    Drained,
    /// Lost lease: the engine knows that the gates are shut.
    GatesShut,
    /// Links without a fence are cut.
    LinksAborted,
    /// What was under way is in doubt.
    CommandsInDoubt,
    /// Nothing acts any more.
    Closed,
}

impl Step {
    const fn words(self) -> &'static str {
        match self {
            Step::EpochBegun => "epoch begun",
            Step::DoubtsCollected => "doubts collected",
            Step::InputsDoubted => "inputs doubted",
            Step::ExclusiveClaimed => "exclusive links claimed",
            Step::ClassOrdered => "interfaces ordered",
            Step::RingReplayed => "ring replayed",
            Step::GatesOpen => "gates open",
            Step::DoubtsSettled => "doubts settled",
            Step::CommandsRefused => "commands refused",
            Step::OutputsDone => "outputs done",
            Step::OutputsInDoubt => "outputs in doubt",
            Step::TailStored => "journal stored",
            Step::InputsClosed => "inputs closed",
            Step::EndStored => "end of the journal stored",
            Step::EndMissing => "end of the journal not stored",
            Step::LinksReleased => "links released",
            Step::Drained => "drained",
            Step::GatesShut => "gates shut",
            Step::LinksAborted => "links cut",
            Step::CommandsInDoubt => "commands in doubt",
            Step::Closed => "closed",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// The steps of the present or last change of role.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    begun: Option<Moment>,
    steps: Vec<(Step, Duration)>,
    /// Whether an activation still has to say that nothing is in doubt.
    pub(crate) settling: bool,
}

impl Timeline {
    /// A change of role begins.
    pub(crate) fn begin(&mut self, now: Moment) {
        self.begun = Some(now);
        self.steps.clear();
        self.settling = false;
    }

    pub(crate) fn note(&mut self, step: Step, now: Moment) {
        // More classes than there are would be a fault of the engine, not a reason to grow.
        if self.steps.len() < STEPS_MAX {
            self.steps.push((step, self.begun.map_or(Duration::ZERO, |begun| now.since(begun))));
        }
    }

    #[cfg(test)]
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.steps.iter().map(|(step, _)| *step).collect()
    }
}

/// As `epoch begun 0.1 ms, gates open 2.3 ms`.
impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (step, after)) in self.steps.iter().enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{step} {:.1} ms", after.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

/// All steps, and a class for each interface order.
const STEPS_MAX: usize = 32;
