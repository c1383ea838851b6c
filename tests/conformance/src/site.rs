//! The configuration of the site under test.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use twinhub_peers::{Port, Relay};

use crate::error::{Error, Result};
use crate::profile::Profile;

/// Ports, paths and timers of a site; writes `twinhub.toml` and the items.
#[derive(Debug)]
pub struct SitePlan {
    /// Timers.
    pub profile: Profile,
    /// The nodes in the order of their rank.
    pub nodes: Vec<NodePlan>,
    /// Port of the witness, if the site has one.
    pub witness: Option<Port>,
    /// Sections with interfaces, links and overrides, as TOML.
    pub interfaces: String,
    /// Items files below `items/`.
    pub items: Vec<(String, String)>,
}

/// One node's addresses.
#[derive(Debug)]
pub struct NodePlan {
    /// Its name.
    pub name: String,
    /// Where it listens for the others.
    pub listen: Port,
    /// Where the others connect: the path that can be cut.
    pub path: Relay,
    /// Its web and REST port.
    pub web: Port,
}

impl SitePlan {
    /// Main, backup and further backups; an even number of nodes gets a witness.
    pub fn new(profile: Profile, node_count: usize) -> Result<Self> {
        let nodes =
            (0..node_count).map(|rank| NodePlan::new(name_of_rank(rank))).collect::<Result<Vec<_>>>()?;
        let witness = if node_count.is_multiple_of(2) { Some(Port::reserve()?) } else { None };
        Ok(Self { profile, nodes, witness, interfaces: String::new(), items: Vec::new() })
    }

    /// A pair whose only interface polls register 0 of a Modbus device as `plc1/level` ten times a second; it is too
    /// high from 90 on: the alarm `hot`, which also has these settings.
    pub fn with_alarm(device: SocketAddr, alarm: &str) -> Result<Self> {
        let mut plan = Self::new(Profile::Normal, 2)?;
        plan.interfaces = format!(
            "[[interface]]\nid = \"plc1\"\nplugin = \"modbus\"\nitems = \"items/plc1.csv\"\n\
             settings.address = \"{device}\"\nsettings.poll = \"100ms\"\n\
             [[alarm]]\nid = \"hot\"\nitem = \"plc1/level\"\nwhen = \"high\"\nvalue = 90\npriority = 800\n{alarm}\n",
        );
        let items = "path,address,type,access,unit,description\nlevel,hr:0,uint16,r,,\n";
        plan.items = vec![("plc1.csv".to_owned(), items.to_owned())];
        Ok(plan)
    }

    /// Writes everything that `twinhub --root` needs.
    pub fn write(&self, root: &Path) -> Result<()> {
        let write = |path: &Path, text: &str| {
            let parent = path.parent().unwrap_or(root);
            fs::create_dir_all(parent).and_then(|()| fs::write(path, text)).map_err(Error::file(path))
        };
        write(&root.join(CONFIG_FILE), &self.configuration())?;
        for (name, text) in &self.items {
            write(&root.join(CONFIG_FILE).with_file_name("items").join(name), text)?;
        }
        Ok(())
    }

    fn configuration(&self) -> String {
        let mut text = String::new();
        self.write_configuration(&mut text).expect("a String takes any text");
        text
    }

    fn write_configuration(&self, text: &mut String) -> std::fmt::Result {
        let names: Vec<String> = self.nodes.iter().map(|node| format!("\"{}\"", node.name)).collect();
        writeln!(text, "version = 1\nsite = \"demo\"\n\n[cluster]\nnodes = [{}]", names.join(", "))?;
        writeln!(text, "profile = \"{}\"\nfailback = \"manual\"", self.profile)?;
        if let Some(witness) = &self.witness {
            writeln!(text, "witness = \"{}\"", witness.address())?;
        }
        for node in &self.nodes {
            writeln!(text, "\n[nodes.{}]\nlinks = [\"{}\"]", node.name, node.path.address())?;
            writeln!(text, "listen = [\"{}\"]\nweb = \"{}\"", node.listen.address(), node.web.address())?;
        }
        write!(text, "\n{}", self.interfaces)
    }
}

impl NodePlan {
    fn new(name: String) -> Result<Self> {
        let listen = Port::reserve()?;
        let path = Relay::start(listen.address())?;
        Ok(Self { name, listen, path, web: Port::reserve()? })
    }

    /// Where it answers.
    pub fn web_address(&self) -> SocketAddr {
        self.web.address()
    }
}

/// `main`, `backup`, `backup2`, …
fn name_of_rank(rank: usize) -> String {
    match rank {
        0 => "main".to_owned(),
        1 => "backup".to_owned(),
        rank => format!("backup{rank}"),
    }
}

/// Below the root.
pub(crate) const CONFIG_FILE: &str = "etc/twinhub/twinhub.toml";
