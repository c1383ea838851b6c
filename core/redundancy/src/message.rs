//! What machines and voters say to each other.

use minicbor::{Decode, Encode};
use twinhub_model::{Epoch, Incarnation, NodeRank, Position};

use crate::members::{MembersChange, SharedMembers, Stamp};
use crate::state::NodeState;
use crate::stored::Hold;

/// One of several network paths to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct PathId(#[n(0)] pub u8);

/// What one voter or node says to another. A receiver tolerates loss, duplicates and any order.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Message {
    /// A node's state, sent all the time.
    #[n(0)]
    Heartbeat(#[n(0)] Heartbeat),
    /// A voter's answer to a heartbeat.
    #[n(1)]
    VoterStatus {
        /// What it promised.
        #[n(0)]
        promised: Epoch,
        /// To whom, if that grant still runs.
        #[n(1)]
        holder: Option<NodeRank>,
        /// Which record of the voters it has, as far as that is on disk.
        #[n(2)]
        members: Option<SharedMembers>,
        /// Its process.
        #[n(3)]
        incarnation: Option<Incarnation>,
    },
    /// Would you grant this epoch? Changes nothing.
    #[n(2)]
    PreVote {
        /// The epoch the sender would ask for.
        #[n(0)]
        epoch: Epoch,
        /// Numbers the sender's questions.
        #[n(1)]
        round: u64,
        /// Whom the sender takes for voters.
        #[n(2)]
        members: Option<SharedMembers>,
        /// The sender's process; one of an older version does not say.
        #[n(3)]
        asker: Option<Incarnation>,
    },
    /// Answer to [`Message::PreVote`].
    #[n(3)]
    PreVoteReply {
        /// The epoch asked about.
        #[n(0)]
        epoch: Epoch,
        /// The question's number.
        #[n(1)]
        round: u64,
        /// Whether a campaign would be granted.
        #[n(2)]
        granted: bool,
        /// What the voter promised.
        #[n(3)]
        promised: Epoch,
        /// Who holds its grant.
        #[n(4)]
        holder: Option<NodeRank>,
        /// How long that still runs on the voter's clock.
        #[n(5)]
        remaining_ms: u64,
        /// Which record of the voters the voter has.
        #[n(6)]
        members: Option<SharedMembers>,
        /// The process that asked, if it said which one it is: the next one of its node asked something else.
        #[n(7)]
        asker: Option<Incarnation>,
    },
    /// Grant me this epoch.
    #[n(4)]
    Campaign {
        /// An epoch of the sender.
        #[n(0)]
        epoch: Epoch,
        /// Numbers the sender's questions.
        #[n(1)]
        round: u64,
        /// The sender's process.
        #[n(2)]
        incarnation: Incarnation,
        /// The previous holder's word that it stopped.
        #[n(3)]
        token: Option<TransferToken>,
        /// Whom the sender takes for voters.
        #[n(4)]
        members: Option<SharedMembers>,
    },
    /// Keep my grant.
    #[n(5)]
    Renew {
        /// The sender's epoch.
        #[n(0)]
        epoch: Epoch,
        /// Numbers the sender's questions.
        #[n(1)]
        round: u64,
        /// The sender's process.
        #[n(2)]
        incarnation: Incarnation,
        /// Whom the sender takes for voters.
        #[n(3)]
        members: Option<SharedMembers>,
    },
    /// Yes to [`Message::Campaign`] or [`Message::Renew`].
    #[n(6)]
    Grant {
        /// The epoch granted.
        #[n(0)]
        epoch: Epoch,
        /// The question's number.
        #[n(1)]
        round: u64,
        /// Which record of the voters the voter has on disk.
        #[n(2)]
        members: Option<Stamp>,
    },
    /// No to [`Message::Campaign`] or [`Message::Renew`].
    #[n(7)]
    Refuse {
        /// The epoch asked for.
        #[n(0)]
        epoch: Epoch,
        /// The question's number.
        #[n(1)]
        round: u64,
        /// What the voter promised.
        #[n(2)]
        promised: Epoch,
        /// Why not.
        #[n(3)]
        cause: RefusalCause,
        /// How long the grant that is in the way still runs on the voter's clock.
        #[n(4)]
        remaining_ms: u64,
        /// Which record of the voters the voter has.
        #[n(5)]
        members: Option<SharedMembers>,
    },
    /// The holder stopped; the receiver named in the token may campaign at once.
    #[n(8)]
    Transfer {
        /// The holder's word.
        #[n(0)]
        token: TransferToken,
    },
    /// A supervisor's word that a process is dead and reaped, or a process's own that it stopped acting.
    #[n(9)]
    Resigned {
        /// The node.
        #[n(0)]
        node: NodeRank,
        /// Its last epoch, if known.
        #[n(1)]
        epoch: Epoch,
        /// The process that is dead.
        #[n(2)]
        incarnation: Incarnation,
    },
    /// An operator asked this node for a switchover; the active one does it.
    #[n(10)]
    RequestSwitchover {
        /// The wanted node, or the best one.
        #[n(0)]
        to: Option<NodeRank>,
        /// The node the operator talked to.
        #[n(1)]
        by: NodeRank,
    },
    /// The active node refuses a requested switchover.
    #[n(11)]
    SwitchoverRefused {
        /// The wanted node, or the best one.
        #[n(0)]
        to: Option<NodeRank>,
        /// Why, in one sentence.
        #[n(1)]
        why: String,
    },
    /// The sender leaves in order.
    #[n(12)]
    Bye {
        /// Its process.
        #[n(0)]
        incarnation: Incarnation,
    },
    /// The sender is about to leave in order; it waits a little for its vote not to be needed.
    #[n(13)]
    Leave {
        /// Its process.
        #[n(0)]
        incarnation: Incarnation,
    },
    /// An operator asked this node for a change of the voters; the active one does it.
    #[n(14)]
    RequestMembers {
        /// Which.
        #[n(0)]
        change: MembersChange,
    },
    /// The active node refuses a requested change of the voters.
    #[n(15)]
    MembersRefused {
        /// Which.
        #[n(0)]
        change: MembersChange,
        /// Why, in one sentence.
        #[n(1)]
        why: String,
    },
}

impl Message {
    /// The record of the voters that comes with it.
    pub(crate) fn members(&self) -> Option<&SharedMembers> {
        match self {
            Message::Heartbeat(heartbeat) => heartbeat.members.as_ref(),
            Message::VoterStatus { members, .. }
            | Message::PreVote { members, .. }
            | Message::PreVoteReply { members, .. }
            | Message::Campaign { members, .. }
            | Message::Renew { members, .. }
            | Message::Refuse { members, .. } => members.as_ref(),
            Message::Grant { .. }
            | Message::Transfer { .. }
            | Message::Resigned { .. }
            | Message::RequestSwitchover { .. }
            | Message::SwitchoverRefused { .. }
            | Message::Bye { .. }
            | Message::Leave { .. }
            | Message::RequestMembers { .. }
            | Message::MembersRefused { .. } => None,
        }
    }
}

/// A node's state.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Heartbeat {
    /// The process.
    #[n(0)]
    pub incarnation: Incarnation,
    /// Numbers this process's heartbeats, so that an older one is not believed.
    #[n(1)]
    pub sequence: u64,
    /// Its state.
    #[n(2)]
    pub state: NodeState,
    /// The epoch it holds, or that of the active node it follows.
    #[n(3)]
    pub epoch: Epoch,
    /// What its voter promised, as far as that is on disk.
    #[n(4)]
    pub promised: Epoch,
    /// The end of its journal.
    #[n(5)]
    pub position: Position,
    /// Its configuration.
    #[n(6)]
    pub config_hash: u64,
    /// Its health, 0 to 100.
    #[n(7)]
    pub score: u8,
    /// Whom it takes for active.
    #[n(8)]
    pub active: Option<NodeRank>,
    /// Whether it holds its epoch without a majority.
    #[n(9)]
    pub unquorate: bool,
    /// The latest pause or resume it knows of.
    #[n(10)]
    pub hold: Hold,
    /// What of its health is proven, 0 to 100; a node that does not say proves nothing.
    #[n(11)]
    pub proven: Option<u8>,
    /// Whom it takes for voters, as far as that is on disk.
    #[n(12)]
    pub members: Option<SharedMembers>,
    /// Whether it acts with a majority behind it and a standby that could take over at once; a node of a version
    /// that does not say leaves it open.
    #[n(13)]
    pub protected: Option<bool>,
}

/// The word of a holder that it closed its gates for good in this epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TransferToken {
    /// The epoch that ended.
    #[n(0)]
    pub epoch: Epoch,
    /// Who held it.
    #[n(1)]
    pub from: NodeRank,
    /// Who may campaign at once.
    #[n(2)]
    pub to: NodeRank,
    /// The end of the holder's journal.
    #[n(3)]
    pub position: Position,
    /// Whether nothing is left in flight; if not, the guard time applies.
    #[n(4)]
    pub drained: bool,
    /// Why.
    #[n(5)]
    pub cause: MoveCause,
    /// What the holder counted against the flap limit; a node of a version that does not say leaves it open.
    #[n(6)]
    pub counted: Option<Counted>,
}

/// How many moves that no operator ordered a node counted, the one that it tells of included. Each node hears of other
/// moves, so the one that gives the role away tells the others what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Counted {
    /// The latest pause or resume it knows of: a resume begins the count anew.
    #[n(0)]
    pub since: Hold,
    /// How many.
    #[n(1)]
    pub moves: u8,
}

/// Why a holder hands over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum MoveCause {
    /// An operator's order.
    #[n(0)]
    Operator {
        /// The node the operator talked to.
        #[n(0)]
        by: NodeRank,
    },
    /// The preferred node is well again.
    #[n(1)]
    Failback {
        /// For how long it was.
        #[n(0)]
        stable_ms: u64,
    },
    /// Another node is in better health.
    #[n(2)]
    Score {
        /// The holder's.
        #[n(0)]
        mine: u8,
        /// The other's.
        #[n(1)]
        theirs: u8,
    },
    /// A required interface could not be activated.
    #[n(3)]
    StepFailed,
    /// The holder goes into maintenance.
    #[n(4)]
    Maintenance,
    /// The holder's process stops.
    #[n(5)]
    Shutdown,
}

/// Why a voter refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum RefusalCause {
    /// It promised this epoch or a greater one.
    #[n(0)]
    Promised,
    /// Another node's grant still runs.
    #[n(1)]
    Granted,
    /// It does not know the epoch that shall be renewed: campaign with it.
    #[n(2)]
    Unknown,
    /// The sender has no business with this epoch, or takes others for voters than this voter does: then the
    /// answer shows the newer record.
    #[n(3)]
    NotYours,
}
