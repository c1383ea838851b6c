//! Clocks that are wrong, in real processes: a wall clock that is set by an hour while its node acts, and clocks that run
//! at another rate than the others. A preloaded library of this test answers for the clocks of the C library, which
//! the product asks. The device's log, on the right clock, is the judge.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use twinhub_conformance::Profile;
use twinhub_network::{Error, Machine, Net, Pair, Result, guarded, print};
use twinhub_peers::{monotonic_ns, wait_until};

use Machine::{Backup, Main, Witness};

#[test]
fn a_clock_of_the_main_that_is_set_by_an_hour_moves_nothing() {
    guarded("clock of the main set", || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        let clocks = Clocks::build(&pair)?;
        clocks.start(&mut pair, &[(Main, 0), (Backup, 0), (Witness, 0)])?;
        for hours in [1, -1] {
            clocks.step(Main, hours)?;
            stays(&pair)?;
            // Values go with the clock of the node that reads them.
            wait_until("values with the new time", LIMIT, || {
                age_s(&pair, Main).is_some_and(|age| (age + hours * 3_600).abs() < 60)
            })
            .map_err(|error| Error::State(format!("{error}: {:?}", age_s(&pair, Main))))?;
        }
        // The pair finds together again in its new time, with connections and certificates looked at anew.
        for net in [Net::Lan, Net::Cable] {
            pair.lab().cut(Main, Backup, net)?;
        }
        thread::sleep(Profile::Normal.lease() * 4);
        pair.lab().heal()?;
        pair.wait_in_sync(Main)?;
        in_order(&pair, Main)?;
        judge(&pair, 0);
        // And who takes over goes on in its own time.
        let at = pair.kill(Main)?;
        moved(&pair, at)?;
        in_order(&pair, Backup)
    });
}

#[test]
fn a_clock_of_the_witness_that_is_set_by_an_hour_moves_nothing_and_its_vote_counts() {
    guarded("clock of the witness set", || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        let clocks = Clocks::build(&pair)?;
        clocks.start(&mut pair, &[(Witness, 0)])?;
        for hours in [1, -1] {
            clocks.step(Witness, hours)?;
            stays(&pair)?;
        }
        // Started anew in the wrong time it is a voter like any other.
        pair.kill(Witness)?;
        clocks.run(&mut pair, Witness, 0)?;
        clocks.step(Witness, -1)?;
        stays(&pair)?;
        let at = pair.kill(Main)?;
        moved(&pair, at)
    });
}

/// The worst direction: the holder believes too long, the voters forget too early.
#[test]
fn clocks_that_drift_by_two_percent_let_nobody_act_beside_another() {
    guarded("drift of 2 %", || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        let clocks = Clocks::build(&pair)?;
        clocks.start(&mut pair, &[(Main, -20_000), (Backup, 20_000), (Witness, 20_000)])?;
        stays(&pair)?;
        let at = monotonic_ns();
        cut_main(&pair)?;
        moved(&pair, at)?;
        pair.lab().heal()?;
        pair.wait_in_sync(Backup)?;
        judge(&pair, 1);
        // The other way round, the holder is the fast one.
        let at = pair.kill(Backup)?;
        pair.wait_state(Main, "active", LIMIT)?;
        pair.wait_writes(Main, at, LIMIT)?;
        judge(&pair, 2);
        Ok(())
    });
}

/// What the timers do not promise: a holder at two fifths of the voters' rate believes in its lease for longer than they
/// do and longer than the guard waits. It shows that the clocks of this test reach the lease, and that two would be
/// seen. The rate at which it begins follows from the timers: (margin + guard) / lease, 30 % in this profile.
#[test]
fn a_clock_far_beyond_what_the_margin_covers_is_seen_by_the_judge() {
    guarded("drift of 60 %", || {
        let mut pair = Pair::prepare(Profile::Normal)?;
        let clocks = Clocks::build(&pair)?;
        clocks.start(&mut pair, &[(Main, -600_000)])?;
        cut_main(&pair)?;
        pair.wait_writes(Backup, 0, LIMIT)?;
        thread::sleep(Profile::Normal.lease() * 3);
        assert!(pair.verdict().changes_of_writer() > 1, "the rate does not reach the lease\n{}", pair.logs());
        Ok(())
    });
}

/// The library, and an order for each machine.
struct Clocks {
    library: PathBuf,
    folder: PathBuf,
}

impl Clocks {
    fn build(pair: &Pair) -> Result<Self> {
        let library = pair.root().join("wrong_clocks.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wrong_clocks.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let built = compiler.status().map_err(Error::io("start cc"))?;
        assert!(built.success(), "{} does not compile", source.display());
        Ok(Self { library, folder: pair.root().to_owned() })
    }

    /// Starts all three, those named with a clock that gains so many millionths, and waits until they are whole.
    fn start(&self, pair: &mut Pair, gains: &[(Machine, i64)]) -> Result<()> {
        for machine in [Witness, Main, Backup] {
            match gains.iter().find(|(named, _)| *named == machine) {
                Some((_, gain)) => self.run(pair, machine, *gain)?,
                None => pair.run(machine)?,
            }
        }
        pair.wait_in_sync(Main)
    }

    fn run(&self, pair: &mut Pair, machine: Machine, gain_ppm: i64) -> Result<()> {
        let orders = [0_i64.to_ne_bytes(), (gain_ppm * 1_000).to_ne_bytes()].concat();
        fs::write(self.orders(machine), orders).map_err(Error::io("orders for a clock"))?;
        let orders = self.orders(machine);
        pair.run_with(machine, &[("LD_PRELOAD", &self.library), ("WRONG_CLOCKS", &orders)], &[])
    }

    /// Sets the wall clock of a machine that runs.
    fn step(&self, machine: Machine, hours: i64) -> Result<()> {
        use std::os::unix::fs::FileExt as _;
        let file = fs::File::options().write(true).open(self.orders(machine));
        let step_ns = hours * 3_600 * 1_000_000_000;
        file.and_then(|file| file.write_all_at(&step_ns.to_ne_bytes(), 0)).map_err(Error::io("set a clock"))
    }

    fn orders(&self, machine: Machine) -> PathBuf {
        self.folder.join(format!("{}.clocks", machine.word()))
    }
}

/// How many seconds ago the counter was received, by this test's clock; negative if that is to come.
fn age_s(pair: &Pair, machine: Machine) -> Option<i64> {
    let item = pair.resource(machine, "/items/plc1/counter").ok()?;
    let received = seconds(item["server_time"].as_str()?)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(i64::try_from(now).ok()? - received)
}

/// Seconds since 1970 of `2026-01-31T12:34:56…Z`.
fn seconds(text: &str) -> Option<i64> {
    let number = |from: usize, until: usize| text.get(from..until)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days from 1970 in the Gregorian calendar, with years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?)
}

/// Nobody hears the main any more, and it writes on as long as it believes in its lease.
fn cut_main(pair: &Pair) -> Result<()> {
    for net in [Net::Lan, Net::Cable] {
        pair.lab().cut(Main, Backup, net)?;
    }
    pair.lab().cut(Main, Witness, Net::Lan)
}

/// Changes and events are shown in the order in which they came, whatever the clock said.
fn in_order(pair: &Pair, machine: Machine) -> Result<()> {
    let history = pair.resource(machine, "/cluster/history")?;
    let changes = history.as_array().cloned().unwrap_or_default();
    for node in [Main, Backup] {
        let own: Vec<&Value> = changes.iter().filter(|change| change["node"] == node.word()).collect();
        assert!(node != machine || own.len() > 1, "nothing of {}: {history:#}", node.word());
        for pair in own.windows(2) {
            let is_restart = pair[1]["from"] == "starting";
            assert!(is_restart || pair[0]["to"] == pair[1]["from"], "out of order: {history:#}");
        }
    }
    let events = pair.resource(machine, "/events")?;
    let rows = events["rows"].as_array().cloned().unwrap_or_default();
    let ids: Vec<u64> = rows.iter().filter_map(|event| event["id"].as_u64()).collect();
    assert!(!ids.is_empty() && ids.windows(2).all(|pair| pair[0] < pair[1]), "out of order: {events:#}");
    Ok(())
}

/// The main goes on in its epoch, for longer than any timer, and a standby is in sync.
fn stays(pair: &Pair) -> Result<()> {
    let epoch = pair.status(Main)?.epoch;
    thread::sleep(Profile::Normal.lease() * 2);
    assert_eq!(pair.state(Main).as_deref(), Some("active"), "{}", pair.logs());
    assert_eq!(pair.status(Main)?.epoch, epoch, "{}", pair.logs());
    pair.wait_in_sync(Main)?;
    assert_eq!(pair.verdict().writes_of(Backup, 0), 0, "the standby wrote");
    judge(pair, 0);
    Ok(())
}

fn moved(pair: &Pair, at: u64) -> Result<()> {
    pair.wait_state(Backup, "active", LIMIT)?;
    pair.wait_writes(Backup, at, LIMIT)?;
    print(&format!("outputs silent for {:?}", pair.verdict().outage_of_outputs(at, Backup)));
    judge(pair, 1);
    Ok(())
}

/// What holds under every fault.
fn judge(pair: &Pair, changes: usize) {
    let verdict = pair.verdict();
    assert_eq!(verdict.changes_of_writer(), changes, "the writer changed\n{}", pair.logs());
    assert!(!verdict.has_old_after_new(), "an old value after a new one\n{}", pair.logs());
}

/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(20);
