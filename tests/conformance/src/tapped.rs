//! Plugins with nobody on the other side, seen where they meet the hub.
//!
//! A simulation and the examples have no device whose log could judge them. What they do is what they say to the hub:
//! they give values and carry out writes. So each node loads a tap (`tap/tap.c`) in place of the library, which loads
//! the unchanged library behind it and writes down, with time and process, what passes in both directions: roles, values
//! with the hub's answer, writes with the plugin's. The judge believes these files, the broker's subscriber and a tap on
//! each node's way to the broker, and never what the hub says of itself:
//!
//! ```text
//!  commands -> mosquitto -> tap -> hub: mqtt -> link -> plugin under its tap
//!  subscriber <- mosquitto <- tap <- hub: mqtt <- link <- value of the plugin
//! ```
//!
//! - *Lost* is a value that the hub took from the plugin and that never reached the subscriber, *doubled* one that reached
//!   it once more than it was given. Counters begin anew on another node, so what was given and what arrived are aligned
//!   as sequences, not compared as sets.
//! - *Stray* is whatever a plugin does that has not been told to act, taken by the hub or not, and whatever is taken
//!   from a node that does not act.
//! - *Two writers* are values taken and writes carried out on the old node after the first act on the new one.
//! - *Takeover* is from the last act on the old node to the first value given on the new one, at the subscriber.
//!
//! All plugins in all their standby modes stand on one stage, so one fault tries each of them. They run in the hub's
//! process, since the sandbox of a child lets no library write a file.

mod align;
mod figures;
mod library;
mod log;
mod record;
mod subject;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use twinhub_contract::manifest::Mode;
use twinhub_peers::{Message, Mosquitto, Observer, Packet, Sent, Tap, monotonic_ns, wait_until};

use crate::artifacts::Artifacts;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::figures::Window;
use crate::profile::Profile;
use crate::scenario::Scene;
use crate::site::SitePlan;
use crate::traffic::Traffic;
use figures::Evidence;
use library::Tapped;
use log::TapFile;

pub use figures::{PartFigures, TappedFigures};
pub use record::{TappedRecorder, run_tapped};
pub use subject::Subject;

/// One plugin in one mode: an interface of its own.
#[derive(Clone, Debug)]
pub struct Part {
    /// Id of the interface.
    pub id: String,
    /// The plugin.
    pub subject: Subject,
    /// Mode of its standby.
    pub mode: Mode,
}

/// A site whose interfaces are plugins under taps, with a broker beside them.
#[derive(Debug)]
pub struct TappedStage {
    // In the order in which they are ended.
    traffic: Traffic,
    cluster: Cluster,
    observer: Observer,
    arrived: Mutex<Arrived>,
    ways: Vec<(String, Tap)>,
    _broker: Mosquitto,
    taps: Vec<TapFile>,
    libraries: Vec<Tapped>,
    parts: Vec<Part>,
    profile: Profile,
    _folder: TempDir,
}

impl TappedStage {
    /// Starts everything and waits until every plugin gives values and takes commands.
    pub fn start(
        profile: Profile,
        subjects: &[Subject],
        artifacts: &Artifacts,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
        progress("taps are built");
        let libraries = subjects
            .iter()
            .map(|subject| Tapped::build(subject, artifacts, folder.path()))
            .collect::<Result<Vec<_>>>()?;
        let parts: Vec<Part> = libraries.iter().flat_map(Tapped::parts).collect();
        let broker = Mosquitto::start()?;
        let mut plan = SitePlan::new(profile, 2)?;
        let ways = plan
            .nodes
            .iter()
            .map(|node| Ok((node.name.clone(), Tap::mqtt(broker.address())?)))
            .collect::<Result<Vec<_>>>()?;
        plan.interfaces = interfaces(&parts, &ways);
        plan.items = items(&parts);
        let mut cluster = Cluster::prepare(plan, artifacts)?;
        cluster.put_taps(folder.path());
        let observer = Observer::start(broker.address(), "observer", "tapped/+/value")?;
        let topics = parts.iter().map(|part| topic(&part.id, "command")).collect();
        let traffic = Traffic::start(broker.address(), topics, INTERVAL)?;
        let taps = cluster.names().iter().map(|name| TapFile::new(name, cluster.tap_file(name))).collect();
        progress("witness and nodes start");
        cluster.start_all()?;
        let stage = Self {
            traffic,
            cluster,
            observer,
            arrived: Mutex::default(),
            ways,
            _broker: broker,
            taps,
            libraries,
            parts,
            profile,
            _folder: folder,
        };
        progress("waiting until one node is active and the other is in sync");
        let active = stage.cluster.wait_in_sync(START_LIMIT)?;
        progress(&format!("{active} is active; waiting for values and commands of {}", stage.names()));
        Scene::wait_flow(&stage)?;
        Ok(stage)
    }

    /// The plugins in their modes.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The processes, to keep their logs.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    fn names(&self) -> String {
        self.parts.iter().map(|part| part.id.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// What taps, subscriber and publisher have seen so far, of each part.
    fn evidence(&self) -> Result<BTreeMap<String, Evidence>> {
        let mut found = self.evidence_since(None)?;
        for (id, seen) in &mut found {
            let topic = topic(id, "value");
            for (node, way) in &self.ways {
                let published = way.events().into_iter().filter(|event| is_publish(&event.sent, &topic));
                seen.sent.extend(published.map(|event| (event.at, node.clone())));
            }
            seen.sent.sort_by_key(|(at, _)| *at);
        }
        Ok(found)
    }

    /// The same without what went to the broker, and only from a moment on: cheap enough to be asked for often.
    fn evidence_since(&self, since: Option<Instant>) -> Result<BTreeMap<String, Evidence>> {
        let is_late = |at: Instant| since.is_none_or(|since| at >= since);
        let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let news = self.observer.messages_from(arrived.read);
        arrived.take(news);
        let commands = self.traffic.commands();
        let mut found = BTreeMap::new();
        for part in &self.parts {
            let mut deeds = Vec::new();
            for tap in &self.taps {
                deeds.extend(tap.deeds(&part.id, &is_late)?);
            }
            deeds.sort_by_key(|deed| deed.at);
            let all = arrived.by_topic.get(&topic(&part.id, "value"));
            let arrivals = all.into_iter().flatten().filter(|(at, _)| is_late(*at)).copied().collect();
            let value = part.subject.value.0.to_owned();
            let seen = Evidence { value, deeds, sent: Vec::new(), arrivals, commands: commands.clone() };
            found.insert(part.id.clone(), seen);
        }
        Ok(found)
    }

    /// Puts what reached the subscriber beside the files of the taps, with the same clock, for whoever looks for the cause.
    fn write_arrivals(&self) -> Result<()> {
        let (now, now_ns) = (Instant::now(), u128::from(monotonic_ns()));
        let mut text = String::new();
        for message in self.observer.messages() {
            let at = now_ns - now.duration_since(message.at).as_nanos();
            writeln!(text, "{at} {} {}", message.topic, message.text()).expect("a String takes any text");
        }
        let path = self.cluster.root().join("arrivals");
        fs::write(&path, text).map_err(Error::file(&path))
    }

    /// Waits until this holds of what was seen of every part from a moment on; the error names those of which it does not.
    fn wait_parts(
        &self,
        what: &str,
        since: Instant,
        limit: Duration,
        holds: impl Fn(&Evidence) -> bool,
    ) -> Result<()> {
        let mut missing = Vec::new();
        let waited = wait_until(what, limit, || {
            let Ok(evidence) = self.evidence_since(Some(since)) else { return false };
            missing = evidence.iter().filter(|(_, seen)| !holds(seen)).map(|(id, _)| id.clone()).collect();
            missing.is_empty()
        });
        waited.map_err(|_| {
            let missing = missing.join(", ");
            Error::State(format!("{what}: not within {limit:?} of {missing}\n{}", self.cluster.log_tails()))
        })
    }
}

/// Numbers at the subscriber, read on from where they were read last.
#[derive(Debug, Default)]
struct Arrived {
    read: usize,
    by_topic: BTreeMap<String, Vec<(Instant, u64)>>,
}

impl Arrived {
    fn take(&mut self, messages: Vec<Message>) {
        self.read += messages.len();
        for message in messages {
            // A greeting is no number.
            if let Ok(number) = message.text().parse() {
                self.by_topic.entry(message.topic).or_default().push((message.at, number));
            }
        }
    }
}

impl Scene for TappedStage {
    type Figures = TappedFigures;

    fn profile(&self) -> Profile {
        self.profile
    }

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    fn wait_flow(&self) -> Result<()> {
        self.traffic.resume();
        let now = Instant::now();
        let what = "a command carried out, then a value at the subscriber";
        self.wait_parts(what, now, FLOW_LIMIT, |seen| {
            seen.first_carried_out(None, now)
                .is_some_and(|at| seen.arrivals.iter().any(|(when, _)| *when > at))
        })
    }

    fn wait_acts(&self, node: &str, since: Instant, limit: Duration) -> Result<()> {
        self.wait_parts(&format!("a value and a command on {node}"), since, limit, |seen| {
            seen.first_carried_out(Some(node), since).is_some() && seen.first_value(node, since).is_some()
        })
    }

    fn judge(&self, window: &Window, limit: Duration) -> Result<(TappedFigures, Vec<String>)> {
        self.traffic.pause()?;
        let now = Instant::now();
        // What does not arrive is a figure, not an error.
        let is_settled = |seen: &Evidence| seen.is_settled(now);
        drop(self.wait_parts("what is on its way has arrived", window.fault, SETTLE_LIMIT, is_settled));
        let figures = TappedFigures::of(&self.evidence()?, window);
        let problems = figures.problems(window, limit + INTERVAL);
        if !problems.is_empty() {
            self.write_arrivals()?;
        }
        Ok((figures, problems))
    }
}

fn is_publish(sent: &Sent, wanted: &str) -> bool {
    matches!(sent, Sent::Packet(Packet::Publish { topic, .. }) if topic == wanted)
}

fn topic(part: &str, what: &str) -> String {
    format!("tapped/{part}/{what}")
}

fn interfaces(parts: &[Part], ways: &[(String, Tap)]) -> String {
    let mut text = String::new();
    write_interfaces(parts, ways, &mut text).expect("a String takes any text");
    text
}

fn write_interfaces(parts: &[Part], ways: &[(String, Tap)], text: &mut String) -> std::fmt::Result {
    let Some(((_, first), others)) = ways.split_first() else { return Ok(()) };
    for (node, way) in others {
        writeln!(
            text,
            "[nodes.{node}.override]\ninterface.mqtt1.settings.broker = \"mqtt://{}\"\n",
            way.address()
        )?;
    }
    write!(
        text,
        "[[interface]]\nid = \"mqtt1\"\nplugin = \"mqtt\"\nitems = \"items/mqtt1.csv\"\n\
         settings = {{ broker = \"mqtt://{}\", status_topic = \"\" }}\n",
        first.address()
    )?;
    for Part { id, subject, mode } in parts {
        let Subject { plugin, settings, value, command, .. } = subject;
        write!(
            text,
            "\n[[interface]]\nid = \"{id}\"\nplugin = \"{plugin}\"\nstandby = \"{mode}\"\nhosting = \"inproc\"\n\
             items = \"items/{id}.csv\"\nsettings = {{ {settings} }}\n\n\
             [[link]]\nfrom = \"{id}/{}\"\nto = \"mqtt1/{id}/value\"\n\n\
             [[link]]\nfrom = \"mqtt1/{id}/command\"\nto = \"{id}/{}\"\ndelivery = \"command\"\n",
            value.0, command.0
        )?;
    }
    Ok(())
}

fn items(parts: &[Part]) -> Vec<(String, String)> {
    let mut broker = "path,address,type,access,unit,description,edge\n".to_owned();
    let mut files = Vec::new();
    for Part { id, subject, .. } in parts {
        let (value, command) = (&subject.value, &subject.command);
        broker = format!(
            "{broker}{id}/value,{},{},w,,Every value,\n{id}/command,{},{},r,,Numbered commands,true\n",
            topic(id, "value"),
            value.2,
            topic(id, "command"),
            command.2
        );
        let mut own = format!("path,address,type,access\n{},{},{},rw\n", command.0, command.1, command.2);
        if value.0 != command.0 {
            own = format!("{own}{},{},{},r\n", value.0, value.1, value.2);
        }
        files.push((format!("{id}.csv"), own));
    }
    files.push(("mqtt1.csv".to_owned(), broker));
    files
}

/// Where the plugins of this repository are, from its root on.
fn sources(subject: &Subject) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(&subject.sources)
}

/// Between two values, and between two commands.
const INTERVAL: Duration = Duration::from_millis(100);
const START_LIMIT: Duration = Duration::from_secs(60);
const FLOW_LIMIT: Duration = Duration::from_secs(20);
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
