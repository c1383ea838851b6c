//! What of a message an older version knows.
//!
//! Fields and messages are only ever added. A receiver skips fields that it does not know and takes a missing
//! one for "not said"; a sender leaves out what the protocol of the connection does not have, so that a peer of
//! the version before is told exactly what a node of that version would tell it. Every field is named here, so
//! that a new one does not compile before somebody has said since when it is sent.
//!
//! A voter of the version before keeps no record of the voters and never says that it does, so that a change of
//! the voters waits until it is updated wherever its vote is needed.

use crate::message::{Heartbeat, Message, TransferToken};

/// The protocol that brought [`Heartbeat::proven`].
const PROVEN_SINCE: u16 = 2;
/// The protocol that brought [`Heartbeat::protected`].
const PROTECTED_SINCE: u16 = 2;
/// The protocol that brought the record of the voters and what changes it.
const MEMBERS_SINCE: u16 = 2;
/// The protocol that brought [`TransferToken::counted`].
const COUNTED_SINCE: u16 = 2;
/// The protocol that brought the process that asks before it campaigns.
const ASKER_SINCE: u16 = 2;

impl Message {
    /// This message as a peer of this protocol knows it; `None` if it has no such message.
    #[must_use]
    pub fn in_protocol(self, protocol: u16) -> Option<Message> {
        let has_members = protocol >= MEMBERS_SINCE;
        let has_asker = protocol >= ASKER_SINCE;
        Some(match self {
            Message::Heartbeat(heartbeat) => Message::Heartbeat(heartbeat.in_protocol(protocol)),
            Message::VoterStatus { promised, holder, members, incarnation } => Message::VoterStatus {
                promised,
                holder,
                members: members.filter(|_| has_members),
                incarnation: incarnation.filter(|_| has_members),
            },
            Message::PreVote { epoch, round, members, asker } => {
                let (members, asker) = (members.filter(|_| has_members), asker.filter(|_| has_asker));
                Message::PreVote { epoch, round, members, asker }
            }
            Message::PreVoteReply {
                epoch,
                round,
                granted,
                promised,
                holder,
                remaining_ms,
                members,
                asker,
            } => {
                let (members, asker) = (members.filter(|_| has_members), asker.filter(|_| has_asker));
                Message::PreVoteReply {
                    epoch,
                    round,
                    granted,
                    promised,
                    holder,
                    remaining_ms,
                    members,
                    asker,
                }
            }
            Message::Campaign { epoch, round, incarnation, token, members } => {
                let members = members.filter(|_| has_members);
                let token = token.map(|token| token.in_protocol(protocol));
                Message::Campaign { epoch, round, incarnation, token, members }
            }
            Message::Renew { epoch, round, incarnation, members } => {
                Message::Renew { epoch, round, incarnation, members: members.filter(|_| has_members) }
            }
            Message::Grant { epoch, round, members } => {
                Message::Grant { epoch, round, members: members.filter(|_| has_members) }
            }
            Message::Refuse { epoch, round, promised, cause, remaining_ms, members } => {
                let members = members.filter(|_| has_members);
                Message::Refuse { epoch, round, promised, cause, remaining_ms, members }
            }
            Message::Leave { incarnation: _ }
            | Message::RequestMembers { change: _ }
            | Message::MembersRefused { change: _, why: _ }
                if !has_members =>
            {
                return None;
            }
            Message::Transfer { token } => Message::Transfer { token: token.in_protocol(protocol) },
            Message::Resigned { node: _, epoch: _, incarnation: _ }
            | Message::RequestSwitchover { to: _, by: _ }
            | Message::SwitchoverRefused { to: _, why: _ }
            | Message::Bye { incarnation: _ }
            | Message::Leave { incarnation: _ }
            | Message::RequestMembers { change: _ }
            | Message::MembersRefused { change: _, why: _ } => self,
        })
    }
}

impl TransferToken {
    fn in_protocol(self, protocol: u16) -> TransferToken {
        let TransferToken { epoch: _, from: _, to: _, position: _, drained: _, cause: _, counted } = self;
        TransferToken { counted: counted.filter(|_| protocol >= COUNTED_SINCE), ..self }
    }
}

impl Heartbeat {
    fn in_protocol(self, protocol: u16) -> Heartbeat {
        let Heartbeat {
            incarnation: _,
            sequence: _,
            state: _,
            epoch: _,
            promised: _,
            position: _,
            config_hash: _,
            score: _,
            active: _,
            unquorate: _,
            hold: _,
            proven,
            members,
            protected,
        } = self;
        Heartbeat {
            proven: proven.filter(|_| protocol >= PROVEN_SINCE),
            members: members.filter(|_| protocol >= MEMBERS_SINCE),
            protected: protected.filter(|_| protocol >= PROTECTED_SINCE),
            ..self
        }
    }
}
