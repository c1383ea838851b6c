//! `backup`: a site in one file.

use std::path::Path;

use serde_json::json;
use twinhub_config::{Files, MAIN_FILE};
use twinhub_runtime::backup::{self, BackupError, Entries, Header};
use twinhub_runtime::view::BackupView;

use super::accounts::password;
use super::join::{inside, write};
use crate::cli::{BackupCommand, Global, RestoreArgs};
use crate::client::{Client, escape};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, table};
use crate::paths::Paths;

const BACKUPS: &str = "/api/v1/backups";

pub(crate) fn run(global: &Global, command: &BackupCommand, answer: Answer) -> Outcome {
    match command {
        BackupCommand::Create { to } => {
            let client = Client::new(global)?;
            let passphrase = password("passphrase of the backup: ")?;
            let made: BackupView = client.send("POST", BACKUPS, &json!({ "passphrase": passphrase }))?;
            if let Some(path) = to {
                let bytes = client.bytes(&format!("{BACKUPS}/{}", escape(&made.name)))?;
                write(path, &bytes, 0o600)?;
            }
            answer.give(&made, |made| {
                let place = to.as_ref().map_or_else(
                    || format!("on the node as {}; `--to FILE` fetches one", made.name),
                    |path| format!("in {}", path.display()),
                );
                let cut = match (made.history_is_cut, made.history_is_behind) {
                    (false, false) => "",
                    (true, false) => " (older ones are left out)",
                    (false, true) => " (the newest ones are left out: the history could not be written)",
                    (true, true) => {
                        " (older and the newest ones are left out: the history could not be written)"
                    }
                };
                format!(
                    "backup of {}, {} bytes, with {} values of the past{cut}, {place}",
                    made.site, made.bytes, made.history_rows
                )
            })
        }
        BackupCommand::Ls => {
            let list: Vec<BackupView> = Client::new(global)?.get(BACKUPS)?;
            answer.give(&list, |list| {
                let rows = list.iter().cloned().map(|backup| {
                    let fault = backup.fault.unwrap_or_default();
                    [backup.name, backup.at, backup.site, backup.version, backup.bytes.to_string(), fault]
                });
                table(["backup", "at", "site", "version", "bytes", ""], rows)
            })
        }
        BackupCommand::Restore(args) => restore(global, args, answer),
    }
}

fn restore(global: &Global, args: &RestoreArgs, answer: Answer) -> Outcome {
    let paths = Paths::of(global);
    let unreadable = |error: std::io::Error| {
        Failure::new(Code::Error, format!("cannot read {}: {error}", args.file.display()))
    };
    let file = std::fs::read(&args.file).map_err(unreadable)?;
    let header = backup::look(&file).map_err(|error| refused(&args.file, &error))?;
    let node = args.node.clone().unwrap_or_else(|| header.node.clone());
    check_place(&paths, &header, &node, args.force)?;
    let passphrase = password("passphrase of the backup: ")?;
    let (header, entries) = backup::open(&file, &passphrase).map_err(|error| refused(&args.file, &error))?;
    check_site(&entries, &node)?;
    // The configuration comes last: a restore that was cut off is none, and can be repeated.
    let (state, refused) = (paths.node_state(&node), |error: BackupError| refused(&args.file, &error));
    backup::begin_restore(&state, &entries).map_err(refused)?;
    let values = backup::restore_history(&state, &entries).map_err(refused)?;
    backup::restore_documents(&state, &header, &entries).map_err(refused)?;
    write_site(&paths, &entries)?;
    backup::end_restore(&state).map_err(refused)?;
    let report = json!({
        "site": header.site, "at": header.at, "node": node, "config": paths.config, "history_rows": values,
    });
    answer.give(&report, |_| {
        format!(
            "restored {} as of {}\nconfiguration {}\n{values} values of the past\n\nNext: `twinhub run --node {node}`; other nodes join with `twinhub \
             init --code NODE`",
            header.site,
            header.at,
            paths.config.display()
        )
    })
}

fn refused(file: &Path, error: &BackupError) -> Failure {
    Failure::new(Code::Error, format!("{}: {error}", file.display()))
}

/// A site that is here is not overwritten by mistake, and one that has run is not mixed with another.
fn check_place(paths: &Paths, header: &Header, node: &str, force: bool) -> Result<(), Failure> {
    let state = paths.node_state(node);
    if state.join("journal").exists() {
        let text = format!(
            "node `{node}` has run here: stop it and move {} away first, since what it knows is newer than a backup",
            state.display()
        );
        return Err(Failure::new(Code::Configuration, text));
    }
    if force || !paths.config.exists() || backup::is_restoring(&state) {
        return Ok(());
    }
    let here = twinhub_config::load_cluster(&paths.config).map(|site| site.site).unwrap_or_default();
    let text = if here == header.site {
        format!("{} is here already: say --force if the backup may replace it", paths.config.display())
    } else {
        format!(
            "the backup is of the site `{}`, and {} is of `{here}`: restore it elsewhere, or say --force if it may \
             replace this one",
            header.site,
            paths.config.display()
        )
    };
    Err(Failure::new(Code::Configuration, text))
}

/// Whether the backup's configuration can be used, and has that node.
fn check_site(entries: &Entries, node: &str) -> Result<(), Failure> {
    let files = entries
        .iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix("config/")?.to_owned(), bytes.clone())));
    let loaded = Files(files.collect())
        .check()
        .map_err(|failure| Failure::new(Code::Configuration, failure.render()))?;
    match loaded.site.node(node) {
        Some(_) => Ok(()),
        None => Err(Failure::of(Code::Configuration, &loaded.site.unknown_node(node))),
    }
}

/// `twinhub.toml` last, so that a part is no site.
fn write_site(paths: &Paths, entries: &Entries) -> Result<(), Failure> {
    let dir = paths.config_dir();
    for (name, bytes) in entries {
        if let Some(name) = name.strip_prefix("pki/") {
            let is_key = Path::new(name).extension().is_some_and(|kind| kind == "key");
            let mode = if is_key { 0o600 } else { 0o644 };
            write(&paths.pki.join(inside(name)?), bytes, mode)?;
        } else if let Some(name) = name.strip_prefix("secrets/") {
            write(&dir.join(inside(name)?), bytes, 0o600)?;
        } else if let Some(name) = name.strip_prefix("config/").filter(|name| *name != MAIN_FILE) {
            write(&dir.join(inside(name)?), bytes, 0o644)?;
        }
    }
    match entries.get(&format!("config/{MAIN_FILE}")) {
        Some(bytes) => write(&paths.config, bytes, 0o644),
        None => Err(Failure::new(Code::Error, "the backup has no twinhub.toml")),
    }
}
