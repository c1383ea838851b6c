//! mosquitto as independent broker, and its clients as independent peers.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use twinhub_peers::Port;

/// A broker in a directory of its own; killed when dropped.
pub(crate) struct Broker {
    pub(crate) port: u16,
    pub(crate) dir: TempDir,
    child: Child,
}

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// `extra` is added to the configuration; `DIR` in it is the broker's directory.
    pub(crate) fn with(extra: &str) -> Self {
        Self::prepared(extra, |_| {})
    }

    pub(crate) fn prepared(extra: &str, prepare: impl FnOnce(&Path)) -> Self {
        let dir = TempDir::new().unwrap();
        prepare(dir.path());
        let [port] = Port::hold();
        let path = dir.path().display();
        let extra = extra.replace("DIR", &path.to_string());
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 100000\nlog_dest file {path}/log\n{extra}\n"
        );
        std::fs::write(dir.path().join("m.conf"), config).unwrap();
        let child = spawn(dir.path());
        let broker = Self { port, dir, child };
        broker.wait();
        broker
    }

    /// Ends the broker as `kill -TERM` does, so that it saves what it must keep.
    pub(crate) fn terminate(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.dir.path());
        self.wait();
    }

    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "mosquitto does not listen:\n{log}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Publishes with `mosquitto_pub`, and returns when the broker has it.
    pub(crate) fn publish(&self, topic: &str, payload: &[u8], options: &[&str]) {
        let file = self.dir.path().join("payload");
        std::fs::write(&file, payload).unwrap();
        let status = tool("mosquitto_pub")
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-t", topic, "-f"])
            .arg(&file)
            .args(options)
            .status()
            .unwrap_or_else(|error| missing("mosquitto_pub", &error));
        assert!(status.success(), "mosquitto_pub: {status}");
    }

    /// Subscribes with `mosquitto_sub`, and returns when the broker has confirmed it.
    pub(crate) async fn observe(&self, filter: &str, options: &[&str]) -> Observer {
        let mut child = tool("mosquitto_sub")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-t",
                filter,
                "-t",
                READY,
                "-F",
                "%t\t%q\t%r\t%x",
            ])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| missing("mosquitto_sub", &error));
        let lines = BufReader::new(child.stdout.take().unwrap());
        let (sender, receiver) = unbounded_channel();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let Some(seen) = Seen::parse(&line) else { continue };
                if sender.send(seen).is_err() {
                    return;
                }
            }
        });
        let mut observer = Observer { child, receiver, early: VecDeque::new() };
        // Its own report of the subscription stays in its buffer, so a message tells.
        let is_ready = async {
            loop {
                self.publish(READY, b"", &[]);
                let event = tokio::time::timeout(Duration::from_millis(50), observer.receiver.recv()).await;
                match event {
                    Err(_) => {}
                    Ok(event) => match event.expect("mosquitto_sub ended") {
                        seen if seen.topic == READY => return,
                        seen => observer.early.push_back(seen),
                    },
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), is_ready)
            .await
            .expect("mosquitto_sub does not subscribe");
        observer
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Already gone after `terminate`.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// What `mosquitto_sub` saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) payload: Vec<u8>,
}

impl Seen {
    fn parse(line: &str) -> Option<Self> {
        let mut parts = line.split('\t');
        let topic = parts.next()?.to_owned();
        let qos = parts.next()?.parse().ok()?;
        let retain = parts.next()? == "1";
        let hex = parts.next()?.as_bytes();
        let payload = hex
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        Some(Self { topic, qos, retain, payload })
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.payload).unwrap()
    }
}

pub(crate) struct Observer {
    child: Child,
    receiver: UnboundedReceiver<Seen>,
    early: VecDeque<Seen>,
}

impl Observer {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Seen {
        if let Some(seen) = self.early.pop_front() {
            return seen;
        }
        loop {
            let event = tokio::time::timeout(Duration::from_secs(10), self.receiver.recv()).await;
            let seen = event.expect("a message within 10 s").expect("mosquitto_sub ended");
            if seen.topic != READY {
                return seen;
            }
        }
    }

    /// What has arrived so far.
    pub(crate) fn drain(&mut self) -> Vec<Seen> {
        self.early
            .drain(..)
            .chain(std::iter::from_fn(|| self.receiver.try_recv().ok()))
            .filter(|seen| seen.topic != READY)
            .collect()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn spawn(dir: &Path) -> Child {
    let log = std::fs::File::create(dir.join("output")).unwrap();
    tool("mosquitto")
        .arg("-c")
        .arg(dir.join("m.conf"))
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| missing("mosquitto", &error))
}

/// Debian puts mosquitto into a directory that not every user has in PATH.
fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(name);
    let in_sbin = Path::new("/usr/sbin").join(name);
    if in_sbin.exists() {
        command = Command::new(in_sbin);
    }
    command.env("PATH", format!("{path}:/usr/sbin")).stdin(Stdio::null());
    command
}

fn missing(name: &str, error: &std::io::Error) -> ! {
    panic!("{name} cannot be started ({error}); run `cargo xtask setup` to install mosquitto")
}

/// Topic that only tells whether an observer is there.
const READY: &str = "observer/ready";
