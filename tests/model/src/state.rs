//! One state of the model, and what can happen in it.

use trial::Trial;

use crate::rules::{Flight, Giver, LEASE, Restart, Rules, Sink, Tokens, Words};

mod trial;

/// Everything there is. Plain arrays, as half a million of these are made per check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a finding or a fact of its own")]
pub struct State {
    voters: [Voter; 3],
    nodes: [Node; 3],
    /// Sorted, so that the same messages are the same state.
    wire: [Option<Packet>; IN_FLIGHT_MAX],
    /// Who was active in each epoch, one more than its number; 0 is nobody.
    owners: [u8; EPOCHS],
    /// One bit per epoch whose holder gave its token, which arrives whenever it likes.
    tokens: u16,
    /// Those of them that say that nothing is on its way.
    drained: u16,
    newest_write: u8,
    crashes: u8,
    has_main_written: bool,
    /// Two nodes were active in one epoch.
    pub is_epoch_shared: bool,
    /// The plant accepted an old write after a new one.
    pub is_stale_write_accepted: bool,
    /// A node raised its epoch although another one was a healthy holder all the time.
    pub is_disturbed: bool,
    /// Node 1 wrote after node 0.
    pub has_moved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Voter {
    promised: u8,
    /// Who was granted it, and for how many ticks from now.
    granted: Option<(u8, u8)>,
    /// Which process of that node; kept only where words are spoken, as is all about processes.
    process: u8,
    /// The token that freed a grant; kept only by those who take it twice.
    taken: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Node {
    lease: Option<Lease>,
    /// The last question to all voters.
    round: Option<Round>,
    /// The last question to all voters whether they would grant.
    trial: Option<Trial>,
    /// A write whose permit was checked: its epoch, and how long ago.
    write: Option<(u8, u8)>,
    /// How many processes of it have died.
    process: u8,
    /// The epoch in which this process said that it stopped, or 0.
    resigned: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Lease {
    epoch: u8,
    left: u8,
    /// How many ticks the node's clock may still lose.
    drift: u8,
    /// How long writes still wait.
    guard: u8,
    /// The epoch of the token that it was won with, or 0.
    token: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Round {
    epoch: u8,
    /// One bit per voter that granted.
    votes: u8,
    age: u8,
    /// The epoch of the token that is shown, or 0.
    token: u8,
}

/// A message; all are sent at the start of a round and carry its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Packet {
    /// From a node to a voter: keep or give the grant.
    Ask {
        /// The node.
        node: u8,
        /// The voter.
        voter: u8,
        /// The epoch asked for.
        epoch: u8,
        /// Ticks since the round was sent.
        age: u8,
        /// The epoch of the token that is shown, or 0.
        token: u8,
        /// Which process of the node.
        process: u8,
    },
    /// From a node to a voter: would you grant?
    Try {
        /// The node.
        node: u8,
        /// The voter.
        voter: u8,
        /// The epoch asked about.
        epoch: u8,
        /// Ticks since the question was sent.
        age: u8,
    },
    /// From a voter to a node: a campaign would be granted.
    Would {
        /// The voter.
        voter: u8,
        /// The node.
        node: u8,
        /// The epoch asked about.
        epoch: u8,
        /// Ticks since the question was sent.
        age: u8,
    },
    /// From a voter to a node: granted.
    Grant {
        /// The voter.
        voter: u8,
        /// The node.
        node: u8,
        /// The epoch granted.
        epoch: u8,
        /// Ticks since the round was sent.
        age: u8,
    },
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// Time goes by; the clocks of the nodes in the mask do not notice.
    Tick {
        /// One bit per node.
        slow: u8,
    },
    /// A node asks all voters.
    Ask(u8),
    /// A node asks all voters whether they would grant.
    Try(u8),
    /// A node gives the role away.
    Give {
        /// The node.
        node: u8,
        /// Nothing of it is on its way.
        is_drained: bool,
    },
    /// A node has a token, and asks all voters with it.
    Bear {
        /// The node.
        node: u8,
        /// The epoch that was given away.
        token: u8,
    },
    /// A message arrives. Loss needs no move: a message may stay until it is too old.
    Deliver(Packet),
    /// A voter crashes and is back at once.
    Crash(u8),
    /// A process stops, says so, and goes on as one that holds no role.
    Resign(u8),
    /// A voter hears the word about a process of a node.
    Hear {
        /// The voter.
        voter: u8,
        /// The node.
        node: u8,
    },
    /// A node checks the permit of a write.
    Check(u8),
    /// The write arrives at the plant.
    Arrive(u8),
}

impl State {
    /// How many nodes hold a lease that has not ended.
    pub fn holders(&self) -> usize {
        self.nodes.iter().filter(|node| node.lease.is_some()).count()
    }

    /// Whether two nodes have won an epoch.
    pub fn has_changed_hands(&self) -> bool {
        let mut winners = self.owners.iter().filter(|owner| **owner != 0);
        winners.next().is_some_and(|first| winners.any(|owner| owner != first))
    }

    /// Whether a node acts by a token while another one's grant would still run.
    pub fn is_handed_over(&self) -> bool {
        let has_token = |node: &Node| node.lease.is_some_and(|lease| lease.token != 0);
        let heirs = (0..).zip(&self.nodes).filter(|(_, node)| has_token(node));
        let is_other = |heir: u8| {
            let mut grants = self.voters.iter().filter_map(|voter| voter.granted);
            grants.any(|(holder, _)| holder != heir)
        };
        heirs.map(|(heir, _)| heir).any(is_other)
    }

    pub(crate) fn moves(&self, rules: &Rules, moves: &mut Vec<Move>) {
        moves.push(Move::Tick { slow: 0 });
        for (index, node) in (0..rules.nodes).zip(&self.nodes) {
            if node.lease.is_some_and(|lease| lease.drift > 0) {
                moves.push(Move::Tick { slow: 1 << index });
            }
            // At most one round per tick, and an end to elections, keep the states finite.
            let may_ask = node.round.is_none_or(|round| round.age > 0);
            let promised = self.voters[usize::from(index)].promised;
            let may_campaign = promised < rules.epochs && self.may_campaign(rules, index);
            if may_ask && (node.lease.is_some() || may_campaign) {
                moves.push(Move::Ask(index));
                moves.extend(self.tokens_of(rules, index).map(|token| Move::Bear { node: index, token }));
            }
            if self.may_try(rules, index) {
                moves.push(Move::Try(index));
            }
            if rules.tokens != Tokens::Off
                && node.lease.is_some_and(|lease| self.tokens & 1 << lease.epoch == 0)
            {
                moves.extend([true, false].map(|is_drained| Move::Give { node: index, is_drained }));
            }
            if rules.words != Words::Off && node.lease.is_some() {
                moves.push(Move::Resign(index));
            }
            let may_write = rules.watches_writes && node.lease.is_some_and(|lease| lease.guard == 0);
            if may_write && node.write.is_none() {
                moves.push(Move::Check(index));
            }
            if node.write.is_some() {
                moves.push(Move::Arrive(index));
            }
        }
        for (voter, ballot) in (0..).zip(&self.voters).filter(|(_, ballot)| self.is_freed(rules, **ballot)) {
            moves.extend(ballot.granted.map(|(node, _)| Move::Hear { voter, node }));
        }
        moves.extend(self.wire.iter().flatten().map(|packet| Move::Deliver(*packet)));
        if self.crashes < rules.crashes {
            moves.extend((0..3).take(rules.voters()).map(Move::Crash));
        }
    }

    pub(crate) fn after(&self, rules: &Rules, step: Move) -> Option<State> {
        let mut next = *self;
        match step {
            Move::Tick { slow } => next.tick(rules, slow),
            Move::Ask(node) => next.ask(rules, node, 0)?,
            Move::Bear { node, token } => next.ask(rules, node, token)?,
            Move::Try(node) => next.try_votes(rules, node),
            Move::Give { node, is_drained } => next.give(rules, node, is_drained)?,
            Move::Deliver(packet) => {
                next.take_off_wire(packet);
                next.deliver(rules, packet);
            }
            Move::Crash(voter) => next.crash(rules, voter),
            Move::Resign(node) => {
                let node = &mut next.nodes[usize::from(node)];
                node.resigned = node.lease?.epoch;
                (node.lease, node.round) = (None, None);
            }
            Move::Hear { voter, .. } => next.voters[usize::from(voter)].free(),
            Move::Check(node) => {
                let node = &mut next.nodes[usize::from(node)];
                node.write = node.lease.map(|lease| (lease.epoch, 0));
            }
            Move::Arrive(node) => next.arrive(rules, node)?,
        }
        next.watch_trials(rules);
        Some(next)
    }

    fn tick(&mut self, rules: &Rules, slow: u8) {
        for voter in &mut self.voters {
            match voter.granted {
                Some((node, left)) if left > 1 => voter.granted = Some((node, left - 1)),
                Some(_) | None => voter.free(),
            }
        }
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.lease = node.lease.and_then(|mut lease| {
                if slow & 1 << index == 0 {
                    lease.left -= 1;
                } else {
                    lease.drift -= 1;
                }
                lease.guard = lease.guard.saturating_sub(1);
                (lease.left > 0).then_some(lease)
            });
            node.round = node.round.and_then(|round| {
                (round.age + 1 < rules.hold).then_some(Round { age: round.age + 1, ..round })
            });
            node.trial = node.trial.and_then(|trial| trial.older(rules.hold));
            node.write = node.write.and_then(|(epoch, age)| match rules.flight {
                Flight::Unbounded => Some((epoch, age)),
                Flight::AtMost(most) => (age < most).then_some((epoch, age + 1)),
            });
        }
        // An answer that is older than the lease it could give changes nothing.
        for slot in &mut self.wire {
            *slot = slot.and_then(|packet| packet.older(rules.hold));
        }
        self.sort_wire();
    }

    /// Whether a word that was spoken frees this grant. A process that is dead holds nothing in any epoch.
    fn is_freed(&self, rules: &Rules, ballot: Voter) -> bool {
        let Some((holder, _)) = ballot.granted else { return false };
        let Node { process, resigned, lease, .. } = self.nodes[usize::from(holder)];
        let is_dead = ballot.process < process || (resigned != 0 && ballot.promised <= resigned);
        match rules.words {
            Words::Off => false,
            Words::OfThisProcess => is_dead,
            Words::OfAnyProcess => is_dead || process != 0,
            Words::BeforeDeath => is_dead || lease.is_some(),
            Words::OfAnyEpoch => is_dead || resigned != 0,
        }
    }

    /// The tokens that a node can show: any that it was given, and as a holder the one it won with.
    fn tokens_of(&self, rules: &Rules, node: u8) -> impl Iterator<Item = u8> {
        let (tokens, rules, lease) = (self.tokens, *rules, self.nodes[usize::from(node)].lease);
        let is_given = move |epoch: &u8| tokens & 1 << epoch != 0 && rules.heir(*epoch) == node;
        (1..=MAX_EPOCH).filter(is_given).filter(move |token| lease.is_none_or(|lease| lease.token == *token))
    }

    /// The role is given away once per epoch. A node that has stopped has no questions open either.
    fn give(&mut self, rules: &Rules, index: u8, is_drained: bool) -> Option<()> {
        let node = &mut self.nodes[usize::from(index)];
        let epoch = node.lease?.epoch;
        match rules.giver {
            Giver::Waits | Giver::Hurries if is_drained && node.write.is_some() => return None,
            Giver::Waits if node.write.is_some_and(|(_, age)| age == 0) => return None,
            Giver::Waits | Giver::Hurries | Giver::SaysDrained => (node.lease, node.round) = (None, None),
            Giver::ActsOn => {}
        }
        self.tokens |= 1 << epoch;
        self.drained |= u16::from(is_drained) << epoch;
        Some(())
    }

    /// A holder asks to keep its epoch, anyone else for the next one of its own.
    fn ask(&mut self, rules: &Rules, node: u8, token: u8) -> Option<()> {
        let own = self.voters[usize::from(node)];
        let process = self.nodes[usize::from(node)].process;
        let promised = own.promised.max(token);
        let epoch = match self.nodes[usize::from(node)].lease {
            Some(lease) => lease.epoch,
            None => (promised / rules.nodes + 1) * rules.nodes + node,
        };
        if rules.own_vote_first && !own.grants(rules, node, epoch, token) {
            return None;
        }
        if self.nodes[usize::from(node)].lease.is_none() {
            self.end_trial(rules, node);
        }
        self.nodes[usize::from(node)].round = Some(Round { epoch, votes: 0, age: 0, token });
        for voter in (0..3).take(rules.voters()) {
            let packet = Packet::Ask { node, voter, epoch, age: 0, token, process };
            if voter == node {
                self.deliver(rules, packet);
            } else {
                self.put_on_wire(rules, packet);
            }
        }
        Some(())
    }

    fn deliver(&mut self, rules: &Rules, packet: Packet) {
        match packet {
            Packet::Ask { node, voter: index, epoch, age, token, process } => {
                let voter = &mut self.voters[usize::from(index)];
                if voter.grants(rules, node, epoch, token) {
                    let taken = if rules.tokens == Tokens::Twice { token.max(voter.taken) } else { 0 };
                    *voter = Voter { promised: epoch, granted: Some((node, LEASE)), process, taken };
                    let grant = Packet::Grant { voter: index, node, epoch, age };
                    if index == node {
                        self.deliver(rules, grant);
                    } else {
                        self.put_on_wire(rules, grant);
                    }
                }
            }
            Packet::Try { node, voter, epoch, age } => self.answer_trial(rules, node, voter, epoch, age),
            Packet::Would { voter, node, epoch, age } => self.count_trial(voter, node, epoch, age),
            Packet::Grant { voter, node, epoch, age } => self.count_vote(rules, voter, node, epoch, age),
        }
    }

    fn count_vote(&mut self, rules: &Rules, voter: u8, index: u8, epoch: u8, age: u8) {
        let node = &mut self.nodes[usize::from(index)];
        let Some(round) = node.round.as_mut().filter(|round| round.epoch == epoch && round.age == age) else {
            return;
        };
        round.votes |= 1 << voter;
        if round.votes.count_ones() < rules.votes_needed || age >= rules.hold {
            return;
        }
        // The lease counts from the moment the round was sent.
        let is_clean = round.token != 0 && self.drained & 1 << round.token != 0;
        let guard = if is_clean { 0 } else { rules.guard };
        let (guard, token) = node.lease.map_or((guard, round.token), |lease| (lease.guard, lease.token));
        node.lease = Some(Lease { epoch, left: rules.hold - age, drift: rules.drift, guard, token });
        let owner = &mut self.owners[usize::from(epoch)];
        if *owner != 0 && *owner != index + 1 {
            self.is_epoch_shared = true;
        }
        *owner = index + 1;
    }

    fn crash(&mut self, rules: &Rules, index: u8) {
        self.crashes += 1;
        let voter = &mut self.voters[usize::from(index)];
        match rules.restart {
            Restart::Waits => voter.granted = voter.granted.map(|(node, _)| (node, LEASE)),
            Restart::GrantsAtOnce => voter.free(),
            Restart::Forgets => *voter = Voter::default(),
        }
        if let Some(node) = self.nodes.get_mut(usize::from(index)) {
            let is_named = rules.words != Words::Off;
            // What the process sent is still on its way, which only matters to who takes over before its lease ends.
            let write = node.write.filter(|_| is_named);
            self.wire = self.wire.map(|slot| slot.filter(|packet| !packet.is_trial_of(index)));
            self.sort_wire();
            let node = &mut self.nodes[usize::from(index)];
            *node = Node { process: node.process + u8::from(is_named), write, ..Node::default() };
        }
    }

    fn arrive(&mut self, rules: &Rules, index: u8) -> Option<()> {
        let (epoch, _) = self.nodes[usize::from(index)].write.take()?;
        let is_old = epoch < self.newest_write;
        match rules.sink {
            Sink::ComparesEpochs if is_old => return Some(()),
            Sink::ComparesEpochs | Sink::Blind => {}
        }
        self.is_stale_write_accepted |= is_old;
        self.newest_write = self.newest_write.max(epoch);
        if rules.watches_failover {
            self.has_moved |= index == 1 && self.has_main_written;
            self.has_main_written |= index == 0;
        }
        Some(())
    }

    /// A full wire loses the message, like any wire may.
    fn put_on_wire(&mut self, rules: &Rules, packet: Packet) {
        let is_full = self.wire.iter().flatten().count() >= rules.in_flight;
        if is_full || self.wire.contains(&Some(packet)) {
            return;
        }
        if let Some(slot) = self.wire.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(packet);
        }
        self.sort_wire();
    }

    fn take_off_wire(&mut self, packet: Packet) {
        for slot in &mut self.wire {
            if *slot == Some(packet) {
                *slot = None;
            }
        }
        self.sort_wire();
    }

    fn sort_wire(&mut self) {
        self.wire.sort_unstable();
    }
}

impl Voter {
    fn free(&mut self) {
        (self.granted, self.process) = (None, 0);
    }

    /// Whether the node is granted the epoch. A question that was granted before is granted again.
    fn grants(self, rules: &Rules, node: u8, epoch: u8, token: u8) -> bool {
        let is_overtaken = token != 0 && token < self.promised;
        let is_of = |holder| token != 0 && rules.owner(token) == holder;
        let frees = |holder| match rules.tokens {
            Tokens::Off => false,
            Tokens::OfThisEpoch | Tokens::Overtaken => token == self.promised && is_of(holder),
            Tokens::Twice => (token == self.promised || token == self.taken) && is_of(holder),
            Tokens::OfAnyEpoch => is_of(holder),
        };
        let is_refused = epoch > self.promised
            && match rules.tokens {
                Tokens::Off | Tokens::OfThisEpoch => is_overtaken,
                Tokens::Twice => is_overtaken && token != self.taken,
                Tokens::Overtaken | Tokens::OfAnyEpoch => false,
            };
        let is_free = self.granted.is_none_or(|(holder, _)| holder == node || frees(holder));
        epoch >= self.promised && !is_refused && is_free
    }
}

impl Packet {
    /// These die with the connections of the asker: an answer to them would be taken for one to its next process.
    fn is_trial_of(self, asker: u8) -> bool {
        matches!(self, Packet::Try { node, .. } | Packet::Would { node, .. } if node == asker)
    }

    fn older(self, limit: u8) -> Option<Packet> {
        let mut packet = self;
        let (Packet::Ask { age, .. }
        | Packet::Try { age, .. }
        | Packet::Would { age, .. }
        | Packet::Grant { age, .. }) = &mut packet;
        *age += 1;
        (*age < limit).then_some(packet)
    }
}

/// More epochs than the bounds allow to reach.
const EPOCHS: usize = 12;
const MAX_EPOCH: u8 = 11;
const IN_FLIGHT_MAX: usize = 4;
