//! A process is stopped between the question to its gate and the send, and goes on when another node acts. A plugin of
//! this test stops its own process there; what then reaches its sink is the judge.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};
use twinhub_conformance::Profile;
use twinhub_network::{Error, Machine, Pair, Result, guarded, print};
use twinhub_peers::{Observer, Process, monotonic_ns, wait_until};

use Machine::{Backup, Field, Main, Witness};

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

/// The broker gives a client id to one connection: that of the backup ended the one that the stopped process has.
#[test]
fn a_sink_that_takes_one_connection_gets_no_late_write() {
    guarded("stopped between gate and send, exclusive sink", || {
        let mut pair = prepare(Sink::Mqtt)?;
        let broker = Broker::start(&pair)?;
        left_alone(&mut pair, |_| broker.taken(), "the late write was sent")
    });
}

/// The sink compares the epoch of each write with the highest that it has seen.
#[test]
fn a_sink_that_compares_epochs_refuses_the_late_write() {
    guarded("stopped between gate and send, sink with a token", || {
        let mut pair = prepare(Sink::Etcd)?;
        let etcd = Etcd::start(&pair)?;
        left_alone(&mut pair, |pair| etcd.taken(pair), "the late write was refused")
    });
}

/// Nobody ends the stopped process; when it goes on, its write leaves, and the sink has none of it.
fn left_alone(pair: &mut Pair, taken: impl Fn(&Pair) -> Result<Vec<Write>>, said: &str) -> Result<()> {
    let last = |pair: &Pair| taken(pair).map(|all| all.last().copied().unwrap_or_default());
    let moves_on = |since: Write, pair: &Pair| {
        wait_until("writes", LIMIT, || last(pair).is_ok_and(|last| last > since)).map_err(|error| {
            Error::State(format!("{error} after {since:?}: {:?}\n{}", taken(pair), pair.logs()))
        })
    };
    let stop = start(pair, &["--keep-stopped"])?;
    pair.wait_whole(Main)?;
    moves_on(Write::default(), pair)?;
    let of_main = last(pair)?.epoch;
    order_to_stop(&stop)?;
    pair.wait_state(Backup, "active", LIMIT)?;
    moves_on(Write { epoch: of_main + 1, value: 0 }, pair)?;
    pair.thaw(Main)?;
    wait_until(said, LIMIT, || pair.log_text(Main).contains(said))
        .map_err(|error| Error::State(format!("{error}\n{}", pair.logs())))?;
    pair.wait_whole(Backup)?;
    moves_on(last(pair)?, pair)?;
    let taken = taken(pair)?;
    assert!(taken.is_sorted(), "an old write after a new one: {taken:?}");
    let epochs: Vec<u64> =
        taken.chunk_by(|one, two| one.epoch == two.epoch).map(|run| run[0].epoch).collect();
    assert_eq!(epochs.len(), 2, "more than one change of writer: {epochs:?}");
    Ok(())
}

/// What a sink took: which epoch wrote which value of the counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Write {
    epoch: u64,
    value: i64,
}

impl Write {
    /// `EPOCH:VALUE`.
    fn parse(text: &str) -> Result<Self> {
        let parts = text
            .split_once(':')
            .and_then(|(epoch, value)| Some(Self { epoch: epoch.parse().ok()?, value: value.parse().ok()? }));
        parts.ok_or_else(|| Error::State(format!("a write `{text}`")))
    }
}

/// A mosquitto on the machine of the device, and who listens to it.
struct Broker {
    // In the order in which they end.
    observer: Observer,
    _process: Process,
}

impl Broker {
    fn start(pair: &Pair) -> Result<Self> {
        let file = pair.root().join("mosquitto.conf");
        let port = Sink::Mqtt.port();
        fs::write(&file, format!("listener {port} {DEVICE}\nallow_anonymous true\nset_tcp_nodelay true\n"))
            .map_err(Error::io("configuration of the broker"))?;
        let mut command = pair.lab().command(Field, "mosquitto");
        command.arg("-c").arg(file);
        let process = listening(pair, "mosquitto", command, port)?;
        let address = SocketAddr::new(DEVICE.into(), port);
        let observer = pair.lab().inside(Field, || Observer::start(address, "judge", "late"))??;
        Ok(Self { observer, _process: process })
    }

    fn taken(&self) -> Result<Vec<Write>> {
        self.observer.messages().iter().map(|message| Write::parse(&message.text())).collect()
    }
}

/// An etcd on the machine of the device.
struct Etcd {
    address: SocketAddr,
    _process: Process,
}

impl Etcd {
    fn start(pair: &Pair) -> Result<Self> {
        let port = Sink::Etcd.port();
        let (client, peer) = (format!("http://{DEVICE}:{port}"), format!("http://{DEVICE}:{}", port + 1));
        let mut command = pair.lab().command(Field, "etcd");
        command.arg("--data-dir").arg(pair.root().join("etcd"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
        let address = SocketAddr::new(DEVICE.into(), port);
        let etcd = Self { address, _process: listening(pair, "etcd", command, port)? };
        // What there is to compare with.
        let first = json!({ "key": BASE64.encode("epoch"), "value": BASE64.encode(format!("{:020}", 0)) });
        etcd.ask(pair, "/v3/kv/put", &first)?;
        Ok(etcd)
    }

    /// Each write that was taken left a key; in the order in which they were made.
    fn taken(&self, pair: &Pair) -> Result<Vec<Write>> {
        let all = json!({
            "key": BASE64.encode("write/"), "range_end": BASE64.encode("write0"), "keys_only": true,
            "sort_target": "CREATE", "sort_order": "ASCEND",
        });
        let answer = self.ask(pair, "/v3/kv/range", &all)?;
        let keys = answer["kvs"].as_array().cloned().unwrap_or_default();
        keys.iter()
            .map(|entry| {
                let key = BASE64.decode(entry["key"].as_str().unwrap_or_default()).unwrap_or_default();
                Write::parse(String::from_utf8_lossy(&key).trim_start_matches("write/"))
            })
            .collect()
    }

    fn ask(&self, pair: &Pair, path: &str, question: &Value) -> Result<Value> {
        let body = question.to_string();
        let request = format!("POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = pair.lab().inside(Field, || {
            let mut line = TcpStream::connect(self.address)?;
            line.write_all(request.as_bytes())?;
            let mut answer = String::new();
            line.read_to_string(&mut answer)?;
            Ok(answer)
        })?;
        let answer: String = answer.map_err(Error::io("ask etcd"))?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).map_err(|_| Error::State(format!("etcd answers {answer}")))
    }
}

/// A program on the machine of the device that listens.
fn listening(pair: &Pair, name: &str, command: Command, port: u16) -> Result<Process> {
    let mut process = Process::spawn(name, command, &pair.root().join(format!("{name}.log")))?;
    process.ready("listens", LIMIT, || {
        pair.lab().inside(Field, || TcpStream::connect((DEVICE, port)).ok()).ok().flatten()
    })?;
    Ok(process)
}

/// Starts the pair and stops the main's process when its next write has passed the gate; gives when it was stopped.
fn stop_behind_the_gate(pair: &mut Pair, options: &[&str]) -> Result<u64> {
    let stop = start(pair, options)?;
    pair.wait_in_sync(Main)?;
    order_to_stop(&stop)?;
    Ok(monotonic_ns())
}

/// Starts the pair; gives the file that orders the main to stop.
fn start(pair: &mut Pair, options: &[&str]) -> Result<PathBuf> {
    let stop = pair.root().join("stop");
    pair.run(Witness)?;
    pair.run_with(Main, &[("LATE_STOP", &stop)], options)?;
    pair.run(Backup)?;
    Ok(stop)
}

fn order_to_stop(stop: &Path) -> Result<()> {
    fs::write(stop, "").map_err(Error::io("the order to stop"))?;
    Ok(wait_until("a write that finds the order to stop", LIMIT, || !stop.exists())?)
}

/// What the plugin writes to.
#[derive(Clone, Copy, Debug)]
enum Sink {
    Modbus,
    Mqtt,
    Etcd,
}

impl Sink {
    /// The number of its source.
    fn number(self) -> u8 {
        match self {
            Self::Modbus => 1,
            Self::Mqtt => 2,
            Self::Etcd => 3,
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Modbus => 5020,
            Self::Mqtt => 1883,
            Self::Etcd => 2379,
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
        "[[interface]]\nid = \"late1\"\nplugin = \"late\"\nhosting = \"inproc\"\nitems = \"items/late1.csv\"\n\
         settings = {{ address = \"{DEVICE}\", port = {} }}\n\n[[link]]",
        sink.port()
    );
    pair.configure(|text| text.replace("plc1/echo", "late1/echo").replace("[[link]]", &interface))?;
    Ok(pair)
}

/// Its address for the nodes. Fixed ports collide with nothing on it.
const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 77, 2, 4);
/// Until a node has to say or do something.
const LIMIT: Duration = Duration::from_secs(20);
