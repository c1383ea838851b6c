//! An item: the row of the items file after checking.

use std::rc::Rc;
use std::time::Duration;

use serde_json::Value as Json;
use thiserror::Error;
use twinhub_knx_protocol::{Dpt, DptId, GroupAddress, Priority};

use crate::config::{Interval, Settings};
use crate::value::Shape;

/// An item.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column of its own")]
pub(crate) struct Point {
    pub item: u32,
    pub path: Rc<str>,
    /// Where writes go to.
    pub command: GroupAddress,
    /// What tells the state, the first is read; `command` unless the row says otherwise.
    pub status: Vec<GroupAddress>,
    pub dpt: Dpt,
    pub shape: Shape,
    pub is_readable: bool,
    pub is_writable: bool,
    pub read_on_init: bool,
    pub poll: Option<Duration>,
    pub answer_reads: bool,
    pub priority: Priority,
    /// Each telegram counts, also one that says the same as the one before.
    pub is_event: bool,
}

/// Why a row was refused.
#[derive(Clone, Debug, Error, PartialEq)]
pub(crate) enum PointError {
    #[error("column `{0}` is missing; {1}")]
    Missing(&'static str, &'static str),
    #[error("column `{column}`: {source}")]
    Knx { column: &'static str, source: twinhub_knx_protocol::Error },
    #[error("column `{column}` is `{got}`; write {expected}")]
    Word { column: &'static str, got: String, expected: &'static str },
    #[error("column `{column}`: 0/0/0 is the broadcast and carries no values; write another group address")]
    Broadcast { column: &'static str },
    #[error("column `{column}`: {group} is outside of `groups` in the settings; add it there")]
    Outside { column: &'static str, group: String },
    #[error("column `{0}` is for items that are read; write `r` or `rw` in `access`")]
    NotRead(&'static str),
    #[error("column `{0}` is for items that are written; write `w` or `rw` in `access`")]
    NotWritten(&'static str),
    #[error("column `poll` is {0:?}; write 1s or more")]
    Poll(Duration),
}

impl Point {
    /// Reads a row.
    pub(crate) fn parse(
        item: u32,
        row: &Json,
        access: (bool, bool),
        settings: &Settings,
    ) -> Result<Self, PointError> {
        let cell =
            |name: &str| row.get(name).and_then(Json::as_str).map(str::trim).filter(|text| !text.is_empty());
        let (is_readable, is_writable) = access;
        let address = cell("address")
            .ok_or(PointError::Missing("address", "write a group address such as 1/2/3, 1/515 or 2563"))?;
        let command = group("address", address, settings)?;
        let mut status = Vec::new();
        for text in cell("status").unwrap_or_default().split_whitespace() {
            status.push(group("status", text, settings)?);
        }
        if !status.is_empty() && !is_readable {
            return Err(PointError::NotRead("status"));
        }
        if status.is_empty() {
            status.push(command);
        }
        let id = cell("dpt").ok_or(PointError::Missing("dpt", "write a datapoint type such as 9.001"))?;
        let knx = |source| PointError::Knx { column: "dpt", source };
        let dpt = Dpt::find(id.parse::<DptId>().map_err(knx)?).map_err(knx)?;
        let (read_on_init, answer_reads) =
            (yes("read_on_init", cell("read_on_init"))?, yes("answer_reads", cell("answer_reads"))?);
        let poll = match cell("poll") {
            None | Some("off") => None,
            Some(text) => Some(interval(text)?),
        };
        if !is_readable && (read_on_init || poll.is_some()) {
            return Err(PointError::NotRead(if read_on_init { "read_on_init" } else { "poll" }));
        }
        if answer_reads && !is_writable {
            return Err(PointError::NotWritten("answer_reads"));
        }
        let shape = Shape::of(&dpt);
        Ok(Self {
            item,
            path: cell("path").unwrap_or_default().into(),
            command,
            status,
            dpt,
            shape,
            is_readable,
            is_writable,
            read_on_init,
            poll,
            answer_reads,
            priority: priority(cell("priority"))?,
            is_event: is_event(dpt.id()),
        })
    }
}

fn group(column: &'static str, text: &str, settings: &Settings) -> Result<GroupAddress, PointError> {
    let group: GroupAddress = text.parse().map_err(|source| PointError::Knx { column, source })?;
    if group == GroupAddress::BROADCAST {
        return Err(PointError::Broadcast { column });
    }
    if !settings.takes(group) {
        return Err(PointError::Outside { column, group: settings.show(group) });
    }
    Ok(group)
}

fn yes(column: &'static str, text: Option<&str>) -> Result<bool, PointError> {
    match text {
        None | Some("false" | "no" | "0") => Ok(false),
        Some("true" | "yes" | "1") => Ok(true),
        Some(got) => Err(PointError::Word { column, got: got.to_owned(), expected: "`true` or `false`" }),
    }
}

fn interval(text: &str) -> Result<Duration, PointError> {
    let wrong = || PointError::Word {
        column: "poll",
        got: text.to_owned(),
        expected: "`off` or a duration such as `5m`",
    };
    let Interval(period) = text.parse().map_err(|_| wrong())?;
    if period < POLL_MIN { Err(PointError::Poll(period)) } else { Ok(period) }
}

fn priority(text: Option<&str>) -> Result<Priority, PointError> {
    match text {
        None | Some("low") => Ok(Priority::Low),
        Some("normal") => Ok(Priority::Normal),
        Some("urgent") => Ok(Priority::Urgent),
        Some("system") => Ok(Priority::System),
        Some(got) => Err(PointError::Word {
            column: "priority",
            got: got.to_owned(),
            expected: "`low`, `normal`, `urgent` or `system`",
        }),
    }
}

/// Types whose telegrams are acts, not states: the same one twice is twice the act.
const fn is_event(id: DptId) -> bool {
    match id.main {
        // Step, up and down, reset, acknowledge, trigger.
        1 => matches!(id.sub, Some(7 | 8 | 15 | 16 | 17)),
        // Dimming and blinds; scenes.
        3 | 17 | 18 => true,
        _ => false,
    }
}

/// A line carries fifty telegrams in a second, for everybody.
const POLL_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn settings() -> Settings {
        let json = json!({"gateway": "a", "groups": ["1/0/0-5/7/255"]});
        Settings::new(serde_json::from_value(json).unwrap()).unwrap()
    }

    fn parse(row: &Json, access: &str) -> Result<Point, String> {
        let access = (access.contains('r'), access.contains('w'));
        Point::parse(7, row, access, &settings()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_row_with_everything_is_understood() {
        let row = json!({"path": "a/b", "address": "1/2/3", "status": "1/2/4 1/2/5", "dpt": "DPST-1-8", "read_on_init": "true",
            "poll": "5m", "answer_reads": "yes", "priority": "urgent"});
        let point = parse(&row, "rw").unwrap();
        assert_eq!(point.command.to_string(), "1/2/3");
        assert_eq!(point.status, ["1/2/4".parse().unwrap(), "1/2/5".parse().unwrap()]);
        assert_eq!((point.dpt.id(), point.shape), (DptId::new(1, 8), Shape::Bit));
        assert!(point.read_on_init && point.answer_reads && point.is_event);
        assert_eq!((point.poll, point.priority), (Some(Duration::from_secs(300)), Priority::Urgent));
        let plain = parse(&json!({"address": "1/515", "dpt": "9.001"}), "r").unwrap();
        assert_eq!(plain.status, [plain.command]);
        assert!(!plain.is_event && !plain.read_on_init && plain.poll.is_none());
    }

    #[test]
    fn a_wrong_row_says_which_column_and_what_to_write() {
        let row = |extra: Json| {
            let mut row = json!({"address": "1/2/3", "dpt": "9.001"});
            for (key, value) in extra.as_object().unwrap() {
                row[key] = value.clone();
            }
            row
        };
        let cases = [
            (json!({"dpt": "9.001"}), "rw", "column `address` is missing"),
            (
                json!({"address": "1/2/3"}),
                "rw",
                "column `dpt` is missing; write a datapoint type such as 9.001",
            ),
            (
                row(json!({"address": "1/8/3"})),
                "rw",
                "column `address`: `1/8/3` is no group address: the middle",
            ),
            (row(json!({"address": "0/0/0"})), "rw", "broadcast"),
            (row(json!({"address": "6/0/0"})), "rw", "6/0/0 is outside of `groups`"),
            (row(json!({"dpt": "temp"})), "rw", "`temp` is no datapoint type"),
            (row(json!({"dpt": "99.001"})), "rw", "99.001 is not known"),
            (row(json!({"status": "x"})), "rw", "column `status`"),
            (row(json!({"status": "1/2/4"})), "w", "for items that are read"),
            (row(json!({"read_on_init": "maybe"})), "rw", "`true` or `false`"),
            (row(json!({"read_on_init": "true"})), "w", "column `read_on_init` is for items that are read"),
            (
                row(json!({"answer_reads": "true"})),
                "r",
                "column `answer_reads` is for items that are written",
            ),
            (row(json!({"poll": "soon"})), "rw", "`off` or a duration"),
            (row(json!({"poll": "10ms"})), "rw", "write 1s or more"),
            (row(json!({"priority": "high"})), "rw", "`low`, `normal`, `urgent` or `system`"),
        ];
        for (row, access, part) in cases {
            let message = parse(&row, access).expect_err(part);
            assert!(message.contains(part), "{row}: {message}");
        }
    }

    proptest! {
        #[test]
        fn any_row_is_an_item_or_refused(a in ".{0,12}", b in ".{0,12}", c in ".{0,12}") {
            let row = json!({"address": a, "dpt": b, "status": c, "poll": c, "priority": a, "read_on_init": b});
            drop(parse(&row, "rw"));
            let row = json!({"address": "1/2/3", "dpt": b, "status": c, "poll": c});
            drop(parse(&row, "rw"));
        }
    }
}
