//! The role follows the field side: two hubs, a way of its own to the device for each, and a witness. The role moves
//! to the node that has proven to see the device, and stays where it is if both have lost it.

use std::time::{Duration, Instant};

use serde_json::Value;
use twinhub_conformance::{Artifacts, Cluster, Error, Profile, Result, SitePlan};
use twinhub_peers::{Cut, Device, DeviceOptions, Relay, wait_for};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// The other node must be better for ten seconds; this is longer.
const HYSTERESIS: Duration = Duration::from_secs(12);

#[test]
fn the_role_moves_to_the_node_whose_warm_link_reaches_the_device() {
    check(|pair| pair.follows_the_way_to_the_device("settings.standby_probe = \"1s\"\n", ""));
}

#[test]
fn the_role_moves_to_the_node_whose_probe_reaches_the_device_of_a_cold_interface() {
    check(|pair| {
        let probe = |rank: usize| format!("probe = \"{}\"\n", pair.ways[rank].address());
        pair.follows_the_way_to_the_device(&format!("standby = \"cold\"\n{}", probe(0)), &probe(1))
    });
}

#[test]
fn the_role_moves_to_the_node_that_hears_a_watched_item_as_it_should_be() {
    check(|pair| {
        pair.devices[1].set_register(1, 1);
        pair.devices[0].set_register(1, 1);
        let watch = "standby = \"hot\"\n\
                     monitor = [{ item = \"ready\", when = \"equals\", value = 0, for = \"500ms\", failures = 2 }]\n";
        let mut cluster = pair.start(watch, "")?;
        wait_scores(&mut cluster, "main", [100, 100])?;
        pair.devices[0].set_register(1, 0);
        wait_scores(&mut cluster, "main", [60, 100])?;
        let reason = wait_moved(&mut cluster)?;
        assert!(reason.contains("100 against 60, plc1 -40 (plc1/ready is equal to 0 for 1s)"), "{reason}");
        let events = cluster.rest("main")?.resource("/events")?.to_string();
        assert!(events.contains("watched item `plc1/ready` is equal to 0 for 1s"), "{events}");
        Ok(())
    });
}

/// Two devices, and a way to one of them for each node.
struct Pair<'a> {
    artifacts: &'a Artifacts,
    devices: [Device; 2],
    ways: [Relay; 2],
}

impl Pair<'_> {
    /// Both lose the device: nothing moves. Then the backup has it again: the role moves there.
    fn follows_the_way_to_the_device(&self, interface: &str, on_backup: &str) -> Result<()> {
        let mut cluster = self.start(interface, on_backup)?;
        wait_scores(&mut cluster, "main", [100, 100])?;

        for way in &self.ways {
            way.cut(Cut::Reset);
        }
        wait_scores(&mut cluster, "main", [60, 60])?;
        let epoch = cluster.status("main")?.epoch;
        let until = Instant::now() + HYSTERESIS;
        wait("the time in which a role would move", || Ok(Instant::now() > until))?;
        let status = cluster.status("main")?;
        assert_eq!((status.active.as_deref(), &status.epoch), (Some("main"), &epoch), "nothing moved");

        self.ways[1].heal();
        let reason = wait_moved(&mut cluster)?;
        assert!(reason.contains("backup is in better health: 100 against 60, plc1 -40 ("), "{reason}");
        // The first value of the device through the backup.
        self.devices[1].set_register(0, 777);
        wait("the device's value through the backup", || {
            Ok(cluster.rest("backup")?.resource("/items/plc1/level")?["value"] == 777)
        })
    }

    fn start(&self, interface: &str, on_backup: &str) -> Result<Cluster> {
        let mut plan = SitePlan::new(Profile::Normal, 2)?;
        plan.interfaces = format!(
            "[[interface]]\nid = \"plc1\"\nplugin = \"modbus\"\nitems = \"items/plc1.csv\"\n\
             settings.address = \"{}\"\nsettings.poll = \"100ms\"\nsettings.timeout = \"500ms\"\n{interface}\n\
             [nodes.backup.override.interface.plc1]\nsettings.address = \"{}\"\n{on_backup}",
            self.ways[0].address(),
            self.ways[1].address(),
        );
        let items =
            "path,address,type,access,unit,description\nlevel,hr:0,uint16,r,,\nready,hr:1,uint16,r,,\n";
        plan.items = vec![("plc1.csv".to_owned(), items.to_owned())];
        Cluster::start_pair(plan, self.artifacts, PATIENCE)
    }
}

/// Waits until a node knows these scores, the main's first.
fn wait_scores(cluster: &mut Cluster, node: &str, expected: [u64; 2]) -> Result<()> {
    let mut seen = Value::Null;
    let found = wait_for("scores", PATIENCE, || {
        seen = cluster.rest(node).and_then(|rest| rest.resource("/cluster")).unwrap_or_default();
        let nodes = &seen["groups"][0]["nodes"];
        let is_so = expected
            .iter()
            .enumerate()
            .all(|(rank, score)| nodes[rank]["score"] == *score && nodes[rank]["proven"] == *score);
        is_so.then_some(())
    });
    found.map_err(|_| {
        Error::State(format!("{node} does not know scores {expected:?}: {seen:#}\n{}", cluster.log_tails()))
    })
}

/// Waits until the backup is active; says why the main gave the role away.
fn wait_moved(cluster: &mut Cluster) -> Result<String> {
    cluster.wait_state("backup", "active", PATIENCE)?;
    let history = cluster.rest("main")?.resource("/cluster/history")?.to_string();
    Ok(history)
}

fn wait(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    Ok(wait_for(what, PATIENCE, || is_so().is_ok_and(|is_so| is_so).then_some(()))?)
}

fn check(story: impl FnOnce(&Pair<'_>) -> Result<()>) {
    twinhub_conformance::check(|artifacts| {
        let devices = [Device::start(DeviceOptions::default())?, Device::start(DeviceOptions::default())?];
        let ways = [Relay::start(devices[0].address())?, Relay::start(devices[1].address())?];
        story(&Pair { artifacts, devices, ways })
    });
}
