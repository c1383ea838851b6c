//! Exhaustive model of a pair without a witness, where no rule can be both safe and automatic.
//!
//! A message arrives at once or never: a link is up or down, in each direction by itself, and changes at any time. A node
//! works or sleeps as long as it likes, but its lease ends by the clock. What is looked for is two nodes that hold a
//! lease, and where that is the price of a policy, that both are marked and that one remains when the links are back.

use stateright::{Model, Property};

use crate::{ACTS_ALONE, LEASE, MARKED, ONE_HOLDER, ONE_REMAINS, QUORATE_AGAIN, SPLIT};

/// What a node does when the other one is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It never promotes itself; who is active stays so.
    Manual,
    /// It promotes itself, or stays active, if what it sees of the world speaks for it.
    Evidence,
    /// It promotes itself; who is active stays so.
    Availability,
}

/// How far evidence can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// While the nodes do not hear each other, it is on one side at most, and stays there.
    OnOneSide,
    /// It is on one side at most, but may change sides.
    Moves,
    /// Both may have it.
    OnBothSides,
}

/// The rules, and the bounds of what is looked at.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a rule or a bound of its own")]
pub struct Pair {
    /// What nodes do about silence.
    pub policy: Policy,
    /// What the evidence is worth.
    pub evidence: Evidence,
    /// An operator may make a node active against everything, once.
    pub is_forced: bool,
    /// `T_confirm` in ticks; the silence that counts is longer than a lease by this.
    pub confirm: u8,
    /// For how many ticks after its end a lease is taken up again by a holder that slept.
    pub patience: u8,
    /// Who holds its lease alone, or won it alone, is marked.
    pub marks: bool,
    /// A holder that hears of a higher epoch drops its role.
    pub heeds_epochs: bool,
    /// Under [`Policy::Evidence`], a holder that is alone drops its role without it.
    pub holder_needs_evidence: bool,
    /// For how many ticks evidence must have lasted before a node promotes itself on it.
    pub evidence_lasts: u8,
    /// Two holders break a promise; otherwise they are what is looked for.
    pub forbids_split: bool,
    /// A voter that promised this much starts no further election.
    pub epochs: u8,
    /// How many crashes there may be.
    pub crashes: u8,
}

impl Pair {
    /// The rules of the product with `manual`, where only an operator's force makes two holders.
    pub const MANUAL: Pair = Pair {
        policy: Policy::Manual,
        evidence: Evidence::OnOneSide,
        is_forced: false,
        confirm: LEASE,
        patience: LEASE,
        marks: true,
        heeds_epochs: true,
        holder_needs_evidence: true,
        evidence_lasts: 0,
        forbids_split: true,
        epochs: 7,
        crashes: 2,
    };

    /// With `evidence`, which is as safe as what the nodes see is right.
    pub const EVIDENCE: Pair = Pair { policy: Policy::Evidence, evidence_lasts: LEASE, ..Pair::MANUAL };

    /// With `availability`, where two holders are the price.
    pub const AVAILABILITY: Pair =
        Pair { policy: Policy::Availability, forbids_split: false, ..Pair::MANUAL };

    fn silence(&self) -> u8 {
        LEASE + self.confirm
    }
}

/// One state of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Halves {
    ballots: [Ballot; 2],
    nodes: [Half; 2],
    /// Whether messages of each node arrive at the other.
    links: [bool; 2],
    /// Whether each node sees what speaks for it.
    evidence: [bool; 2],
    /// For how many ticks it did, as far as that counts.
    lasted: [u8; 2],
    crashes: u8,
    is_force_used: bool,
    /// The links are up for good, for so many ticks.
    healed: Option<u8>,
    /// Two nodes held a lease when they came up.
    had_two: bool,
    was_split: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Ballot {
    promised: u8,
    granted: Option<(u8, u8)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Half {
    tenure: Option<Tenure>,
    /// For how many ticks nothing of the other one was heard.
    silent: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Tenure {
    epoch: u8,
    left: u8,
    /// For how many ticks the lease has ended without the node having noticed.
    late: u8,
    is_alone: bool,
    is_unquorate: bool,
    is_forced: bool,
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Turnout {
    /// Time goes by.
    Tick,
    /// A node looks at its timers, tells the other one of it, and renews.
    Work(u8),
    /// A node asks for both votes.
    Campaign(u8),
    /// A node becomes active with its own vote only.
    Promote(u8),
    /// An operator makes a node active.
    Force(u8),
    /// The link from this node breaks; then at most this one sees what speaks for it.
    Cut {
        /// Whose messages are lost.
        from: u8,
        /// Who has evidence, one bit per node.
        evidence: u8,
    },
    /// The link from this node is back.
    Join(u8),
    /// Evidence changes while a link is down.
    Shift {
        /// Who has it, one bit per node.
        evidence: u8,
    },
    /// The nodes hear each other: both see the world again.
    Recover,
    /// Both links are up and stay so; nobody sleeps or crashes any more.
    Heal,
    /// A node crashes and is back at once.
    Crash(u8),
}

impl Halves {
    fn tenure(&self, node: u8) -> Option<Tenure> {
        self.nodes[usize::from(node)].tenure
    }

    fn holds(&self, node: u8) -> bool {
        self.tenure(node).is_some_and(|tenure| tenure.left > 0)
    }

    fn is_split(&self) -> bool {
        self.holds(0) && self.holds(1)
    }

    /// Two holders know that they may be two. An operator who forces a role vouches for the other node.
    fn is_marked(&self) -> bool {
        let marks = self.nodes.map(|node| node.tenure.map(|tenure| (tenure.epoch, tenure.is_unquorate)));
        let newest = marks.iter().flatten().max().is_some_and(|(_, is_marked)| *is_marked);
        let all = marks.iter().flatten().all(|(_, is_marked)| *is_marked);
        !self.is_split() || all || (self.is_force_used && newest)
    }

    fn is_one_left(&self) -> bool {
        let is_settled = self.healed.is_some_and(|ticks| ticks >= SETTLED);
        let has_one = self.holds(0) != self.holds(1);
        !is_settled || has_one || !(self.had_two || self.is_split())
    }

    fn is_free(&self, voter: u8, asker: u8) -> bool {
        self.ballots[usize::from(voter)].granted.is_none_or(|(holder, _)| holder == asker)
    }

    fn next_epoch(&self, node: u8) -> u8 {
        (self.ballots[usize::from(node)].promised / 2 + 1) * 2 + node
    }

    fn promise(&mut self, rules: &Pair, voter: u8, to: u8, epoch: u8) {
        self.ballots[usize::from(voter)] = Ballot { promised: epoch, granted: Some((to, LEASE)) };
        self.note(rules, voter, epoch);
    }

    fn note(&mut self, rules: &Pair, node: u8, epoch: u8) {
        let half = &mut self.nodes[usize::from(node)];
        half.tenure = half.tenure.filter(|tenure| tenure.epoch >= epoch || !rules.heeds_epochs);
    }

    fn hear(&mut self, rules: &Pair, node: u8, epoch: u8) {
        self.nodes[usize::from(node)].silent = 0;
        self.note(rules, node, epoch);
    }

    fn may_hold_alone(&self, rules: &Pair, node: u8, tenure: Tenure) -> bool {
        tenure.is_forced
            || match rules.policy {
                Policy::Manual | Policy::Availability => true,
                Policy::Evidence => !rules.holder_needs_evidence || self.evidence[usize::from(node)],
            }
    }

    /// Who slept takes its lease up for a while, on evidence that it had before.
    fn may_resume(&self, rules: &Pair, node: u8, tenure: Tenure) -> bool {
        let had = tenure.is_forced
            || rules.policy != Policy::Evidence
            || self.lasted[usize::from(node)] >= rules.evidence_lasts.min(tenure.late);
        had && tenure.late <= rules.patience
    }

    fn hold_alone(&mut self, rules: &Pair, node: u8) {
        let is_exclusive = rules.policy == Policy::Manual;
        if let Some(tenure) = &mut self.nodes[usize::from(node)].tenure {
            let is_marked = rules.marks && (!is_exclusive || tenure.is_forced);
            (tenure.left, tenure.late, tenure.is_alone) = (HOLD, 0, true);
            tenure.is_unquorate |= is_marked;
        }
    }

    fn lose(&mut self, node: u8) {
        self.nodes[usize::from(node)].tenure = None;
    }

    fn work(&mut self, rules: &Pair, node: u8) {
        if let Some(tenure) = self.tenure(node)
            && tenure.left == 0
        {
            // A lease that has ended is looked at before anything else.
            if self.may_hold_alone(rules, node, tenure) && self.may_resume(rules, node, tenure) {
                self.hold_alone(rules, node);
            } else {
                self.lose(node);
            }
        }
        self.tell(rules, node);
        self.renew(rules, node);
    }

    /// Who sleeps reads it before it does anything else.
    fn tell(&mut self, rules: &Pair, node: u8) {
        if self.links[usize::from(node)] {
            let promised = self.ballots[usize::from(node)].promised;
            self.hear(rules, 1 - node, promised);
        }
    }

    fn renew(&mut self, rules: &Pair, node: u8) {
        let Some(Tenure { epoch, .. }) = self.tenure(node) else { return };
        let other = 1 - node;
        self.promise(rules, node, node, epoch);
        let is_asked = self.links[usize::from(node)];
        let is_answered = is_asked && self.links[usize::from(other)];
        let is_granted = epoch >= self.ballots[usize::from(other)].promised && self.is_free(other, node);
        if is_asked && is_granted {
            self.promise(rules, other, node, epoch);
        }
        if is_answered {
            let promised = self.ballots[usize::from(other)].promised;
            self.hear(rules, node, promised);
        }
        let Some(tenure) = self.tenure(node) else { return };
        if is_answered && is_granted {
            self.nodes[usize::from(node)].tenure = Some(Tenure::quorate(epoch));
        } else if tenure.is_alone || tenure.left <= 1 {
            if self.may_hold_alone(rules, node, tenure) {
                self.hold_alone(rules, node);
            } else if tenure.is_alone {
                self.lose(node);
            }
        }
    }

    fn campaign(&mut self, rules: &Pair, node: u8) -> Option<()> {
        let (other, epoch) = (1 - node, self.next_epoch(node));
        let is_granted = epoch > self.ballots[usize::from(other)].promised && self.is_free(other, node);
        if !is_granted || !self.is_free(node, node) || !self.links[usize::from(node)] {
            return None;
        }
        self.promise(rules, node, node, epoch);
        self.hear(rules, other, epoch);
        self.promise(rules, other, node, epoch);
        if self.links[usize::from(other)] {
            self.nodes[usize::from(node)] = Half { tenure: Some(Tenure::quorate(epoch)), silent: 0 };
        }
        Some(())
    }

    /// Becomes active with the own vote, whatever it was given to if an operator says so.
    fn seize(&mut self, rules: &Pair, node: u8, is_forced: bool) {
        let epoch = self.next_epoch(node);
        self.promise(rules, node, node, epoch);
        let won = Tenure::quorate(epoch);
        self.nodes[usize::from(node)].tenure =
            Some(Tenure { is_alone: true, is_unquorate: rules.marks, is_forced, ..won });
        self.tell(rules, node);
    }

    fn may_promote(&self, rules: &Pair, node: u8) -> bool {
        let is_allowed = match rules.policy {
            Policy::Manual => false,
            Policy::Evidence => {
                let node = usize::from(node);
                self.evidence[node] && self.lasted[node] >= rules.evidence_lasts
            }
            Policy::Availability => true,
        };
        let is_silent = self.nodes[usize::from(node)].silent >= rules.silence();
        is_allowed && is_silent && self.is_free(node, node)
    }

    fn tick(&mut self, rules: &Pair) {
        if let Some(ticks) = &mut self.healed {
            *ticks = (*ticks + 1).min(SETTLED);
            for node in 0..2 {
                self.work(rules, node);
            }
        }
        for (lasted, _) in self.lasted.iter_mut().zip(self.evidence).filter(|(_, evidence)| *evidence) {
            *lasted = (*lasted + 1).min(rules.evidence_lasts);
        }
        for ballot in &mut self.ballots {
            ballot.granted = ballot.granted.and_then(|(node, left)| (left > 1).then_some((node, left - 1)));
        }
        for half in &mut self.nodes {
            half.silent = (half.silent + 1).min(rules.silence());
            if let Some(tenure) = &mut half.tenure {
                tenure.late = (tenure.late + u8::from(tenure.left == 0)).min(LEASE + 1);
                tenure.left = tenure.left.saturating_sub(1);
            }
        }
    }

    fn set_evidence(&mut self, mask: u8) {
        self.evidence = [mask & 1 != 0, mask & 2 != 0];
        for (lasted, evidence) in self.lasted.iter_mut().zip(self.evidence) {
            *lasted = if evidence { *lasted } else { 0 };
        }
    }
}

impl Tenure {
    fn quorate(epoch: u8) -> Tenure {
        Tenure { epoch, left: HOLD, late: 0, is_alone: false, is_unquorate: false, is_forced: false }
    }
}

impl Model for Pair {
    type State = Halves;
    type Action = Turnout;

    fn init_states(&self) -> Vec<Halves> {
        vec![Halves {
            ballots: [Ballot::default(); 2],
            nodes: [Half::default(); 2],
            links: [true; 2],
            evidence: [true; 2],
            lasted: [self.evidence_lasts; 2],
            crashes: 0,
            is_force_used: false,
            healed: None,
            had_two: false,
            was_split: false,
        }]
    }

    fn actions(&self, state: &Halves, turns: &mut Vec<Turnout>) {
        turns.push(Turnout::Tick);
        for node in 0..2 {
            let can_rise =
                state.tenure(node).is_none() && state.ballots[usize::from(node)].promised < self.epochs;
            turns.push(Turnout::Work(node));
            if can_rise {
                turns.push(Turnout::Campaign(node));
            }
            if can_rise && state.may_promote(self, node) {
                turns.push(Turnout::Promote(node));
            }
            if state.healed.is_some() {
                continue;
            }
            if can_rise
                && self.is_forced
                && !state.is_force_used
                && state.nodes[usize::from(node)].silent >= LEASE
            {
                turns.push(Turnout::Force(node));
            }
            if state.crashes < self.crashes {
                turns.push(Turnout::Crash(node));
            }
            if !state.links[usize::from(node)] {
                turns.push(Turnout::Join(node));
            } else if state.evidence == [true; 2] && self.policy == Policy::Evidence {
                let sides = self.evidence.sides();
                turns.extend(sides.iter().map(|evidence| Turnout::Cut { from: node, evidence: *evidence }));
            } else {
                let evidence = u8::from(state.evidence[0]) | u8::from(state.evidence[1]) << 1;
                turns.push(Turnout::Cut { from: node, evidence });
            }
        }
        if state.healed.is_none() {
            turns.push(Turnout::Heal);
            if self.evidence == Evidence::Moves && state.evidence != [true; 2] {
                turns.extend(
                    self.evidence.sides().iter().map(|evidence| Turnout::Shift { evidence: *evidence }),
                );
            }
        }
        let do_hear = state.links == [true; 2] && state.nodes.iter().all(|half| half.silent == 0);
        if do_hear && state.evidence != [true; 2] {
            turns.push(Turnout::Recover);
        }
    }

    fn next_state(&self, last: &Halves, turn: Turnout) -> Option<Halves> {
        let mut state = *last;
        match turn {
            Turnout::Tick => state.tick(self),
            Turnout::Work(node) => state.work(self, node),
            Turnout::Campaign(node) => state.campaign(self, node)?,
            Turnout::Promote(node) => state.seize(self, node, false),
            Turnout::Force(node) => {
                state.is_force_used = true;
                state.seize(self, node, true);
            }
            Turnout::Cut { from, evidence } => {
                state.links[usize::from(from)] = false;
                state.set_evidence(evidence);
            }
            Turnout::Join(from) => state.links[usize::from(from)] = true,
            Turnout::Shift { evidence } => state.set_evidence(evidence),
            Turnout::Recover => state.evidence = [true; 2],
            Turnout::Heal => {
                (state.links, state.healed) = ([true; 2], Some(0));
                state.had_two = state.is_split();
            }
            Turnout::Crash(node) => {
                let ballot = &mut state.ballots[usize::from(node)];
                ballot.granted = ballot.granted.map(|(holder, _)| (holder, LEASE));
                state.nodes[usize::from(node)] = Half::default();
                state.lasted[usize::from(node)] = 0;
                state.crashes += 1;
            }
        }
        state.was_split |= state.is_split();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Pair>> {
        let split = if self.forbids_split {
            Property::always(ONE_HOLDER, |_: &Pair, state: &Halves| !state.is_split())
        } else {
            Property::sometimes(SPLIT, |_: &Pair, state: &Halves| state.is_split())
        };
        vec![
            split,
            Property::always(MARKED, |_: &Pair, state: &Halves| state.is_marked()),
            Property::always(ONE_REMAINS, |_: &Pair, state: &Halves| state.is_one_left()),
            Property::sometimes(ACTS_ALONE, |_: &Pair, state: &Halves| {
                state.nodes.iter().any(|node| node.tenure.is_some_and(|tenure| tenure.is_alone))
            }),
            Property::sometimes(QUORATE_AGAIN, |_: &Pair, state: &Halves| {
                let is_quorate = |node: &Half| node.tenure.is_some_and(|tenure| !tenure.is_alone);
                state.was_split && state.healed.is_some() && state.nodes.iter().any(is_quorate)
            }),
        ]
    }
}

impl Evidence {
    /// Who may have it while a link is down, one bit per node.
    fn sides(self) -> &'static [u8] {
        match self {
            Evidence::OnOneSide | Evidence::Moves => &[0b00, 0b01, 0b10],
            Evidence::OnBothSides => &[0b11],
        }
    }
}

/// `L_h` in ticks.
const HOLD: u8 = LEASE - 1;
/// After so many ticks with links, each has heard what the other one is, and was heard.
const SETTLED: u8 = 2;
