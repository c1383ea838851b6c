//! Alarms of a real pair: whatever is killed at whatever time, each occurrence is there once, with its own times, and
//! what an operator said of it stays said.

use std::time::Duration;

use serde_json::{Value, json};
use twinhub_conformance::{Cluster, Error, Profile, Result, SitePlan, check};
use twinhub_peers::{Device, DeviceOptions, Mosquitto, PlainPublisher, wait_for};

/// Nothing here takes longer unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn an_alarm_is_raised_once_whoever_is_killed_and_an_acknowledgment_stays() {
    check(|artifacts| {
        let device = Device::start(DeviceOptions::default())?;
        let plan = SitePlan::with_alarm(device.address(), "delay_on = \"5s\"")?;
        let mut cluster = Cluster::start_pair(plan, artifacts, PATIENCE)?;

        // Killed while the delay runs: the other node goes on with it.
        device.set_register(0, 95);
        wait_value(&cluster, "main", "plc1/level", 95)?;
        wait_value(&cluster, "backup", "plc1/level", 95)?;
        assert_eq!(alarms(&cluster, "main")?.len(), 0, "its delay is not over");
        cluster.kill("main")?;
        cluster.wait_state("backup", "active", PATIENCE)?;
        wait_states(&cluster, "backup", &["hot unacknowledged"])?;
        let raised = alarms(&cluster, "backup")?.remove(0);
        let [onset, at] = ["onset", "raised_at"].map(|name| time(&raised[name]));
        assert_eq!(
            at - onset,
            5_000_000_000,
            "the delay ended five seconds after the value came: {raised:#}"
        );

        // Killed after it was raised: the other node knows, and does not raise it again.
        cluster.start("main")?;
        cluster.wait_in_sync(PATIENCE)?;
        wait_states(&cluster, "main", &["hot unacknowledged"])?;
        cluster.kill("backup")?;
        cluster.wait_state("main", "active", PATIENCE)?;
        wait_value(&cluster, "main", "plc1/level", 95)?;
        assert_eq!(alarms(&cluster, "main")?[0]["id"], raised["id"], "the same occurrence");

        // Killed right after the answer to an acknowledgment: it holds. The standby says where to go, or carries it over
        // by its own word, since the nodes share no token.
        cluster.start("backup")?;
        cluster.wait_in_sync(PATIENCE)?;
        let id = raised["id"].as_str().unwrap_or_default();
        let path = format!("/alarms/{id}/acknowledge");
        let body = json!({ "comment": "on my way" });
        let refused = cluster.rest("backup")?.order(&path, &body);
        assert!(refused.is_err_and(|error| error.to_string().contains("TH-NODE-001")));
        wait("the acknowledgment", || {
            cluster.rest("backup")?.order(&format!("{path}?forward=1"), &body).map(|_| true)
        })?;
        cluster.kill("main")?;
        cluster.wait_state("backup", "active", PATIENCE)?;
        wait_states(&cluster, "backup", &["hot acknowledged"])?;
        assert_eq!(alarms(&cluster, "backup")?[0]["comment"], "on my way");

        // Over, and again: another occurrence. Then both are stopped and started.
        device.set_register(0, 50);
        wait_states(&cluster, "backup", &["hot normal"])?;
        device.set_register(0, 96);
        wait_states(&cluster, "backup", &["hot normal", "hot unacknowledged"])?;
        cluster.start("main")?;
        cluster.wait_in_sync(PATIENCE)?;
        for node in ["main", "backup"] {
            cluster.kill(node)?;
        }
        for node in ["main", "backup"] {
            cluster.start(node)?;
        }
        cluster.wait_in_sync(PATIENCE)?;
        for node in ["main", "backup"] {
            wait_value(&cluster, node, "plc1/level", 96)?;
            wait_states(&cluster, node, &["hot normal", "hot unacknowledged"])?;
        }
        let counts = cluster.rest("main")?.resource("/cluster")?["groups"][0]["alarms"].clone();
        assert_eq!((&counts["active"], &counts["unacknowledged"]), (&json!(1), &json!(1)));
        Ok(())
    });
}

#[test]
fn an_alarm_that_came_and_went_while_nobody_acted_is_there_with_its_own_times() {
    check(|artifacts| {
        let broker = Mosquitto::start()?;
        let mut plan = SitePlan::new(Profile::Normal, 2)?;
        plan.interfaces = format!(
            "[[interface]]\nid = \"mqtt1\"\nplugin = \"mqtt\"\nstandby = \"hot\"\nitems = \"items/mqtt1.csv\"\n\
             settings.broker = \"mqtt://{}\"\n\
             [[alarm]]\nid = \"hot\"\nitem = \"mqtt1/level\"\nwhen = \"high\"\nvalue = 90\n",
            broker.address(),
        );
        let items = "path,address,type,access,unit,description\nlevel,site/level,float64,r,,\n";
        plan.items = vec![("mqtt1.csv".to_owned(), items.to_owned())];
        let mut cluster = Cluster::start_pair(plan, artifacts, PATIENCE)?;
        let mut publisher = PlainPublisher::connect(broker.address(), "sensor")?;
        wait("the first value on both", || {
            publisher.publish("site/level", b"20")?;
            Ok(is_value(&cluster, "main", "mqtt1/level", 20)?
                && is_value(&cluster, "backup", "mqtt1/level", 20)?)
        })?;

        cluster.kill("main")?;
        for payload in ["95", "96", "30"] {
            publisher.publish("site/level", payload.as_bytes())?;
        }
        assert_ne!(cluster.state("backup").as_deref(), Some("active"), "its lease is not over");
        cluster.wait_state("backup", "active", PATIENCE)?;
        wait_states(&cluster, "backup", &["hot returned"])?;
        let alarm = alarms(&cluster, "backup")?.remove(0);
        let won = cluster.rest("backup")?.resource("/cluster/history")?;
        let won = won.as_array().into_iter().flatten().rfind(|change| change["to"] == "active").cloned();
        let won = won.map_or(i64::MAX, |change| time(&change["at"]));
        let [onset, cleared] = ["onset", "cleared_at"].map(|name| time(&alarm[name]));
        assert!(onset <= cleared && cleared < won, "before anybody acted ({won}): {alarm:#}");
        assert_eq!((&alarm["value"], &alarm["cleared_value"]), (&json!("95"), &json!("30")));

        // Both again, and the role goes back: nothing is raised by what is known.
        cluster.start("main")?;
        cluster.wait_in_sync(PATIENCE)?;
        cluster.rest("backup")?.switchover("main")?;
        cluster.wait_state("main", "active", PATIENCE)?;
        publisher.publish("site/level", b"31")?;
        wait_value(&cluster, "main", "mqtt1/level", 31)?;
        wait_states(&cluster, "main", &["hot returned"])
    });
}

/// Everything that a node keeps, the oldest first.
fn alarms(cluster: &Cluster, node: &str) -> Result<Vec<Value>> {
    let page = cluster.rest(node)?.resource("/alarms?state=all")?;
    let mut rows = page["rows"].as_array().cloned().unwrap_or_default();
    rows.reverse();
    Ok(rows)
}

/// Waits until a node keeps exactly these occurrences, in these states.
fn wait_states(cluster: &Cluster, node: &str, expected: &[&str]) -> Result<()> {
    let mut seen = Vec::new();
    let found = wait_for("alarms", PATIENCE, || {
        seen = alarms(cluster, node).unwrap_or_default();
        let text = |row: &Value| {
            let word = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}", word("alarm"), word("state"))
        };
        (seen.iter().map(text).collect::<Vec<_>>() == expected).then_some(())
    });
    found.map_err(|_| {
        Error::State(format!("{node} has other alarms than {expected:?}: {seen:#?}\n{}", cluster.log_tails()))
    })
}

fn is_value(cluster: &Cluster, node: &str, item: &str, value: i64) -> Result<bool> {
    let item = cluster.rest(node)?.resource(&format!("/items/{item}"))?;
    Ok(item["value"]
        .as_f64()
        .is_some_and(|seen| (seen - f64::from(i32::try_from(value).unwrap_or(0))).abs() < 0.5)
        && item["quality"] != "bad")
}

fn wait_value(cluster: &Cluster, node: &str, item: &str, value: i64) -> Result<()> {
    wait("a value", || is_value(cluster, node, item, value))
}

/// Nanoseconds of a time as it is shown, or 0.
fn time(shown: &Value) -> i64 {
    let time = shown.as_str().and_then(|text| text.parse::<twinhub_model::Timestamp>().ok());
    time.map_or(0, |time| time.0)
}

fn wait(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    Ok(wait_for(what, PATIENCE, || is_so().is_ok_and(|is_so| is_so).then_some(()))?)
}
