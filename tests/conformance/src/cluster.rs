//! Witness and nodes as processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use twinhub_peers::{Cut, Process, Signal, signal_process, tree, wait_for, wait_gone};

use crate::artifacts::Artifacts;
use crate::error::{Error, Result};
use crate::rest::{GroupStatus, Rest};
use crate::site::{CONFIG_FILE, SitePlan};

/// A running site.
#[derive(Debug)]
pub struct Cluster {
    plan: SitePlan,
    artifacts: Artifacts,
    folder: TempDir,
    /// Libraries that stand before the ones of the product.
    taps: Option<PathBuf>,
    witness: Option<Process>,
    nodes: Vec<Member>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The active node.
    pub active: String,
    /// The first of the others.
    pub standby: String,
    /// The fencing number: another one means that the role moved, or was lost and won again.
    pub epoch: String,
}

#[derive(Debug)]
struct Member {
    name: String,
    rest: Rest,
    process: Option<Process>,
}

impl Cluster {
    /// Writes the site; starts nothing yet.
    pub fn prepare(plan: SitePlan, artifacts: &Artifacts) -> Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("twinhub-").tempdir().map_err(Error::file("temporary folder"))?;
        plan.write(folder.path())?;
        let member = |node: &crate::site::NodePlan| Member {
            name: node.name.clone(),
            rest: Rest::new(node.web_address()),
            process: None,
        };
        let nodes = plan.nodes.iter().map(member).collect();
        Ok(Self { plan, artifacts: artifacts.clone(), folder, taps: None, witness: None, nodes })
    }

    /// Has nodes that start from here on look for libraries in `folder` first: taps, each of which writes to the file of
    /// its node.
    pub fn put_taps(&mut self, folder: &Path) {
        self.taps = Some(folder.to_owned());
    }

    /// What the taps of a node write.
    pub fn tap_file(&self, name: &str) -> PathBuf {
        self.root().join(format!("{name}.tap"))
    }

    /// A pair that runs: the main is active, and the backup has everything.
    pub fn start_pair(plan: SitePlan, artifacts: &Artifacts, limit: Duration) -> Result<Self> {
        let mut cluster = Self::prepare(plan, artifacts)?;
        cluster.start_witness()?;
        cluster.start("main")?;
        cluster.wait_state("main", "active", limit)?;
        cluster.start("backup")?;
        cluster.wait_in_sync(limit)?;
        Ok(cluster)
    }

    /// Starts the witness, if the site has one.
    pub fn start_witness(&mut self) -> Result<()> {
        let Some(port) = &self.plan.witness else { return Ok(()) };
        let mut command = self.command();
        command.args(["witness", "--listen", &port.address().to_string()]);
        self.witness = Some(Process::spawn("witness", command, &self.log("witness"))?);
        Ok(())
    }

    /// Ends the witness at once.
    pub fn kill_witness(&mut self) -> Result<()> {
        Ok(self.witness.take().map_or(Ok(()), |mut process| process.kill())?)
    }

    /// Starts a node.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let mut command = self.command();
        command.args(["run", "--node", name]).env("TWINHUB_TAP", self.tap_file(name));
        let process = Process::spawn(name, command, &self.log(name))?;
        self.member_mut(name)?.process = Some(process);
        Ok(())
    }

    /// Starts witness and all nodes, the main first.
    pub fn start_all(&mut self) -> Result<()> {
        self.start_witness()?;
        for name in self.names() {
            self.start(&name)?;
        }
        Ok(())
    }

    /// SIGKILL to the supervisor and everything below it: the host is gone as far as the others can tell.
    pub fn kill(&mut self, name: &str) -> Result<Instant> {
        let process = self.member_mut(name)?.process.take();
        let mut process = process.ok_or_else(|| Error::State(format!("{name} does not run")))?;
        let family = tree(process.pid());
        let at = Instant::now();
        // The supervisor first, so that it cannot report the death of its child.
        for pid in &family {
            // What ended together with its parent is gone already.
            drop(signal_process(*pid, Signal::KILL));
        }
        process.kill().or_else(|error| if process.is_running() { Err(error) } else { Ok(()) })?;
        // The next one must not find its ports taken.
        wait_gone(&family, GONE_LIMIT)?;
        Ok(at)
    }

    /// SIGKILL to the hub process only; its supervisor sees it.
    pub fn kill_hub(&mut self, name: &str) -> Result<Instant> {
        let supervisor = self.pid(name)?;
        let hub = *tree(supervisor).get(1).ok_or_else(|| {
            Error::State(format!("{name} has no hub process below its supervisor {supervisor}"))
        })?;
        let at = Instant::now();
        signal_process(hub, Signal::KILL)?;
        Ok(at)
    }

    /// SIGSTOP to the supervisor and everything below it.
    pub fn freeze(&mut self, name: &str) -> Result<Instant> {
        let at = Instant::now();
        for pid in tree(self.pid(name)?) {
            signal_process(pid, Signal::STOP)?;
        }
        Ok(at)
    }

    /// SIGCONT, the hub first.
    pub fn thaw(&mut self, name: &str) -> Result<Instant> {
        let at = Instant::now();
        for pid in tree(self.pid(name)?).into_iter().rev() {
            signal_process(pid, Signal::CONT)?;
        }
        Ok(at)
    }

    /// Ends a node in order.
    pub fn stop(&mut self, name: &str, limit: Duration) -> Result<()> {
        match self.member_mut(name)?.process.take() {
            Some(mut process) => Ok(process.terminate(limit).map(drop)?),
            None => Ok(()),
        }
    }

    /// Cuts every path between nodes; witness, device and broker stay in reach.
    pub fn cut_peer_links(&self, how: Cut) -> Instant {
        for node in &self.plan.nodes {
            node.path.cut(how);
        }
        Instant::now()
    }

    /// Undoes every cut.
    pub fn heal_peer_links(&self) -> Instant {
        for node in &self.plan.nodes {
            node.path.heal();
        }
        Instant::now()
    }

    /// Names in the order of rank.
    pub fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.name.clone()).collect()
    }

    /// The REST interface of a node.
    pub fn rest(&self, name: &str) -> Result<&Rest> {
        Ok(&self.member(name)?.rest)
    }

    /// Process id of a node's supervisor.
    pub fn pid(&self, name: &str) -> Result<u32> {
        let process = self.member(name)?.process.as_ref();
        process.map(Process::pid).ok_or_else(|| Error::State(format!("{name} does not run")))
    }

    /// Whether a node's process runs.
    pub fn is_running(&mut self, name: &str) -> bool {
        self.member_mut(name).is_ok_and(|member| member.process.as_mut().is_some_and(Process::is_running))
    }

    /// What a node says about the first group.
    pub fn status(&self, name: &str) -> Result<GroupStatus> {
        let status = self.rest(name)?.cluster()?;
        let group = status.groups.into_iter().next();
        group.ok_or_else(|| Error::State(format!("{name} has no group")))
    }

    /// The node that says of itself that it is active.
    pub fn active(&self) -> Option<String> {
        self.nodes
            .iter()
            .map(|node| &node.name)
            .find(|name| self.state(name).as_deref() == Some("active"))
            .cloned()
    }

    /// The active node and its epoch. On a busy machine an answer may come too late: one more is asked for.
    pub fn wait_active(&self, limit: Duration) -> Result<(String, String)> {
        let found = wait_for("an active node", limit, || {
            let active = self.active()?;
            let epoch = self.status(&active).ok()?.epoch;
            Some((active, epoch))
        });
        found.map_err(|_| {
            let said = |name: &String| {
                format!("{name} {}", self.state(name).unwrap_or_else(|| "does not answer".to_owned()))
            };
            let said: Vec<String> = self.names().iter().map(said).collect();
            Error::State(format!(
                "no node is active within {limit:?}: {}\n{}",
                said.join(", "),
                self.log_tails()
            ))
        })
    }

    /// Active and first standby, and the epoch.
    pub fn roles(&self) -> Result<Roles> {
        let (active, epoch) = self.wait_active(ACTIVE_LIMIT)?;
        let standby = self.names().into_iter().find(|name| *name != active);
        let standby = standby.ok_or_else(|| Error::State("there is no standby".to_owned()))?;
        Ok(Roles { active, standby, epoch })
    }

    /// What a node says of itself.
    pub fn state(&self, name: &str) -> Option<String> {
        self.status(name).ok()?.node(name).map(|node| node.state.clone())
    }

    /// Waits until one node is active and every other is standby and has everything.
    pub fn wait_in_sync(&self, limit: Duration) -> Result<String> {
        let mut seen = "no answer".to_owned();
        let found = wait_for("pair in sync", limit, || {
            let active = self.active()?;
            let status = self.status(&active).ok()?;
            seen = status
                .nodes
                .iter()
                .map(|node| {
                    format!("{} {}{}", node.name, node.state, if node.in_sync { " in sync" } else { "" })
                })
                .collect::<Vec<_>>()
                .join(", ");
            let others = status.nodes.iter().filter(|node| node.name != active);
            let is_complete = others.clone().count() + 1 == self.nodes.len()
                && others.clone().all(|node| node.state == "standby" && node.in_sync)
                && others.into_iter().all(|node| self.state(&node.name).as_deref() == Some("standby"));
            is_complete.then_some(active)
        });
        found.map_err(|_| Error::State(format!("not in sync within {limit:?}: {seen}\n{}", self.log_tails())))
    }

    /// Waits until a node is in this state.
    pub fn wait_state(&self, name: &str, state: &str, limit: Duration) -> Result<Instant> {
        let mut seen = None;
        let found = wait_for("state", limit, || {
            seen = self.state(name);
            (seen.as_deref() == Some(state)).then(Instant::now)
        });
        found.map_err(|_| {
            let seen = seen.unwrap_or_else(|| "silent".to_owned());
            Error::State(format!("{name} is {seen}, not {state}, after {limit:?}\n{}", self.log_tails()))
        })
    }

    /// Folder of the site.
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.root().join(CONFIG_FILE)
    }

    /// The plan it was built from.
    pub fn plan(&self) -> &SitePlan {
        &self.plan
    }

    /// The last lines of every log.
    pub fn log_tails(&self) -> String {
        let mut text = String::new();
        for name in self.names().iter().map(String::as_str).chain(["witness"]) {
            let log = fs::read_to_string(self.log(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(12)..].join("\n    ");
            text = format!("{text}  log of {name}:\n    {tail}\n");
        }
        text
    }

    /// Keeps the folder with its logs after the end.
    pub fn keep_folder(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.root().to_owned()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.root().join(format!("{name}.log"))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.artifacts.hub());
        command.current_dir(self.root()).arg("--root").arg(self.root());
        for folder in self.taps.as_deref().into_iter().chain([self.artifacts.plugin_folder()]) {
            command.arg("--plugins").arg(folder);
        }
        for variable in ["TWINHUB_NODE", "TWINHUB_CONFIG", "TWINHUB_TOKEN", "TWINHUB_URL"] {
            command.env_remove(variable);
        }
        command
    }

    fn member(&self, name: &str) -> Result<&Member> {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.ok_or_else(|| Error::State(format!("no node {name}")))
    }

    fn member_mut(&mut self, name: &str) -> Result<&mut Member> {
        let found = self.nodes.iter_mut().find(|node| node.name == name);
        found.ok_or_else(|| Error::State(format!("no node {name}")))
    }
}

const ACTIVE_LIMIT: Duration = Duration::from_secs(10);
/// A killed process of many threads takes some time to go on a busy machine.
const GONE_LIMIT: Duration = Duration::from_secs(10);
