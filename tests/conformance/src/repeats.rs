//! `cargo xtask conformance --repeats N`: the same faults many times, at random moments, under a steady stream of
//! numbered values, judged by the journal of the node that acts afterwards, and by the history and the alarms of both:
//! every number once, and every mark raised and over once.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use twinhub_peers::{Cut, Mosquitto};

use crate::artifacts::Artifacts;
use crate::bench::load_average;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::profile::Profile;
use crate::scenario::Scenario;
use crate::site::SitePlan;
use crate::table::table;
use judge::{Judge, Verdict};
use stream::Stream;

mod judge;
mod stream;

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
                _ => {
                    return Err(Error::unknown_option(
                        word,
                        "--repeats N, --rate N, --scenario S, --profile P, --ack-after WORD, --shared",
                    ));
                }
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
             settings = {{ broker = \"mqtt://{broker}\", status_topic = \"\"{session} }}\n\
             [[alarm]]\nid = \"mark\"\nitem = \"numbers/mark\"\nwhen = \"low\"\nvalue = -0.5\n\
             acknowledge = false\n",
            self.ack_after
        )
    }
}

/// What came of the repeats of one scenario.
#[derive(Debug, Default)]
struct Tally {
    repeats: u32,
    values: u64,
    marks: u64,
    /// What each book lacks and has twice, in the order of [`judge::BOOKS`].
    wrong: [(u64, u64); judge::BOOKS.len()],
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
    let mut judge = Judge::new(options.shared);
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
                    tally.add(&verdict);
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
        "\n{} numbered values/s over {ITEMS} items, an alarm every {MARK_EVERY}, profile {}, receipt after {}{}; mosquitto {}; load average {}\n{}",
        options.rate,
        options.profile,
        options.ack_after,
        if options.shared { ", one session for both nodes, standby cold" } else { ", standby hot" },
        Mosquitto::version()?,
        load_average(),
        table(&head(), &rows)
    ));
    if !is_clean {
        say(&format!("logs and journals are kept in {}", cluster.keep_folder().display()));
    }
    Ok(is_clean)
}

impl Tally {
    fn add(&mut self, verdict: &Verdict) {
        self.values += verdict.values;
        self.marks += verdict.marks;
        for (wrong, finding) in self.wrong.iter_mut().zip(&verdict.findings) {
            wrong.0 += finding.lost.len() as u64;
            wrong.1 += finding.doubled.len() as u64;
        }
    }

    fn row(&self, title: &str) -> Vec<String> {
        let begin =
            [title.to_owned(), self.repeats.to_string(), self.values.to_string(), self.marks.to_string()];
        let wrong = self.wrong.iter().map(|(lost, doubled)| format!("{lost} / {doubled}"));
        let verdict = if self.problems.is_empty() { "pass" } else { "FAIL" };
        begin.into_iter().chain(wrong).chain([verdict.to_owned()]).collect()
    }
}

/// Each book's column has what it lacks and what it has twice.
fn head() -> Vec<&'static str> {
    ["what was done", "times", "values", "alarms"]
        .into_iter()
        .chain(judge::BOOKS)
        .chain(["verdict"])
        .collect()
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

fn items() -> String {
    let row =
        |path: String, topic: String| format!("{path},numbers/{topic},i64,r,,Numbered values,true,true\n");
    let rows = (0..ITEMS).map(|number| row(format!("n{number}"), number.to_string()));
    let header = "path,address,type,access,unit,description,edge,historize\n".to_owned();
    [header].into_iter().chain(rows).chain([row("mark".to_owned(), "mark".to_owned())]).collect()
}

/// A random part of a second, so that no timer is always met at the same phase.
fn any_phase() -> Duration {
    Duration::from_micros(RandomState::new().hash_one(0_u8) % 1_000_000)
}

/// Topics that the numbers go to in turn.
const ITEMS: u64 = 50;
/// Every so many numbers an alarm is raised, whose value is the number, and is over after half as many.
const MARK_EVERY: u64 = 100;
const TICK: Duration = Duration::from_millis(2);
/// Some values before each fault.
const CALM: Duration = Duration::from_millis(300);
const SYNC_LIMIT: Duration = Duration::from_secs(60);
const ARRIVAL_LIMIT: Duration = Duration::from_secs(20);
/// So that a late takeover is told from none.
const GRACE: Duration = Duration::from_secs(20);
const PROGRESS_EVERY: u32 = 5;
