//! `join`: this machine becomes a node of a site that runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::json;
use twinhub_config::MAIN_FILE;
use twinhub_runtime::join::{JoinAnswer, JoinCode, JoinError, Joining, PluginFile, Welcome};
use twinhub_runtime::{find_library, sha256_of, write_whole};
use twinhub_trust::signature_path;

use crate::cli::{Global, InitArgs, JoinArgs};
use crate::client::{Client, escape};
use crate::exit::{Code, Failure, Outcome, chain};
use crate::output::Answer;
use crate::paths::Paths;

mod fit;
mod unfinished;

use unfinished::{Heard, Unfinished};

/// The web port, if the address names none.
const PORT: u16 = 8620;

#[derive(Debug, Serialize, Deserialize)]
struct CodeView {
    node: String,
    code: String,
    lasts_s: u64,
}

/// Asks the hub of this machine for a code.
pub(crate) fn make_code(global: &Global, node: &str, args: &InitArgs, answer: Answer) -> Outcome {
    let body = json!({ "node": node, "lasts": args.lasts });
    let made: CodeView = Client::new(global)?.send("POST", "/api/v1/join/codes", &body)?;
    answer.give(&made, |made| {
        format!(
            "{}\n\nIt counts once, for {} minutes. On the machine that will be `{}`:\n  twinhub join THIS-MACHINE:{PORT} {}",
            made.code,
            made.lasts_s.div_ceil(60),
            made.node,
            made.code
        )
    })
}

#[derive(Debug, Serialize)]
struct Report {
    site: String,
    node: String,
    authority: String,
    config: String,
    files: Vec<String>,
    plugins: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &JoinArgs, answer: Answer) -> Outcome {
    let paths = Paths::of(global);
    let code = JoinCode::parse(&args.code).map_err(|error| refused(&error))?;
    let told = code.to_string();
    let unfinished = Unfinished::load(&paths);
    let client = Client::at(global, &url_of(&args.address))?;
    // A join that was cut off goes on where it was: its code counts no more.
    let heard = Heard::now();
    let (welcome, waited) = if let Some((welcome, kept)) = unfinished.welcome(&told) {
        (welcome, kept.until(&heard))
    } else {
        if !args.force {
            is_free(&paths, unfinished.is_there())?;
        }
        let (joining, request) = Joining::begin(&code).map_err(|error| refused(&error))?;
        let sealed: JoinAnswer = client.send("POST", "/api/v1/join", &request)?;
        let welcome = joining.open(&sealed).map_err(|error| refused(&error))?;
        unfinished.keep(&told, &welcome, heard)?;
        (welcome, Some(Duration::ZERO))
    };
    if !args.force {
        fit::check_clock(&welcome, waited, SystemTime::now())?;
    }
    fit::check_configuration(&welcome, decoded(&welcome.files)?.into_iter().collect())?;
    let plugins = fetch_plugins(&client, &paths, &welcome)?;
    let files = write_all(&paths, &welcome)?;
    unfinished.end()?;
    let report = Report {
        site: welcome.site,
        node: welcome.node,
        authority: welcome.authority,
        config: paths.config.display().to_string(),
        files,
        plugins,
    };
    answer.give(&report, |report| {
        let plugins = match report.plugins.len() {
            0 => "every plugin is here".to_owned(),
            _ => format!("fetched plugins {}", report.plugins.join(", ")),
        };
        format!(
            "this machine is `{}` of {}\nconfiguration {} and certificates of the authority {}\n{plugins}\n\nNext: \
             `twinhub run --node {}`, or `systemctl enable --now twinhub@{}`",
            report.node,
            report.site,
            report.config,
            &report.authority.get(..16).unwrap_or_default(),
            report.node,
            report.node
        )
    })
}

fn refused(error: &JoinError) -> Failure {
    Failure::new(Code::Error, error.to_string())
}

/// `host`, `host:port` or a whole URL.
fn url_of(address: &str) -> String {
    if address.contains("://") {
        return address.to_owned();
    }
    let has_port = address.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    if has_port { format!("http://{address}") } else { format!("http://{address}:{PORT}") }
}

/// A site that is here already is not overwritten by mistake.
fn is_free(paths: &Paths, has_begun: bool) -> Result<(), Failure> {
    // What a join that was cut off has written is no site without its last file.
    let authority = (!has_begun).then(|| paths.pki.join("ca.pem"));
    let taken = std::iter::once(paths.config.clone()).chain(authority).find(|path| path.exists());
    match taken {
        None => Ok(()),
        Some(path) => {
            let text = format!(
                "{} is here already: this machine belongs to a site. Move it away, or say --force if it may be replaced",
                path.display()
            );
            Err(Failure::new(Code::Configuration, text))
        }
    }
}

/// Fetches the plugins that this machine does not have with the same content.
fn fetch_plugins(client: &Client, paths: &Paths, welcome: &Welcome) -> Result<Vec<String>, Failure> {
    let mut fetched = Vec::new();
    for plugin in &welcome.plugins {
        let here = find_library(&plugin.name, &paths.plugins);
        let here =
            here.filter(|path| std::fs::read(path).is_ok_and(|bytes| sha256_of(&bytes) == plugin.sha256));
        if let Some(here) = here {
            if !signature_path(&here).exists() {
                write_signature(&here, plugin)?;
            }
            continue;
        }
        let is_name = plugin.file.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !plugin.file.starts_with('.');
        let path =
            format!("/api/v1/join/plugins/{}?ticket={}", escape(&plugin.sha256), escape(&welcome.ticket));
        let bytes = client.bytes(&path)?;
        if !is_name || sha256_of(&bytes) != plugin.sha256 {
            let text =
                format!("plugin `{}` came with another content than announced: try again", plugin.name);
            return Err(Failure::new(Code::Error, text));
        }
        // Not yet in the place of one that may be here and fit.
        let trial = paths.state.join(&plugin.file);
        write(&trial, &bytes, 0o755)?;
        let checked = twinhub_loader::inspect(&trial).and_then(|found| found.check());
        std::fs::remove_file(&trial).ok();
        if let Err(error) = checked {
            let text = format!(
                "plugin `{}` of the site does not fit this machine: {}; install the version of Twinhub that the node runs \
                 ({}), and say the same again with the same code",
                plugin.name,
                chain(&error),
                welcome.version
            );
            return Err(Failure::new(Code::Configuration, text));
        }
        let dir = paths.plugins.first().cloned().unwrap_or_else(|| PathBuf::from("."));
        write(&dir.join(&plugin.file), &bytes, 0o755)?;
        write_signature(&dir.join(&plugin.file), plugin)?;
        fetched.push(plugin.name.clone());
    }
    Ok(fetched)
}

/// Puts the signature of its publisher beside a plugin.
fn write_signature(library: &Path, plugin: &PluginFile) -> Result<(), Failure> {
    let signature = plugin.signature.as_ref();
    signature.map_or(Ok(()), |text| write(&signature_path(library), text.as_bytes(), 0o644))
}

/// Writes certificates, secrets and configuration; `twinhub.toml` last, so that a part is no site.
fn write_all(paths: &Paths, welcome: &Welcome) -> Result<Vec<String>, Failure> {
    let dir = paths.config_dir();
    let mut names = Vec::new();
    for (name, text) in &welcome.pki {
        let is_key = Path::new(name).extension().is_some_and(|kind| kind == "key");
        let mode = if is_key { 0o600 } else { 0o644 };
        write(&paths.pki.join(inside(name)?), text.as_bytes(), mode)?;
    }
    for (name, bytes) in decoded(&welcome.secrets)? {
        write(&dir.join(inside(&name)?), &bytes, 0o600)?;
        names.push(name);
    }
    let (main, others): (Vec<_>, Vec<_>) =
        decoded(&welcome.files)?.into_iter().partition(|(name, _)| name == MAIN_FILE);
    for (name, bytes) in others.into_iter().chain(main) {
        let path = if name == MAIN_FILE { paths.config.clone() } else { dir.join(inside(&name)?) };
        write(&path, &bytes, 0o644)?;
        names.push(name);
    }
    Ok(names)
}

fn decoded(files: &BTreeMap<String, String>) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let bytes = |(name, text): (&String, &String)| match BASE64.decode(text) {
        Ok(bytes) => Ok((name.clone(), bytes)),
        Err(error) => Err(Failure::new(Code::Error, format!("`{name}` came damaged: {error}"))),
    };
    files.iter().map(bytes).collect()
}

/// A name that stays below the folder.
pub(super) fn inside(name: &str) -> Result<&str, Failure> {
    let fits = !name.starts_with('/') && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if fits {
        Ok(name)
    } else {
        Err(Failure::new(Code::Error, format!("`{name}` is no name for a file here")))
    }
}

pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    write_whole(path, bytes, Some(mode))
        .map_err(|error| Failure::new(Code::Error, format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    /// Says it as on the command line, and what comes of it.
    fn join(root: &Path, code: &str) -> Failure {
        let root = root.display().to_string();
        let cli = Cli::parse_from(["twinhub", "--root", &root, "join", "127.0.0.1:1", code]);
        let Command::Join(args) = cli.command else { panic!("it is said above") };
        run(&cli.global, &args, Answer::new(cli.global.output)).unwrap_err()
    }

    #[test]
    fn a_join_that_goes_on_later_refuses_a_wrong_clock_too() {
        let root = tempfile::tempdir().unwrap();
        let code = JoinCode::parse(&"0".repeat(32)).unwrap().to_string();
        let cli = Cli::parse_from(["twinhub", "--root", &root.path().display().to_string(), "doctor"]);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let keep = |ahead_s: u64| {
            let time = i64::try_from((now + Duration::from_secs(ahead_s)).as_nanos()).unwrap();
            let welcome = Welcome { time, ..Welcome::default() };
            Unfinished::load(&Paths::of(&cli.global)).keep(&code, &welcome, Heard::now()).unwrap();
        };
        keep(3600);
        for _ in 0..2 {
            let refused = join(root.path(), &code).text;
            assert!(refused.contains("s behind that of the node") && refused.contains("nothing of the site"));
        }
        // With the clock put right it goes on to what comes next.
        keep(0);
        assert!(!join(root.path(), &code).text.contains("clock"));
    }

    #[test]
    fn an_address_may_leave_out_the_port() {
        for (address, url) in [
            ("10.0.0.11", "http://10.0.0.11:8620"),
            ("hub:9000", "http://hub:9000"),
            ("[::1]:9000", "http://[::1]:9000"),
            ("[::1]", "http://[::1]:8620"),
            ("http://hub:1", "http://hub:1"),
        ] {
            assert_eq!(url_of(address), url);
        }
    }

    #[test]
    fn names_that_lead_out_of_the_folder_are_refused() {
        for name in ["/etc/passwd", "../x", "a/../b", "a//b", ""] {
            assert!(inside(name).is_err(), "{name}");
        }
        assert_eq!(inside("items/plc1.csv").ok(), Some("items/plc1.csv"));
    }
}
