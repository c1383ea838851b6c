//! What the journal holds. Everything that must survive a takeover is one of these.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::{Epoch, ItemId, ItemKey, NodeRank, Position, Quality, Timestamp, Value};

/// One entry of a group's journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Which key each handle of the writing node stands for; kept beside the segments and sent ahead of
    /// records, so that they can be read on another node and years later.
    Dictionary(Arc<[(ItemId, ItemKey)]>),
    /// Values of one interface, as it published them.
    Samples(Arc<[Sample]>),
    /// A command, before it is written.
    Intent(Intent),
    /// What became of a command.
    Result(WriteResult),
    /// How far a link has delivered.
    Delivered(Delivered),
    /// Who became what, and why.
    Role(RoleChange),
    /// Something an operator may want to read later, as versions without [`Part::EVENTS`] write it.
    Event(Event),
    /// What a part of the hub keeps here; only that part knows what it says.
    Part(PartRecord),
    /// A record that another node wrote alone during a split.
    Merged(Merged),
}

/// One value of one item at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The item.
    pub item: ItemId,
    /// Its value.
    pub value: Value,
    /// How far it can be trusted.
    pub quality: Quality,
    /// When the device says it was so.
    pub source: Timestamp,
    /// When the hub received it.
    pub server: Timestamp,
    /// How it came about.
    pub flags: SampleFlags,
}

/// How a sample came about; the bits of the plugin contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SampleFlags(pub u32);

impl SampleFlags {
    /// Part of a complete image, not a change.
    pub const SNAPSHOT: SampleFlags = SampleFlags(1);
    /// Received earlier, delivered now.
    pub const REPLAY: SampleFlags = SampleFlags(1 << 1);
    /// Not from the device.
    pub const SUBSTITUTE: SampleFlags = SampleFlags(1 << 2);
    /// Forced by an operator.
    pub const FORCED: SampleFlags = SampleFlags(1 << 3);
    /// The source time is local time.
    pub const LOCAL_TIME: SampleFlags = SampleFlags(1 << 4);
    /// Every one counts; never conflated.
    pub const EVENT: SampleFlags = SampleFlags(1 << 5);
    /// Published by an inactive instance.
    pub const STANDBY: SampleFlags = SampleFlags(1 << 6);
    /// What the sink shows of our own output: the read-back image.
    pub const MIRROR: SampleFlags = SampleFlags(1 << 7);
    /// Only the quality is new; the value is the item's last one.
    pub const QUALITY_ONLY: SampleFlags = SampleFlags(1 << 8);
    /// Older than what is known of the item: for the history, and for links only if every one counts.
    pub const OLD: SampleFlags = SampleFlags(1 << 9);
    /// Older than what the journal holds of the item already, while [`SampleFlags::OLD`] is also said of one that only
    /// precedes another in the same replay.
    pub const OVERTAKEN: SampleFlags = SampleFlags(1 << 10);
    /// Another record has the same telegram, since two nodes heard it. Only of merged records: the value keeps its place, and
    /// is not shown.
    pub const TWIN: SampleFlags = SampleFlags(1 << 11);
    /// What plugins may say; the others are for the hub alone.
    pub const OF_PLUGINS: SampleFlags = SampleFlags((1 << 9) - 1);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: SampleFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Without the bits that `other` does not have.
    #[must_use]
    pub const fn only(self, other: SampleFlags) -> SampleFlags {
        SampleFlags(self.0 & other.0)
    }

    /// With the bits of `other` set.
    #[must_use]
    pub const fn with(self, other: SampleFlags) -> SampleFlags {
        SampleFlags(self.0 | other.0)
    }
}

/// A command's identity: where its intent stands in the journal.
pub type IntentId = Position;

/// A command: journaled before it is written, so that no takeover repeats it blindly.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// The item to write.
    pub item: ItemId,
    /// The value to write.
    pub value: Value,
    /// What a repetition would do.
    pub kind: IntentKind,
    /// The record that caused it (a link), or [`Position::START`] for an operator or the API.
    pub cause: Position,
    /// Who asked: `api`, `link:N` or a user's name.
    pub origin: Arc<str>,
    /// Not to be written after this time.
    pub deadline: Timestamp,
}

/// What a repetition of a command would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntentKind {
    /// Sets a state; in doubt: read back, write again only if different.
    Set,
    /// Moves a state; in doubt: never repeated, the operator is told.
    Step,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteResult {
    /// The command.
    pub intent: IntentId,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The device confirmed it.
    Done,
    /// It was not written; the plugin's error code says why.
    Refused(i32),
    /// It may or may not have been written.
    InDoubt,
    /// The gate was closed; it was not written.
    Fenced,
    /// A later command for the same item took its place before it was written.
    Superseded,
    /// After a takeover the device already showed the value; not written again.
    Confirmed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Done => f.write_str("done"),
            Outcome::Refused(code) => write!(f, "refused (code {code})"),
            Outcome::InDoubt => f.write_str("in doubt"),
            Outcome::Fenced => f.write_str("fenced"),
            Outcome::Superseded => f.write_str("superseded"),
            Outcome::Confirmed => f.write_str("confirmed by read-back"),
        }
    }
}

/// All records up to `through` have been delivered to this stream or module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// A module's number, or a stream's: the place of its interface in the configuration, by which nodes know it that know
    /// no names.
    pub consumer: u32,
    /// The last record that needs no further delivery; [`Position::START`] forgets the consumer.
    pub through: Position,
    /// Of a stream.
    pub stream: Option<NamedStream>,
}

/// What a cursor says of its stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStream {
    /// The stream is all that links carry to this interface.
    pub interface: Arc<str>,
    /// Whether it is still to be given a picture.
    pub wants_picture: bool,
}

impl Delivered {
    /// The number of no consumer: for a stream that has only a name.
    pub const NOBODY: u32 = i32::MAX.cast_unsigned();

    /// As nodes say it of a module, and of a stream if they know no names.
    pub const fn by_number(consumer: u32, through: Position) -> Delivered {
        Delivered { consumer, through, stream: None }
    }
}

/// Who became what, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleChange {
    /// The node.
    pub node: NodeRank,
    /// Its epoch.
    pub epoch: Epoch,
    /// The state it left.
    pub from: Arc<str>,
    /// The state it entered.
    pub to: Arc<str>,
    /// Why, with numbers.
    pub reason: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// Something an operator may want to read later.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: an interface, a plugin, a node.
    pub source: Arc<str>,
    /// A stable code such as `TH-PLUGIN-PANIC`.
    pub code: Arc<str>,
    /// What happened and what to do.
    pub text: Arc<str>,
    /// When.
    pub at: Timestamp,
}

/// A part of the hub that keeps its state in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part(pub u16);

impl Part {
    /// Configuration, users, tokens and sessions.
    pub const DOCUMENTS: Part = Part(1);
    /// Alarms.
    pub const ALARMS: Part = Part(2);
    /// Events.
    pub const EVENTS: Part = Part(3);
    /// What was joined after splits.
    pub const MERGES: Part = Part(5);
    /// Which of a group's journals it is, of those that it ever had.
    pub const LIFE: Part = Part(6);
    /// What plugins keep for their successors.
    pub const PLUGINS: Part = Part(7);
    /// What interfaces keep by key.
    pub const STORES: Part = Part(8);
    /// Events that interfaces give each other.
    pub const DELIVERIES: Part = Part(9);

    /// Its name in logs and file names; a number for a part that this version does not have.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Part::DOCUMENTS => Cow::Borrowed("documents"),
            Part::ALARMS => Cow::Borrowed("alarms"),
            Part::EVENTS => Cow::Borrowed("events"),
            Part::MERGES => Cow::Borrowed("merges"),
            Part::LIFE => Cow::Borrowed("life"),
            Part::PLUGINS => Cow::Borrowed("plugins"),
            Part::STORES => Cow::Borrowed("stores"),
            Part::DELIVERIES => Cow::Borrowed("deliveries"),
            Part(number) => Cow::Owned(format!("part-{number}")),
        }
    }
}

/// A record of one part. The journal, replication and a version that lacks the part carry it unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartRecord {
    /// Whose it is.
    pub part: Part,
    /// What it says, in the part's own encoding.
    pub body: Arc<[u8]>,
}

/// A record that a node wrote alone during a split, and which the journal of the others did not have: the active node
/// takes it in when they meet again. It belongs to history and ledger, and says nothing of the present.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Where it stood. No other record of the site stands there, since an epoch has one owner.
    pub origin: Position,
    /// What it was; never one that was merged itself.
    pub record: Box<Record>,
}

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Surprising, still working.
    Warning,
    /// An operator must act.
    Error,
}

impl Severity {
    /// `info`, `warning` or `error`.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}
