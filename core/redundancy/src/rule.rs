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
}

impl Rule {
    /// Every rule.
    #[cfg(twinhub_sabotage)]
    pub const ALL: [Rule; 9] = [
        Rule::DiskBeforeWord,
        Rule::OneGrant,
        Rule::FreshAfterRestart,
        Rule::Margin,
        Rule::CountFromQuestion,
        Rule::Guard,
        Rule::WordOfThisProcess,
        Rule::Majority,
        Rule::NoSelfPromotion,
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
        BROKEN.get() != Some(self)
    }

    /// Takes a rule away on this thread, or gives back the one that was.
    #[cfg(twinhub_sabotage)]
    pub fn take_away(rule: Option<Rule>) {
        BROKEN.set(rule);
    }
}

#[cfg(twinhub_sabotage)]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}
