//! Compares what was sent with what the nodes have: each in its journal, its history and its alarms.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use twinhub_model::{Position, Record, SampleFlags, Value};
use twinhub_store::{Journal, JournalOptions, ReadEnd};

use super::stream::Stream;
use super::{ARRIVAL_LIMIT, ITEMS, MARK_EVERY, TICK};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::rest::Rest;

/// Where numbers and marks have to be once.
pub(super) const BOOKS: [&str; 5] =
    ["journal", "history, active", "history, standby", "alarms, active", "alarms, standby"];

/// How often each number is in a book.
type Counts = BTreeMap<u64, u32>;

/// How often a record, by its position, gives a number a new quality and no more.
type Requalified = BTreeMap<(String, u64), u32>;

/// See the module.
pub(super) struct Judge {
    /// All numbers up to this one were judged.
    checked: u64,
    checked_at: Instant,
    /// Whether a value may come twice.
    may_double: bool,
}

#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) values: u64,
    pub(super) marks: u64,
    /// Of each of [`BOOKS`].
    pub(super) findings: Vec<Finding>,
}

/// What is wrong with a book.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) lost: Vec<u64>,
    pub(super) doubled: Vec<u64>,
}

impl Judge {
    pub(super) fn new(may_double: bool) -> Self {
        Self { checked: 0, checked_at: Instant::now(), may_double }
    }

    pub(super) fn check(&mut self, cluster: &Cluster, stream: &Stream) -> Result<Verdict> {
        let last = stream.pause()?;
        let (active, _) = cluster.wait_active(ARRIVAL_LIMIT)?;
        let standby = cluster.names().into_iter().find(|name| *name != active);
        let standby = standby.ok_or_else(|| Error::State("there is no standby".to_owned()))?;
        let numbers: Vec<u64> = (self.checked + 1..=last).collect();
        let marks: Vec<u64> = numbers.iter().copied().filter(|number| number % MARK_EVERY == 0).collect();
        let begun = Instant::now();
        let mut verdict =
            Verdict { values: numbers.len() as u64, marks: marks.len() as u64, findings: Vec::new() };
        // What is on its way arrives, and what was journaled on both sides is known as one when it is taken in; what is
        // lost does not arrive, however long one waits, and what came twice does not become one.
        loop {
            let is_late = begun.elapsed() > ARRIVAL_LIMIT;
            match self.look(cluster, [&active, &standby], last) {
                Ok(books) => {
                    let wanted = [&numbers, &numbers, &numbers, &marks, &marks];
                    verdict.findings = books
                        .iter()
                        .zip(wanted)
                        .map(|(counts, wanted)| Finding::of(counts, wanted))
                        .collect();
                    if is_late || verdict.findings.iter().all(|finding| finding.is_clean(self.may_double)) {
                        break;
                    }
                }
                Err(error) if is_late => return Err(error),
                Err(_) => {}
            }
            thread::sleep(TICK * 20);
        }
        self.checked = last;
        self.checked_at = begun;
        Ok(verdict)
    }

    fn look(&self, cluster: &Cluster, nodes: [&String; 2], last: u64) -> Result<Vec<Counts>> {
        let (journal, requalified) = count(&journal_folder(cluster.root(), nodes[0])?, self.checked)?;
        let mut books = vec![journal];
        for node in nodes {
            books.push(self.history(cluster.rest(node)?, &requalified)?);
        }
        for node in nodes {
            books.push(self.alarms(cluster.rest(node)?, last)?);
        }
        Ok(books)
    }

    /// How often each new number is in a node's history. A row of a record that has no more than a quality is none.
    fn history(&self, rest: &Rest, requalified: &Requalified) -> Result<Counts> {
        let mut counts = Counts::new();
        let mut requalified = requalified.clone();
        let since = self.checked_at.elapsed() + SLACK;
        for item in 0..ITEMS {
            let path = format!("/history?item=numbers/n{item}&from=-{}s", since.as_secs());
            for row in pages(rest, &path)? {
                let number = row["value"].as_i64().and_then(|number| u64::try_from(number).ok());
                let Some(number) = number.filter(|number| *number > self.checked) else { continue };
                let position = row["position"].as_str().unwrap_or_default().to_owned();
                match requalified.get_mut(&(position, number)) {
                    Some(left) if *left > 0 => *left -= 1,
                    Some(_) | None => *counts.entry(number).or_default() += 1,
                }
            }
        }
        Ok(counts)
    }

    /// How often each new mark was raised, if it is over where it should be.
    fn alarms(&self, rest: &Rest, last: u64) -> Result<Counts> {
        let mut counts = Counts::new();
        for row in pages(rest, "/alarms?state=all&limit=1000")? {
            let number = row["value"].as_str().and_then(|value| value.strip_prefix('-')?.parse::<u64>().ok());
            let Some(number) = number.filter(|number| *number > self.checked) else { continue };
            if row["joined"].is_string() {
                // What both sides of a split raised is one: the other one.
                continue;
            }
            let is_over = row["cleared_at"].is_string();
            if is_over == (number + MARK_EVERY / 2 <= last) {
                *counts.entry(number).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

/// All rows of a list in parts.
fn pages(rest: &Rest, path: &str) -> Result<Vec<serde_json::Value>> {
    let mut rows = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = rest.resource(&format!("{path}{cursor}"))?;
        rows.extend(page["rows"].as_array().into_iter().flatten().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(rows),
        }
    }
}

impl Finding {
    fn of(counts: &Counts, wanted: &[u64]) -> Finding {
        let seen = |number: &u64| counts.get(number).copied().unwrap_or(0);
        let those = |is_wrong: &dyn Fn(u32) -> bool| {
            wanted.iter().copied().filter(|number| is_wrong(seen(number))).collect::<Vec<_>>()
        };
        Finding { lost: those(&|times| times == 0), doubled: those(&|times| times > 1) }
    }

    const fn is_clean(&self, may_double: bool) -> bool {
        self.lost.is_empty() && (self.doubled.is_empty() || may_double)
    }

    fn problem(&self, book: &str, may_double: bool) -> Option<String> {
        let is_fine = self.is_clean(may_double);
        let some = |numbers: &[u64]| numbers.iter().take(5).map(u64::to_string).collect::<Vec<_>>().join(" ");
        (!is_fine).then(|| {
            format!(
                "{book}: {} are lost ({}), {} came twice ({})",
                self.lost.len(),
                some(&self.lost),
                self.doubled.len(),
                some(&self.doubled)
            )
        })
    }
}

impl Verdict {
    pub(super) fn problem(&self, may_double: bool) -> Option<String> {
        let books = BOOKS.iter().zip(&self.findings);
        let problems: Vec<String> =
            books.filter_map(|(book, finding)| finding.problem(book, may_double)).collect();
        (!problems.is_empty())
            .then(|| format!("of {} values and {} marks: {}", self.values, self.marks, problems.join("; ")))
    }
}

/// How often each number above `checked` is in a journal, and what it has new qualities of. The files are copied
/// first: their owner is writing.
fn count(folder: &Path, checked: u64) -> Result<(Counts, Requalified)> {
    let copy = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
    for entry in fs::read_dir(folder).map_err(Error::file(folder))?.flatten() {
        let path = entry.path();
        let is_wanted = path.extension().is_some_and(|end| end == "journal" || end == "dictionary");
        let name = entry.file_name();
        if is_wanted && !name.to_string_lossy().starts_with("fork-") {
            fs::copy(&path, copy.path().join(name)).map_err(Error::file(&path))?;
        }
    }
    let failed = |error: twinhub_store::StoreError| Error::State(format!("journal: {error}"));
    let (journal, _) = Journal::open(JournalOptions::new(copy.path()), Arc::from([])).map_err(failed)?;
    let mut counts = Counts::new();
    let mut requalified = Requalified::new();
    let mut cursor = Position::START;
    loop {
        let mut at = cursor;
        let end = journal
            .visit_after(cursor, 1 << 20, &mut |position, body| {
                at = position;
                if let Ok(Record::Samples(samples)) = twinhub_wire::record::decode(body) {
                    for sample in samples.iter() {
                        let Value::I64(number) = sample.value else { continue };
                        let Ok(number) = u64::try_from(number) else { continue };
                        // A new quality is no new value.
                        if sample.flags.contains(SampleFlags::QUALITY_ONLY) {
                            *requalified.entry((position.to_string(), number)).or_default() += 1;
                        } else if number > checked {
                            *counts.entry(number).or_default() += 1;
                        }
                    }
                }
            })
            .map_err(failed)?;
        cursor = match end {
            ReadEnd::CaughtUp => return Ok((counts, requalified)),
            ReadEnd::Gap { resume } => resume.max(at),
            ReadEnd::More => at,
        };
    }
}

fn journal_folder(root: &Path, node: &str) -> Result<PathBuf> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_journal = path.ends_with("journal/site");
            if is_journal && path.components().any(|part| part.as_os_str() == node) {
                return Ok(path);
            }
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    Err(Error::State(format!("{node} has no journal below {}", root.display())))
}

/// How much earlier than the last look a value may say that it came.
const SLACK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_missing_or_comes_twice_is_a_problem() {
        let verdict = |seen: &[u64]| {
            let mut counts = Counts::new();
            for number in seen {
                *counts.entry(*number).or_default() += 1;
            }
            let findings = vec![Finding::default(), Finding::of(&counts, &[3, 4])];
            Verdict { values: 2, marks: 0, findings }
        };
        assert_eq!(verdict(&[3, 4]).problem(false), None);
        assert_eq!(verdict(&[3, 4, 3]).problem(true), None);
        let doubled = verdict(&[3, 4, 3]).problem(false).unwrap();
        assert!(doubled.contains("history, active: 0 are lost (), 1 came twice (3)"), "{doubled}");
        assert!(verdict(&[3, 3]).problem(true).is_some_and(|text| text.contains("1 are lost (4)")));
    }

    #[test]
    fn numbers_are_counted_in_a_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(JournalOptions::new(folder.path()), Arc::from([])).unwrap();
        journal.begin_epoch(twinhub_model::Epoch(256)).unwrap();
        for number in [1, 2, 2, 4] {
            journal.append_samples(&[sample(number)]).unwrap();
        }
        journal.sync().unwrap();
        let mut quality = sample(4);
        quality.flags = SampleFlags::QUALITY_ONLY;
        let at = journal.append_samples(&[quality, sample(5)]).unwrap();
        journal.sync().unwrap();
        let (counts, requalified) = count(folder.path(), 1).unwrap();
        assert_eq!(requalified, Requalified::from([((at.to_string(), 4), 1)]));
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(2, 2), (4, 1), (5, 1)]);
    }

    fn sample(number: i64) -> twinhub_model::Sample {
        twinhub_model::Sample {
            item: twinhub_model::ItemId(0),
            value: Value::I64(number),
            quality: twinhub_model::Quality::GOOD,
            source: twinhub_model::Timestamp::NONE,
            server: twinhub_model::Timestamp::NONE,
            flags: SampleFlags::default(),
        }
    }
}
