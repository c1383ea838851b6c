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
    pub fn at(&self, now: u64) -> Moment {
        // In two parts, so that 64 bits are enough for any time.
        let (whole, rest) = (now / MILLION, now % MILLION);
        let drift = signed(whole) * self.rate_ppm + signed(rest) * self.rate_ppm / signed(MILLION);
        Moment((self.offset + now).saturating_add_signed(drift))
    }

    /// The first true time at which it shows this moment.
    pub fn when(&self, moment: Moment) -> u64 {
        if moment == Moment::NEVER {
            return u64::MAX;
        }
        let Some(shown) = moment.0.checked_sub(self.offset) else { return 0 };
        let rate = MILLION.saturating_add_signed(self.rate_ppm);
        let mut at = shown / rate * MILLION + shown % rate * MILLION / rate;
        while self.at(at) < moment {
            at += 1;
        }
        at
    }
}

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
    /// Its process.
    pub life: Life,
    /// Counts its processes.
    pub incarnation: Incarnation,
    /// It does nothing until then, but its clock runs.
    pub frozen_until: u64,
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
