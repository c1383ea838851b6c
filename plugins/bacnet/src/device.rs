//! What the driver knows of one device.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;
use twinhub_bacnet_protocol::engine::{Peer, PeerLimits};
use twinhub_bacnet_protocol::planner::ReadAbility;
use twinhub_plugin::Quality;

use crate::inbox::Job;
use crate::item::Place;

/// How a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody knows where it is.
    Sought,
    /// It is known where it is, and not what it can take: it is asked for that.
    Met,
    /// It answers, as far as is known.
    Present,
    /// It does not answer.
    Silent(String),
}

/// Items that are read together.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) period: Duration,
    /// Handles.
    pub(crate) items: Vec<u32>,
    pub(crate) next_due: Instant,
    /// A read of them is under way.
    pub(crate) is_running: bool,
}

/// One device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) peer: Option<Peer>,
    pub(crate) standing: Standing,
    /// What it said that it takes.
    pub(crate) limits: Option<PeerLimits>,
    pub(crate) ability: ReadAbility,
    pub(crate) classes: Vec<Class>,
    pub(crate) writes: VecDeque<Job>,
    /// Places that are being written: the next write to them waits, so that their order is kept.
    pub(crate) writing: BTreeSet<Place>,
    pub(crate) probe_at: Option<Instant>,
    pub(crate) is_probed: bool,
    pub(crate) answers: u64,
    pub(crate) failures: u64,
    pub(crate) last_failure: Option<String>,
}

impl Device {
    pub(crate) fn new(peer: Option<Peer>) -> Self {
        Self {
            peer,
            standing: Standing::Sought,
            limits: None,
            ability: ReadAbility::default(),
            classes: Vec::new(),
            writes: VecDeque::new(),
            writing: BTreeSet::new(),
            probe_at: None,
            is_probed: false,
            answers: 0,
            failures: 0,
            last_failure: None,
        }
    }

    /// Whether it may be asked for values.
    pub(crate) fn is_present(&self) -> bool {
        self.standing == Standing::Present
    }

    /// What items have while it is not there.
    pub(crate) fn absence(&self) -> Quality {
        match self.standing {
            Standing::Sought | Standing::Met => Quality::BAD_WAITING_FOR_INITIAL_DATA,
            Standing::Present => Quality::GOOD,
            Standing::Silent(_) => Quality::BAD_NO_COMMUNICATION,
        }
    }

    /// Puts an item among those that are read in its period.
    pub(crate) fn add(&mut self, item: u32, period: Duration, now: Instant) {
        if let Some(class) = self.classes.iter_mut().find(|class| class.period == period) {
            class.items.push(item);
            return;
        }
        self.classes.push(Class { period, items: vec![item], next_due: now, is_running: false });
    }

    /// The next write that may be sent: none overtakes one to the same place.
    pub(crate) fn next_write(&mut self, parallel: usize) -> Option<Job> {
        if self.writing.len() >= parallel {
            return None;
        }
        let mut blocked = self.writing.clone();
        let free = self.writes.iter().position(|job| blocked.insert(job.point.place))?;
        let job = self.writes.remove(free)?;
        self.writing.insert(job.point.place);
        Some(job)
    }
}
