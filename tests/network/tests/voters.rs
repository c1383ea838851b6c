//! Three nodes without a witness: who votes is changed while machines come and go. The device's log is the judge.

use std::thread;
use std::time::Duration;

use twinhub_conformance::Profile;
use twinhub_network::{Error, Machine, Pair, Result, guarded, print};
use twinhub_peers::{monotonic_ns, wait_until};

use Machine::{Backup, Main, Third};

/// Two voters are left, and each of them is needed.
#[test]
fn after_a_node_was_shrunk_the_loss_of_another_stops_the_last_one_until_it_is_back() {
    guarded("three nodes: one shrunk, one killed", || {
        let mut site = start()?;
        site.stop(Third)?;
        done(&site, &["shrink", "third", "--hold"])?;
        wait_voting(&site, Main, 2)?;

        site.kill(Backup)?;
        site.wait_state(Main, "isolated", LIMIT)?;
        let closed = monotonic_ns();
        thread::sleep(Profile::Normal.lease() * 3);
        assert_eq!(site.verdict().writes_of(Main, closed), 0, "it wrote without a majority\n{}", site.logs());

        site.run(Backup)?;
        let active = settled(&site, &[Main, Backup])?;
        print(&format!("{} acts after the two hear each other again", active.word()));
        let changes = usize::from(active != Main);

        // It follows without a vote until an operator takes it in.
        site.run(Third)?;
        wait_synced(&site, active, Third)?;
        assert_eq!(voting(&site, active)?, 2, "{}", site.logs());
        done_at(&site, active, &["grow", "third"])?;
        for machine in [Main, Backup, Third] {
            wait_voting(&site, machine, 3)?;
        }

        // With three votes again the loss of any one is survived.
        let at = site.kill(active)?;
        let next = settled_without(&site, active)?;
        site.wait_writes(next, at, LIMIT)?;
        print(&format!("outputs silent for {:?}", site.verdict().outage_of_outputs(at, next)));
        judge(&site, changes + 1);
        Ok(())
    });
}

/// Two machines are serviced on one day: who stops in order is let go, the last one acts alone with a majority.
#[test]
fn nodes_that_stop_in_order_one_after_the_other_leave_the_last_one_acting() {
    guarded("three nodes: two stopped in order", || {
        let mut site = start()?;
        site.stop(Third)?;
        done(&site, &["shrink", "third"])?;
        wait_voting(&site, Main, 2)?;
        let from = monotonic_ns();
        site.stop(Backup)?;
        wait_voting(&site, Main, 1)?;
        thread::sleep(Profile::Normal.lease() * 2);
        assert_eq!(site.state(Main).as_deref(), Some("active"), "{}", site.logs());
        site.wait_writes(Main, from, LIMIT)?;
        judge(&site, 0);

        // Both are back and taken in again by themselves.
        for machine in [Backup, Third] {
            site.run(machine)?;
            wait_synced(&site, Main, machine)?;
        }
        // Until the others know that the change is over, one of them and the main would be needed.
        for machine in [Main, Backup, Third] {
            wait_voting(&site, machine, 3)?;
        }
        let at = site.kill(Main)?;
        let next = settled_without(&site, Main)?;
        site.wait_writes(next, at, LIMIT)?;
        judge(&site, 1);
        Ok(())
    });
}

/// Three nodes, the main active and the others in sync.
fn start() -> Result<Pair> {
    let mut site = Pair::prepare_three(Profile::Normal)?;
    for machine in [Main, Backup, Third] {
        site.run(machine)?;
    }
    site.wait_in_sync(Main)?;
    wait_synced(&site, Main, Third)?;
    wait_voting(&site, Main, 3)?;
    Ok(site)
}

fn done(site: &Pair, words: &[&str]) -> Result<()> {
    done_at(site, Main, words)
}

/// Orders it until it is done: what was said to a moment ago, or is changing, is refused with its reason.
fn done_at(site: &Pair, machine: Machine, words: &[&str]) -> Result<()> {
    let mut answer = String::new();
    let is_done = wait_until(&words.join(" "), LIMIT, || {
        let given = site.order(machine, words);
        answer = format!("{given:?}");
        given.is_ok_and(|given| given["state"] == "done")
    });
    is_done.map_err(|error| Error::State(format!("{error}: {answer}\n{}", site.logs())))
}

/// How many vote, as a node knows it, when nothing is changing.
fn voting(site: &Pair, machine: Machine) -> Result<u64> {
    let cluster = site.resource(machine, "/cluster")?;
    let voters = &cluster["groups"][0]["voters"];
    let settled = voters["voting"].as_u64().filter(|_| voters["changing"] == false);
    settled.ok_or_else(|| Error::State(format!("the voters are changing: {voters}")))
}

fn wait_voting(site: &Pair, machine: Machine, count: u64) -> Result<()> {
    wait_until(&format!("{count} voters"), LIMIT, || voting(site, machine).is_ok_and(|now| now == count))
        .map_err(|error| Error::State(format!("{error}\n{}", site.logs())))
}

fn wait_synced(site: &Pair, active: Machine, other: Machine) -> Result<()> {
    wait_until(&format!("{} in sync", other.word()), LIMIT, || {
        site.status(active).is_ok_and(|status| {
            status.node(other.word()).is_some_and(|node| node.state == "standby" && node.in_sync)
        })
    })
    .map_err(|error| Error::State(format!("{error}\n{}", site.logs())))
}

/// Waits until one of these acts and the others follow.
fn settled(site: &Pair, among: &[Machine]) -> Result<Machine> {
    let mut active = None;
    wait_until("one is active", LIMIT, || {
        active = among.iter().copied().find(|machine| site.state(*machine).as_deref() == Some("active"));
        active.is_some()
    })
    .map_err(|error| Error::State(format!("{error}\n{}", site.logs())))?;
    let active = active.ok_or_else(|| Error::State("nobody acts".to_owned()))?;
    for other in among.iter().filter(|machine| **machine != active) {
        wait_synced(site, active, *other)?;
    }
    site.wait_writes(active, monotonic_ns(), LIMIT)?;
    Ok(active)
}

fn settled_without(site: &Pair, gone: Machine) -> Result<Machine> {
    let left: Vec<Machine> = [Main, Backup, Third].into_iter().filter(|machine| *machine != gone).collect();
    settled(site, &left)
}

/// What holds under every fault.
fn judge(site: &Pair, changes: usize) {
    let verdict = site.verdict();
    assert_eq!(verdict.changes_of_writer(), changes, "the writer changed\n{}", site.logs());
    assert!(!verdict.has_old_after_new(), "an old value after a new one\n{}", site.logs());
}

/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(20);
