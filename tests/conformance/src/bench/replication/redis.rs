//! A Redis primary with its replica, fed with pipelined HSET.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use twinhub_peers::{Port, Process, wait_until};

use super::{Measured, ReplicationOptions};
use crate::error::{Error, Result};

pub(super) fn measure(options: &ReplicationOptions) -> Result<Measured> {
    let primary = Server::start("primary")?;
    let mut client = primary.connect()?;
    client.preload(options.items)?;
    let replica = Server::start("replica")?;
    let mut other = replica.connect()?;
    let begun = Instant::now();
    other.ask(&["REPLICAOF", "127.0.0.1", &primary.port.number().to_string()])?;
    wait_until("the replica has everything", LIMIT, || {
        other.ask(&["INFO", "replication"]).is_ok_and(|text| text.contains("master_link_status:up"))
    })?;
    let first_sync = begun.elapsed();
    wait_until("the replica acknowledges", LIMIT, || {
        client.ask(&["WAIT", "1", "100"]).is_ok_and(|text| text == "1")
    })?;

    let offset = client.offset()?;
    let begun = Instant::now();
    let mut sent = 0;
    let mut turn = 0_u64;
    while sent < options.values {
        turn += 1;
        sent += client.set_many(turn, BATCH)?;
    }
    client.acknowledged()?;
    let time = begun.elapsed();
    let bytes = client.offset()? - offset;

    let mut lags_ms = Vec::new();
    let begun = Instant::now();
    let mut made = 0;
    while begun.elapsed() < Duration::from_secs(options.seconds) {
        let due = u64::try_from(begun.elapsed().as_micros()).unwrap_or(0) * options.rate / 1_000_000;
        if due > made {
            let at = Instant::now();
            turn += 1;
            made += client.set_many(turn, (due - made).min(BATCH))?;
            client.acknowledged()?;
            lags_ms.push(at.elapsed().as_secs_f64() * 1e3);
        } else {
            std::thread::sleep(Duration::from_micros(500));
        }
    }
    lags_ms.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (values, bytes) = (sent as f64, bytes as f64);
    Ok(Measured {
        name: format!("Redis {}, HSET pipeline", version()?),
        values_per_second: values / time.as_secs_f64(),
        bytes_per_value: bytes / values,
        first_sync,
        lags_ms,
        stored_ms: Vec::new(),
    })
}

struct Server {
    port: Port,
    _process: Process,
    _folder: TempDir,
}

impl Server {
    fn start(name: &str) -> Result<Self> {
        let port = Port::reserve()?;
        let folder = tempfile::tempdir().map_err(Error::file("temporary folder"))?;
        let mut command = Command::new("redis-server");
        command.current_dir(folder.path()).args([
            "--port",
            &port.number().to_string(),
            "--bind",
            "127.0.0.1",
        ]);
        // In memory only, which is the fastest that it offers, and no pause before a copy begins.
        command.args(["--save", "", "--appendonly", "no", "--repl-diskless-sync", "yes"]);
        command.args(["--repl-diskless-sync-delay", "0", "--repl-diskless-load", "on-empty-db"]);
        let mut process = Process::spawn(name, command, &folder.path().join("redis.log"))?;
        let address = port.address();
        process.ready("listens", LIMIT, || TcpStream::connect(address).ok())?;
        Ok(Self { port, _process: process, _folder: folder })
    }

    fn connect(&self) -> Result<Client> {
        Client::connect(self.port.address())
    }
}

struct Client {
    stream: TcpStream,
    input: Vec<u8>,
    request: String,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).map_err(Error::file("redis"))?;
        stream.set_nodelay(true).map_err(Error::file("redis"))?;
        stream.set_read_timeout(Some(LIMIT)).map_err(Error::file("redis"))?;
        Ok(Self { stream, input: Vec::new(), request: String::new() })
    }

    fn put(&mut self, words: &[&str]) {
        write!(self.request, "*{}\r\n", words.len()).expect("a String takes any text");
        for word in words {
            write!(self.request, "${}\r\n{word}\r\n", word.len()).expect("a String takes any text");
        }
    }

    fn send(&mut self) -> Result<()> {
        let sent = self.stream.write_all(self.request.as_bytes());
        self.request.clear();
        sent.map_err(Error::file("redis"))
    }

    /// One answer, a number, a line or a text.
    fn answer(&mut self) -> Result<String> {
        loop {
            if let Some((text, used)) = parse(&self.input) {
                self.input.drain(..used);
                return if let Some(error) = text.strip_prefix('-') {
                    Err(Error::State(format!("redis: {error}")))
                } else {
                    Ok(text)
                };
            }
            self.more()?;
        }
    }

    fn more(&mut self) -> Result<()> {
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let count = self.stream.read(&mut self.input[before..]).map_err(Error::file("redis"))?;
        self.input.truncate(before + count);
        if count == 0 {
            return Err(Error::State("redis closed the connection".to_owned()));
        }
        Ok(())
    }

    fn ask(&mut self, words: &[&str]) -> Result<String> {
        self.put(words);
        self.send()?;
        self.answer()
    }

    /// As many HSET as there are values, in one write; waits for all answers, which are one line each.
    fn set_many(&mut self, turn: u64, count: u64) -> Result<u64> {
        for item in 0..count {
            let value = format!("{:.3}", f64::from(u32::try_from(item + turn % 1000).unwrap_or(0)) * 0.37);
            self.put(&["HSET", "plc", &format!("line/{item}"), &value]);
        }
        self.send()?;
        let mut lines = 0;
        while lines < count {
            if self.input.is_empty() {
                self.more()?;
            }
            lines += self.input.split(|byte| *byte == b'\n').count() as u64 - 1;
            self.input.clear();
        }
        Ok(count)
    }

    fn preload(&mut self, items: u32) -> Result<()> {
        for from in (0..items).step_by(10_000) {
            let mut words = vec!["HSET".to_owned(), "plc".to_owned()];
            for item in from..items.min(from + 10_000) {
                words.extend([format!("line/{item}"), format!("{:.3}", f64::from(item) * 0.37)]);
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.ask(&words)?;
        }
        Ok(())
    }

    /// Waits until the replica has everything written on this connection.
    fn acknowledged(&mut self) -> Result<()> {
        match self.ask(&["WAIT", "1", "10000"])?.as_str() {
            "1" => Ok(()),
            other => Err(Error::State(format!("redis: {other} replicas answered"))),
        }
    }

    /// Bytes of the replication stream so far.
    fn offset(&mut self) -> Result<u64> {
        let text = self.ask(&["INFO", "replication"])?;
        let line = text.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        line.and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| Error::State("redis tells no offset".to_owned()))
    }
}

/// The first whole answer and its length.
fn parse(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = String::from_utf8_lossy(&bytes[1..end]).into_owned();
    match bytes.first()? {
        b'$' => {
            let length: usize = line.parse().ok()?;
            let text = bytes.get(end + 2..end + 2 + length)?;
            (bytes.len() >= end + 4 + length)
                .then(|| (String::from_utf8_lossy(text).into_owned(), end + 4 + length))
        }
        b'-' => Some((format!("-{line}"), end + 2)),
        _ => Some((line, end + 2)),
    }
}

fn version() -> Result<String> {
    let output =
        Command::new("redis-server").arg("--version").output().map_err(Error::file("redis-server"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().find_map(|word| word.strip_prefix("v=")).unwrap_or("?").to_owned())
}

/// Commands of one pipeline.
const BATCH: u64 = 1_000;
const READ_BYTES: usize = 65_536;
const LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        assert_eq!(parse(b":12\r\n:3\r\n"), Some(("12".to_owned(), 5)));
        assert_eq!(parse(b"$3\r\na\r\n\r\nx"), Some(("a\r\n".to_owned(), 9)));
        assert_eq!(parse(b"-ERR no\r\n"), Some(("-ERR no".to_owned(), 9)));
        for part in [&b"$3\r\nab"[..], b"$3\r\nabc", b":1", b""] {
            assert_eq!(parse(part), None);
        }
    }
}
