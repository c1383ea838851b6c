//! The independent database.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::port::Port;
use crate::process::{Process, signal_process, tree};

/// A `PostgreSQL` with a cluster in a folder of its own: one user, `twinhub`, who may all, and one database of that name.
#[derive(Debug)]
pub struct Postgres {
    port: Port,
    programs: PathBuf,
    folder: TempDir,
    owner: Option<Owner>,
    process: Option<Process>,
}

/// The server does not run as root.
#[derive(Debug, Clone, Copy)]
struct Owner {
    user: u32,
    group: u32,
}

impl Postgres {
    /// The user's password: the server asks for it.
    pub const PASSWORD: &'static str = "not on the network";

    /// Starts the installed server on a free port.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// As [`Postgres::start`]; it speaks TLS, and nothing else, with this certificate and key (PEM).
    pub fn start_with_tls(certificate: &str, key: &str) -> Result<Self> {
        Self::start_with(Some((certificate, key)))
    }

    fn start_with(tls: Option<(&str, &str)>) -> Result<Self> {
        let programs = installed()?;
        let folder = tempfile::tempdir().map_err(Error::io("folder of the database"))?;
        let owner = rustix::process::geteuid().is_root().then(owner).transpose()?;
        let port = Port::reserve()?;
        let mut database = Self { port, programs, folder, owner, process: None };
        database.own(database.folder.path())?;
        let password = database.write("password", Self::PASSWORD)?;
        let data = database.data();
        let mut initdb = database.command("initdb");
        initdb.args([
            "--username=twinhub",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        initdb.arg(format!("--pwfile={}", password.display())).arg("-D").arg(&data);
        succeed("initdb", &initdb.output().map_err(Error::io("start initdb"))?)?;
        let mut settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\nfsync = off\n\
             shared_buffers = 16MB\nmax_connections = 20\n",
            database.port.number()
        );
        if let Some((certificate, key)) = tls {
            let certificate = database.write("server.crt", certificate)?;
            let key = database.write("server.key", key)?;
            let tls = format!(
                "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
                certificate.display(),
                key.display()
            );
            settings.push_str(&tls);
            fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256\n")
                .map_err(Error::io("access to the database"))?;
        }
        let file = data.join("postgresql.conf");
        let defaults = fs::read_to_string(&file).map_err(Error::io("configuration of the database"))?;
        fs::write(&file, defaults + &settings).map_err(Error::io("configuration of the database"))?;
        database.restart()?;
        succeed(
            "createdb",
            &database
                .client("createdb", "postgres")
                .arg("twinhub")
                .output()
                .map_err(Error::io("start createdb"))?,
        )?;
        Ok(database)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// What a statement answers, asked with the server's own client: a line for each row, columns apart by `|`.
    pub fn ask(&self, statement: &str) -> Result<Vec<String>> {
        let mut psql = self.client("psql", "twinhub");
        psql.args([
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--command",
        ]);
        let output = psql.arg(statement).output().map_err(Error::io("start psql"))?;
        succeed("psql", &output)?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
    }

    /// SIGKILL to the server and all its processes: transactions under way are lost.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        // The processes that serve connections are in groups of their own.
        for pid in tree(process.pid()).into_iter().skip(1) {
            // One may have ended meanwhile.
            drop(signal_process(pid, Signal::KILL));
        }
        process.kill()
    }

    /// Ends it in order: connections are closed.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        signal_process(process.pid(), Signal::INT)?;
        process.wait(READY_LIMIT).map(drop)
    }

    /// Stands still, connections open: it answers nobody.
    pub fn freeze(&self) -> Result<()> {
        self.signal_all(Signal::STOP)
    }

    /// Goes on after [`Postgres::freeze`].
    pub fn thaw(&self) -> Result<()> {
        self.signal_all(Signal::CONT)
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        let root = self.process.as_ref().map(Process::pid);
        root.map(tree).unwrap_or_default().into_iter().try_for_each(|pid| signal_process(pid, signal))
    }

    /// Starts it, after ending it if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.stop()?;
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let mut process = Process::spawn("postgres", command, &self.folder.path().join("postgres.log"))?;
        process.ready("accepts connections", READY_LIMIT, || {
            TcpStream::connect(self.address()).ok()?;
            let output = self.client("psql", "postgres").args(["--command", "SELECT 1"]).output().ok()?;
            output.status.success().then_some(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::write(&path, text).map_err(Error::io(format!("write {name}")))?;
        let secret = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&path, secret).map_err(Error::io(format!("protect {name}")))?;
        self.own(&path)?;
        Ok(path)
    }

    fn own(&self, path: &Path) -> Result<()> {
        let Some(owner) = self.owner else { return Ok(()) };
        std::os::unix::fs::chown(path, Some(owner.user), Some(owner.group))
            .map_err(Error::io(format!("give {} to the server's user", path.display())))
    }

    /// A program of the server, as the server's user.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C");
        if let Some(owner) = self.owner {
            command.uid(owner.user).gid(owner.group);
        }
        command
    }

    fn client(&self, program: &str, database: &str) -> Command {
        let mut command = self.command(program);
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.number().to_string())
            .env("PGUSER", "twinhub")
            .env("PGPASSWORD", Self::PASSWORD)
            .env("PGDATABASE", database)
            .env("PGCONNECT_TIMEOUT", "10")
            // Nothing of whoever runs the test.
            .env("HOME", self.folder.path());
        command
    }

    /// What the installed server calls itself, `15.14` for example.
    pub fn version() -> Result<String> {
        let output = Command::new(installed()?.join("postgres"))
            .arg("--version")
            .output()
            .map_err(Error::io("ask postgres for its version"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().nth(2);
        version.map(str::to_owned).ok_or_else(|| Error::invalid("version of postgres", text.trim()))
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // The processes that serve connections are not in the group that the guard kills.
        drop(self.kill());
    }
}

fn succeed(program: &'static str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(Error::invalid(program, String::from_utf8_lossy(&output.stderr).trim()))
}

/// The folder with the server's programs, the newest where there are several: Debian keeps each version in one of its own.
fn installed() -> Result<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&folders).find(|folder| {
        ["postgres", "initdb", "psql", "createdb"].iter().all(|name| folder.join(name).is_file())
    });
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    versions.sort();
    let newest = versions.pop().map(|(_, folder)| folder);
    newest
        .or(in_path)
        .ok_or_else(|| Error::Missing { program: "postgres", path: "/usr/lib/postgresql or PATH".into() })
}

/// The user that Debian's package made.
fn owner() -> Result<Owner> {
    let users = fs::read_to_string("/etc/passwd").map_err(Error::io("read /etc/passwd"))?;
    let number = |words: &[&str], at: usize| words.get(at).and_then(|word| word.parse().ok());
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| {
            let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
            let words: Vec<&str> = line.split(':').collect();
            Some(Owner { user: number(&words, 2)?, group: number(&words, 3)? })
        })
        .ok_or_else(|| Error::invalid("users", "neither postgres nor nobody"))
}

const READY_LIMIT: Duration = Duration::from_secs(60);
