//! Items, interfaces and links of a configuration, resolved to handles and plugin instances.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use twinhub_alarms::{Alarms, Rule};
use twinhub_config::{AckAfter, Delivery, Interface as InterfaceConfig, LinkEnd, Mode, OnUnquorate, Site};
use twinhub_contract::manifest::{Fence, Order, Recovery};
use twinhub_contract::role;
use twinhub_loader::Manifest;
use twinhub_model::{ItemId, ItemKey, NodeRank};
use twinhub_redundancy::Timers;
use twinhub_store::{Journal, JournalOptions};

use super::libraries::Libraries;
use super::make_dir;
use super::streams::{check_event_links, streams};
use crate::control::ControlSender;
use crate::documents::DocumentStore;
use crate::engine::EngineSetup;
use crate::engine::alarms::AlarmState;
use crate::engine::events::EventState;
use crate::engine::merging::MergeState;
use crate::engine::parts::deliveries::DeliveryState;
use crate::engine::parts::life::LifeState;
use crate::engine::parts::plugins::PluginStates;
use crate::engine::parts::stores::Stores;
use crate::engine::parts::{PartState, states_dir};
use crate::engine::routes::{Route, Routes, Way};
use crate::engine::watch::Watch;
use crate::error::StartError;
use crate::exchange::{Exchange, Streams};
use crate::gate::Gate;
use crate::history::OpenHistory;
use crate::history::lines::Lines;
use crate::inbox::Inbox;
use crate::instance::{Guard, Hears, Interface, InterfaceSetup, Moves, Port, Rows, Sequence};
use crate::shared::Shared;
use crate::table::{ItemMeta, ItemTable};

/// Every interface's port with its group.
pub(crate) type Ports = Vec<(String, Arc<Port>)>;

/// The items, interfaces and routes of a configuration, after which its item lists are needed no more.
pub(crate) struct Plan {
    pub(crate) table: Arc<ItemTable>,
    groups: BTreeMap<String, GroupPlan>,
}

struct GroupPlan {
    interfaces: Vec<InterfaceSetup>,
    routes: Routes,
    streams: Streams,
    watches: Vec<Watch>,
}

struct Planner<'a> {
    site: &'a Site,
    libraries: &'a Libraries,
    table: &'a ItemTable,
    /// First handle of each interface, in configuration order.
    bases: Vec<u32>,
}

/// What the engines of all groups share.
pub(crate) struct Surroundings<'a> {
    pub(crate) me: NodeRank,
    pub(crate) site: &'a Site,
    pub(crate) state_dir: &'a Path,
    pub(crate) libraries: &'a Libraries,
    pub(crate) control: &'a ControlSender,
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) timers: &'a Timers,
    pub(crate) documents: &'a DocumentStore,
    pub(crate) history: Option<&'a OpenHistory>,
    pub(crate) lines: &'a Arc<Lines>,
}

impl Plan {
    pub(crate) fn of(site: &Site, libraries: &Libraries) -> Result<Plan, StartError> {
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
                access: item.access.word(),
                type_name: item.type_name.clone(),
                unit: item.unit.clone(),
                description: item.description.clone(),
            };
            (item.key.clone(), meta)
        }));
        let planner = Planner { site, libraries, table: &table, bases };
        let mut groups = BTreeMap::new();
        for group in &site.groups {
            groups.insert(group.id.clone(), planner.group(&group.id)?);
        }
        Ok(Plan { table: Arc::new(table), groups })
    }

    /// The engine of one group, with its ports.
    pub(crate) fn engine(
        &mut self,
        group: &str,
        gate: &Arc<Gate>,
        inbox: &Arc<Inbox>,
        around: &Surroundings<'_>,
    ) -> Result<(EngineSetup, Ports), StartError> {
        let plan = self
            .groups
            .remove(group)
            .ok_or_else(|| StartError::Config(format!("group `{group}` is configured twice")))?;
        let journal = open_journal(group, around, &self.table)?;
        // One writer for all of it: the active node of the first group.
        let is_first = around.site.groups.first().is_some_and(|first| first.id == group);
        let mut parts: Vec<Box<dyn PartState>> = vec![
            Box::new(EventState::new(group, Arc::clone(around.shared))),
            Box::new(AlarmState::new(alarms_of(around.site, group, &self.table))),
            Box::new(MergeState::default()),
            Box::new(LifeState::default()),
            Box::new(PluginStates::default()),
        ];
        parts.extend(is_first.then(|| around.documents.part()));
        let mut stores = Stores::default();
        let exchange = Arc::new(Exchange::new(plan.streams));
        let mut interfaces = Vec::new();
        let mut ports = Vec::new();
        for (number, setup) in plan.interfaces.into_iter().enumerate() {
            let hosted =
                around.libraries.hosted(&setup.id).ok_or_else(|| not_loaded(&setup.plugin, &setup.id))?;
            let store = stores.of(&setup.id);
            let port = Arc::new(Port::new(
                setup,
                number,
                Arc::clone(gate),
                Arc::clone(&self.table),
                Arc::clone(inbox),
                store,
                Arc::clone(&exchange),
            ));
            ports.push((group.to_owned(), Arc::clone(&port)));
            interfaces.push(Interface::spawn(port, hosted.clone())?);
        }
        parts.push(Box::new(stores));
        parts.push(Box::new(DeliveryState::new(&exchange)));
        let setup = EngineSetup {
            group: group.to_owned(),
            me: around.me,
            table: Arc::clone(&self.table),
            interfaces,
            routes: plan.routes,
            exchange,
            watches: plan.watches,
            gate: Arc::clone(gate),
            inbox: Arc::clone(inbox),
            control: around.control.clone(),
            journal,
            shared: Arc::clone(around.shared),
            ring_window: around.timers.ring,
            guard: around.timers.guard,
            sync_interval: Some(around.site.journal.sync_interval),
            parts,
            documents: around.documents.clone(),
            has_documents: is_first,
            states_dir: states_dir(around.state_dir, group),
            lines: around.history.and_then(|history| history.pin(group)).map(|_| Arc::clone(around.lines)),
        };
        Ok((setup, ports))
    }
}

/// The alarms of items of this group.
pub(crate) fn alarms_of(site: &Site, group: &str, table: &ItemTable) -> Alarms {
    let is_ours = |rule: &&Rule| {
        site.interface(rule.item.interface()).is_some_and(|interface| interface.group == group)
    };
    let rules = site.alarms.iter().filter(is_ours);
    Alarms::new(rules.map(|rule| (rule.clone(), table.find(rule.item.as_str()))), site.alarms_kept)
}

fn open_journal(group: &str, around: &Surroundings<'_>, table: &ItemTable) -> Result<Journal, StartError> {
    let dir = around.state_dir.join("journal").join(group);
    make_dir(&dir)?;
    let mut options = JournalOptions::new(dir);
    options.segment_bytes = around.site.journal.segment_bytes;
    options.retain_bytes = around.site.journal.retain_bytes;
    let (mut journal, recovery) = Journal::open(options, table.dictionary().into())?;
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
    if let Some(sealed) = around.history.and_then(|history| history.pin(group)) {
        journal.pin(sealed);
    }
    Ok(journal)
}

fn not_loaded(plugin: &str, interface: &str) -> StartError {
    StartError::Plugin(format!("plugin `{plugin}` of interface `{interface}` is not loaded"))
}

impl Planner<'_> {
    fn group(&self, group: &str) -> Result<GroupPlan, StartError> {
        let members: Vec<(usize, &InterfaceConfig)> = self
            .site
            .interfaces
            .iter()
            .enumerate()
            .filter(|(_, interface)| interface.group == group)
            .collect();
        let routes = self.routes(group, &members)?;
        let streams = self.streams(&members)?;
        let mut interfaces = Vec::new();
        let mut watches = Vec::new();
        for (index, config) in members {
            let library = self
                .libraries
                .plugin(&config.plugin)
                .ok_or_else(|| not_loaded(&config.plugin, &config.id))?;
            for monitor in &config.monitor {
                // What the configuration names was found when it was checked.
                let Some(item) = self.table.find(monitor.item.as_str()) else { continue };
                watches.push(Watch::new(item, interfaces.len(), monitor));
            }
            interfaces.push(self.interface_setup(self.bases[index], config, library.manifest())?);
        }
        Ok(GroupPlan { interfaces, routes, streams, watches })
    }

    fn interface_setup(
        &self,
        base: u32,
        config: &InterfaceConfig,
        manifest: &Manifest,
    ) -> Result<InterfaceSetup, StartError> {
        let items = Rows::of(&config.items).ok_or_else(|| {
            StartError::Config(format!("interface `{}`: its items have more than 4 GiB of text", config.id))
        })?;
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
            values_in: self.values_in(config),
            standby_role: standby,
            hears: Hears::of(standby, mb.parallel_input),
            relevant: mb.relevant,
            moves: if mb.state == twinhub_contract::manifest::State::None {
                Moves::Nothing
            } else {
                Moves::State
            },
            guard: match (mb.fence, mb.in_flight_max_ms) {
                (Fence::Token | Fence::Exclusive, _) => Guard::None,
                (Fence::Bounded, Some(in_flight_ms)) => {
                    Guard::For(Timers::guard_over(Duration::from_millis(in_flight_ms)))
                }
                (Fence::Bounded | Fence::None, _) => Guard::Whole,
            },
            required: config.required,
            edges: config
                .items
                .iter()
                .zip(0..)
                .filter(|(item, _)| item.edge)
                .map(|(_, place)| place)
                .collect(),
            sequence: Sequence {
                exclusive: mb.fence == Fence::Exclusive || !mb.exclusive.is_empty(),
                order: order_class(mb.order),
                cut_on_loss: mb.fence != Fence::Token
                    && mb.modes.contains(&twinhub_contract::manifest::Mode::Cold),
            },
            resyncs: mb.recovery == Recovery::Resync,
            on_unquorate: config.on_unquorate.unwrap_or_else(|| manifest_unquorate(mb.on_unquorate)),
            ack_after: ack_after(config, mb.ack_after)?,
            on_unprotected: config.on_unprotected,
            write_timeout: config.write_timeout,
            probe: config.probe.clone(),
        })
    }

    /// What the configuration names was found when it was checked. What it names twice counts once.
    fn values_in(&self, config: &InterfaceConfig) -> Box<[ItemId]> {
        let mut known = BTreeSet::new();
        let keys = config.values_in.iter().flat_map(|end| end.readable(self.site));
        keys.filter_map(|key| self.table.find(key.as_str())).filter(|item| known.insert(*item)).collect()
    }

    fn routes(&self, group: &str, members: &[(usize, &InterfaceConfig)]) -> Result<Routes, StartError> {
        let mut routes = Vec::new();
        for link in &self.site.links {
            let source = end_interface(&link.from);
            if !members.iter().any(|(_, config)| config.id == source) {
                continue;
            }
            let mut ways: BTreeMap<usize, Arc<Way>> = BTreeMap::new();
            for (from, to) in link.expand(self.site) {
                let Some(target) = members.iter().position(|(_, config)| config.id == to.interface()) else {
                    return Err(StartError::Config(format!(
                        "link from `{from}` to `{to}` leaves group `{group}`: both ends must be in one group"
                    )));
                };
                let way = ways.entry(target).or_insert_with(|| {
                    Arc::new(Way {
                        target,
                        stream: self.is_stream(link, members[target].1),
                        kind: link.kind,
                        both: link.both,
                        convert: (!link.convert.is_identity()).then(|| link.convert.clone()),
                        origin: format!("link:{}", link.index).into(),
                    })
                });
                let find = |key: &ItemKey| {
                    self.table
                        .find(key.as_str())
                        .ok_or_else(|| StartError::Config(format!("link names `{key}`, which is no item")))
                };
                routes.push(Route::new(find(&from)?, find(&to)?, Arc::clone(way)));
            }
        }
        routes.shrink_to_fit();
        Ok(Routes::new(self.table.len(), routes))
    }

    /// The streams of events that interfaces give, and whom they are for.
    fn streams(&self, members: &[(usize, &InterfaceConfig)]) -> Result<Streams, StartError> {
        let manifest = |config: &InterfaceConfig| {
            let library = self.libraries.plugin(&config.plugin);
            library.map(|library| library.manifest()).ok_or_else(|| not_loaded(&config.plugin, &config.id))
        };
        let mut manifests = BTreeMap::new();
        for (_, config) in members {
            manifests.insert(config.id.as_str(), manifest(config)?);
        }
        if let Some(fault) = check_event_links(self.site, &manifests).first() {
            return Err(StartError::Config(fault.message.clone()));
        }
        Ok(streams(self.site, &manifests))
    }

    fn is_stream(&self, link: &twinhub_config::Link, target: &InterfaceConfig) -> bool {
        match link.delivery {
            Some(Delivery::Stream) => true,
            Some(Delivery::Command) => false,
            None => self.libraries.plugin(&target.plugin).is_some_and(|library| {
                library.manifest().mb.delivery == twinhub_contract::manifest::Delivery::Stream
            }),
        }
    }
}

fn end_interface(end: &LinkEnd) -> &str {
    match end {
        LinkEnd::Item(key) => key.interface(),
        LinkEnd::Prefix { interface, .. } => interface,
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

/// When inputs are acknowledged: as configured, if the plugin acknowledges any.
fn ack_after(
    config: &InterfaceConfig,
    declared: twinhub_contract::manifest::AckAfter,
) -> Result<AckAfter, StartError> {
    let declared = match declared {
        twinhub_contract::manifest::AckAfter::None => AckAfter::None,
        twinhub_contract::manifest::AckAfter::Local => AckAfter::Local,
        twinhub_contract::manifest::AckAfter::Peer => AckAfter::Peer,
    };
    match config.ack_after {
        Some(AckAfter::Local | AckAfter::Peer) if declared == AckAfter::None => {
            Err(StartError::Config(format!(
                "interface `{}`: plugin `{}` acknowledges no inputs; leave `ack_after` out",
                config.id, config.plugin
            )))
        }
        Some(configured) => Ok(configured),
        None => Ok(declared),
    }
}

const fn order_class(order: Order) -> u8 {
    match order {
        Order::Field => 0,
        Order::Logic => 1,
        Order::Schedule => 2,
        Order::Metering => 3,
        Order::Messenger => 4,
    }
}

const fn manifest_unquorate(declared: twinhub_contract::manifest::OnUnquorate) -> OnUnquorate {
    match declared {
        twinhub_contract::manifest::OnUnquorate::Run => OnUnquorate::Run,
        twinhub_contract::manifest::OnUnquorate::ReadOnly => OnUnquorate::ReadOnly,
        twinhub_contract::manifest::OnUnquorate::Off => OnUnquorate::Off,
    }
}
