//! `cargo xtask conformance --repeats N`: the same faults many times, at random moments, under a steady stream of
//! numbered values, judged by the journal of the node that acts afterwards: every number once.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use twinhub_model::{Position, Record, SampleFlags, Value};
use twinhub_peers::{Commander, Cut, Mosquitto, wait_until};
use twinhub_store::{Journal, JournalOptions, ReadEnd};

use crate::artifacts::Artifacts;
use crate::bench::load_average;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::profile::Profile;
use crate::scenario::Scenario;
use crate::site::SitePlan;
use crate::table::table;

/// What is repeated.
#[derive(Clone, Debug)]
pub struct RepeatOptions {
    /// How often each scenario is played.
    pub repeats: u32,
    /// Numbered values per second.
    pub rate: u32,
    /// Scenarios.
    pub scenarios: Vec<Scenario>,
    /// Timers.
    pub profile: Profile,
    /// `local` or `peer`: when a message gets its receipt.
    pub ack_after: String,
    /// One session at the broker for all nodes, and a cold standby: no node hears what the other hears.
    pub shared: bool,
}

impl RepeatOptions {
    /// Reads `--repeats N --rate N --scenario S --profile P --ack-after WORD --shared`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self {
            repeats: 50,
            rate: 1_000,
            scenarios: Vec::new(),
            profile: Profile::Normal,
            ack_after: "local".to_owned(),
            shared: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--shared" {
                options.shared = true;
                continue;
            }
            let value = words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")))?;
            let wrong = |_| Error::Usage(format!("{word}: `{value}` is no number that fits"));
            match word.as_str() {
                "--repeats" => options.repeats = value.parse().map_err(wrong)?,
                "--rate" => options.rate = value.parse::<u32>().map_err(wrong)?.clamp(1, 100_000),
                "--scenario" => options.scenarios.push(value.parse()?),
                "--profile" => options.profile = value.parse()?,
                "--ack-after" => value.clone_into(&mut options.ack_after),
                _ => return Err(Error::Usage(format!("unknown option {word}"))),
            }
        }
        if options.scenarios.is_empty() {
            options.scenarios = Scenario::ALL.to_vec();
        }
        Ok(options)
    }

    fn interfaces(&self, broker: SocketAddr) -> String {
        let session = if self.shared { ", client_id = \"hub\", shared_session = true" } else { "" };
        let standby = if self.shared { "cold" } else { "hot" };
        format!(
            "[[interface]]\nid = \"numbers\"\nplugin = \"mqtt\"\nstandby = \"{standby}\"\nack_after = \"{}\"\n\
             items = \"items/numbers.csv\"\n\
             settings = {{ broker = \"mqtt://{broker}\", status_topic = \"\"{session} }}\n",
            self.ack_after
        )
    }
}

/// What came of the repeats of one scenario.
#[derive(Debug, Default)]
struct Tally {
    repeats: u32,
    values: u64,
    lost: u64,
    doubled: u64,
    problems: Vec<String>,
}

/// Runs it; false when something was lost, or came twice where nothing may.
pub fn run_repeats(options: &RepeatOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let broker = Mosquitto::start()?;
    let mut plan = SitePlan::new(options.profile, 2)?;
    plan.interfaces = options.interfaces(broker.address());
    plan.items = vec![("numbers.csv".to_owned(), items())];
    let mut cluster = Cluster::prepare(plan, &artifacts)?;
    say("repeats: the pair starts");
    cluster.start_all()?;
    cluster.wait_in_sync(SYNC_LIMIT)?;
    let stream = Stream::start(broker.address(), options.rate)?;
    stream.resume();
    let mut judge = Judge { checked: 0 };
    judge.check(&cluster, &stream)?;
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    let mut is_clean = true;
    'all: for repeat in 1..=options.repeats {
        for scenario in &options.scenarios {
            stream.resume();
            let played = play(*scenario, options, &mut cluster);
            let tally = tallies.entry(scenario.title()).or_default();
            tally.repeats += 1;
            let problem = match played.and_then(|()| judge.check(&cluster, &stream)) {
                Ok(verdict) => {
                    tally.values += verdict.values;
                    tally.lost += verdict.lost.len() as u64;
                    tally.doubled += verdict.doubled.len() as u64;
                    verdict.problem(options.shared)
                }
                Err(error) => Some(error.chain()),
            };
            if let Some(problem) = problem {
                say(&format!("{scenario} {repeat}/{}: {problem}", options.repeats));
                tally.problems.push(problem);
                is_clean = false;
                break 'all;
            }
        }
        if repeat % PROGRESS_EVERY == 0 {
            say(&format!("repeats: {repeat}/{} of each are done", options.repeats));
        }
    }
    let rows: Vec<Vec<String>> = tallies.iter().map(|(title, tally)| tally.row(title)).collect();
    say(&format!(
        "\n{} numbered values/s over {ITEMS} items, profile {}, receipt after {}{}; mosquitto {}; load average {}\n{}",
        options.rate,
        options.profile,
        options.ack_after,
        if options.shared { ", one session for both nodes, standby cold" } else { ", standby hot" },
        Mosquitto::version()?,
        load_average(),
        table(&["what was done", "times", "values", "lost", "doubled", "verdict"], &rows)
    ));
    if !is_clean {
        say(&format!("logs and journals are kept in {}", cluster.keep_folder().display()));
    }
    Ok(is_clean)
}

impl Tally {
    fn row(&self, title: &str) -> Vec<String> {
        vec![
            title.to_owned(),
            self.repeats.to_string(),
            self.values.to_string(),
            self.lost.to_string(),
            self.doubled.to_string(),
            if self.problems.is_empty() { "pass" } else { "FAIL" }.to_owned(),
        ]
    }
}

/// Does it at a random moment, lets the new order run, repairs what was done, and waits until the pair is whole.
fn play(scenario: Scenario, options: &RepeatOptions, cluster: &mut Cluster) -> Result<()> {
    let old = cluster.wait_in_sync(SYNC_LIMIT)?;
    let new = cluster.names().into_iter().find(|name| *name != old);
    let new = new.ok_or_else(|| Error::State("there is no standby".to_owned()))?;
    thread::sleep(CALM + any_phase());
    match scenario {
        Scenario::Crash => drop(cluster.kill(&old)?),
        Scenario::CrashHub => drop(cluster.kill_hub(&old)?),
        Scenario::Freeze => drop(cluster.freeze(&old)?),
        Scenario::Cut => drop(cluster.cut_peer_links(Cut::Silent)),
        Scenario::Planned => drop(cluster.rest(&old)?.switchover(&new)?),
    }
    if scenario.moves() {
        cluster.wait_state(&new, "active", options.profile.takeover_limit() + GRACE)?;
    }
    thread::sleep(any_phase());
    match scenario {
        Scenario::Crash => cluster.start(&old)?,
        Scenario::Freeze => drop(cluster.thaw(&old)?),
        Scenario::Cut => {
            thread::sleep(options.profile.lease());
            cluster.heal_peer_links();
        }
        Scenario::CrashHub | Scenario::Planned => {}
    }
    let active = cluster.wait_in_sync(SYNC_LIMIT)?;
    if scenario.moves() == (active == old) {
        return Err(Error::State(format!("{active} is active after {scenario} of {old}")));
    }
    Ok(())
}

/// Publishes 1, 2, 3, … over all items until dropped.
struct Stream {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    confirmed: AtomicU64,
    is_paused: AtomicBool,
    is_stopped: AtomicBool,
    failure: Mutex<Option<String>>,
}

impl Stream {
    fn start(broker: SocketAddr, rate: u32) -> Result<Self> {
        let commander = Commander::start(broker, "numbers")?;
        let shared = Arc::new(Shared { is_paused: AtomicBool::new(true), ..Shared::default() });
        let thread = thread::Builder::new()
            .name("numbers".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || publish(&commander, &shared, rate)
            })
            .map_err(Error::file("thread for numbers"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    fn resume(&self) {
        self.shared.is_paused.store(false, Ordering::SeqCst);
    }

    /// Stops sending, waits until the broker has everything, and gives the last number.
    fn pause(&self) -> Result<u64> {
        self.shared.is_paused.store(true, Ordering::SeqCst);
        // A burst that is under way ends first.
        thread::sleep(TICK * 5);
        wait_until("the broker has all numbers", SYNC_LIMIT, || {
            self.shared.confirmed.load(Ordering::SeqCst) == self.shared.sent.load(Ordering::SeqCst)
        })?;
        match &*self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(Error::State(failure.clone())),
            None => Ok(self.shared.sent.load(Ordering::SeqCst)),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn publish(commander: &Commander, shared: &Shared, rate: u32) {
    let mut number = 0;
    let mut since = (Instant::now(), 0_u64);
    while !shared.is_stopped.load(Ordering::SeqCst) {
        thread::sleep(TICK);
        shared.confirmed.store(commander.acknowledged(), Ordering::SeqCst);
        if shared.is_paused.load(Ordering::SeqCst) {
            since = (Instant::now(), number);
            continue;
        }
        let due =
            since.1 + u64::try_from(since.0.elapsed().as_micros()).unwrap_or(0) * u64::from(rate) / 1_000_000;
        while number < due {
            number += 1;
            let topic = format!("numbers/{}", number % ITEMS);
            if let Err(error) = commander.publish(&topic, &number.to_string()) {
                *shared.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                return;
            }
            shared.sent.store(number, Ordering::SeqCst);
        }
    }
}

/// Compares what was sent with what the journal of the active node has.
struct Judge {
    /// All numbers up to this one were judged.
    checked: u64,
}

#[derive(Debug, Default)]
struct Verdict {
    values: u64,
    lost: Vec<u64>,
    doubled: Vec<u64>,
}

impl Judge {
    fn check(&mut self, cluster: &Cluster, stream: &Stream) -> Result<Verdict> {
        let last = stream.pause()?;
        let active = cluster.active().ok_or_else(|| Error::State("no node is active".to_owned()))?;
        let folder = journal_folder(cluster.root(), &active)?;
        let mut verdict = Verdict::default();
        let mut is_settled = false;
        // What is on its way arrives; what is lost does not, however long one waits.
        let until = Instant::now() + ARRIVAL_LIMIT;
        while !is_settled {
            is_settled = Instant::now() > until;
            let counts = count(&folder, self.checked)?;
            let numbers = self.checked + 1..=last;
            let seen = |number: u64| counts.get(&number).copied().unwrap_or(0);
            verdict.values = last - self.checked;
            verdict.lost = numbers.clone().filter(|number| seen(*number) == 0).collect();
            verdict.doubled = numbers.filter(|number| seen(*number) > 1).collect();
            is_settled |= verdict.lost.is_empty();
            if !is_settled {
                thread::sleep(TICK * 20);
            }
        }
        self.checked = last;
        Ok(verdict)
    }
}

impl Verdict {
    fn problem(&self, may_double: bool) -> Option<String> {
        let is_fine = self.lost.is_empty() && (self.doubled.is_empty() || may_double);
        let some = |numbers: &[u64]| numbers.iter().take(5).map(u64::to_string).collect::<Vec<_>>().join(" ");
        (!is_fine).then(|| {
            format!(
                "of {} values {} are lost ({}), {} came twice ({})",
                self.values,
                self.lost.len(),
                some(&self.lost),
                self.doubled.len(),
                some(&self.doubled)
            )
        })
    }
}

/// How often each number above `checked` is in a journal. The files are copied first: their owner is writing.
fn count(folder: &Path, checked: u64) -> Result<BTreeMap<u64, u32>> {
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
    let mut counts = BTreeMap::new();
    let mut cursor = Position::START;
    loop {
        let mut at = cursor;
        let end = journal
            .visit_after(cursor, 1 << 20, &mut |position, body| {
                at = position;
                if let Ok(Record::Samples(samples)) = twinhub_wire::record::decode(body) {
                    for sample in samples.iter() {
                        // A new quality is no new value.
                        if !sample.flags.contains(SampleFlags::QUALITY_ONLY)
                            && let Value::I64(number) = sample.value
                            && let Ok(number) = u64::try_from(number)
                            && number > checked
                        {
                            *counts.entry(number).or_default() += 1;
                        }
                    }
                }
            })
            .map_err(failed)?;
        cursor = match end {
            ReadEnd::CaughtUp => return Ok(counts),
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

fn items() -> String {
    let rows = (0..ITEMS).map(|number| format!("n{number},numbers/{number},i64,r,,Numbered values,true\n"));
    ["path,address,type,access,unit,description,edge\n".to_owned()].into_iter().chain(rows).collect()
}

/// A random part of a second, so that no timer is always met at the same phase.
fn any_phase() -> Duration {
    Duration::from_micros(RandomState::new().hash_one(0_u8) % 1_000_000)
}

/// Topics that the numbers go to in turn.
const ITEMS: u64 = 50;
const TICK: Duration = Duration::from_millis(2);
/// Some values before each fault.
const CALM: Duration = Duration::from_millis(300);
const SYNC_LIMIT: Duration = Duration::from_secs(60);
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);
/// So that a late takeover is told from none.
const GRACE: Duration = Duration::from_secs(20);
const PROGRESS_EVERY: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_missing_or_comes_twice_is_a_problem() {
        let verdict = |lost: &[u64], doubled: &[u64]| Verdict {
            values: 9,
            lost: lost.to_vec(),
            doubled: doubled.to_vec(),
        };
        assert_eq!(verdict(&[], &[]).problem(false), None);
        assert_eq!(verdict(&[], &[3]).problem(true), None);
        assert!(verdict(&[], &[3]).problem(false).is_some_and(|text| text.contains("1 came twice (3)")));
        assert!(verdict(&[4], &[]).problem(true).is_some_and(|text| text.contains("1 are lost (4)")));
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
        let counts = count(folder.path(), 1).unwrap();
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(2, 2), (4, 1)]);
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
