//! Messages: read where they lie, checked where they leave, and sent on their ways.

use twinhub_model::NodeRank;
use twinhub_redundancy::{Message, PathId, VoterId, VoterOutput};

use super::digest::kind;
use super::{Event, Sabotage, World};
use crate::field::Finding;
use crate::letters::Letter;
use crate::site::Life;

impl World {
    pub(super) fn deliver(&mut self, to: VoterId, from: VoterId, letter: Letter) {
        let Some(site) = self.sites.get_mut(to) else { return };
        let shown = site.clock.at(self.now);
        let message = self.letters.read(letter);
        match &mut site.life {
            Life::Witness(voter) => {
                let outputs = voter.handle(from, message, shown);
                let refused = site.refused.take();
                if let Some((ticket, state)) = refused
                    && !outputs.iter().any(|output| matches!(output, VoterOutput::Persist { .. }))
                {
                    self.store(to, ticket, state);
                }
                self.carry_out_votes(to, outputs);
            }
            Life::Node(machine) => {
                machine.handle_message(from, PathId(0), message, shown);
                self.carry_out_all(to, shown);
            }
            Life::Dead => {}
        }
    }

    pub(super) fn carry_out_votes(&mut self, id: VoterId, outputs: Vec<VoterOutput>) {
        for output in outputs {
            match output {
                VoterOutput::Persist { ticket, state } => self.store(id, ticket, state),
                VoterOutput::Reply { to, mut message } => self.transmit(id, to, &mut message),
            }
        }
    }

    pub(super) fn transmit(&mut self, from: VoterId, to: VoterId, message: &mut Message) {
        let told = self.speak(from, message);
        self.post(from, to, told, message, &mut None);
    }

    /// One message to everyone else.
    pub(super) fn transmit_others(&mut self, from: VoterId, message: &mut Message) {
        let told = self.speak(from, message);
        let mut letter = None;
        for to in (0..self.plan.nodes).map(|rank| VoterId::Node(NodeRank(rank))).filter(|to| *to != from) {
            self.post(from, to, told, message, &mut letter);
        }
        if self.plan.witness {
            self.post(from, VoterId::Witness, told, message, &mut letter);
        }
    }

    /// A message leaves: what the digest takes of it.
    fn speak(&mut self, from: VoterId, message: &mut Message) -> (u8, u64) {
        if let Message::Heartbeat(heartbeat) = message
            && self.plan.sabotage == Sabotage::Boasting
        {
            heartbeat.proven = Some(100);
        }
        self.check_promise(from, message);
        self.judge_given(from, message);
        kind(message)
    }

    /// A message gets on its way to one, where it is kept once however often it arrives.
    fn post(
        &mut self,
        from: VoterId,
        to: VoterId,
        (kind, number): (u8, u64),
        message: &mut Message,
        letter: &mut Option<Letter>,
    ) {
        self.digest(from, kind, number);
        let [first, second] = self.net.deliveries(from, to, &mut self.random);
        if let Some(first) = first {
            let letter = *letter.get_or_insert_with(|| self.letters.put(message));
            if let Some(second) = second {
                self.letters.expect(letter);
                self.push(self.now + second, Event::Deliver { to, from, letter });
            }
            self.letters.expect(letter);
            self.push(self.now + first, Event::Deliver { to, from, letter });
        }
    }

    /// A message that no net is asked about arrives then.
    pub(super) fn deliver_at(&mut self, at: u64, from: VoterId, to: VoterId, mut message: Message) {
        let letter = self.letters.put(&mut message);
        self.letters.expect(letter);
        self.push(at, Event::Deliver { to, from, letter });
    }

    /// What a voter tells must be on its disk, and never less than it told before.
    fn check_promise(&mut self, from: VoterId, message: &Message) {
        let Message::Grant { epoch, .. } = *message else { return };
        let Some(site) = self.sites.get_mut(from) else { return };
        let (stored, told) = (site.disk.promised, site.told);
        site.told = told.max(epoch);
        if stored < epoch || epoch < told {
            let what = format!("{}: {from} granted {epoch}, stored {stored}, told {told}", self.at());
            self.field.note(Finding::PromiseBroken, what);
        }
    }
}
