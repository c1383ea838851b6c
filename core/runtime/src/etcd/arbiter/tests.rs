//! Two adapters against a model of etcd's keys: requests that wait, answers that are lost, writes that are
//! carried out long after their asker gave them up, clocks that run apart, restarts.

use proptest::prelude::*;
use twinhub_redundancy::{Members, MoveCause, TransferToken};

use super::*;

const LEASE: Duration = Duration::from_millis(300);
/// What a holder counts from when it asked: the lease without the margin for clocks that differ by 1 %.
const HELD_MS: u64 = 290;

/// The keys of etcd: one, with its revision.
#[derive(Debug, Default)]
struct Store {
    revision: u64,
    entry: Option<(u64, Vec<u8>)>,
}

impl Store {
    fn put_if(&mut self, compare: &Compare, value: &[u8]) -> Option<u64> {
        let holds = match (compare, &self.entry) {
            (Compare::Absent, None) => true,
            (Compare::Same { revision, value }, Some((at, is))) => revision == at && value == is,
            (Compare::Absent, Some(_)) | (Compare::Same { .. }, None) => false,
        };
        holds.then(|| {
            self.revision += 1;
            self.entry = Some((self.revision, value.to_vec()));
            self.revision
        })
    }
}

#[derive(Debug)]
enum Request {
    Read,
    Write { compare: Compare, value: Vec<u8> },
}

#[derive(Debug)]
enum Answer {
    Read(Option<(u64, Vec<u8>)>),
    Written(Option<u64>),
}

#[derive(Debug)]
struct Flight {
    node: usize,
    request: Request,
    answer: Option<Answer>,
    /// Whether its asker still waits for it.
    awaited: bool,
}

struct Node {
    arbiter: Arbiter,
    rank: NodeRank,
    incarnation: u64,
    /// Its clock runs this many thousandths faster.
    drift: u64,
    epoch: Epoch,
    /// When each question was asked, in true time.
    asked: Vec<u64>,
    held_until: u64,
}

struct World {
    now: u64,
    store: Store,
    flights: Vec<Flight>,
    nodes: Vec<Node>,
    grants: usize,
    moves: usize,
    last_holder: Option<usize>,
}

#[derive(Debug, Clone)]
enum Move {
    Wait(u64),
    Look(usize),
    Campaign(usize),
    Renew(usize),
    /// etcd carries a request out.
    Carry(usize),
    /// An answer arrives.
    Arrive(usize),
    /// Its asker gives a request up; it may still be carried out.
    GiveUp(usize),
    Restart(usize),
    /// The holder stops and hands over.
    Transfer(usize),
    /// The node stops and says so.
    Resign(usize),
    /// Asked, carried out and answered in one go, so that chains of events are not left to luck.
    AtOnce(Box<Move>),
}

fn arbiter(rank: NodeRank, incarnation: u64) -> Arbiter {
    Arbiter::new("site", 1, rank, Incarnation(incarnation), LEASE)
}

impl World {
    fn new() -> World {
        let node = |rank: u8, drift| Node {
            arbiter: arbiter(NodeRank(rank), 1),
            rank: NodeRank(rank),
            incarnation: 1,
            drift,
            epoch: Epoch::NONE,
            asked: Vec::new(),
            held_until: 0,
        };
        World {
            now: 1_000,
            store: Store::default(),
            flights: Vec::new(),
            nodes: vec![node(0, 0), node(1, 10)],
            grants: 0,
            moves: 0,
            last_holder: None,
        }
    }

    fn clock(&self, node: usize) -> Moment {
        Moment::from_millis(self.now + self.now * self.nodes[node].drift / 1_000)
    }

    fn is_busy(&self, node: usize) -> bool {
        self.flights.iter().any(|flight| flight.node == node && flight.awaited)
    }

    fn send(&mut self, node: usize, request: Request) {
        self.flights.push(Flight { node, request, answer: None, awaited: true });
    }

    fn ask(&mut self, node: usize, message: &Message) {
        let now = self.clock(node);
        if let Step::Write { compare, value } = self.nodes[node].arbiter.ask(message, now) {
            self.send(node, Request::Write { compare, value });
        }
    }

    fn campaign(&mut self, node: usize, token: Option<TransferToken>) {
        if self.is_busy(node) {
            return;
        }
        let now = self.now;
        let top = self.nodes.iter().map(|node| node.epoch.counter()).max().unwrap_or(0);
        let asker = &mut self.nodes[node];
        asker.epoch = Epoch::new(top + 1, asker.rank);
        asker.held_until = 0;
        asker.asked.push(now);
        let message = Message::Campaign {
            epoch: asker.epoch,
            round: asker.asked.len() as u64 - 1,
            incarnation: Incarnation(asker.incarnation),
            token,
            members: None,
        };
        self.ask(node, &message);
    }

    fn act(&mut self, order: &Move) {
        match *order {
            Move::Wait(ms) => self.now += ms,
            Move::Look(node) => {
                if !self.is_busy(node) {
                    self.send(node, Request::Read);
                }
            }
            Move::Campaign(node) => self.campaign(node, None),
            Move::Renew(node) => {
                if self.is_busy(node) {
                    return;
                }
                let now = self.now;
                let asker = &mut self.nodes[node];
                asker.asked.push(now);
                let message = Message::Renew {
                    epoch: asker.epoch,
                    round: asker.asked.len() as u64 - 1,
                    incarnation: Incarnation(asker.incarnation),
                    members: None,
                };
                self.ask(node, &message);
            }
            Move::Carry(index) => {
                let count = self.flights.len().max(1);
                if let Some(flight) = self.flights.get_mut(index % count)
                    && flight.answer.is_none()
                {
                    flight.answer = Some(match &flight.request {
                        Request::Read => Answer::Read(self.store.entry.clone()),
                        Request::Write { compare, value } => {
                            Answer::Written(self.store.put_if(compare, value))
                        }
                    });
                }
            }
            Move::Arrive(index) => self.arrive(index),
            Move::GiveUp(index) => {
                let count = self.flights.len().max(1);
                if let Some(flight) = self.flights.get_mut(index % count)
                    && flight.awaited
                {
                    flight.awaited = false;
                    self.nodes[flight.node].arbiter.lost();
                }
            }
            Move::AtOnce(ref order) => self.at_once(order),
            Move::Restart(node) => {
                for flight in self.flights.iter_mut().filter(|flight| flight.node == node) {
                    flight.awaited = false;
                }
                let restarted = &mut self.nodes[node];
                restarted.incarnation += 1;
                restarted.arbiter = arbiter(restarted.rank, restarted.incarnation);
                restarted.held_until = 0;
            }
            Move::Transfer(node) => {
                let other = 1 - node;
                if self.now < self.nodes[node].held_until {
                    self.nodes[node].held_until = 0;
                    let holder = &self.nodes[node];
                    let token = TransferToken {
                        epoch: holder.epoch,
                        from: holder.rank,
                        to: self.nodes[other].rank,
                        position: twinhub_model::Position::START,
                        drained: true,
                        cause: MoveCause::Shutdown,
                        counted: None,
                    };
                    // It never renews this epoch again, whatever is still under way.
                    self.forget(node);
                    self.campaign(other, Some(token));
                }
            }
            Move::Resign(node) => {
                if self.is_busy(node) {
                    return;
                }
                let epoch = self.nodes[node].epoch;
                self.forget(node);
                let (rank, incarnation) = (self.nodes[node].rank, Incarnation(self.nodes[node].incarnation));
                let now = self.clock(node);
                let step = self.nodes[node].arbiter.resigned(rank, epoch, incarnation, now);
                if let Step::Write { compare, value } = step {
                    self.send(node, Request::Write { compare, value });
                }
            }
        }
    }

    /// Answers to what was asked before count no more.
    fn forget(&mut self, node: usize) {
        self.nodes[node].held_until = 0;
        for asked in &mut self.nodes[node].asked {
            *asked = 0;
        }
    }

    fn arrive(&mut self, index: usize) {
        let count = self.flights.len().max(1);
        let index = index % count;
        if self.flights.get(index).is_none_or(|flight| flight.answer.is_none()) {
            return;
        }
        let flight = self.flights.remove(index);
        if !flight.awaited {
            return;
        }
        let now = self.clock(flight.node);
        let node = &mut self.nodes[flight.node];
        let says = match flight.answer {
            Some(Answer::Read(entry)) => {
                node.arbiter.observed(entry, now).unwrap();
                Vec::new()
            }
            Some(Answer::Written(Some(revision))) => node.arbiter.written(revision),
            Some(Answer::Written(None)) | None => {
                node.arbiter.lost();
                Vec::new()
            }
        };
        for message in says {
            if let Message::Grant { epoch, round, .. } = message
                && epoch == node.epoch
            {
                let asked = node.asked[usize::try_from(round).unwrap()];
                if asked > 0 {
                    node.held_until = node.held_until.max(asked + HELD_MS);
                    self.grants += 1;
                    if self.now < node.held_until && self.last_holder != Some(flight.node) {
                        self.moves += usize::from(self.last_holder.is_some());
                        self.last_holder = Some(flight.node);
                    }
                }
            }
        }
    }

    fn holders(&self) -> usize {
        self.nodes.iter().filter(|node| self.now < node.held_until).count()
    }

    /// A question, carried out and answered at once.
    fn at_once(&mut self, order: &Move) {
        let before = self.flights.len();
        self.act(order);
        if self.flights.len() > before {
            let last = self.flights.len() - 1;
            self.act(&Move::Carry(last));
            self.act(&Move::Arrive(last));
        }
    }
}

fn orders() -> impl Strategy<Value = Move> {
    let node = 0_usize..2;
    let question = prop_oneof![
        3 => node.clone().prop_map(Move::Look),
        2 => node.clone().prop_map(Move::Campaign),
        2 => node.clone().prop_map(Move::Renew),
    ];
    prop_oneof![
        6 => prop_oneof![1_u64..40, 80_u64..120, 180_u64..220, 280_u64..320].prop_map(Move::Wait),
        8 => question.clone().prop_map(|order| Move::AtOnce(Box::new(order))),
        3 => question,
        4 => (0_usize..6).prop_map(Move::Carry),
        4 => (0_usize..6).prop_map(Move::Arrive),
        1 => (0_usize..6).prop_map(Move::GiveUp),
        1 => node.clone().prop_map(Move::Restart),
        1 => node.clone().prop_map(Move::Transfer),
        1 => node.prop_map(Move::Resign),
    ]
}

/// The same cases each time, so that what must happen in some of them can be asked for.
#[test]
fn two_nodes_never_hold_the_grant_at_once() {
    let config = ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    let (grants, moves) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let run = runner.run(&prop::collection::vec(orders(), 1..120), |orders| {
        let mut world = World::new();
        for order in &orders {
            world.act(order);
            prop_assert!(world.holders() <= 1, "two holders at {} after {order:?}", world.now);
        }
        grants.set(grants.get() + world.grants);
        moves.set(moves.get() + world.moves);
        Ok(())
    });
    run.unwrap();
    assert!(grants.get() > 1_500, "grants are given: {}", grants.get());
    assert!(moves.get() > 100, "the grant moves: {}", moves.get());
}

proptest! {
    #[test]
    fn a_value_that_no_adapter_wrote_gives_no_vote(value in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut arbiter = arbiter(NodeRank(0), 1);
        if arbiter.observed(Some((3, value)), Moment::ZERO).is_err() {
            prop_assert!(arbiter.is_unknown());
        }
    }
}

/// The node has the grant at the end of this.
fn win(world: &mut World, node: usize) {
    world.at_once(&Move::Look(node));
    world.act(&Move::Wait(310));
    world.at_once(&Move::Campaign(node));
    assert!(world.now < world.nodes[node].held_until, "the grant is given");
}

#[test]
fn a_silent_holder_is_followed_after_a_lease_and_not_before() {
    let mut world = World::new();
    win(&mut world, 0);
    world.at_once(&Move::Look(1));
    world.act(&Move::Wait(280));
    world.at_once(&Move::Campaign(1));
    assert_eq!(world.nodes[1].held_until, 0, "the holder may still act");
    world.act(&Move::Wait(30));
    world.at_once(&Move::Campaign(1));
    assert!(world.now < world.nodes[1].held_until);
    assert_eq!((world.moves, world.holders()), (1, 1));
}

#[test]
fn a_renewal_that_overtakes_the_rival_wins() {
    let mut world = World::new();
    win(&mut world, 0);
    world.at_once(&Move::Look(1));
    world.act(&Move::Wait(200));
    world.at_once(&Move::Renew(0));
    world.act(&Move::Wait(110));
    world.at_once(&Move::Campaign(1));
    assert_eq!(world.nodes[1].held_until, 0, "the key had changed");
    assert!(world.nodes[1].arbiter.is_unknown());
    assert_eq!(world.holders(), 1);
}

#[test]
fn a_grant_whose_answer_was_lost_is_asked_for_again() {
    let mut world = World::new();
    world.at_once(&Move::Look(0));
    world.act(&Move::Wait(310));
    world.act(&Move::Campaign(0));
    world.act(&Move::Carry(0));
    world.act(&Move::GiveUp(0));
    assert_eq!(world.nodes[0].held_until, 0, "nobody said so");
    world.flights.clear();
    world.at_once(&Move::Look(0));
    world.at_once(&Move::Renew(0));
    assert!(world.now < world.nodes[0].held_until);
}

#[test]
fn a_handover_and_a_resignation_need_no_wait() {
    let mut world = World::new();
    win(&mut world, 0);
    world.at_once(&Move::Look(1));
    world.at_once(&Move::Transfer(0));
    assert!(world.now < world.nodes[1].held_until, "by the holder's token");
    world.at_once(&Move::Resign(1));
    world.at_once(&Move::Look(0));
    world.at_once(&Move::Campaign(0));
    assert!(world.now < world.nodes[0].held_until, "the key says that nobody holds it");
}

#[test]
fn a_supervisors_word_frees_the_grant_of_that_process_only() {
    let mut world = World::new();
    win(&mut world, 0);
    world.at_once(&Move::Look(1));
    let now = world.clock(1);
    let step = world.nodes[1].arbiter.resigned(NodeRank(0), Epoch::NONE, Incarnation(0), now);
    assert_eq!(step, Step::Silent);
    world.at_once(&Move::Campaign(1));
    assert_eq!(world.nodes[1].held_until, 0, "an older process");
    let epoch = world.nodes[0].epoch;
    let now = world.clock(1);
    world.nodes[1].arbiter.resigned(NodeRank(0), epoch, Incarnation(1), now);
    world.nodes[0].held_until = 0;
    world.at_once(&Move::Campaign(1));
    assert!(world.now < world.nodes[1].held_until);
}

#[test]
fn a_key_that_was_deleted_or_restored_gives_no_vote_for_a_lease() {
    let mut world = World::new();
    world.at_once(&Move::Look(1));
    world.act(&Move::Wait(310));
    world.at_once(&Move::Look(1));
    let before = world.store.entry.clone();
    win(&mut world, 0);
    world.at_once(&Move::Look(1));
    let granted = world.store.entry.clone();
    for entry in [None, before] {
        world.store.entry = entry;
        world.at_once(&Move::Look(1));
        world.at_once(&Move::Campaign(1));
        assert_eq!(world.nodes[1].held_until, 0, "it may hide a grant");
    }
    assert_ne!(granted, None);
    world.act(&Move::Wait(310));
    world.at_once(&Move::Campaign(1));
    assert!(world.now < world.nodes[1].held_until);
}

/// Who votes is part of the ballot: whoever reads the key knows it, and a key that was lost does not bring older voters
/// back.
#[test]
fn the_record_of_the_voters_lies_in_the_key() {
    let (one, other) = (NodeRank(0), NodeRank(1));
    let epoch = Epoch::new(1, one);
    let record: SharedMembers = Members {
        stamp: twinhub_redundancy::Stamp { epoch, revision: 2 },
        absent: vec![twinhub_redundancy::Absence {
            voter: VoterId::Node(other),
            ground: twinhub_redundancy::Ground::Drained,
            hold: false,
            process: None,
        }],
        before: None,
    }
    .into();
    let ask = |epoch, members| Message::Campaign {
        epoch,
        round: 1,
        incarnation: Incarnation(1),
        token: None,
        members,
    };
    let arbiter = |rank| Arbiter::new("site", 1, rank, Incarnation(1), LEASE);
    let at = Moment::from_millis;

    let mut holder = arbiter(one);
    holder.observed(None, at(0)).unwrap();
    let Step::Write { value, .. } = holder.ask(&ask(epoch, Some(record.clone())), at(1_000)) else {
        panic!("a grant is written first");
    };
    let grant = Message::Grant { epoch, round: 1, members: Some(record.stamp) };
    assert_eq!(holder.written(7), vec![grant]);

    let mut rival = arbiter(other);
    rival.observed(Some((7, value)), at(1_000)).unwrap();
    let refused = |arbiter: &mut Arbiter, now| {
        let Step::Say(Message::Refuse { members, .. }) = arbiter.ask(&ask(Epoch::new(2, other), None), now)
        else {
            panic!("older voters are refused");
        };
        members
    };
    assert_eq!(refused(&mut rival, at(9_000)), Some(record.clone()));
    rival.observed(None, at(10_000)).unwrap();
    assert_eq!(refused(&mut rival, at(20_000)), Some(record));
}
