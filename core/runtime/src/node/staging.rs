//! Another version of a plugin, looked at before it is brought into the running node.

use std::sync::Arc;

use twinhub_config::{Interface, Site};
use twinhub_contract::manifest::{MainBackup, State};
use twinhub_loader::Manifest;

use super::NodeOptions;
use super::libraries::{Choice, Opener, Records};
use crate::error::CommandError;
use crate::instance::Hosted;
use crate::quarantine::Quarantine;
use crate::trust::Trust;
use crate::versions::Versions;

/// What it takes to load libraries into a node that runs.
#[derive(Debug)]
pub(crate) struct Staging {
    options: NodeOptions,
    records: Records,
}

/// What a file of a plugin would change.
#[derive(Debug)]
pub(crate) struct Staged {
    /// By group: interfaces, and what hosts each.
    pub(crate) groups: Vec<(String, Vec<(String, Hosted)>)>,
    /// Of `plugins.lock`, as it is now.
    pub(crate) lock: Option<String>,
}

impl Staging {
    pub(super) const fn new(options: NodeOptions, records: Records) -> Staging {
        Staging { options, records }
    }

    fn site(&self) -> &Site {
        &self.options.site
    }

    /// What is remembered of versions.
    pub(crate) fn versions(&self) -> Arc<Versions> {
        Arc::clone(&self.records.versions)
    }

    /// Which libraries are not in the hub's process.
    pub(crate) fn quarantine(&self) -> &Quarantine {
        &self.records.quarantine
    }

    /// Loads the file of a plugin that is where plugins are now. It may wait for a disk.
    ///
    /// # Errors
    /// Why it cannot take the place of `running`, and what to do; nothing has changed then.
    pub(crate) fn stage(
        &self,
        plugin: &str,
        running: &Manifest,
        sha256: &str,
    ) -> Result<Staged, CommandError> {
        let unfit = |why: String| CommandError::PluginUnfit { why };
        let trust = Trust::open(&self.options.config_dir).map_err(|failure| unfit(failure.render()))?;
        let mut opener =
            Opener::new(&self.options, &trust, &self.records).map_err(|error| unfit(error.to_string()))?;
        let mut groups: Vec<(String, Vec<(String, Hosted)>)> = Vec::new();
        for interface in self.site().interfaces.iter().filter(|interface| interface.plugin == plugin) {
            let hosted =
                opener.host(interface, Choice::OfOperator).map_err(|error| unfit(error.to_string()))?;
            let found = &hosted.library;
            if found.sha256().as_str() == sha256 {
                return Err(CommandError::PluginSame {
                    path: found.path().to_owned(),
                    version: running.version.clone(),
                });
            }
            check(interface, running, found.manifest())
                .map_err(|why| unfit(format!("interface `{}`: plugin `{plugin}` {why}", interface.id)))?;
            let entry = (interface.id.clone(), hosted);
            match groups.iter_mut().find(|(group, _)| *group == interface.group) {
                Some((_, hosted)) => hosted.push(entry),
                None => groups.push((interface.group.clone(), vec![entry])),
            }
        }
        let lock = trust.lock().map(twinhub_trust::Lock::hash);
        Ok(Staged { groups, lock })
    }
}

/// What is built into the order of a running node cannot change without a restart of it.
fn check(interface: &Interface, from: &Manifest, to: &Manifest) -> Result<(), String> {
    if from.id != to.id {
        return Err(format!("is `{}` in the new file and `{}` now: it is another plugin", to.id, from.id));
    }
    let mut differing = differing(&from.mb, &to.mb, interface);
    // Who gives to whom was laid out when the node started.
    differing.extend((from.events != to.events).then_some("events"));
    if !differing.is_empty() {
        return Err(format!(
            "declares another {} in version {} than in {}, which a running node cannot take over: restart the node \
             (`twinhub drain` first)",
            differing.join(", "),
            to.version,
            from.version
        ));
    }
    let columns = to.item_columns();
    let lost: Vec<&str> =
        from.item_columns().into_iter().filter(|column| !columns.contains(column)).collect();
    if lost.is_empty() {
        return Ok(());
    }
    Err(format!(
        "of version {} does not know the item columns {} any more: restart the node, which checks the items against \
         them",
        to.version,
        lost.join(", ")
    ))
}

fn differing(from: &MainBackup, to: &MainBackup, interface: &Interface) -> Vec<&'static str> {
    let standby_is_configured = interface.standby.is_some();
    let keeps = |declaration: &MainBackup| declaration.state != State::None;
    let facts = [
        ("mb.relevant", from.relevant != to.relevant),
        ("mb.modes", from.modes.iter().any(|mode| !to.modes.contains(mode))),
        ("mb.default_standby", !standby_is_configured && from.default_standby != to.default_standby),
        ("mb.fence", from.fence != to.fence),
        ("mb.in_flight_max_ms", from.in_flight_max_ms != to.in_flight_max_ms),
        ("mb.exclusive", from.exclusive.is_empty() != to.exclusive.is_empty()),
        ("mb.order", from.order != to.order),
        ("mb.delivery", from.delivery != to.delivery),
        ("mb.recovery", from.recovery != to.recovery),
        ("mb.parallel_input", from.parallel_input != to.parallel_input),
        ("mb.state", keeps(from) != keeps(to)),
        ("mb.on_unquorate", interface.on_unquorate.is_none() && from.on_unquorate != to.on_unquorate),
        ("mb.ack_after", from.ack_after != to.ack_after),
    ];
    facts.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manifest(change: impl FnOnce(&mut Value)) -> Manifest {
        let mut text = json!({
            "manifest": 1, "id": "org.example.any", "name": "Any", "vendor": "Example", "version": "0.1.0",
            "license": "MIT", "abi": {"min": "1.0", "max": "1.0"}, "kind": "interface",
            "protocols": [{"name": "none"}], "config_schema": {},
            "item_address_schema": {"properties": {"address": {"type": "string"}, "poll": {"type": "string"}}},
            "mb": {
                "relevant": true, "possible": "yes", "default_standby": "cold", "modes": ["cold"],
                "takeover_target_ms": {"cold": 50}, "loss_window": "none",
                "inactive": {"reads": "none", "publish": "drop", "writes": "reject", "outputs": "suppress"},
                "state": "none", "fence": "none", "recovery": "none", "parallel_input": false
            },
            "capabilities": [{"name": "anything"}],
            "hosting": {"allowed": ["inproc"], "recommended": "inproc"}
        });
        change(&mut text);
        Manifest::parse(text.to_string().as_bytes()).unwrap()
    }

    fn interface() -> Interface {
        let text = "version = 1\nsite = \"s\"\n[cluster]\nnodes = [\"main\"]\n[nodes.main]\nlinks = [\"127.0.0.1:1\"]\n\
                    [[interface]]\nid = \"one\"\nplugin = \"any\"\n";
        let site = twinhub_config::parse(text, "twinhub.toml", &NoItems).unwrap().site;
        site.interfaces[0].clone()
    }

    struct NoItems;

    impl twinhub_config::ItemSource for NoItems {
        fn read(&self, _path: &str) -> Result<Vec<u8>, twinhub_config::ItemSourceError> {
            Ok(Vec::new())
        }
    }

    fn refusal(change: impl FnOnce(&mut Value)) -> Option<String> {
        check(&interface(), &manifest(|_| {}), &manifest(change)).err()
    }

    #[test]
    fn another_version_with_the_same_order_of_things_fits() {
        assert_eq!(refusal(|text| text["version"] = json!("0.2.0")), None);
        assert_eq!(
            refusal(|text| text["item_address_schema"]["properties"]["new"] = json!({"type": "string"})),
            None
        );
        let warm = refusal(|text| {
            text["mb"]["modes"] = json!(["cold", "warm"]);
            text["mb"]["takeover_target_ms"] = json!({"cold": 50, "warm": 50});
        });
        assert_eq!(warm, None);
    }

    #[test]
    fn what_a_running_node_cannot_take_over_is_named() {
        let other = refusal(|text| text["id"] = json!("org.example.other")).unwrap();
        assert!(other.contains("another plugin"), "{other}");
        let fence = refusal(|text| {
            text["mb"]["fence"] = json!("exclusive");
            text["mb"]["relevant"] = json!(false);
        });
        let fence = fence.unwrap();
        assert!(fence.contains("mb.relevant, mb.fence") && fence.contains("restart the node"), "{fence}");
        let events = refusal(|text| text["events"] = json!({"takes": ["guest"]})).unwrap();
        assert!(events.contains("another events in version"), "{events}");
        let lost = refusal(|text| {
            text["item_address_schema"]["properties"] = json!({"address": {"type": "string"}});
        })
        .unwrap();
        assert!(lost.contains("item columns poll"), "{lost}");
    }
}
