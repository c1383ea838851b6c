//! A whole site on one machine, under traffic.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use twinhub_contract::manifest::Mode;
use twinhub_peers::{Observer, Tap, wait_until};

use crate::artifacts::Artifacts;
use crate::cluster::{Cluster, Roles};
use crate::error::{Error, Result};
use crate::evidence::{COUNTER_TOPIC, Effect, Evidence, SETPOINT_TOPIC};
use crate::field::{DeviceKind, Field};
use crate::figures::{Figures, Window};
use crate::profile::Profile;
use crate::scenario::Scene;
use crate::site::SitePlan;
use crate::traffic::Traffic;

/// What is built.
#[derive(Clone, Copy, Debug)]
pub struct StageOptions {
    /// Timers.
    pub profile: Profile,
    /// Device and broker.
    pub device: DeviceKind,
    /// Main and backups.
    pub nodes: usize,
    /// A plugin whose standby is in another mode than the one that it declares as its default.
    pub varied: Option<Varied>,
}

/// A plugin and the mode of its standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Varied {
    /// `modbus` or `mqtt`.
    pub plugin: &'static str,
    /// The mode.
    pub mode: Mode,
}

impl StageOptions {
    /// What the configuration says of the standby of this plugin.
    fn standby_of(&self, plugin: &str) -> String {
        let varied = self.varied.filter(|varied| varied.plugin == plugin);
        varied.map(|varied| format!("standby = \"{}\"\n", varied.mode)).unwrap_or_default()
    }

    /// Whether nodes that do not act poll the device, too.
    fn polls_while_inactive(&self) -> bool {
        self.varied == Some(Varied { plugin: "modbus", mode: Mode::Hot })
    }
}

/// Site, device, broker, subscriber and publisher, running.
#[derive(Debug)]
pub struct Stage {
    // In the order in which they are ended.
    traffic: Traffic,
    cluster: Cluster,
    observer: Observer,
    field: Field,
    options: StageOptions,
}

impl Stage {
    /// Starts everything and waits until values and commands flow and every standby has everything.
    pub fn start(
        options: StageOptions,
        artifacts: &Artifacts,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let mut plan = SitePlan::new(options.profile, options.nodes)?;
        let names: Vec<String> = plan.nodes.iter().map(|node| node.name.clone()).collect();
        progress("device and broker start");
        let field = Field::start(options.device, artifacts, &names)?;
        plan.interfaces = interfaces(&field, &options);
        plan.items = items();
        let mut cluster = Cluster::prepare(plan, artifacts)?;
        let observer = Observer::start(field.broker_address(), "observer", COUNTER_TOPIC)?;
        let traffic =
            Traffic::start(field.broker_address(), vec![SETPOINT_TOPIC.to_owned()], COMMAND_INTERVAL)?;
        progress(if options.nodes.is_multiple_of(2) { "witness and nodes start" } else { "nodes start" });
        cluster.start_all()?;
        let stage = Self { traffic, cluster, observer, field, options };
        progress("waiting until one node is active and the others are in sync");
        let active = stage.cluster.wait_in_sync(START_LIMIT)?;
        progress(&format!("{active} is active; waiting for the first value and the first command"));
        stage.wait_flow()?;
        Ok(stage)
    }

    /// Waits until the subscriber sees counts and the device takes a command.
    pub fn wait_flow(&self) -> Result<()> {
        let before = self.observer.count();
        let named = |what: &str| format!("{what}\n{}", self.cluster.log_tails());
        wait_until("a value at the subscriber", FLOW_LIMIT, || self.observer.count() > before)
            .map_err(|_| Error::State(named(&format!("no value at the subscriber within {FLOW_LIMIT:?}"))))?;
        self.traffic.resume();
        let sent = self.traffic.commands().last().map_or(1, |(_, number)| number + 1);
        // On a busy machine a newer one may overtake it.
        wait_until("a command at the device", FLOW_LIMIT, || {
            self.field.written_setpoints().is_ok_and(|values| values.iter().any(|value| *value >= sent))
        })
        .map_err(|_| {
            Error::State(named(&format!("command {sent} is not at the device within {FLOW_LIMIT:?}")))
        })
    }

    /// Stops commands, waits until those on their way have arrived (or will not), and collects what was seen.
    pub fn settle(&self) -> Result<Evidence> {
        self.traffic.pause()?;
        let last = self.traffic.commands().last().map_or(0, |(_, number)| *number);
        let is_taken = || self.field.written_setpoints().is_ok_and(|values| values.contains(&last));
        // A command that does not arrive is a figure, not an error.
        drop(wait_until("the last command at the device", SETTLE_LIMIT, is_taken));
        // What was read until now has reached the subscriber once a later count has.
        let read = self.evidence()?.acts.len();
        let before = self.observer.count();
        drop(wait_until("a later value", FLOW_LIMIT, || self.observer.count() > before + 2));
        let evidence = self.evidence()?;
        if evidence.acts.len() == read {
            return Err(Error::State(format!(
                "nobody polls the device any more\n{}",
                self.cluster.log_tails()
            )));
        }
        Ok(evidence)
    }

    /// What was seen so far.
    pub fn evidence(&self) -> Result<Evidence> {
        Evidence::collect(&self.field, &self.observer.messages(), self.traffic.commands())
    }

    /// Waits until `node` does something at the device or broker after `since`.
    pub fn wait_acts(&self, node: &str, since: Instant, limit: Duration) -> Result<()> {
        let taps = self.field.taps().iter().find(|taps| taps.node == node);
        let taps = taps.ok_or_else(|| Error::State(format!("no node {node}")))?;
        let sent = |tap: &Tap| {
            let recent = tap.events_from(tap.count().saturating_sub(RECENT_EVENTS));
            recent
                .into_iter()
                .any(|event| event.at >= since && Effect::of(&event.sent).is_some_and(Effect::is_sent))
        };
        let acted = || sent(&taps.modbus) && sent(&taps.mqtt);
        wait_until("takeover", limit, acted).map_err(|_| {
            Error::State(format!("{node} does not act within {limit:?}\n{}", self.cluster.log_tails()))
        })
    }

    /// The processes.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The processes, to do something to them.
    pub fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// Device, broker, taps.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// The subscriber.
    pub fn observer(&self) -> &Observer {
        &self.observer
    }

    /// The commands.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What was built.
    pub fn options(&self) -> StageOptions {
        self.options
    }

    /// Active and first standby, and the epoch.
    pub fn roles(&self) -> Result<Roles> {
        self.cluster.roles()
    }
}

impl Scene for Stage {
    type Figures = Figures;

    fn profile(&self) -> Profile {
        self.options.profile
    }

    fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn cluster_mut(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    fn wait_flow(&self) -> Result<()> {
        Self::wait_flow(self)
    }

    fn wait_acts(&self, node: &str, since: Instant, limit: Duration) -> Result<()> {
        Self::wait_acts(self, node, since, limit)
    }

    fn judge(&self, window: &Window, limit: Duration) -> Result<(Figures, Vec<String>)> {
        let mut evidence = self.settle()?;
        if self.options.polls_while_inactive() {
            evidence.leave_out_standby_polls(window);
        }
        let figures = Figures::of(&evidence, window);
        let problems = figures.problems(window.new.is_some(), limit);
        Ok((figures, problems))
    }
}

fn interfaces(field: &Field, options: &StageOptions) -> String {
    let mut text = String::new();
    write_interfaces(field, options, &mut text).expect("a String takes any text");
    text
}

fn write_interfaces(field: &Field, options: &StageOptions, text: &mut String) -> std::fmt::Result {
    let Some(first) = field.taps().first() else { return Ok(()) };
    for taps in &field.taps()[1..] {
        writeln!(text, "[nodes.{}.override]", taps.node)?;
        writeln!(text, "interface.plc1.settings.address = \"{}\"", taps.modbus.address())?;
        writeln!(text, "interface.mqtt1.settings.broker = \"mqtt://{}\"\n", taps.mqtt.address())?;
    }
    write!(
        text,
        r#"[[interface]]
id = "plc1"
plugin = "modbus"
items = "items/plc1.csv"
settings = {{ address = "{}", unit = 1, poll = "{}ms", timeout = "500ms" }}
{}
[[interface]]
id = "mqtt1"
plugin = "mqtt"
items = "items/mqtt1.csv"
settings = {{ broker = "mqtt://{}", status_topic = "" }}
{}
[[link]]
from = "plc1/counter"
to = "mqtt1/counter"

[[link]]
from = "mqtt1/setpoint"
to = "plc1/setpoint"
delivery = "command"
"#,
        first.modbus.address(),
        POLL_INTERVAL.as_millis(),
        options.standby_of("modbus"),
        first.mqtt.address(),
        options.standby_of("mqtt")
    )
}

fn items() -> Vec<(String, String)> {
    let plc = "path,address,type,access,unit,description,poll\n\
               counter,hr:0,u16,r,,Counts up by itself,\n\
               setpoint,hr:20,u16,w,,Takes numbered commands,off\n";
    let mqtt = format!(
        "path,address,type,access,unit,description,edge\n\
         counter,{COUNTER_TOPIC},u16,w,,Every count,\n\
         setpoint,{SETPOINT_TOPIC},u16,r,,Numbered commands,true\n"
    );
    vec![("plc1.csv".to_owned(), plc.to_owned()), ("mqtt1.csv".to_owned(), mqtt)]
}

/// How often the device is polled.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Between two commands.
pub(crate) const COMMAND_INTERVAL: Duration = Duration::from_millis(50);
/// More than a node does between two looks.
const RECENT_EVENTS: usize = 500;
const START_LIMIT: Duration = Duration::from_secs(30);
const FLOW_LIMIT: Duration = Duration::from_secs(10);
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
