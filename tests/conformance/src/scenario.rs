//! What is done to a pair, and what must come of it.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use twinhub_peers::Cut;

use crate::cluster::{Cluster, Roles};
use crate::error::{Error, Result};
use crate::figures::{Figures, Window};
use crate::profile::Profile;

/// What is done to the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// SIGKILL to supervisor and hub of the active node: the host is gone.
    Crash,
    /// SIGKILL to the hub process; its supervisor resigns for it.
    CrashHub,
    /// SIGSTOP for three leases, then SIGCONT: the woken node must be fenced.
    Freeze,
    /// The link between the nodes is cut while the witness is in reach: nothing may move.
    Cut,
    /// An operator's switchover.
    Planned,
}

/// A running pair with what stands around it, to which something can be done.
pub trait Scene {
    /// What an outsider sees of it.
    type Figures;

    /// Timers.
    fn profile(&self) -> Profile;

    /// The processes.
    fn cluster(&self) -> &Cluster;

    /// The processes, to do something to them.
    fn cluster_mut(&mut self) -> &mut Cluster;

    /// Active and first standby, and the epoch.
    fn roles(&self) -> Result<Roles> {
        self.cluster().roles()
    }

    /// Waits until values and commands flow.
    fn wait_flow(&self) -> Result<()>;

    /// Waits until `node` does something outside after `since`.
    fn wait_acts(&self, node: &str, since: Instant, limit: Duration) -> Result<()>;

    /// The figures of a window that is over, and what in them is not as it must be; `limit` is the longest takeover. What
    /// is on its way is waited for.
    fn judge(&self, window: &Window, limit: Duration) -> Result<(Self::Figures, Vec<String>)>;
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome<F = Figures> {
    /// What was done.
    pub scenario: Scenario,
    /// Active before.
    pub old: String,
    /// Active after, if the role was meant to move.
    pub new: Option<String>,
    /// What was seen.
    pub figures: F,
    /// What is not as it must be; empty is a pass.
    pub problems: Vec<String>,
    /// How long the pair took to be whole again after the repair.
    pub resync: Duration,
}

impl Scenario {
    /// All, in the order in which one stage plays them.
    pub const ALL: [Self; 5] = [Self::Crash, Self::CrashHub, Self::Freeze, Self::Cut, Self::Planned];

    /// The word on the command line and in results.
    pub fn word(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::CrashHub => "crash-hub",
            Self::Freeze => "freeze",
            Self::Cut => "cut",
            Self::Planned => "planned",
        }
    }

    /// One line for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Crash => "kill -9 of the active node",
            Self::CrashHub => "kill -9 of its hub process",
            Self::Freeze => "SIGSTOP, SIGCONT: fenced",
            Self::Cut => "peer link cut: no move",
            Self::Planned => "planned switchover",
        }
    }

    /// Whether the role is meant to move.
    pub fn moves(self) -> bool {
        self != Self::Cut
    }

    fn is_abrupt(self) -> bool {
        match self {
            Self::Crash | Self::CrashHub | Self::Freeze => true,
            Self::Cut | Self::Planned => false,
        }
    }

    /// Does it, lets the new order run for `calm`, repairs what was done, and waits until the pair is whole.
    pub fn run<S: Scene>(self, scene: &mut S, calm: Duration) -> Result<Outcome<S::Figures>> {
        let profile = scene.profile();
        let limit = profile.takeover_limit();
        scene.cluster().wait_in_sync(SYNC_LIMIT)?;
        let before = scene.roles()?;
        scene.wait_flow()?;
        let mut problems = Vec::new();
        let now = scene.roles()?;
        if now != before {
            let why = scene.cluster().status(&now.active).map(|status| status.reason).unwrap_or_default();
            problems.push(format!("the role moved before anything was done: {before:?}, {now:?}: {why}"));
        }
        let (old, new) = (now.active.clone(), now.standby.clone());
        let from = Instant::now();
        thread::sleep(calm / 2 + any_phase());
        let fault = match self {
            Self::Crash => scene.cluster_mut().kill(&old)?,
            Self::CrashHub => scene.cluster_mut().kill_hub(&old)?,
            Self::Freeze => scene.cluster_mut().freeze(&old)?,
            Self::Cut => scene.cluster().cut_peer_links(Cut::Silent),
            Self::Planned => {
                let at = Instant::now();
                scene.cluster().rest(&old)?.switchover(&new)?;
                at
            }
        };
        if self.moves()
            && let Err(error) = scene.wait_acts(&new, fault, limit + GRACE)
        {
            problems.push(error.chain());
        }
        if matches!(self, Self::Freeze | Self::Cut) {
            let rest = (profile.lease() * 3).saturating_sub(fault.elapsed());
            thread::sleep(rest);
        }
        if self == Self::Freeze {
            scene.cluster_mut().thaw(&old)?;
        }
        thread::sleep(calm);
        if self == Self::Cut {
            let after = scene.roles()?;
            if (&after.active, &after.epoch) != (&old, &now.epoch) {
                problems.push(format!("the role moved from {old} {} to {after:?}", now.epoch));
            }
            scene.cluster().heal_peer_links();
        }
        if self == Self::Crash {
            scene.cluster_mut().start(&old)?;
        }
        let repaired = Instant::now();
        let active = scene.cluster().wait_in_sync(SYNC_LIMIT);
        let resync = repaired.elapsed();
        match &active {
            Ok(active) if self.moves() && *active == old => problems.push(format!("{old} is active again")),
            Ok(_) => {}
            Err(error) => problems.push(error.chain()),
        }
        let until = Instant::now();
        let new = self.moves().then_some(new);
        let window =
            Window { from, fault, until, old: old.clone(), new: new.clone(), is_abrupt: self.is_abrupt() };
        let (figures, seen) = scene.judge(&window, limit)?;
        problems.extend(seen);
        Ok(Outcome { scenario: self, old, new, figures, problems, resync })
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Scenario {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|scenario| scenario.word() == word);
        found.ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|scenario| scenario.word()).collect();
            Error::Usage(format!("`{word}` is no scenario; write {}", words.join(", ")))
        })
    }
}

/// A random part of a second, so that no timer is always met at the same phase.
fn any_phase() -> Duration {
    let seed = RandomState::new().hash_one(0_u8);
    Duration::from_micros(seed % 1_000_000)
}

const SYNC_LIMIT: Duration = Duration::from_secs(30);
/// So that a late takeover is measured and judged by its figure.
const GRACE: Duration = Duration::from_secs(10);
