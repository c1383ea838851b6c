//! Questions of whoever puts an interface into service: does its device answer, what is in reach, what goes over the line.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use twinhub_contract::constants::inquiry;

use crate::browse::Question;
use crate::error::{Code, Error};
use crate::plugin::Plugin;
use crate::time::unix_ns;

/// Somebody wants to know whether the device answers. Answered once, now or later from a task; one that is dropped is
/// refused.
///
/// ```
/// use std::time::Instant;
/// use twinhub_plugin::{Ctx, Step, Test};
///
/// fn test(cx: &Ctx, test: Test) {
///     cx.spawn(async move {
///         let began = Instant::now();
///         // Here a connection is made, with a permit if the instance is active.
///         let connected = Step::ok("connect").detail("firmware 2.1").took(began.elapsed());
///         let read = Step::failed("read").detail("the device refuses register 1: name another one");
///         test.answer(&[connected, read]);
///         Ok(())
///     });
/// }
/// ```
#[derive(Debug)]
pub struct Test {
    question: Question,
}

impl Test {
    /// Answers with what was tried, in that order.
    pub fn answer(self, steps: &[Step]) {
        self.question.answer(&Steps { steps });
    }

    /// Says why nothing was tried.
    pub fn refuse(self, error: &Error) {
        self.question.end(error.code(), error.detail());
    }
}

#[derive(Serialize)]
struct Steps<'a> {
    steps: &'a [Step],
}

/// One step of a test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    name: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_ms: Option<f64>,
}

impl Step {
    fn new(name: impl Into<String>, outcome: &'static str) -> Self {
        Self { name: name.into(), outcome, detail: String::new(), took_ms: None }
    }

    /// It went well.
    pub fn ok(name: impl Into<String>) -> Self {
        Self::new(name, "ok")
    }

    /// It did not.
    pub fn failed(name: impl Into<String>) -> Self {
        Self::new(name, "failed")
    }

    /// It was not tried, since a step before has failed or the configuration asks for nothing of the kind.
    pub fn skipped(name: impl Into<String>) -> Self {
        Self::new(name, "skipped")
    }

    /// What was found, or what to do.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = text.into();
        self
    }

    /// How long it took.
    #[must_use]
    pub fn took(mut self, time: Duration) -> Self {
        self.took_ms = Some(time.as_secs_f64() * 1e3);
        self
    }
}

/// Somebody wants to know which devices are in reach. Answered as [`Test`] is.
#[derive(Debug)]
pub struct Discover {
    wait: Duration,
    question: Question,
}

impl Discover {
    /// For how long to wait for answers.
    pub const fn wait(&self) -> Duration {
        self.wait
    }

    /// Answers.
    pub fn answer(self, found: &[Found]) {
        self.question.answer(&Devices { found });
    }

    /// Says why nothing was looked for.
    pub fn refuse(self, error: &Error) {
        self.question.end(error.code(), error.detail());
    }
}

#[derive(Serialize)]
struct Devices<'a> {
    found: &'a [Found],
}

/// A device in reach.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Found {
    address: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    settings: serde_json::Map<String, serde_json::Value>,
}

impl Found {
    /// A device at this address.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }

    /// What it calls itself.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// More about it.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = text.into();
        self
    }

    /// What to write into the interface's settings to connect to it.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }
}

/// Somebody watches the line. Answered as [`Test`] is, from a [`MessageLog`].
#[derive(Debug)]
pub struct Monitor {
    after: Option<u64>,
    limit: usize,
    question: Question,
}

impl Monitor {
    /// Behind which message; the last ones if there is none.
    pub const fn after(&self) -> Option<u64> {
        self.after
    }

    /// Answers.
    pub fn answer(self, log: &MessageLog) {
        let messages = log.part(self.after, self.limit);
        self.question.answer(&Messages { last: log.last, messages });
    }

    /// Says why there is nothing to see.
    pub fn refuse(self, error: &Error) {
        self.question.end(error.code(), error.detail());
    }
}

#[derive(Serialize)]
struct Messages<'a> {
    last: u64,
    messages: Vec<&'a Message>,
}

/// The last messages of a line, for [`Monitor::answer`].
#[derive(Clone, Debug)]
pub struct MessageLog {
    last: u64,
    max: usize,
    messages: VecDeque<Message>,
}

impl MessageLog {
    /// A log that keeps so many messages.
    pub const fn new(max: usize) -> Self {
        Self { last: 0, max, messages: VecDeque::new() }
    }

    /// A log of messages that are kept elsewhere, with their numbers, which rise; `last` is that of the last one there was.
    pub fn of(last: u64, messages: impl IntoIterator<Item = (u64, Message)>) -> Self {
        let numbered = |(number, message)| Message { number, ..message };
        let messages: VecDeque<Message> = messages.into_iter().map(numbered).collect();
        Self { last, max: messages.len(), messages }
    }

    /// Keeps a message, which is numbered, and stamped with the present time unless it has one.
    pub fn push(&mut self, mut message: Message) {
        self.last += 1;
        message.number = self.last;
        if message.time_ns == 0 {
            message.time_ns = unix_ns();
        }
        while self.messages.len() >= self.max.max(1) {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// Those behind a number, the oldest first, or the last ones; as many as go into an answer.
    fn part(&self, after: Option<u64>, limit: usize) -> Vec<&Message> {
        let mut bytes = 0;
        let mut fits = |message: &&Message| {
            bytes += message.bytes();
            bytes <= ANSWER_BYTES_MAX
        };
        if let Some(after) = after {
            let behind = self.messages.iter().filter(|message| message.number > after);
            return behind.take(limit).take_while(fits).collect();
        }
        let mut last: Vec<&Message> = self.messages.iter().rev().take(limit).take_while(&mut fits).collect();
        last.reverse();
        last
    }
}

/// One message of a line.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Message {
    number: u64,
    time_ns: i64,
    direction: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    from: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    to: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    raw: String,
}

impl Message {
    /// From the device.
    pub fn incoming() -> Self {
        Self { direction: "in", ..Self::default() }
    }

    /// To the device.
    pub fn outgoing() -> Self {
        Self { direction: "out", ..Self::default() }
    }

    /// As JSON, at most: a control character takes six bytes.
    fn bytes(&self) -> usize {
        let texts = [&self.from, &self.to, &self.name, &self.kind, &self.value, &self.raw];
        200 + texts.into_iter().map(|text| text.len() * 6).sum::<usize>()
    }

    /// When, in nanoseconds since 1970 UTC.
    #[must_use]
    pub const fn time_ns(mut self, time_ns: i64) -> Self {
        self.time_ns = time_ns;
        self
    }

    /// The sender's address.
    #[must_use]
    pub fn sender(mut self, address: impl Into<String>) -> Self {
        self.from = cut(address.into());
        self
    }

    /// The receiver's address, or what it is about: group address, topic, object.
    #[must_use]
    pub fn target(mut self, address: impl Into<String>) -> Self {
        self.to = cut(address.into());
        self
    }

    /// What the configuration calls that.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = cut(name.into());
        self
    }

    /// What it does there: write, read, response, subscribe.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = cut(kind.into());
        self
    }

    /// The value with its unit.
    #[must_use]
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = cut(value.into());
        self
    }

    /// The bytes of the value, shown in hex, 64 of them at most.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
        let shown = bytes.iter().take(RAW_BYTES_MAX);
        self.raw = shown.flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        self
    }
}

/// Long texts are shown by their beginning.
fn cut(mut text: String) -> String {
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('\u{2026}');
    }
    text
}

/// What the hub asks.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked {
    Test,
    Discover { wait: Duration },
    Monitor { after: Option<u64>, limit: usize },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Request {
    wait_ms: Option<u64>,
    after: Option<u64>,
    limit: Option<usize>,
}

impl Asked {
    pub(crate) fn parse(question: u32, request_json: &str) -> Result<Asked, Code> {
        let request: Request = match request_json {
            "" => Request::default(),
            // A list would be taken for the members in their order.
            text if !text.trim_start().starts_with('{') => return Err(Code::Invalid),
            text => serde_json::from_str(text).map_err(|_| Code::Invalid)?,
        };
        match question {
            inquiry::TEST => Ok(Asked::Test),
            inquiry::DISCOVER => {
                let wait = request.wait_ms.map_or(WAIT, Duration::from_millis);
                Ok(Asked::Discover { wait: wait.min(WAIT_MAX) })
            }
            inquiry::MONITOR => {
                let limit = request.limit.unwrap_or(MESSAGES_MAX).clamp(1, MESSAGES_MAX);
                Ok(Asked::Monitor { after: request.after, limit })
            }
            _ => Err(Code::Unsupported),
        }
    }

    pub(crate) fn put_to<P: Plugin>(self, plugin: &mut P, question: Question) {
        match self {
            Asked::Test => plugin.test(Test { question }),
            Asked::Discover { wait } => plugin.discover(Discover { wait, question }),
            Asked::Monitor { after, limit } => plugin.monitor(Monitor { after, limit, question }),
        }
    }
}

/// For how long a device is waited for that is to be found, if nothing is said.
const WAIT: Duration = Duration::from_secs(3);
/// Longest such wait.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// Most messages of one answer.
const MESSAGES_MAX: usize = 500;
/// Bytes of the messages of one answer, with room to the limit of answers.
const ANSWER_BYTES_MAX: usize = 200 * 1024;
/// Bytes of a text of a message.
const TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of a value that a message shows.
const RAW_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_the_last_messages_and_gives_them_behind_a_number() {
        let mut log = MessageLog::new(3);
        (0..5).for_each(|_| log.push(Message::incoming().target("1/2/3")));
        let numbers = |after, limit| log.part(after, limit).iter().map(|it| it.number).collect::<Vec<_>>();
        assert_eq!(numbers(None, 2), [4, 5]);
        assert_eq!(numbers(Some(0), 9), [3, 4, 5]);
        assert_eq!(numbers(Some(3), 1), [4]);
        assert_eq!(numbers(Some(5), 9), [] as [u64; 0]);
        assert!(log.part(None, 1)[0].time_ns > 0);
    }

    #[test]
    fn no_message_makes_an_answer_too_long() {
        let mut log = MessageLog::new(500);
        (0..500).for_each(|_| log.push(Message::outgoing().value("\u{0}".repeat(9_000)).raw(&[0; 99])));
        for after in [None, Some(0)] {
            let part = log.part(after, 500);
            let bytes = serde_json::to_vec(&Messages { last: log.last, messages: part.clone() }).unwrap();
            assert!(part.len() > 20 && bytes.len() < 256 * 1024, "{} {}", part.len(), bytes.len());
            let is_at_an_end = part.first().unwrap().number == 1 || part.last().unwrap().number == 500;
            assert!(is_at_an_end);
        }
    }

    #[test]
    fn a_request_is_held_to_its_bounds() {
        let wait = Duration::from_secs(20);
        assert_eq!(Asked::parse(inquiry::DISCOVER, "{\"wait_ms\":99999}"), Ok(Asked::Discover { wait }));
        let limit = MESSAGES_MAX;
        assert_eq!(Asked::parse(inquiry::MONITOR, ""), Ok(Asked::Monitor { after: None, limit }));
        for odd in ["{", "[]", "null", "7"] {
            assert_eq!(Asked::parse(inquiry::TEST, odd), Err(Code::Invalid), "{odd}");
        }
        assert_eq!(Asked::parse(77, "{}"), Err(Code::Unsupported));
    }
}
