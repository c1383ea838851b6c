//! Worlds that chance hardly ever makes, in which one rule alone stands between two nodes.

use std::time::Duration;

use twinhub_model::NodeRank;
use twinhub_redundancy::{MembersChange, Message, NodeState, Order, Timers, VoterId};

use super::{IN_FLIGHT_PERCENT, Plan, World, nanos};
use crate::field::Finding;
use crate::net::Quality;

/// A world with a plot; the seed decides about moments and ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// The main hands over, its word is late, it takes the role again, and only then does the backup read the word.
    OvertakenToken,
    /// While the backup asks for votes by the voters of yesterday, everyone but the main is taken out.
    OlderVoters,
    /// The last renewal of a process that died comes after its supervisor's word.
    LateRenewal,
    /// A candidate dies, and its questions come after its supervisor's word.
    LateCampaign,
}

const MAIN: VoterId = VoterId::Node(NodeRank(0));
const BACKUP: VoterId = VoterId::Node(NodeRank(1));

impl World {
    /// Plays a script with a pair and a witness.
    pub fn play(script: Script, seed: u64) -> World {
        let mut plan = Plan::pair();
        if script == Script::OvertakenToken {
            // Writes that are long on their way, so that one is when the main has lost the role.
            let timers = plan.all_timers();
            plan.timers = Some(Timers { guard: timers.lease, drain: timers.lease * 2, ..timers });
        }
        let mut world = World::settled(plan, seed);
        match script {
            Script::OvertakenToken => world.play_overtaken_token(),
            Script::OlderVoters => world.play_older_voters(),
            Script::LateRenewal => world.play_late_renewal(),
            Script::LateCampaign => world.play_late_campaign(),
        }
        world
    }

    fn play_overtaken_token(&mut self) {
        let lease = self.timers.lease;
        // So that the backup wants the role for the word only.
        self.order(0, Order::Pause);
        self.pass(lease);
        self.order(0, Order::Switchover { to: Some(NodeRank(1)) });
        let drain = self.timers.guard * u32::try_from(IN_FLIGHT_PERCENT).unwrap_or(0) / 100;
        self.pass(drain.saturating_sub(Duration::from_millis(1)));
        self.net.set_quality(Quality {
            delay_min: lease * 19 / 10,
            delay_max: lease * 19 / 10,
            ..Quality::GOOD
        });
        self.until(lease, |world| world.state(0) == Some(NodeState::Standby));
        self.net.set_quality(Quality::GOOD);
        self.net.cut(MAIN, BACKUP);
        self.net.cut(BACKUP, MAIN);
        self.until(lease * 2, |world| world.state(0) == Some(NodeState::Active));
        self.until(lease * 2, |world| world.state(1) == Some(NodeState::Candidate));
        let pause = self.random.up_to(self.timers.renew);
        self.pass(pause);
        // The main acts until its lease ends, and its last writes are on their way for longer.
        self.net.cut(MAIN, VoterId::Witness);
        self.pass(lease * 3);
    }

    fn play_older_voters(&mut self) {
        let timers = self.timers;
        self.net.cut(MAIN, VoterId::Witness);
        self.net.cut(MAIN, BACKUP);
        self.until(timers.lease * 3, |world| world.state(1) == Some(NodeState::Candidate));
        self.net.heal();
        self.cut_off(1);
        self.until(timers.lease * 2, |world| world.state(0) == Some(NodeState::Active));
        self.pass(timers.lease + timers.margin * 2);
        let shrink = |voter, fenced| Order::Members(MembersChange::Shrink { voter, fenced, hold: true });
        self.order(0, shrink(BACKUP, true));
        self.pass(timers.heartbeat / 2);
        self.order(0, shrink(VoterId::Witness, false));
        self.pass(timers.heartbeat / 2);
        self.cut_off(0);
        self.pass(timers.lease * 105 / 100);
        let pause = self.random.up_to(timers.renew);
        self.pass(pause);
        self.net.join(BACKUP, VoterId::Witness);
        self.net.join(VoterId::Witness, BACKUP);
        self.pass(timers.lease);
    }

    fn play_late_renewal(&mut self) {
        let timers = self.timers;
        // Every voter has granted by then, also one that started last.
        let pause = timers.lease + self.random.up_to(timers.renew);
        self.pass(pause);
        let way = timers.renew * 3 / 2;
        self.net.set_quality(Quality { delay_min: way, delay_max: way, ..Quality::GOOD });
        self.pass(timers.renew);
        self.net.set_quality(Quality::GOOD);
        let Some(site) = self.sites.get(MAIN) else { return };
        let (epoch, incarnation) = (site.gate.epoch, site.incarnation);
        self.remove(0);
        // The witness hears the word at once, the backup when the renewal has come in, too.
        let word = Message::Resigned { node: NodeRank(0), epoch, incarnation };
        for (to, after) in [(VoterId::Witness, Duration::from_millis(1)), (BACKUP, way)] {
            self.deliver_at(self.now + nanos(after), MAIN, to, word.clone());
        }
        self.pass(way);
        let limit = timers.lease / 2 + timers.guard;
        self.until(limit, |world| world.state(1) == Some(NodeState::Active));
        if self.state(1) != Some(NodeState::Active) {
            let what = format!("{}: the backup is not active {limit:?} after the word", self.at());
            self.field.note(Finding::TakeoverLate, what);
        }
        self.pass(timers.lease);
    }

    fn play_late_campaign(&mut self) {
        let timers = self.timers;
        // Time for everyone to count the votes anew.
        let pause = timers.lease + self.random.up_to(timers.renew);
        self.pass(pause);
        self.cut_off(0);
        self.until(timers.lease * 3, |world| world.state(1) == Some(NodeState::Candidate));
        // Its promise is not on the disk yet; what it asks after that is slow.
        self.net.heal();
        let way = timers.renew / 2;
        self.net.set_quality(Quality { delay_min: way, delay_max: way, ..Quality::GOOD });
        self.pass(Duration::from_millis(5));
        self.net.set_quality(Quality::GOOD);
        let Some(site) = self.sites.get(BACKUP) else { return };
        let (epoch, incarnation) = (site.disk.promised, site.incarnation);
        self.remove(1);
        let word = Message::Resigned { node: NodeRank(1), epoch, incarnation };
        for to in [VoterId::Witness, MAIN] {
            self.deliver_at(self.now + nanos(Duration::from_millis(1)), BACKUP, to, word.clone());
        }
        let limit = timers.lease;
        self.until(limit, |world| world.state(0) == Some(NodeState::Active));
        if self.state(0) != Some(NodeState::Active) {
            let what = format!("{}: the main is not active {limit:?} after the word", self.at());
            self.field.note(Finding::TakeoverLate, what);
        }
        self.pass(timers.lease);
    }

    /// Waits until it is so, at most this long.
    fn until(&mut self, most: Duration, is_so: impl Fn(&World) -> bool) {
        let end = self.now + nanos(most);
        while self.now < end && !is_so(self) {
            self.advance(LOOK_NANOS);
        }
    }
}

/// Less than any disk or message takes.
const LOOK_NANOS: u64 = 50_000;
