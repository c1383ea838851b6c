//! What nodes say to each other about their histories, on its way: it passes the engines by.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use twinhub_history::{Exchange, Lack, Place, Portion, Range};
use twinhub_model::NodeRank;
use twinhub_redundancy::VoterId;
use twinhub_wire::{Kind, write_frame};

use super::{TwinsAsk, Word};
use crate::peer::Link;
use crate::shared::{DropCause, Shared};

/// The first protocol in which nodes ask each other for values of the past.
const PROTOCOL_WITH_HISTORY: u16 = 2;
/// Questions that may wait; whoever asked repeats what is dropped.
const QUESTIONS_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    state: Mutex<State>,
    asked: Condvar,
}

#[derive(Debug, Default)]
struct State {
    links: BTreeMap<NodeRank, BTreeMap<u8, Link>>,
    questions: VecDeque<Question>,
    /// The one question of this node that waits for an answer.
    expected: Option<(NodeRank, u32)>,
    answer: Option<Answer>,
    follower: Option<Sender<Word>>,
    is_closed: bool,
}

/// What another node asks.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) peer: NodeRank,
    pub(crate) number: u32,
    pub(crate) range: Range,
    pub(crate) from: Option<Place>,
    pub(crate) bytes: u32,
}

/// What another node answered, or why it does not.
pub(crate) type Answer = Result<(Portion, Lack), String>;

impl Lines {
    /// Whoever follows the journals is told when an answer is there.
    pub(crate) fn tell(&self, follower: Sender<Word>) {
        self.state().follower = Some(follower);
    }

    pub(crate) fn on_up(&self, peer: NodeRank, link: Link) {
        self.state().links.entry(peer).or_default().insert(link.path, link);
    }

    pub(crate) fn on_down(&self, peer: NodeRank, path: u8) {
        let mut state = self.state();
        if let Some(links) = state.links.get_mut(&peer) {
            links.retain(|other, link| *other != path || !link.sender.is_closed());
        }
    }

    pub(crate) fn on_frame(&self, peer: NodeRank, body: &[u8], shared: &Shared) {
        let message = match Exchange::decode(body) {
            Ok(message) => message,
            Err(error) => {
                shared.count_unreadable(VoterId::Node(peer));
                tracing::warn!(peer = shared.name_of(peer), %error, "unreadable message about the history");
                return;
            }
        };
        match message {
            Exchange::Ask { number, range, from, bytes } => {
                self.on_question(Question { peer, number, range, from, bytes }, shared);
            }
            Exchange::Answer { number, portion, lack } => self.on_answer(peer, number, Ok((portion, lack))),
            Exchange::Refusal { number, text } => self.on_answer(peer, number, Err(text)),
        }
    }

    /// The newest question of a node counts: it asks one at a time.
    fn on_question(&self, question: Question, shared: &Shared) {
        let mut state = self.state();
        state.questions.retain(|known| known.peer != question.peer);
        if state.questions.len() >= QUESTIONS_MAX {
            shared.count_dropped(VoterId::Node(question.peer), DropCause::Full, 1);
            return;
        }
        state.questions.push_back(question);
        drop(state);
        self.asked.notify_one();
    }

    fn on_answer(&self, peer: NodeRank, number: u32, answer: Answer) {
        let mut state = self.state();
        if state.expected != Some((peer, number)) {
            return;
        }
        state.expected = None;
        state.answer = Some(answer);
        if let Some(follower) = &state.follower {
            // A follower that ended needs no answer.
            follower.send(Word::Answered).ok();
        }
    }

    /// Nodes that can be asked.
    pub(crate) fn peers(&self) -> Vec<NodeRank> {
        let state = self.state();
        state.links.keys().copied().filter(|peer| link(&state, *peer).is_some()).collect()
    }

    /// Asks a node; false if it cannot be asked now.
    pub(crate) fn ask(&self, question: Question) -> bool {
        let Question { peer, number, range, from, bytes } = question;
        let frame = frame_of(&Exchange::Ask { number, range, from, bytes });
        let mut state = self.state();
        let is_sent = link(&state, peer).is_some_and(|link| link.sender.try_send(frame).is_ok());
        state.answer = None;
        state.expected = is_sent.then_some((peer, number));
        is_sent
    }

    /// The answer to the last question, once.
    pub(crate) fn take_answer(&self) -> Option<Answer> {
        self.state().answer.take()
    }

    /// Waits for a question of another node; `None` at the end.
    pub(crate) fn wait_for_question(&self) -> Option<Question> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(question) = state.questions.pop_front() {
                return Some(question);
            }
            state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sends an answer; waits while the connection is busy.
    pub(crate) fn answer(&self, peer: NodeRank, message: &Exchange) {
        let sender = link(&self.state(), peer).map(|link| link.sender.clone());
        if let Some(sender) = sender {
            // The other node asks again over another connection.
            sender.blocking_send(frame_of(message)).ok();
        }
    }

    /// Has what is in memory written to files; false if that fails, or takes longer.
    pub(crate) fn seal(&self, patience: Duration) -> bool {
        self.begin_seal().is_some_and(|done| done.recv_timeout(patience) == Ok(true))
    }

    /// The same, for who does something else until it is done; `None` if nobody follows.
    pub(crate) fn begin_seal(&self) -> Option<Receiver<bool>> {
        let (done, is_done) = sync_channel(1);
        let told = self.state().follower.as_ref()?.send(Word::Seal(done));
        told.is_ok().then_some(is_done)
    }

    /// Has telegrams looked up; false if nobody follows the journals. The answer comes to the engine as a job.
    pub(crate) fn find_twins(&self, ask: TwinsAsk) -> bool {
        self.state().follower.as_ref().is_some_and(|follower| follower.send(Word::Twins(ask)).is_ok())
    }

    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        state.links.clear();
        state.follower = None;
        drop(state);
        self.asked.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn link(state: &State, peer: NodeRank) -> Option<&Link> {
    let mut links = state.links.get(&peer)?.values();
    links.find(|link| !link.sender.is_closed() && link.protocol >= PROTOCOL_WITH_HISTORY)
}

fn frame_of(message: &Exchange) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(Kind::History, &message.encode(), &mut frame);
    frame
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::sync::mpsc;
    use twinhub_model::Position;

    use super::*;

    const PEER: NodeRank = NodeRank(1);

    fn question(number: u32) -> Question {
        let range = Range { group: "site".into(), after: Position::START, through: Position::START };
        Question { peer: PEER, number, range, from: None, bytes: 1 }
    }

    fn link_of(protocol: u16) -> (Link, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel(4);
        (Link { peer: VoterId::Node(PEER), path: 0, protocol, sender }, receiver)
    }

    #[test]
    fn only_the_answer_to_the_last_question_is_taken_and_once() {
        let (lines, (link, mut sent), (follower, told)) = (Lines::default(), link_of(2), channel());
        lines.tell(follower);
        assert!(!lines.ask(question(1)), "nobody is there");
        lines.on_up(PEER, link);
        assert!(lines.ask(question(1)) && lines.ask(question(2)));
        assert!(sent.try_recv().is_ok() && sent.try_recv().is_ok());
        lines.on_answer(PEER, 1, Err("too late".into()));
        lines.on_answer(NodeRank(2), 2, Err("another node".into()));
        assert!(lines.take_answer().is_none() && told.try_recv().is_err());
        lines.on_answer(PEER, 2, Err("here".into()));
        lines.on_answer(PEER, 2, Err("again".into()));
        assert!(matches!(told.try_recv(), Ok(Word::Answered)) && told.try_recv().is_err());
        assert_eq!(lines.take_answer(), Some(Err("here".into())));
        assert_eq!(lines.take_answer(), None);
    }

    #[test]
    fn a_peer_of_the_version_before_is_not_asked() {
        let (lines, (link, _sent)) = (Lines::default(), link_of(1));
        lines.on_up(PEER, link);
        assert_eq!(lines.peers(), []);
        assert!(!lines.ask(question(1)));
    }

    /// Whoever follows the journals answers from another thread.
    #[test]
    fn a_seal_that_fails_is_none() {
        for outcome in [true, false] {
            let (lines, (follower, told)) = (Lines::default(), channel());
            assert!(!lines.seal(Duration::ZERO), "nobody follows");
            lines.tell(follower);
            let thread = std::thread::spawn(move || match told.recv() {
                Ok(Word::Seal(done)) => done.try_send(outcome),
                Ok(Word::Answered | Word::Twins(_) | Word::Stop) | Err(_) => panic!("a seal is asked for"),
            });
            assert_eq!(lines.seal(Duration::from_secs(60)), outcome);
            thread.join().unwrap().unwrap();
        }
    }

    #[test]
    fn who_has_something_to_do_is_not_held_up_by_a_seal() {
        let (lines, (follower, told)) = (Lines::default(), channel());
        lines.tell(follower);
        let done = lines.begin_seal().unwrap();
        assert!(done.try_recv().is_err(), "nobody has answered");
        drop(told);
        assert!(lines.begin_seal().is_none() && done.recv().is_err());
    }

    #[test]
    fn a_connection_that_ended_is_none() {
        let (lines, (link, sent)) = (Lines::default(), link_of(2));
        lines.on_up(PEER, link);
        assert_eq!(lines.peers(), [PEER]);
        drop(sent);
        assert_eq!(lines.peers(), []);
        lines.on_down(PEER, 0);
        lines.close();
        assert!(lines.wait_for_question().is_none());
    }
}
