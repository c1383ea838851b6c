//! What is simulated, what goes wrong, and which rule is taken away.

use twinhub_redundancy::{Policy, Profile, Timers};

/// What may go wrong.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a kind of trouble that is on or off")]
pub struct Faults {
    /// Messages are lost, doubled, delayed.
    pub noise: bool,
    /// Directions between sites are cut.
    pub cuts: bool,
    /// Processes die and come back.
    pub crashes: bool,
    /// Processes freeze.
    pub freezes: bool,
    /// Operators order things.
    pub orders: bool,
    /// Operators force failovers.
    pub force: bool,
    /// Disks are slow.
    pub slow_disks: bool,
    /// Disks refuse to take anything, until there is space again.
    pub full_disks: bool,
    /// Reference hosts and field probes fall silent.
    pub blindness: bool,
    /// Operators shrink and grow voters, and witnesses stop in order.
    pub voters: bool,
    /// Interfaces fail, flap, or are not seen, on one side or on all.
    pub health: bool,
}

impl Faults {
    /// Everything but forced failovers.
    pub const ALL: Faults = Faults {
        noise: true,
        cuts: true,
        crashes: true,
        freezes: true,
        orders: true,
        force: false,
        slow_disks: true,
        full_disks: true,
        blindness: true,
        voters: true,
        health: true,
    };
    /// Nothing.
    pub const NONE: Faults = Faults {
        noise: false,
        cuts: false,
        crashes: false,
        freezes: false,
        orders: false,
        force: false,
        slow_disks: false,
        full_disks: false,
        blindness: false,
        voters: false,
        health: false,
    };

    /// Whether nothing keeps a message or a process from going on.
    pub(crate) fn lets_everyone_hear(self) -> bool {
        !(self.noise
            || self.cuts
            || self.crashes
            || self.freezes
            || self.slow_disks
            || self.full_disks
            || self.voters)
    }
}

/// A rule that is taken away, to see that the checks notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// None.
    #[default]
    None,
    /// The holder counts its lease as long as the voters do.
    NoMargin,
    /// Unfenced outputs do not wait.
    NoGuard,
    /// A voter forgets what it promised when it restarts.
    ForgettingVoter,
    /// A voter forgets who votes when it restarts.
    ForgettingVoters,
    /// A voter takes its stored grant for ended when it restarts.
    GrantAtOnce,
    /// The disk says that it synced, and did not.
    LyingDisk,
    /// Every node says that its health is proven to be the best.
    Boasting,
    /// Nothing that moves for better health waits, and no such move is counted.
    Restless,
    /// A process may freeze between the check of the permit and the send.
    FreezeBeforeSend,
    /// The same, but the plant refuses older epochs.
    FreezeBeforeSendWithToken,
}

/// What is simulated.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many nodes.
    pub nodes: u8,
    /// Whether a witness votes.
    pub witness: bool,
    /// What a pair without one does.
    pub policy: Policy,
    /// The timers.
    pub profile: Profile,
    /// Timers of their own, in place of those of the profile.
    pub timers: Option<Timers>,
    /// What may go wrong.
    pub faults: Faults,
    /// Whether the role goes back to the preferred node by itself.
    pub hands_back: bool,
    /// For how many leases it goes wrong.
    pub storm_leases: u32,
    /// What rule is taken away.
    pub sabotage: Sabotage,
}

impl Plan {
    /// A pair with a witness and all faults.
    pub fn pair() -> Plan {
        Plan {
            nodes: 2,
            witness: true,
            policy: Policy::Evidence,
            profile: Profile::Normal,
            timers: None,
            faults: Faults::ALL,
            hands_back: true,
            storm_leases: 60,
            sabotage: Sabotage::None,
        }
    }

    /// The timers of every site.
    pub fn all_timers(&self) -> Timers {
        self.timers.unwrap_or_else(|| Timers::of(self.profile))
    }

    /// A pair without a witness.
    pub fn lonely_pair(policy: Policy) -> Plan {
        Plan { witness: false, policy, ..Plan::pair() }
    }

    /// Three nodes, no witness.
    pub fn three() -> Plan {
        Plan { nodes: 3, witness: false, ..Plan::pair() }
    }

    /// The same, with trouble for so many hours.
    #[must_use]
    pub fn for_hours(self, hours: u32) -> Plan {
        let leases = 3_600_000 / self.all_timers().lease.as_millis().max(1);
        let storm_leases = u32::try_from(leases).unwrap_or(u32::MAX).saturating_mul(hours);
        Plan { storm_leases, ..self }
    }
}
