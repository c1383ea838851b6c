//! Installs what the tests need beside Rust: the programs of [`PROGRAMS`] and the Python peers.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::steps::{Failure, Result, output, run};
use crate::workspace::peers_dir;

/// Idempotent: a second run only looks.
pub(crate) fn install_peers() -> Result<()> {
    let mut missing = Vec::new();
    for (program, package) in PROGRAMS {
        match find(program) {
            Some(path) => println!("setup: {program} is {}", path.display()),
            None => missing.push(package),
        }
    }
    let has_postgres = postgres();
    match &has_postgres {
        Some(path) => println!("setup: postgres is {}", path.display()),
        None => missing.push("postgresql"),
    }
    if !missing.is_empty() {
        install(&missing)?;
    }
    if has_postgres.is_none() {
        stop_clusters()?;
    }
    if find("cc").is_none() {
        return Err(Failure::failed("no C compiler `cc` in PATH; install one, for example the package gcc"));
    }
    python_peers(&peers_dir())
}

/// Where a program is, also in the folders that an ordinary user's PATH leaves out.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Where the programs of a database server are: Debian keeps those of each version in a folder of its own.
fn postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut programs = versions.map(|version| version.path().join("bin/initdb"));
    programs.find(|path| path.is_file()).or_else(|| find("initdb"))
}

/// Debian's package makes a cluster and starts it; the tests have their own.
fn stop_clusters() -> Result<()> {
    let Some(list) = find("pg_lsclusters") else { return Ok(()) };
    for line in output(Command::new(list).arg("--no-header")).unwrap_or_default().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [version, cluster, _, status, ..] = words.as_slice()
            && status.starts_with("online")
        {
            println!("setup: pg_ctlcluster {version} {cluster} stop");
            run_quiet(as_root("pg_ctlcluster").args([version, cluster, "stop"]))?;
        }
    }
    Ok(())
}

fn as_root(program: &str) -> Command {
    if output(Command::new("id").arg("-u")).is_some_and(|id| id == "0") {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    if find("apt-get").is_none() {
        return Err(Failure::failed(format!(
            "missing: {names}; this system has no apt-get, install them with its own package manager"
        )));
    }
    let is_root = output(Command::new("id").arg("-u")).is_some_and(|id| id == "0");
    let may_sudo =
        !is_root && find("sudo").is_some() && output(Command::new("sudo").args(["-n", "true"])).is_some();
    if !is_root && !may_sudo {
        return Err(Failure::failed(format!(
            "missing: {names}; run as root: apt-get update && apt-get install -y {names}"
        )));
    }
    let apt = |words: &[&str]| {
        println!("setup: apt-get {}", words.join(" "));
        let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
        if !is_root {
            command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        }
        run_quiet(command.args(words).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

fn python_peers(folder: &Path) -> Result<()> {
    let venv = folder.join("venv");
    let python = venv.join("bin/python");
    let installed = |name: &str| {
        let script = format!("import {name}, importlib.metadata as found; print(found.version('{name}'))");
        output(Command::new(&python).args(["-c", &script]))
    };
    for (name, version) in PYTHON {
        if installed(name).as_deref() == Some(version) {
            println!("setup: {name} {version} is in {}", folder.display());
            continue;
        }
        if output(Command::new(&python).args(["-m", "pip", "--version"])).is_none() {
            println!("setup: python3 -m venv {}", venv.display());
            let make = || run_quiet(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv));
            if make().is_err() {
                // Debian keeps the module in a package of its own.
                install(&["python3-venv"])?;
                make()?;
            }
        }
        let wanted = format!("{name}=={version}");
        println!("setup: pip install {wanted}");
        run_quiet(Command::new(&python).args(["-m", "pip", "install", "--quiet", &wanted]))?;
        let found = installed(name);
        if found.as_deref() != Some(version) {
            return Err(Failure::failed(format!("{wanted} was installed, but Python finds {found:?}")));
        }
    }
    Ok(())
}

/// Shows the output only when the command fails.
fn run_quiet(command: &mut Command) -> Result<()> {
    let result = command.output();
    match result {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            eprint!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            Err(Failure::failed(format!("{command:?} did not succeed")))
        }
        Err(error) => Err(Failure::failed(format!("{command:?}: {error}"))),
    }
}

/// Node-RED with its Modbus nodes beside the peers; only for the benchmark that compares with it.
pub(crate) fn node_red() -> Result<PathBuf> {
    let folder = peers_dir().join("node-red");
    let program = folder.join("node_modules/node-red/red.js");
    if program.is_file() && folder.join("node_modules/node-red-contrib-modbus").is_dir() {
        return Ok(folder);
    }
    if find("npm").is_none() {
        return Err(Failure::failed("npm is not in PATH; Node-RED cannot be measured beside the hub"));
    }
    println!("setup: npm install {} (some minutes)", NODE_RED.join(" "));
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?;
    let mut npm = Command::new("npm");
    npm.current_dir(&folder)
        .args(["install", "--no-fund", "--no-audit", "--prefix"])
        .arg(&folder)
        .args(NODE_RED);
    run(&mut npm)?;
    Ok(folder)
}

/// Program looked for and the package that has it.
const PROGRAMS: [(&str, &str); 12] = [
    ("make", "make"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("knxd", "knxd"),
    ("etcd", "etcd-server"),
    ("minisign", "minisign"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("keepalived", "keepalived"),
    ("haproxy", "haproxy"),
    ("curl", "curl"),
    ("redis-server", "redis-server"),
];
/// Must be the version named in the matrix.
/// What the Python peers are made of: devices that speak Modbus and BACnet, readers of Parquet files and of project files of
/// the ETS, and a KNX client.
const PYTHON: [(&str, &str); 5] = [
    ("pymodbus", "3.16.1"),
    ("bacpypes3", "0.0.110"),
    ("pyarrow", "21.0.0"),
    ("xknxproject", "3.10.0"),
    ("xknx", "4.0.0"),
];
/// Later Modbus nodes fetch a package from outside the npm registry.
const NODE_RED: [&str; 2] = ["node-red@4", "node-red-contrib-modbus@5.23.3"];
