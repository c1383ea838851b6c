//! What a tap has written down, read as deeds of plugins.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use twinhub_peers::monotonic_ns;

use crate::error::{Error, Result};

/// Something a plugin did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) at: Instant,
    pub(super) node: String,
    pub(super) what: What,
    /// Path of the item.
    pub(super) item: String,
    /// The value.
    pub(super) text: String,
    pub(super) answer: Answer,
    /// Whether the value is marked as one that a standby has heard: then it is an act of nobody.
    pub(super) is_marked_standby: bool,
    /// Whether the plugin had been told to act, and no completed change of role had ended that.
    pub(super) is_told_to_act: bool,
}

/// What a plugin can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Gave the hub a value.
    Gave,
    /// Carried out a write, or said why not.
    Wrote,
}

/// What the hub said to a value, or the plugin to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken, carried out.
    Ok,
    /// The process ended before it was said.
    Unknown,
    /// Refused because the node does not act, or no more.
    Fenced,
    /// Refused for another reason.
    Refused,
}

impl Answer {
    fn of(code: i32) -> Self {
        match code {
            0 => Self::Ok,
            // STALE_EPOCH, STOPPED, NOT_ACTIVE, EXPIRED of the contract.
            -3 | -5 | -7 | -13 => Self::Fenced,
            _ => Self::Refused,
        }
    }
}

/// The file of one node's taps, read on from where it was read last.
#[derive(Debug)]
pub(super) struct TapFile {
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    node: String,
    offset: u64,
    /// An instant and the reading of the clock that the taps use.
    clock: (Instant, u64),
    instances: BTreeMap<(u32, String), Instance>,
    /// By interface, in the order of the lines.
    deeds: BTreeMap<String, Vec<Deed>>,
}

/// One instance of a plugin in one process.
#[derive(Debug, Default)]
struct Instance {
    items: BTreeMap<u64, String>,
    is_told_to_act: bool,
    /// The change of role that came last.
    last_change: Option<(u64, u32)>,
    /// Item and value of writes that are not answered.
    writes: BTreeMap<u64, (String, String)>,
    /// By call, which deeds wait for the hub's answer.
    calls: BTreeMap<u64, Vec<usize>>,
}

impl TapFile {
    pub(super) fn new(node: &str, path: PathBuf) -> Self {
        let read = Read {
            node: node.to_owned(),
            offset: 0,
            clock: (Instant::now(), monotonic_ns()),
            instances: BTreeMap::new(),
            deeds: BTreeMap::new(),
        };
        Self { path, read: Mutex::new(read) }
    }

    /// What the plugin of an interface did so far, in the order in which it was written down, if its time is wanted.
    pub(super) fn deeds(&self, interface: &str, is_wanted: &dyn Fn(Instant) -> bool) -> Result<Vec<Deed>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        match File::open(&self.path) {
            // No plugin has been made yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::file(&self.path)(error)),
            Ok(mut file) => {
                file.seek(SeekFrom::Start(read.offset)).map_err(Error::file(&self.path))?;
                file.read_to_string(&mut text).map_err(Error::file(&self.path))?;
            }
        }
        read.lines(&text).map_err(|line| {
            Error::State(format!("{} has a line that no tap writes: {line}", self.path.display()))
        })?;
        let deeds = read.deeds.get(interface).into_iter().flatten();
        Ok(deeds.filter(|deed| is_wanted(deed.at)).cloned().collect())
    }
}

impl Read {
    /// Takes over whole lines; what is behind the last one is read again later.
    fn lines(&mut self, text: &str) -> std::result::Result<(), String> {
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        for line in whole.lines() {
            self.line(line).ok_or_else(|| line.to_owned())?;
        }
        self.offset += whole.len() as u64;
        Ok(())
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let mut words = line.splitn(5, ' ');
        let at = self.instant(words.next()?.parse().ok()?);
        let process: u32 = words.next()?.parse().ok()?;
        let (id, word, rest) = (words.next()?, words.next()?, words.next().unwrap_or_default());
        let key = (process, id.to_owned());
        if word == "create" {
            self.instances.insert(key, Instance::default());
            return Some(());
        }
        let instance = self.instances.get_mut(&key)?;
        let deeds = self.deeds.entry(id.to_owned()).or_default();
        let (first, tail) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "item" => {
                let columns: Value = serde_json::from_str(tail).ok()?;
                instance.items.insert(first.parse().ok()?, columns["path"].as_str()?.to_owned());
            }
            "role" => {
                let role = tail.split(' ').next()?.parse().ok()?;
                instance.last_change = Some((first.parse().ok()?, role));
                instance.is_told_to_act |= role == ACTIVE;
            }
            "done" => {
                let op: u64 = first.parse().ok()?;
                if instance.last_change.is_some_and(|(last, role)| last == op && role != ACTIVE) {
                    instance.is_told_to_act = false;
                }
            }
            "give" => {
                let mut parts = tail.splitn(4, ' ');
                let (_epoch, item) = (parts.next()?, parts.next()?.parse().ok()?);
                let flags: u32 = parts.next()?.parse().ok()?;
                let text = parts.next().unwrap_or_default().to_owned();
                instance.calls.entry(first.parse().ok()?).or_default().push(deeds.len());
                deeds.push(Deed {
                    at,
                    node: self.node.clone(),
                    what: What::Gave,
                    item: instance.items.get(&item).cloned().unwrap_or_default(),
                    text,
                    answer: Answer::Unknown,
                    is_marked_standby: flags & STANDBY != 0,
                    is_told_to_act: instance.is_told_to_act,
                });
            }
            "given" => {
                let answer = Answer::of(tail.parse().ok()?);
                for index in instance.calls.remove(&first.parse().ok()?).unwrap_or_default() {
                    deeds.get_mut(index)?.answer = answer;
                }
            }
            "write" => {
                let mut parts = tail.splitn(3, ' ');
                let (_epoch, item) = (parts.next()?, parts.next()?.parse().ok()?);
                let item = instance.items.get(&item).cloned().unwrap_or_default();
                let text = parts.next().unwrap_or_default().to_owned();
                instance.writes.insert(first.parse().ok()?, (item, text));
            }
            "written" => {
                let (item, text) = instance.writes.remove(&first.parse().ok()?)?;
                deeds.push(Deed {
                    at,
                    node: self.node.clone(),
                    what: What::Wrote,
                    item,
                    text,
                    answer: Answer::of(tail.parse().ok()?),
                    is_marked_standby: false,
                    is_told_to_act: instance.is_told_to_act,
                });
            }
            "fault" | "destroyed" => {}
            _ => return None,
        }
        Some(())
    }

    fn instant(&self, at_ns: u64) -> Instant {
        let (instant, now_ns) = self.clock;
        match at_ns.checked_sub(now_ns) {
            Some(later) => instant + Duration::from_nanos(later),
            None => instant.checked_sub(Duration::from_nanos(now_ns - at_ns)).unwrap_or(instant),
        }
    }
}

/// The number of the role in which a plugin acts.
const ACTIVE: u32 = 3;
/// The flag of values that a standby publishes.
const STANDBY: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of one instance, one microsecond apart.
    fn read(lines: &[&str]) -> Vec<Deed> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tap");
        let head = ["create /lib.so", "item 4 {\"path\":\"value\"}"];
        let text = |line: (usize, &&str)| format!("{} 7 sim {}\n", line.0 * 1000, line.1);
        let text: String = head.iter().chain(lines).enumerate().map(text).collect();
        std::fs::write(&path, &text).unwrap();
        TapFile::new("main", path).deeds("sim", &|_| true).unwrap()
    }

    fn answers(lines: &[&str]) -> Vec<(What, Answer, bool)> {
        read(lines).iter().map(|deed| (deed.what, deed.answer, deed.is_told_to_act)).collect()
    }

    #[test]
    fn a_value_is_taken_when_the_hub_says_so() {
        let deeds = read(&["role 1 3 5", "done 1 0", "give 0 5 4 0 12", "given 0 0", "give 1 5 4 0 13"]);
        let seen: Vec<_> =
            deeds.iter().map(|deed| (deed.item.as_str(), deed.text.as_str(), deed.answer)).collect();
        assert_eq!(seen, [("value", "12", Answer::Ok), ("value", "13", Answer::Unknown)]);
    }

    #[test]
    fn a_plugin_acts_from_the_order_on_and_until_a_lower_role_is_complete() {
        let seen = answers(&[
            "give 0 0 4 0 1",
            "role 1 3 5",
            "give 1 5 4 0 2",
            "done 1 0",
            "role 2 2 6",
            "give 2 5 4 0 3",
            "done 2 0",
            "give 3 5 4 0 4",
        ]);
        assert_eq!(seen.iter().map(|(.., told)| *told).collect::<Vec<_>>(), [false, true, true, false]);
    }

    #[test]
    fn what_a_plugin_did_before_it_was_made_anew_is_no_leave_to_act() {
        let seen = answers(&["role 1 3 5", "create /lib.so", "give 0 5 4 0 1"]);
        assert_eq!(seen, [(What::Gave, Answer::Unknown, false)]);
    }

    #[test]
    fn a_write_counts_when_it_is_answered_and_as_it_is_answered() {
        let seen = answers(&["role 1 3 5", "write 8 5 4 1", "write 9 5 4 2", "written 8 0", "written 9 -7"]);
        assert_eq!(seen, [(What::Wrote, Answer::Ok, true), (What::Wrote, Answer::Fenced, true)]);
    }

    #[test]
    fn a_line_that_is_not_whole_is_read_later_and_an_odd_one_is_an_error() {
        let mut read = TapFile::new("main", PathBuf::new()).read.into_inner().unwrap();
        read.lines("1 7 sim create x\n2 7 sim give 0 5").unwrap();
        assert_eq!((read.offset, read.deeds.len()), (17, 0));
        assert_eq!(read.lines("2 7 sim gone 0\n"), Err("2 7 sim gone 0".to_owned()));
    }
}
