//! Puts a node together from its configuration and starts it.

use std::collections::BTreeMap;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use twinhub_config::Site;
pub use twinhub_isolation::HostProgram;
use twinhub_loader::Manifest;
use twinhub_model::NodeRank;
use twinhub_redundancy::Machine;
use twinhub_store::RoleFile;

use crate::backup;
use crate::clock;
use crate::control::{self, ControlSender, ControlSetup, Group, Told};
use crate::data::{self, DataThread};
use crate::documents::DocumentStore;
use crate::documents::files::keep_written;
use crate::engine::Engine;
use crate::error::StartError;
use crate::etcd::Attendance;
use crate::event_log::EventLog;
use crate::evidence;
use crate::floating;
use crate::gate::Gate;
use crate::handle::{Handle, Places, Threads};
use crate::historian;
use crate::history::{self, Wanted};
use crate::inbox::Inbox;
use crate::join::Codes;
use crate::path_test::PathTests;
use crate::peer::Endpoint;
use crate::pki;
use crate::protocol;
use crate::role_writer::RoleWriter;
use crate::roles::RoleState;
use crate::setup::{data_manner, data_targets, everyone_but, machine_setup, members, targets, timers};
use crate::shared::Shared;
use crate::trust::nodes::ToldCode;
use crate::trust::{self, Trust};
use crate::whole_file::make_secret_dir;

mod libraries;
mod plan;
mod settings;
mod staging;
mod streams;

pub(crate) use plan::alarms_of;

pub(crate) use libraries::PluginLibrary;
pub use libraries::check_hosting;
pub(crate) use staging::{Staged, Staging};
pub use streams::{EventLinkFault, check_event_links};

use libraries::{Libraries, Records};
use plan::{Plan, Surroundings};

/// How to run a node.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The configuration.
    pub site: Site,
    /// The node's name in it.
    pub node: String,
    /// Where this node keeps its journal and role file.
    pub state_dir: PathBuf,
    /// Where plugin libraries are, first match wins.
    pub plugin_dirs: Vec<PathBuf>,
    /// What hosts a plugin in a process of its own.
    pub plugin_host: HostProgram,
    /// Where certificates are.
    pub pki_dir: PathBuf,
    /// Where files named in settings are looked up.
    pub config_dir: PathBuf,
    /// `twinhub.toml`, wherever it is: a new configuration is written there, its other files beside it.
    pub config_file: PathBuf,
}

/// Starts a node: loads plugins, recovers the journal, listens, and begins to take part.
///
/// # Errors
/// [`StartError`] says what is wrong and what to do; nothing keeps running then.
pub fn start(mut options: NodeOptions) -> Result<Handle, StartError> {
    if backup::is_restoring(&options.state_dir) {
        return Err(StartError::RestoreCutOff { path: options.state_dir });
    }
    options.site.apply_node(&options.node).map_err(|error| StartError::Config(error.to_string()))?;
    let trust = Trust::open(&options.config_dir).map_err(|failure| StartError::Config(failure.render()))?;
    let records = Records::open(&options.state_dir);
    let libraries = Libraries::load(&options.site, &options, &trust, &records)?;
    let mut plan = Plan::of(&options.site, &libraries)?;
    let wanted = Wanted::of(&options.site);
    let texts = historian::texts_of(&options.site);
    // Ten thousands of items would be held twice from here on.
    options.site.forget_items();
    let site = Arc::new(options.site.clone());
    let rank = site
        .nodes
        .iter()
        .find(|node| node.name == options.node)
        .map(|node| NodeRank(node.rank))
        .ok_or_else(|| unknown_node(&site, &options.node))?;
    // Hashes of passwords are in its journal.
    make_secret_dir(&options.state_dir).map_err(|source| StartError::File {
        action: "create",
        path: options.state_dir.clone(),
        source,
    })?;
    let credentials = credentials(&site, &options)?;
    let (role_file, role_state) = open_role_file(&options, credentials.cluster)?;
    let listeners = bind(&site, rank)?;
    let (control_sender, told) = ControlSender::new();
    let protocol = protocol::newest()?;
    let shared = Arc::new(Shared::new(
        Arc::clone(&site),
        options.node.clone(),
        rank,
        options.state_dir.join("history.jsonl"),
        protocol,
        trust::nodes::code_of(&trust, libraries.of_plugins().map(|(_, found)| &found.library)),
        EventLog::open(rank, &site.events, Some(options.state_dir.join("events.log"))),
    ));
    let endpoint = Endpoint {
        name: options.node.clone(),
        incarnation: role_state.incarnation,
        protocol,
        plugins: ToldCode::new(&shared.code(), protocol),
        config_hash: shared.hash_cell(),
        credentials,
        members: Arc::new(members(&site)),
        accept_any_node: false,
    };
    trust::tell(&shared, libraries.of_plugins());
    let manifests: Vec<&Manifest> =
        libraries.of_plugins().map(|(_, found)| found.library.manifest()).collect();
    let timers = timers(&site, &manifests)?;
    let data_thread = DataThread::start()?;
    let documents_dir = options.state_dir.join("documents");
    let documents = DocumentStore::open(&documents_dir.join("pieces"))?;
    keep_written(&documents, options.config_file.clone(), documents_dir.join("written"))?;
    let (shelf, history) = wanted.open(options.state_dir.join("history"), &shared);
    let around = Surroundings {
        me: rank,
        site: &site,
        state_dir: &options.state_dir,
        libraries: &libraries,
        control: &control_sender,
        shared: &shared,
        timers: &timers,
        documents: &documents,
        history: history.as_ref(),
        lines: &shelf.lines,
    };
    let mut groups = BTreeMap::new();
    let mut inboxes = BTreeMap::new();
    let mut ports = Vec::new();
    let mut engines = Vec::new();
    for group in &site.groups {
        let setup = machine_setup(&site, group, rank, endpoint.credentials.cluster, &timers);
        setup.check().map_err(|error| StartError::Config(error.to_string()))?;
        let gate = Arc::new(Gate::default());
        let inbox = Arc::new(Inbox::default());
        let engine = plan.engine(&group.id, &gate, &inbox, &around)?;
        let mut stored = role_state.groups.get(&group.id).cloned().unwrap_or_default();
        // A role file that was moved away leaves a journal that knows of later epochs.
        stored.promised = stored.promised.max(engine.0.journal.last().epoch);
        let seed = role_state.incarnation.0 << 8 | u64::from(rank.0);
        let machine = Machine::new(setup, stored, role_state.incarnation, seed, clock::now());
        ports.extend(engine.1);
        let name: String = format!("engine-{}", group.id).chars().take(15).collect();
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || Engine::new(engine.0).run())
            .map_err(|source| StartError::Thread { what: "an engine", source })?;
        engines.push(thread);
        inboxes.insert(group.id.clone(), Arc::clone(&inbox));
        let floating = floating::start(group, &shared, &gate, &inbox)?;
        groups.insert(
            group.id.clone(),
            Group { machine, gate, inbox, wake: clock::now(), running_order: None, floating },
        );
    }
    let shelf = Arc::new(shelf);
    let doors = inboxes.iter().map(|(group, inbox)| (group.clone(), Arc::clone(inbox)));
    let history = history::start(history, doors, &shelf, &shared)?;
    let historian = historian::start(texts, options.config_dir.clone(), &shelf, &shared)?;
    let targets = targets(&site, rank);
    let (data_sender, data_accepted) = mpsc::channel(64);
    let silence_max = (timers.lease * 2).max(Duration::from_secs(1));
    let etcd = match &site.cluster.witness {
        Some(twinhub_config::Witness::Etcd(etcd)) => {
            let attendance = Attendance {
                etcd: etcd.clone(),
                config_dir: options.config_dir.clone(),
                cluster: endpoint.credentials.cluster,
                me: rank,
                incarnation: role_state.incarnation,
                renew: timers.renew,
            };
            let client = attendance.client().map_err(|error| StartError::Config(error.to_string()))?;
            Some((attendance, client))
        }
        Some(twinhub_config::Witness::Address(_)) | None => None,
    };
    let attendance = etcd.as_ref().map(|(attendance, _)| attendance.clone());
    let tests = PathTests::new(endpoint.clone(), everyone_but(&site, rank), attendance);
    let data = data::Data {
        endpoint: endpoint.clone(),
        inboxes: inboxes.clone(),
        history: Arc::clone(&shelf.lines),
        rank,
        shared: Arc::clone(&shared),
    };
    data_thread.spawn(data::run(data, data_targets(&targets), data_accepted, data_manner()));
    let teller = control_sender.clone();
    let role_writer = RoleWriter::start(role_file, move |end| teller.tell(Told::Persisted(end)))?;
    let control = control::spawn(ControlSetup {
        groups,
        endpoint,
        listeners,
        targets,
        etcd,
        silence_max,
        shared: Arc::clone(&shared),
        documents: documents.clone(),
        role_writer,
        role_state,
        told,
        sender: control_sender.clone(),
        data: data_sender,
    })?;
    data_thread.spawn(evidence::probe(ports.clone(), control_sender.clone()));
    data_thread.spawn(evidence::watch(
        site.cluster.evidence.reference_hosts.clone(),
        ports.clone(),
        control_sender.clone(),
        timers.evidence_age / 3,
    ));
    shared.ready.store(true, Ordering::Release);
    let threads = Threads { data: data_thread, control, engines, history, historian };
    let places = Places {
        config_file: options.config_file.clone(),
        pki: options.pki_dir.clone(),
        libraries: options.state_dir.join("cache"),
        backups: options.state_dir.join("backups"),
        codes: Codes::open(&options.state_dir.join("join-codes")),
    };
    Ok(Handle::new(
        shared,
        plan.table,
        ports,
        inboxes,
        documents,
        places,
        control_sender,
        Staging::new(options, records),
        tests,
        shelf,
        threads,
    ))
}

fn unknown_node(site: &Site, node: &str) -> StartError {
    let names: Vec<&str> = site.nodes.iter().map(|node| node.name.as_str()).collect();
    StartError::Config(format!(
        "there is no node `{node}` in the configuration; its nodes are: {}",
        names.join(", ")
    ))
}

fn make_dir(path: &Path) -> Result<(), StartError> {
    std::fs::create_dir_all(path).map_err(|source| StartError::File {
        action: "create",
        path: path.to_owned(),
        source,
    })
}

fn credentials(site: &Site, options: &NodeOptions) -> Result<pki::Credentials, StartError> {
    let mut names: Vec<&str> = site.nodes.iter().map(|node| node.name.as_str()).collect();
    names.push("witness");
    if options.pki_dir.join("ca.key").exists() || !options.pki_dir.join("ca.pem").exists() {
        pki::ensure(&options.pki_dir, &names)?;
    }
    Ok(pki::load(&options.pki_dir, &options.node)?)
}

/// Opens the role file and counts this start, before anything is said to anybody.
fn open_role_file(options: &NodeOptions, cluster: u64) -> Result<(RoleFile, RoleState), StartError> {
    let path = options.state_dir.join("role");
    let (mut file, loaded) = RoleFile::open(&path)?;
    if let Some(note) = &loaded.note {
        tracing::warn!(path = %path.display(), note, "role file");
    }
    let mut state = match &loaded.payload {
        Some(bytes) => minicbor::decode::<RoleState>(bytes).map_err(|error| {
            StartError::Config(format!(
                "{} holds no role state ({error}): restore it, or move it away and start while the other node is \
                 active, so that this one joins as a standby",
                path.display()
            ))
        })?,
        None => RoleState::default(),
    };
    if loaded.payload.is_some() && (state.node != options.node || state.cluster != cluster) {
        return Err(StartError::Config(format!(
            "{} belongs to node `{}` of cluster {:016x}, this is node `{}` of cluster {cluster:016x}: each node needs \
             its own state directory",
            path.display(),
            state.node,
            state.cluster,
            options.node
        )));
    }
    state.format = 1;
    state.node.clone_from(&options.node);
    state.cluster = cluster;
    state.begin_process(loaded.payload.is_some());
    let payload = minicbor::to_vec(&state)
        .map_err(|error| StartError::Config(format!("the role state cannot be encoded: {error}")))?;
    file.store_in(&payload, state.file_format())?;
    Ok((file, state))
}

/// The file name of a plugin's library on this system.
pub fn library_name(plugin: &str) -> String {
    format!("{}twinhub_{plugin}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// Where a plugin's library is.
pub fn find_library(plugin: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    dirs.iter().map(|dir| dir.join(library_name(plugin))).find(|path| path.is_file())
}

fn bind(site: &Site, rank: NodeRank) -> Result<Vec<TcpListener>, StartError> {
    let node = &site.nodes[usize::from(rank.0)];
    let mut listeners = Vec::new();
    for address in &node.listen {
        let listener = address
            .to_socket_addrs()
            .and_then(|mut found| found.next().ok_or_else(|| std::io::Error::other("no such host")))
            .and_then(TcpListener::bind)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|source| StartError::Listen { address: address.clone(), source })?;
        listeners.push(listener);
    }
    Ok(listeners)
}
