//! `config show`: what a configuration says, of the files here or of a hub that runs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use twinhub_config::{Files, MAIN_FILE, Site};

use super::CONFIG;
use crate::cli::{Global, ShowArgs};
use crate::client::Client;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, print, table};
use crate::paths::Paths;

#[derive(Debug, Deserialize)]
pub(super) struct FilesView {
    pub(super) revision: Option<u64>,
    pub(super) files: BTreeMap<String, String>,
}

/// Secrets stay the references that they are in the file.
pub(crate) fn show(global: &Global, args: &ShowArgs, answer: Answer) -> Outcome {
    let (from, files, mut site) =
        if args.remote { of_hub(global, args.revision)? } else { of_files(global)? };
    if args.text {
        let text = files.0.get(MAIN_FILE).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
        return print(text.trim_end());
    }
    if let Some(node) = &args.node {
        site.apply_node(node).map_err(|error| Failure::of(Code::Configuration, &error))?;
    }
    give(&site, &from, answer)
}

fn of_files(global: &Global) -> Result<(String, Files, Site), Failure> {
    let paths = Paths::of(global);
    // It says what to do if there is none.
    let site = paths.load()?.site;
    let bytes = std::fs::read(&paths.config).map_err(|error| Failure::of(Code::Configuration, &error))?;
    let files = Files(BTreeMap::from([(MAIN_FILE.to_owned(), bytes)]));
    Ok((paths.config.display().to_string(), files, site))
}

fn of_hub(global: &Global, revision: Option<u64>) -> Result<(String, Files, Site), Failure> {
    let client = Client::new(global)?;
    let path =
        revision.map_or_else(|| format!("{CONFIG}/files"), |number| format!("{CONFIG}/revisions/{number}"));
    let FilesView { revision, files } = client.get(&path)?;
    let files = Files(files.into_iter().map(|(name, text)| (name, text.into_bytes())).collect());
    let site = files.check().map_err(|failure| Failure::new(Code::Configuration, failure.render()))?.site;
    let from = match revision {
        Some(revision) => format!("revision {revision} of {}", client.url()),
        None => format!("files of {}", client.url()),
    };
    Ok((from, files, site))
}

fn give(site: &Site, from: &str, answer: Answer) -> Outcome {
    let interfaces: Vec<Value> = site
        .interfaces
        .iter()
        .map(|interface| {
            json!({
                "id": interface.id,
                "plugin": interface.plugin,
                "group": interface.group,
                "items": interface.items.len(),
                "required": interface.required,
                "write_timeout": twinhub_config::duration_text(interface.write_timeout),
                "settings": interface.settings,
            })
        })
        .collect();
    let nodes: Vec<Value> = site
        .nodes
        .iter()
        .map(|node| json!({ "name": node.name, "rank": node.rank, "links": node.links, "listen": node.listen, "web": node.web }))
        .collect();
    let groups: Vec<Value> =
        site.groups.iter().map(|group| json!({ "id": group.id, "nodes": group.nodes })).collect();
    let links: Vec<Value> = site
        .links
        .iter()
        .map(|link| json!({ "from": link.from.to_string(), "to": link.to.to_string() }))
        .collect();
    let whole = json!({
        "file": from,
        "site": site.site,
        "config_hash": format!("{:016x}", site.hash),
        "profile": format!("{:?}", site.cluster.profile).to_lowercase(),
        "hold_back": twinhub_config::duration_text(site.cluster.hold_back),
        "nodes": nodes,
        "groups": groups,
        "interfaces": interfaces,
        "links": links,
    });
    answer.give(&whole, |_| {
        let nodes = site
            .nodes
            .iter()
            .map(|node| [node.name.clone(), node.rank.to_string(), node.links.join(" "), node.web.clone()]);
        let interfaces = site.interfaces.iter().map(|interface| {
            [
                interface.id.clone(),
                interface.plugin.clone(),
                interface.group.clone(),
                interface.items.len().to_string(),
                interface.settings.to_string(),
            ]
        });
        format!(
            "site    {}\nfile    {}\nhash    {:016x}\n\n{}\n\n{}",
            site.site,
            from,
            site.hash,
            table(["node", "rank", "links", "web"], nodes),
            table(["interface", "plugin", "group", "items", "settings"], interfaces)
        )
    })
}
