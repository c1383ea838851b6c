//! A process is stopped between the question to its gate and the send, and goes on when another node acts. A plugin of
//! this test stops its own process there; what then reaches its sink is the judge.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use twinhub_conformance::Profile;
use twinhub_network::{Error, Machine, Pair, Result, guarded, print};
use twinhub_peers::{monotonic_ns, wait_until};

use Machine::{Backup, Main, Witness};

/// The sink takes what comes, the process would be stopped for ever: its supervisor ends it.
#[test]
fn a_write_that_was_stopped_behind_its_gate_never_leaves() {
    guarded("stopped between gate and send", || {
        let mut pair = prepare(Sink::Modbus)?;
        let at = stop_behind_the_gate(&mut pair, &[])?;
        pair.wait_state(Backup, "active", LIMIT)?;
        pair.wait_writes(Backup, at, LIMIT)?;
        let outage = pair.verdict().outage_of_outputs(at, Backup);
        print(&format!("outputs silent for {outage:?}"));
        let log = pair.log_text(Main);
        assert!(log.contains("the hub process was stopped and is killed"), "{log}");
        assert!(
            pair.log_text(Backup).contains("its supervisor says that the process is dead"),
            "{}",
            pair.logs()
        );
        pair.wait_in_sync(Backup)?;
        thread::sleep(Profile::Normal.lease() * 2);
        let verdict = pair.verdict();
        assert_eq!(verdict.writes_of(Main, at), 0, "the stopped write left\n{}", pair.logs());
        assert_eq!(verdict.changes_of_writer(), 1, "the writer changed\n{}", pair.logs());
        assert!(!verdict.has_old_after_new(), "an old value after a new one\n{}", pair.logs());
        Ok(())
    });
}

/// Nothing watches the process here, as nothing does where the whole machine stands still: the write leaves, once. This is
/// what only a sink that fences can refuse, and it shows that the tests beside this one would see it.
#[test]
fn a_sink_that_cannot_fence_gets_the_late_write_if_nobody_ends_the_stopped_process() {
    guarded("stopped between gate and send, left alone", || {
        let mut pair = prepare(Sink::Modbus)?;
        let at = stop_behind_the_gate(&mut pair, &["--keep-stopped"])?;
        pair.wait_state(Backup, "active", LIMIT)?;
        pair.wait_writes(Backup, at, LIMIT)?;
        let woken = pair.thaw(Main)?;
        wait_until("the late write", LIMIT, || pair.verdict().writes_of(Main, woken) > 0)
            .map_err(|error| Error::State(format!("{error}\n{}", pair.logs())))?;
        pair.wait_in_sync(Backup)?;
        assert_eq!(pair.verdict().writes_of(Main, woken), 1, "more than what had passed the gate left");
        Ok(())
    });
}

/// Starts the pair and stops the main's process when its next write has passed the gate; gives when it was stopped.
fn stop_behind_the_gate(pair: &mut Pair, options: &[&str]) -> Result<u64> {
    let stop = pair.root().join("stop");
    pair.run(Witness)?;
    pair.run_with(Main, &[("LATE_STOP", &stop)], options)?;
    pair.run(Backup)?;
    pair.wait_in_sync(Main)?;
    fs::write(&stop, "").map_err(Error::io("the order to stop"))?;
    wait_until("a write that finds the order to stop", LIMIT, || !stop.exists())?;
    Ok(monotonic_ns())
}

/// What the plugin writes to.
#[derive(Clone, Copy, Debug)]
enum Sink {
    Modbus,
}

impl Sink {
    /// The number of its source.
    fn number(self) -> u8 {
        match self {
            Self::Modbus => 1,
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Modbus => 5020,
        }
    }
}

/// A site whose only output goes through the plugin.
fn prepare(sink: Sink) -> Result<Pair> {
    let pair = Pair::prepare(Profile::Normal)?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = here.join("tests/fixtures/late.c");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-std=c11", "-O1", "-shared", "-fPIC", "-fvisibility=hidden"])
        .arg(format!("-DSINK={}", sink.number()))
        .arg("-I")
        .arg(here.join("../../sdk/contract/include"))
        .arg("-o")
        .arg(pair.plugins().join("libtwinhub_late.so"))
        .arg(&source);
    let built = compiler.status().map_err(Error::io("start cc"))?;
    assert!(built.success(), "{} does not compile", source.display());
    let items = "path,address,type,access,unit,description\necho,echo,int64,w,,Takes what was read\n";
    fs::write(pair.root().join("etc/twinhub/items/late1.csv"), items).map_err(Error::io("items"))?;
    let interface = format!(
        "[[interface]]\nid = \"late1\"\nplugin = \"late\"\nitems = \"items/late1.csv\"\n\
         settings = {{ address = \"10.77.2.4\", port = {} }}\n\n[[link]]",
        sink.port()
    );
    pair.configure(|text| text.replace("plc1/echo", "late1/echo").replace("[[link]]", &interface))?;
    Ok(pair)
}

/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(20);
