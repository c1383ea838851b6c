//! Puts a node together from its configuration and starts it.

use std::collections::BTreeMap;
use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use twinhub_config::{Access, Delivery, Interface as InterfaceConfig, LinkEnd, Mode, Site};
use twinhub_contract::manifest::Fence;
use twinhub_contract::role;
use twinhub_loader::{ItemSpec, Library, Manifest};
use twinhub_model::{Incarnation, ItemKey, NodeRank};
use twinhub_redundancy::{Failback, Machine, NodeInfo, Policy, Profile, Setup, Timers, VoterId};
use twinhub_store::{Journal, JournalOptions, RoleFile};
use twinhub_wire::Channel;

use crate::clock;
use crate::control::{self, ControlSender, ControlSetup, Group, RoleState, Told};
use crate::data;
use crate::engine::routes::{Route, Routes};
use crate::engine::{Engine, EngineSetup};
use crate::error::StartError;
use crate::evidence;
use crate::gate::Gate;
use crate::handle::{Handle, Loaded, Threads};
use crate::inbox::Inbox;
use crate::instance::{Guard, Interface, InterfaceSetup, Port};
use crate::peer::{Endpoint, Manner, Target};
use crate::pki;
use crate::shared::Shared;
use crate::table::{ItemMeta, ItemTable};

/// A standby this many records behind is still in sync enough to be a candidate.
pub(crate) const LAG_LIMIT_RECORDS: u64 = 1_000;

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
    /// Where certificates are.
    pub pki_dir: PathBuf,
    /// Where files named in settings are looked up.
    pub config_dir: PathBuf,
}

/// Starts a node: loads plugins, recovers the journal, listens, and begins to take part.
///
/// # Errors
/// [`StartError`] says what is wrong and what to do; nothing keeps running then.
#[expect(clippy::needless_pass_by_value, reason = "whoever starts a node has no use for its options afterwards")]
pub fn start(options: NodeOptions) -> Result<Handle, StartError> {
    let site = options.site.for_node(&options.node).map_err(|error| StartError::Config(error.to_string()))?;
    let site = Arc::new(site);
    let rank = site
        .nodes
        .iter()
        .find(|node| node.name == options.node)
        .map(|node| NodeRank(node.rank))
        .ok_or_else(|| unknown_node(&site, &options.node))?;
    make_dir(&options.state_dir)?;
    let credentials = credentials(&site, &options)?;
    let (role_file, role_state) = open_role_file(&options, credentials.cluster)?;
    let libraries = load_libraries(&site, &options)?;
    let mut parts = Parts::new(&site, &options, rank, &libraries)?;
    let listeners = bind(&site, rank)?;
    let (control_sender, told) = ControlSender::new();
    let shared = Arc::new(Shared::new(
        Arc::clone(&site),
        options.node.clone(),
        rank,
        options.state_dir.join("history.jsonl"),
    ));
    let endpoint = Endpoint {
        name: options.node.clone(),
        incarnation: role_state.incarnation,
        config_hash: site.hash,
        credentials,
        members: Arc::new(members(&site)),
        accept_any_node: false,
    };
    let timers = timers(&site, &libraries)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("data")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| StartError::Thread { what: "the data runtime", source })?;
    let mut groups = BTreeMap::new();
    let mut inboxes = BTreeMap::new();
    let mut ports = Vec::new();
    let mut engines = Vec::new();
    for group in &site.groups {
        let setup = machine_setup(&site, group, rank, endpoint.credentials.cluster, timers);
        setup.check().map_err(|error| StartError::Config(error.to_string()))?;
        let gate = Arc::new(Gate::default());
        let inbox = Arc::new(Inbox::default());
        let stored = role_state.groups.get(&group.id).cloned().unwrap_or_default();
        let seed = role_state.incarnation.0 << 8 | u64::from(rank.0);
        let machine = Machine::new(setup, stored, role_state.incarnation, seed, clock::now());
        let engine = parts.engine(&group.id, &gate, &inbox, &control_sender, &shared, &timers)?;
        ports.extend(engine.1);
        let name: String = format!("engine-{}", group.id).chars().take(15).collect();
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || Engine::new(engine.0).run())
            .map_err(|source| StartError::Thread { what: "an engine", source })?;
        engines.push(thread);
        inboxes.insert(group.id.clone(), Arc::clone(&inbox));
        groups.insert(
            group.id.clone(),
            Group { machine, gate, inbox, wake: clock::now(), running_order: None },
        );
    }
    let targets = targets(&site, rank);
    let (data_sender, data_accepted) = mpsc::channel(64);
    let silence_max = (timers.lease * 4).max(Duration::from_secs(1));
    let data = data::Data { endpoint: endpoint.clone(), inboxes: inboxes.clone(), rank };
    runtime.spawn(data::run(data, data_targets(&targets), data_accepted, data_manner()));
    let control = control::spawn(ControlSetup {
        groups,
        endpoint,
        listeners,
        targets,
        silence_max,
        shared: Arc::clone(&shared),
        role_file,
        role_state,
        told,
        sender: control_sender.clone(),
        data: data_sender,
    })?;
    runtime.spawn(evidence::watch(
        site.cluster.evidence.reference_hosts.clone(),
        ports.clone(),
        control_sender.clone(),
        timers.evidence_age / 3,
    ));
    shared.ready.store(true, Ordering::Release);
    let loaded = libraries
        .iter()
        .map(|(name, library)| Loaded {
            name: name.clone(),
            manifest: library.manifest().clone(),
            sha256: library.sha256().to_string(),
        })
        .collect();
    let threads = Threads { runtime, control, engines };
    Ok(Handle::new(shared, parts.table, ports, inboxes, control_sender, loaded, threads))
}

/// Tells every group's machine that the process will stop; used by [`Handle::shutdown`].
pub(crate) fn order_shutdown(control: &ControlSender) {
    control.tell(Told::Shutdown);
}

/// Every interface's port with its group.
type Ports = Vec<(String, Arc<Port>)>;

struct Parts<'a> {
    site: &'a Site,
    options: &'a NodeOptions,
    rank: NodeRank,
    table: Arc<ItemTable>,
    /// First handle of each interface, in configuration order.
    bases: Vec<u32>,
    libraries: &'a BTreeMap<String, Arc<Library>>,
}

impl<'a> Parts<'a> {
    fn new(
        site: &'a Site,
        options: &'a NodeOptions,
        rank: NodeRank,
        libraries: &'a BTreeMap<String, Arc<Library>>,
    ) -> Result<Parts<'a>, StartError> {
        let mut bases = Vec::new();
        let mut next = 0_u32;
        for interface in &site.interfaces {
            bases.push(next);
            next = u32::try_from(interface.items.len())
                .ok()
                .and_then(|count| next.checked_add(count))
                .ok_or_else(|| StartError::Config("more than 4 billion items".to_owned()))?;
        }
        let items = site.interfaces.iter().flat_map(|interface| &interface.items);
        let table = ItemTable::new(items.map(|item| {
            let meta = ItemMeta {
                access: access_word(item.access),
                type_name: item.type_name.clone(),
                unit: item.unit.clone(),
                description: item.description.clone(),
            };
            (item.key.clone(), meta)
        }));
        Ok(Parts { site, options, rank, table: Arc::new(table), bases, libraries })
    }

    /// The engine of one group, with its ports.
    fn engine(
        &mut self,
        group: &str,
        gate: &Arc<Gate>,
        inbox: &Arc<Inbox>,
        control: &ControlSender,
        shared: &Arc<Shared>,
        timers: &Timers,
    ) -> Result<(EngineSetup, Ports), StartError> {
        let dir = self.options.state_dir.join("journal").join(group);
        make_dir(&dir)?;
        let mut options = JournalOptions::new(dir);
        options.segment_bytes = self.site.journal.segment_bytes;
        options.retain_bytes = self.site.journal.retain_bytes;
        let (journal, recovery) = Journal::open(options, self.table.dictionary().into())?;
        for damage in &recovery.damaged {
            let (file, offset, what) = (damage.file.display(), damage.offset, &damage.what);
            tracing::error!(group, %file, offset, what, "journal damage found and set aside");
        }
        if recovery.truncated_bytes > 0 {
            tracing::warn!(
                group,
                bytes = recovery.truncated_bytes,
                "journal ended in a torn record, which was cut"
            );
        }
        let members: Vec<(usize, &InterfaceConfig)> = self
            .site
            .interfaces
            .iter()
            .enumerate()
            .filter(|(_, interface)| interface.group == group)
            .collect();
        let routes = self.routes(group, &members)?;
        let mut interfaces = Vec::new();
        let mut ports = Vec::new();
        for (number, (index, config)) in members.iter().enumerate() {
            let library = self.libraries.get(&config.plugin).ok_or_else(|| {
                StartError::Plugin(format!(
                    "plugin `{}` of interface `{}` is not loaded",
                    config.plugin, config.id
                ))
            })?;
            let setup = self.interface_setup(self.bases[*index], config, library.manifest())?;
            let port = Arc::new(Port::new(
                setup,
                number,
                Arc::clone(gate),
                Arc::clone(&self.table),
                Arc::clone(inbox),
            ));
            ports.push((group.to_owned(), Arc::clone(&port)));
            interfaces.push(Interface::spawn(port, Arc::clone(library))?);
        }
        let setup = EngineSetup {
            group: group.to_owned(),
            me: self.rank,
            config_hash: self.site.hash,
            table: Arc::clone(&self.table),
            interfaces,
            routes,
            gate: Arc::clone(gate),
            inbox: Arc::clone(inbox),
            control: control.clone(),
            journal,
            shared: Arc::clone(shared),
            ring_window: timers.ring,
            guard: timers.guard,
            sync_interval: Some(self.site.journal.sync_interval),
        };
        Ok((setup, ports))
    }

    fn interface_setup(
        &self,
        base: u32,
        config: &InterfaceConfig,
        manifest: &Manifest,
    ) -> Result<InterfaceSetup, StartError> {
        let mut settings = config.settings.clone();
        twinhub_config::resolve_secrets(&mut settings, &self.options.config_dir)
            .map_err(|error| StartError::Config(format!("interface `{}`: {error}", config.id)))?;
        let wants_context = manifest.config_schema.pointer("/properties/twinhub").is_some();
        if let Some(settings) = settings.as_object_mut().filter(|_| wants_context) {
            let context = serde_json::json!({
                "node": self.options.node,
                "site": self.site.site,
                "interface": config.id,
                "cluster": self.site.site,
            });
            settings.insert("twinhub".to_owned(), context);
        }
        let items = config
            .items
            .iter()
            .zip(0_u32..)
            .map(|(item, handle)| ItemSpec {
                handle,
                access: access_bits(item.access),
                address_json: address_json(item),
                type_hint: 0,
                group: 0,
            })
            .collect();
        let mb = &manifest.mb;
        let standby = config.standby.map_or_else(|| manifest_mode(mb.default_standby), config_mode);
        if !mb.modes.iter().any(|mode| manifest_mode(*mode) == standby) {
            return Err(StartError::Config(format!(
                "interface `{}`: plugin `{}` declares no standby mode `{}`",
                config.id,
                config.plugin,
                crate::words::role_name(standby)
            )));
        }
        Ok(InterfaceSetup {
            id: config.id.clone(),
            plugin: config.plugin.clone(),
            base,
            items,
            config_json: settings.to_string(),
            standby_role: standby,
            relevant: mb.relevant,
            guard: match (mb.fence, mb.in_flight_max_ms) {
                (Fence::Token | Fence::Exclusive, _) => Guard::None,
                (Fence::Bounded, Some(in_flight_ms)) => Guard::For(Duration::from_millis(in_flight_ms)),
                (Fence::Bounded | Fence::None, _) => Guard::Whole,
            },
            required: config.required,
            write_timeout: config.write_timeout,
        })
    }

    fn routes(&self, group: &str, members: &[(usize, &InterfaceConfig)]) -> Result<Routes, StartError> {
        let mut routes = Vec::new();
        for link in &self.site.links {
            let convert = (!link.convert.is_identity()).then(|| Arc::new(link.convert.clone()));
            let origin: Arc<str> = format!("link:{}", link.index).into();
            let source = end_interface(&link.from);
            if !members.iter().any(|(_, config)| config.id == source) {
                continue;
            }
            for (from, to) in link.expand(self.site) {
                let Some(target) = members.iter().position(|(_, config)| config.id == to.interface()) else {
                    return Err(StartError::Config(format!(
                        "link from `{from}` to `{to}` leaves group `{group}`: both ends must be in one group"
                    )));
                };
                let config = members[target].1;
                let stream = match link.delivery {
                    Some(Delivery::Stream) => true,
                    Some(Delivery::Command) => false,
                    None => self.libraries.get(&config.plugin).is_some_and(|library| {
                        library.manifest().mb.delivery == twinhub_contract::manifest::Delivery::Stream
                    }),
                };
                let find = |key: &ItemKey| {
                    self.table
                        .find(key.as_str())
                        .ok_or_else(|| StartError::Config(format!("link names `{key}`, which is no item")))
                };
                routes.push(Route::new(
                    find(&from)?,
                    find(&to)?,
                    target,
                    stream,
                    link.kind,
                    link.both,
                    convert.clone(),
                    Arc::clone(&origin),
                ));
            }
        }
        Ok(Routes::new(self.table.len(), routes))
    }
}

fn end_interface(end: &LinkEnd) -> &str {
    match end {
        LinkEnd::Item(key) => key.interface(),
        LinkEnd::Prefix { interface, .. } => interface,
    }
}

fn address_json(item: &twinhub_config::Item) -> String {
    let mut row = serde_json::Map::new();
    for (column, text) in &item.columns {
        row.insert(column.clone(), text.clone().into());
    }
    row.insert("path".to_owned(), item.key.path().into());
    row.insert("address".to_owned(), item.address.clone().into());
    row.insert("type".to_owned(), item.type_name.clone().into());
    row.insert("access".to_owned(), access_word(item.access).into());
    row.insert("unit".to_owned(), item.unit.clone().into());
    for (column, is_set) in [("edge", item.edge), ("non_idempotent", item.non_idempotent)] {
        if is_set {
            row.insert(column.to_owned(), "true".into());
        }
    }
    serde_json::Value::Object(row).to_string()
}

const fn access_word(access: Access) -> &'static str {
    match access {
        Access::Read => "r",
        Access::Write => "w",
        Access::ReadWrite => "rw",
    }
}

const fn access_bits(access: Access) -> u32 {
    match access {
        Access::Read => twinhub_contract::access::READ,
        Access::Write => twinhub_contract::access::WRITE,
        Access::ReadWrite => twinhub_contract::access::READ | twinhub_contract::access::WRITE,
    }
}

const fn config_mode(mode: Mode) -> u32 {
    match mode {
        Mode::Cold => role::COLD,
        Mode::Warm => role::WARM,
        Mode::Hot => role::HOT,
    }
}

const fn manifest_mode(mode: twinhub_contract::manifest::Mode) -> u32 {
    match mode {
        twinhub_contract::manifest::Mode::Cold => role::COLD,
        twinhub_contract::manifest::Mode::Warm => role::WARM,
        twinhub_contract::manifest::Mode::Hot => role::HOT,
    }
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
    state.incarnation = Incarnation(state.incarnation.0 + 1);
    let payload = minicbor::to_vec(&state)
        .map_err(|error| StartError::Config(format!("the role state cannot be encoded: {error}")))?;
    file.store(&payload)?;
    Ok((file, state))
}

fn load_libraries(site: &Site, options: &NodeOptions) -> Result<BTreeMap<String, Arc<Library>>, StartError> {
    let cache = options.state_dir.join("cache");
    make_dir(&cache)?;
    let mut libraries = BTreeMap::new();
    for interface in &site.interfaces {
        if libraries.contains_key(&interface.plugin) {
            continue;
        }
        let path = find_library(&interface.plugin, &options.plugin_dirs).ok_or_else(|| {
            let looked: Vec<String> = options.plugin_dirs.iter().map(|dir| dir.display().to_string()).collect();
            StartError::Plugin(format!(
                "interface `{}` wants plugin `{}`, but {} is in none of: {}; install it there or name the directory \
                 with --plugins",
                interface.id,
                interface.plugin,
                library_name(&interface.plugin),
                looked.join(", ")
            ))
        })?;
        let library = Library::open(&path, &cache).map_err(|error| StartError::Plugin(error.to_string()))?;
        let allowed = library.manifest().item_columns().into_iter().map(str::to_owned).collect();
        let mut problems = Vec::new();
        for other in site.interfaces.iter().filter(|other| other.plugin == interface.plugin) {
            problems.extend(
                twinhub_config::check_columns(other, &allowed).into_iter().map(|problem| problem.to_string()),
            );
        }
        if !problems.is_empty() {
            return Err(StartError::Config(problems.join("; ")));
        }
        libraries.insert(interface.plugin.clone(), Arc::new(library));
    }
    Ok(libraries)
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

pub(crate) fn members(site: &Site) -> BTreeMap<String, VoterId> {
    let mut members: BTreeMap<String, VoterId> =
        site.nodes.iter().map(|node| (node.name.clone(), VoterId::Node(NodeRank(node.rank)))).collect();
    members.insert("witness".to_owned(), VoterId::Witness);
    members
}

/// Every path to every other node and to the witness.
pub(crate) fn everyone_but(site: &Site, rank: NodeRank) -> Vec<Target> {
    let mut targets = targets(site, rank);
    for node in site.nodes.iter().filter(|node| node.rank > rank.0) {
        for (path, address) in (0_u8..).zip(&node.links) {
            let voter = VoterId::Node(NodeRank(node.rank));
            targets.push(Target { name: node.name.clone(), voter, path, address: address.clone() });
        }
    }
    targets
}

/// Of two nodes the one of higher rank dials; everyone dials the witness.
fn targets(site: &Site, rank: NodeRank) -> Vec<Target> {
    let mut targets = Vec::new();
    for node in site.nodes.iter().filter(|node| node.rank < rank.0) {
        for (path, address) in (0_u8..).zip(&node.links) {
            targets.push(Target {
                name: node.name.clone(),
                voter: VoterId::Node(NodeRank(node.rank)),
                path,
                address: address.clone(),
            });
        }
    }
    if let Some(twinhub_config::Witness::Address(address)) = &site.cluster.witness {
        targets.push(Target {
            name: "witness".to_owned(),
            voter: VoterId::Witness,
            path: 0,
            address: address.clone(),
        });
    }
    targets
}

fn data_targets(targets: &[Target]) -> Vec<Target> {
    targets.iter().filter(|target| target.voter != VoterId::Witness).cloned().collect()
}

fn data_manner() -> Manner {
    Manner {
        channel: Channel::Data,
        silence_max: Duration::from_secs(10),
        backoff_min: Duration::from_millis(50),
        backoff_max: Duration::from_secs(2),
    }
}

fn timers(site: &Site, libraries: &BTreeMap<String, Arc<Library>>) -> Result<Timers, StartError> {
    let profile = match site.cluster.profile {
        twinhub_config::Profile::Lan => Profile::Lan,
        twinhub_config::Profile::Fast => Profile::Fast,
        twinhub_config::Profile::Normal => Profile::Normal,
        twinhub_config::Profile::Wan => Profile::Wan,
    };
    let mut timers = Timers::of(profile);
    let given = &site.cluster.timers;
    for (field, value) in [
        (&mut timers.heartbeat, given.heartbeat),
        (&mut timers.lease, given.lease),
        (&mut timers.renew, given.renew),
        (&mut timers.margin, given.margin),
        (&mut timers.guard, given.guard),
        (&mut timers.stagger, given.stagger),
        (&mut timers.start, given.start),
        (&mut timers.ring, given.ring),
        (&mut timers.drain, given.drain),
    ] {
        if let Some(value) = value {
            *field = value;
        }
    }
    let in_flight = libraries
        .values()
        .filter(|library| library.manifest().mb.fence == twinhub_contract::manifest::Fence::Bounded)
        .filter_map(|library| library.manifest().mb.in_flight_max_ms)
        .max()
        .unwrap_or(0);
    // A plugin's bound is what it guarantees with its default settings; the guard must cover it.
    let covered = Duration::from_millis(in_flight).min(timers.guard);
    timers.check(covered).map_err(|error| StartError::Config(error.to_string()))?;
    if Duration::from_millis(in_flight) > timers.guard {
        timers.guard = Duration::from_millis(in_flight);
    }
    Ok(timers)
}

fn machine_setup(
    site: &Site,
    group: &twinhub_config::Group,
    rank: NodeRank,
    cluster: u64,
    timers: Timers,
) -> Setup {
    let nodes = group
        .nodes
        .iter()
        .filter_map(|name| site.nodes.iter().find(|node| node.name == *name))
        .map(|node| NodeInfo { node: NodeRank(node.rank), name: node.name.clone(), votes: true })
        .collect();
    Setup {
        group: group.id.clone(),
        cluster,
        me: VoterId::Node(rank),
        nodes,
        witness: site.cluster.witness.is_some(),
        without_witness: match site.cluster.without_witness {
            twinhub_config::Policy::Manual => Policy::Manual,
            twinhub_config::Policy::Evidence => Policy::Evidence,
            twinhub_config::Policy::Availability => Policy::Availability,
        },
        timers,
        failback: match site.cluster.failback {
            twinhub_config::Failback::Auto => Failback::Auto { hold_off: site.cluster.hold_back },
            twinhub_config::Failback::Manual => Failback::Manual,
        },
        lag_limit_records: LAG_LIMIT_RECORDS,
        config_hash: site.hash,
    }
}
