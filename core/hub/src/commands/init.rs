//! `init`: certificates and a configuration to start from.

use std::io::Write as _;

use serde::Serialize;
use twinhub_runtime::pki;

use super::join;
use crate::cli::{Global, InitArgs};
use crate::exit::{Code, Failure, Outcome};
use crate::output::Answer;
use crate::paths::Paths;

#[derive(Debug, Serialize)]
struct Report {
    config: String,
    config_made: bool,
    pki: String,
    certificates: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &InitArgs, answer: Answer) -> Outcome {
    if let Some(node) = &args.code {
        return join::make_code(global, node, args, answer);
    }
    let paths = Paths::of(global);
    for name in &args.nodes {
        check_name(name)?;
    }
    let exists = paths.config.exists();
    let nodes = if exists {
        let configured: Vec<String> = paths.load()?.site.nodes.iter().map(|node| node.name.clone()).collect();
        if let Some(unknown) = args.nodes.iter().find(|name| !configured.contains(name)) {
            let text = format!(
                "{} has no node `{unknown}`, its nodes are {}: add it there first",
                paths.config.display(),
                configured.join(", ")
            );
            return Err(Failure::new(Code::Configuration, text));
        }
        configured
    } else if args.nodes.is_empty() {
        vec!["main".to_owned(), "backup".to_owned()]
    } else {
        args.nodes.clone()
    };
    if !exists {
        write_starter(&paths, &nodes)?;
    }
    let mut names: Vec<&str> = nodes.iter().map(String::as_str).collect();
    names.push("witness");
    pki::ensure(&paths.pki, &names).map_err(|error| Failure::of(Code::Configuration, &error))?;
    let report = Report {
        config: paths.config.display().to_string(),
        config_made: !exists,
        pki: paths.pki.display().to_string(),
        certificates: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    answer.give(&report, |report| {
        let verb = if report.config_made { "made" } else { "kept" };
        format!(
            "{verb} {}\ncertificates in {} for {}\n\nNext: describe your interfaces there, run `twinhub config check`, then `twinhub run --node {}`.\nFor each other \
             node `twinhub init --code NODE` prints a code: `twinhub join ADDRESS CODE` on its machine does the rest.",
            report.config,
            report.pki,
            report.certificates.join(", "),
            nodes.first().map_or("main", String::as_str)
        )
    })
}

/// Names stand in file names and certificates.
fn check_name(name: &str) -> Result<(), Failure> {
    let fits = !name.is_empty()
        && name.len() <= 63
        && name != "witness"
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && !name.starts_with('-');
    if fits {
        return Ok(());
    }
    let text = format!("`{name}` is no name for a node: use letters, digits, - and _, and not `witness`");
    Err(Failure::new(Code::Usage, text))
}

fn write_starter(paths: &Paths, nodes: &[String]) -> Result<(), Failure> {
    let error = |source: std::io::Error| {
        Failure::new(Code::Error, format!("cannot write {}: {source}", paths.config.display()))
    };
    std::fs::create_dir_all(paths.config_dir().join("items")).map_err(error)?;
    let items = paths.config_dir().join("items/sim1.csv");
    if !items.exists() {
        std::fs::write(&items, STARTER_ITEMS).map_err(error)?;
    }
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).open(&paths.config).map_err(error)?;
    file.write_all(starter(nodes).as_bytes()).map_err(error)
}

fn starter(nodes: &[String]) -> String {
    let names: Vec<String> = nodes.iter().map(|name| format!("\"{name}\"")).collect();
    let mut text = format!(
        "# One file for all nodes: copy this folder to every machine. `twinhub config check` explains what is wrong with it,\n\
         # `twinhub config schema` lists everything that can be written here.\n\
         version = 1\n\
         site = \"My site\"\n\n\
         [cluster]\n\
         nodes = [{}]    # the first is the main, the others take over in this order\n\
         profile = \"normal\"    # lan, fast, normal or wan: how fast a takeover is, and how calm a network it needs\n\
         # witness = \"10.0.0.13:7621\"    # `twinhub witness` on a third machine; without it two nodes cannot tell a cut\n\
         # cable from a dead partner\n\
         without_witness = \"manual\"\n",
        names.join(", ")
    );
    for (index, name) in nodes.iter().enumerate() {
        // Different ports, so that the file can be tried out on one machine.
        let (peer, web) = (7620 + 10 * index, 8620 + index);
        let section = format!(
            "\n[nodes.{name}]\nlinks = [\"127.0.0.1:{peer}\"]    # address and port that the other nodes reach it at\n\
             web = \"127.0.0.1:{web}\"    # web interface; 0.0.0.0 lets other machines in, with a token\n"
        );
        text.push_str(&section);
    }
    text.push_str(
        "\n# An interface is a plugin with settings; its items are in a CSV file. This one makes values up.\n\
         [[interface]]\n\
         id = \"sim1\"\n\
         plugin = \"sim\"\n\
         items = \"items/sim1.csv\"\n\
         settings = { interval_ms = 1000 }\n\n\
         # [[interface]]\n\
         # id = \"plc1\"\n\
         # plugin = \"modbus\"\n\
         # items = \"items/plc1.csv\"\n\
         # settings = { address = \"10.0.2.10:502\", unit = 1, poll = \"1s\" }\n\n\
         # A link lets one item drive another, over interfaces:\n\
         # [[link]]\n\
         # from = \"plc1/boiler/temperature\"\n\
         # to = \"mqtt1/boiler/temperature\"\n\
         # convert = { scale = 0.1 }\n",
    );
    text
}

const STARTER_ITEMS: &str = "\
path,address,type,access,unit,description
counter,counter,u64,r,,counts up
";

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, OutputForm};

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for name in ["", "../x", "a/b", "-x", "a b", "witness"] {
            assert_eq!(check_name(name).unwrap_err().code, Code::Usage, "{name}");
        }
        assert!(check_name("plant-room_2").is_ok());
    }

    #[test]
    fn a_new_site_is_complete_and_a_second_time_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("twinhub.toml");
        let cli = Cli::try_parse_from(["twinhub", "init", "--config", config.to_str().unwrap()]).unwrap();
        let answer = Answer::new(OutputForm::Json);
        let args = InitArgs { nodes: Vec::new(), code: None, lasts: None };
        run(&cli.global, &args, answer).unwrap();
        let loaded = twinhub_config::load(&config).unwrap_or_else(|failure| panic!("{}", failure.render()));
        assert_eq!(loaded.site.nodes.len(), 2);
        let key = std::fs::read(dir.path().join("pki/main.key")).unwrap();
        std::fs::write(&config, std::fs::read_to_string(&config).unwrap().replace("My site", "Kept"))
            .unwrap();
        run(&cli.global, &args, answer).unwrap();
        assert!(std::fs::read_to_string(&config).unwrap().contains("Kept"));
        assert_eq!(std::fs::read(dir.path().join("pki/main.key")).unwrap(), key);
    }
}
