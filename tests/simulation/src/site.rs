//! A machine in the basement: clock, disk, process, gates.

use std::time::Duration;

use twinhub_model::{Epoch, Incarnation, Moment, NodeRank, Position};
use twinhub_redundancy::{Machine, StoredState, Voter, VoterId};

use crate::world::{INTERFACES, Seen};

/// A clock that runs a little wrong.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// What it shows at true zero.
    pub offset: u64,
    /// Parts per million it runs too fast.
    pub rate_ppm: i64,
}

impl Clock {
    /// What it shows at this true time.
    #[inline]
    pub fn at(&self, now: u64) -> Moment {
        let shown = self.offset + now;
        Moment(match self.rate_ppm {
            0 => shown,
            PERCENT => shown.saturating_add(now / 100),
            MINUS_PERCENT => shown.saturating_sub(now / 100),
            rate => {
                // In two parts, so that 64 bits are enough for any time.
                let (whole, rest) = (now / MILLION, now % MILLION);
                shown.saturating_add_signed(signed(whole) * rate + signed(rest) * rate / signed(MILLION))
            }
        })
    }

    /// The first true time at which it shows this moment, or a nanosecond later.
    #[inline]
    pub fn when(&self, moment: Moment) -> u64 {
        if moment == Moment::NEVER {
            return u64::MAX;
        }
        let Some(shown) = moment.0.checked_sub(self.offset) else { return 0 };
        // The usual rates by name, so that nothing is divided by a number that only the run knows.
        let mut at = match self.rate_ppm {
            0 => return shown,
            PERCENT => scaled(shown, MILLION / 100 * 101),
            MINUS_PERCENT => scaled(shown, MILLION / 100 * 99),
            rate => scaled(shown, MILLION.saturating_add_signed(rate)),
        };
        while self.at(at) < moment {
            at += 1;
        }
        at
    }
}

#[inline]
fn scaled(shown: u64, rate: u64) -> u64 {
    shown / rate * MILLION + shown % rate * MILLION / rate
}

/// One percent too fast, and too slow.
const PERCENT: i64 = 10_000;
const MINUS_PERCENT: i64 = -PERCENT;

/// What the host checks before each write.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gate {
    /// The epoch that may write.
    pub epoch: Epoch,
    /// Until when on the site's clock.
    pub until: Moment,
    /// Whether activation opened it and nothing closed it.
    pub is_open: bool,
    /// Unfenced outputs wait until then.
    pub guard_until: Moment,
}

/// What runs on a site.
#[derive(Debug)]
pub enum Life {
    /// Nothing.
    Dead,
    /// A node's process.
    Node(Box<Machine>),
    /// A witness's process.
    Witness(Box<Voter>),
}

/// A machine in the basement.
#[derive(Debug)]
pub struct Site {
    /// Who it is.
    pub id: VoterId,
    /// Its clock.
    pub clock: Clock,
    /// What is on its disk for certain.
    pub disk: StoredState,
    /// What is on the way there.
    pub unsynced: Vec<(u64, StoredState)>,
    /// When the disk is idle again.
    pub disk_busy_until: u64,
    /// How long a sync takes at most.
    pub sync_max: Duration,
    /// Whether the disk refuses to take anything.
    pub is_full: bool,
    /// What the disk refused, which a witness orders again when it is asked the next time.
    pub refused: Option<(u64, StoredState)>,
    /// Its process.
    pub life: Life,
    /// Counts its processes.
    pub incarnation: Incarnation,
    /// It does nothing until then, but its clock runs.
    pub(crate) frozen_until: u64,
    /// Its output gate.
    pub gate: Gate,
    /// Whether a next write is planned, as always while the gate is open.
    pub is_writing: bool,
    /// Whom it replicates from.
    pub follows: Option<NodeRank>,
    /// The end of its journal.
    pub position: Position,
    /// What the process was told of that end.
    pub position_told: Position,
    /// What its reference hosts and field probes say.
    pub evidence: bool,
    /// What the process was told of them, and when it is told again.
    pub evidence_told: (bool, u64),
    /// What it sees of its interfaces.
    pub seen: [Seen; INTERFACES.len()],
    /// What its process was told of that.
    pub seen_told: Option<[Seen; INTERFACES.len()]>,
    /// The greatest epoch it granted to anybody, as told.
    pub told: Epoch,
    /// The moment of the last wake-up that was planned.
    pub wake: u64,
    /// For which moment on its clock the process wants to be woken, and when that is in true time.
    pub wanted: (Moment, u64),
    /// When the gate was last really open, in true time.
    pub acted_until: u64,
}

impl Site {
    /// The node's machine, if its process runs.
    pub fn machine(&self) -> Option<&Machine> {
        match &self.life {
            Life::Node(machine) => Some(machine),
            Life::Dead | Life::Witness(_) => None,
        }
    }

    /// Whether its process runs.
    pub fn is_alive(&self) -> bool {
        !matches!(self.life, Life::Dead)
    }

    /// Whether its gate would let a write pass as far as the lease decides.
    pub fn holds_lease(&self, now: u64) -> bool {
        self.is_alive() && self.clock.at(now) < self.gate.until
    }

    /// The permit check that stands before each write.
    pub fn permits(&self, epoch: Epoch, now: u64) -> bool {
        let shown = self.clock.at(now);
        self.is_alive()
            && self.gate.is_open
            && self.gate.epoch == epoch
            && shown < self.gate.until
            && shown >= self.gate.guard_until
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Clock errors are given in parts of it.
const MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_when_the_clock_shows_it() {
        for rate_ppm in [0, PERCENT, MINUS_PERCENT, 137, -999] {
            let clock = Clock { offset: 77, rate_ppm };
            for now in [0, 1, 99, 100, 101, 999_999, 1_000_001, 123_456_789_012_345] {
                let drift = i128::from(now) * i128::from(rate_ppm) / i128::from(MILLION);
                assert_eq!(i128::from(clock.at(now).0), 77 + i128::from(now) + drift, "{now} at {rate_ppm}");
                let when = clock.when(clock.at(now));
                assert!(
                    when.abs_diff(now) <= 1 && clock.at(when) >= clock.at(now),
                    "{now} at {rate_ppm}: {when}"
                );
            }
        }
    }
}
