//! The safety rules that a test may take away, one at a time, to see that the simulation notices.
//!
//! Shipped code cannot take any away: without `--cfg twinhub_sabotage`, which only `cargo xtask sim --sabotage` passes,
//! [`Rule::holds`] is the constant `true` and the compiler drops the other branch.

/// A rule without which two nodes could act.
#[cfg_attr(
    not(twinhub_sabotage),
    expect(unreachable_pub, reason = "only a build that breaks rules names them")
)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// What is told waits until it is on the disk.
    DiskBeforeWord,
    /// A voter grants nobody while it grants another.
    OneGrant,
    /// A stored grant is fresh after a restart.
    FreshAfterRestart,
    /// The holder counts less than the voters.
    Margin,
    /// The holder counts from when it asked, not from when it was answered.
    CountFromQuestion,
    /// Unfenced outputs wait after a takeover that was not handed over.
    Guard,
    /// A supervisor's word frees only the grant of the process that died.
    WordOfThisProcess,
    /// A role needs more than half of the votes.
    Majority,
    /// Where others vote, nobody promotes itself.
    NoSelfPromotion,
    /// A transfer token that a later epoch overtook wins nothing.
    OvertakenToken,
    /// A transfer token opens the grant of its own epoch only. [`Rule::OvertakenToken`] refuses all that this would let
    /// through: a token of an older epoch. One of a later epoch than the voter knows is its holder's word, too.
    TokenOfTheGrant,
    /// Who takes older voters for the voters gets no vote.
    VotersOfToday,
    /// Only the process that holds the grant renews it. No two nodes act without that, since an epoch has one owner and
    /// a dead process does nothing; but what a dead process had sent would keep its successor waiting for a lease, unless
    /// [`Rule::LivingAsker`] refuses it, too.
    RenewalOfTheHolder,
    /// Who is known to be dead gets no vote. As with [`Rule::RenewalOfTheHolder`], its successor would wait for a lease.
    LivingAsker,
    /// A holder that hears of a higher epoch stops.
    HigherEpoch,
}

impl Rule {
    /// Every rule.
    #[cfg(twinhub_sabotage)]
    pub const ALL: [Rule; 15] = [
        Rule::DiskBeforeWord,
        Rule::OneGrant,
        Rule::FreshAfterRestart,
        Rule::Margin,
        Rule::CountFromQuestion,
        Rule::Guard,
        Rule::WordOfThisProcess,
        Rule::Majority,
        Rule::NoSelfPromotion,
        Rule::OvertakenToken,
        Rule::TokenOfTheGrant,
        Rule::VotersOfToday,
        Rule::RenewalOfTheHolder,
        Rule::LivingAsker,
        Rule::HigherEpoch,
    ];

    /// Whether the rule is in force.
    #[cfg(not(twinhub_sabotage))]
    #[inline]
    #[expect(clippy::unused_self, reason = "so that every place reads the same in both builds")]
    pub(crate) const fn holds(self) -> bool {
        true
    }

    /// Whether the rule is in force on this thread.
    #[cfg(twinhub_sabotage)]
    pub(crate) fn holds(self) -> bool {
        BROKEN.get() & 1 << self as u32 == 0
    }

    /// Takes these rules away on this thread, and gives back those that were.
    #[cfg(twinhub_sabotage)]
    pub fn take_away(rules: &[Rule]) {
        BROKEN.set(rules.iter().fold(0, |broken, rule| broken | 1 << *rule as u32));
    }
}

#[cfg(twinhub_sabotage)]
thread_local! {
    static BROKEN: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}
