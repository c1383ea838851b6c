//! What can be addressed on a device, and how an instance is: questions of people, answered when there is time.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use twinhub_contract::code;
use twinhub_contract::constants::ANSWER_BYTES_MAX;

use crate::error::{Code, Error, Result};
use crate::shared::Shared;

/// Somebody wants to know what can be addressed below a node of the device. Answered once, now or later from a task; one
/// that is dropped is refused.
///
/// ```
/// use twinhub_plugin::{Browse, Ctx, Error, Node, Page};
///
/// fn browse(cx: &Ctx, browse: Browse) {
///     cx.spawn(async move {
///         // Here the device is asked, with a permit if the instance is active.
///         let page = match browse.parent().as_str() {
///             None => Page::of([Node::new("Boiler").parent("boiler")]),
///             Some("boiler") => {
///                 let flow = Node::new("flow").column("path", "boiler/flow").column("address", "hr:1");
///                 Page::of([flow.column("type", "float32").column("unit", "°C")])
///             }
///             Some(other) => {
///                 let error = Error::invalid(format!("the device has no `{other}`"));
///                 browse.refuse(&error);
///                 return Ok(());
///             }
///         };
///         browse.answer(&page);
///         Ok(())
///     });
/// }
/// ```
#[derive(Debug)]
pub struct Browse {
    parent: serde_json::Value,
    cursor: String,
    limit: usize,
    question: Question,
}

impl Browse {
    pub(crate) fn new(
        shared: Arc<Shared>,
        op: u64,
        parent: serde_json::Value,
        cursor: String,
        limit: u32,
    ) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).max(1);
        Self { parent, cursor, limit, question: Question::new(shared, op) }
    }

    /// The node, as [`Node::parent`] said it; `Null` for the top.
    pub const fn parent(&self) -> &serde_json::Value {
        &self.parent
    }

    /// Where the page before ended, as [`Page::cursor`] said it; empty for the first page.
    pub fn cursor(&self) -> &str {
        &self.cursor
    }

    /// Most nodes that are wanted.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// Answers. A page that is longer than 256 KiB is refused.
    pub fn answer(self, page: &Page) {
        self.question.answer(page);
    }

    /// Says why there is no answer.
    pub fn refuse(self, error: &Error) {
        self.question.end(error.code(), error.detail());
    }
}

/// What is directly below a node, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Page {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// Where the next page begins, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl Page {
    /// A page without another one behind it.
    pub fn of(nodes: impl IntoIterator<Item = Node>) -> Self {
        Self { nodes: nodes.into_iter().collect(), cursor: None }
    }
}

/// Something on the device: what can be opened, what can be addressed, or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Node {
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    row: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<serde_json::Value>,
}

impl Node {
    /// A node of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Says more of it.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// A column of the items file that addresses it.
    #[must_use]
    pub fn column(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.row.insert(name.into(), value.into());
        self
    }

    /// There is more below it: this comes back in [`Browse::parent`].
    #[must_use]
    pub fn parent(mut self, parent: impl Into<serde_json::Value>) -> Self {
        self.parent = Some(parent.into());
        self
    }
}

/// A call that is to be answered once.
#[derive(Debug)]
pub(crate) struct Question {
    shared: Arc<Shared>,
    op: u64,
    is_open: bool,
}

impl Question {
    pub(crate) const fn new(shared: Arc<Shared>, op: u64) -> Self {
        Self { shared, op, is_open: true }
    }

    pub(crate) fn answer(self, answer: &impl Serialize) {
        let given = match serde_json::to_vec(answer) {
            Ok(bytes) => self.append(&bytes),
            Err(error) => Err(Error::internal(error.to_string())),
        };
        match given {
            Ok(()) => self.end(Code::Ok, ""),
            Err(error) => self.end(error.code(), error.detail()),
        }
    }

    pub(crate) fn end(mut self, code: Code, detail: &str) {
        self.is_open = false;
        self.shared.host.op_done(self.op, code.raw(), detail);
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        match self.shared.host.append(self.op, bytes) {
            code::OK => Ok(()),
            code::FULL => {
                let limit = ANSWER_BYTES_MAX / 1024;
                Err(Error::new(
                    Code::Full,
                    format!("the answer has {} bytes, the limit is {limit} KiB", bytes.len()),
                ))
            }
            code::UNSUPPORTED => Err(Error::unsupported("the hub takes no answers")),
            _ => Err(Error::new(Code::Stopped, "nobody waits for the answer any more")),
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        if self.is_open {
            self.shared.host.op_done(self.op, code::STOPPED, "the plugin gave no answer");
        }
    }
}
