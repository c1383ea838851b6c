//! Checks addresses that move with a role.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::assembly::{Assembly, GROUP, span};
use crate::file;
use crate::site::{Floating, Group};
use crate::tree::Step;

impl Assembly<'_> {
    /// Gives each group its address.
    pub(crate) fn floating(&mut self, file: &file::File, groups: &mut [Group]) {
        let mut given: Vec<(Vec<Step<'static>>, String, &file::Floating)> = Vec::new();
        if let Some(floating) = &file.cluster.floating {
            given.push((vec!["cluster".into(), "floating".into()], GROUP.to_owned(), floating));
        }
        for (index, group) in file.group.iter().enumerate() {
            if let Some(floating) = &group.floating {
                let place = vec!["group".into(), index.into(), "floating".into()];
                given.push((place, group.id.clone(), floating));
            }
        }
        for (place, id, floating) in given {
            let checked = self.one_floating(&place, file, floating);
            let is_used = checked.as_ref().is_some_and(|checked| {
                groups.iter().any(|other| {
                    other.floating.as_ref().is_some_and(|other| other.address == checked.address)
                })
            });
            let Some(group) = groups.iter_mut().find(|group| group.id == id) else {
                // A group that cannot be used has been reported.
                continue;
            };
            if group.floating.is_some() {
                self.error(
                    &place,
                    format!("group `{id}` has two floating addresses"),
                    "the second one",
                    "write it in [cluster] or in [[group]], not in both",
                );
            } else if is_used {
                self.error(
                    &place,
                    "two groups have the same floating address".to_owned(),
                    "again",
                    "give each group its own, since their roles may be on different nodes",
                );
            } else {
                group.floating = checked;
            }
        }
    }

    fn one_floating(
        &mut self,
        place: &[Step<'static>],
        file: &file::File,
        floating: &file::Floating,
    ) -> Option<Floating> {
        let at = |key: &'static str| [place, &[key.into()]].concat();
        let text = floating.address.as_str();
        let parts = text.split_once('/');
        let ip = parts.and_then(|(ip, _)| ip.parse::<IpAddr>().ok());
        let prefix = parts.and_then(|(_, prefix)| prefix.parse::<u8>().ok());
        let longest = if ip.is_some_and(|ip| ip.is_ipv6()) { 128 } else { 32 };
        let (Some(ip), Some(prefix)) = (ip, prefix.filter(|prefix| (1..=longest).contains(prefix))) else {
            self.error(
                &at("address"),
                format!("`{}` is no address with the length of its network", text.escape_debug()),
                "here",
                "write a free address of the network of the nodes and its length, such as \"10.0.0.50/24\" or \
                 \"fd00::50/64\"",
            );
            return None;
        };
        if ip.is_unspecified() || ip.is_multicast() || is_edge(ip, prefix) {
            self.error(
                &at("address"),
                format!("{ip}/{prefix} is no address of a host"),
                "here",
                "write a free address of the network of the nodes",
            );
        }
        let is_own = |address: &String| host(address) == Some(ip);
        if let Some((name, _)) = file
            .nodes
            .iter()
            .find(|(_, node)| node.links.iter().any(is_own) || node.listen.iter().flatten().any(is_own))
        {
            self.error(
                &at("address"),
                format!("{ip} is an address of node `{name}`"),
                "already used",
                "the nodes keep their own addresses; write a free one of the same network",
            );
        }
        if floating.device.as_deref().is_some_and(|device| !is_device(device)) {
            self.error(
                &at("device"),
                "this is no name of a network device".to_owned(),
                "here",
                "write a name that `ip link` shows, such as \"eth0\"",
            );
        }
        let announcements = floating.announcements.unwrap_or(8);
        let interval = span(floating.interval.as_ref(), Duration::from_millis(500));
        if !(Duration::from_millis(10)..=Duration::from_secs(10)).contains(&interval) {
            self.error(
                &at("interval"),
                "the time between two announcements is out of range".to_owned(),
                "here",
                "write \"10ms\" to \"10s\"",
            );
        }
        Some(Floating { address: ip, prefix, device: floating.device.clone(), announcements, interval })
    }
}

/// Whether it names the network itself or all its hosts.
fn is_edge(ip: IpAddr, prefix: u8) -> bool {
    match ip {
        IpAddr::V4(ip) if prefix < 31 => {
            let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            let host = ip.to_bits() & hosts;
            host == 0 || host == hosts
        }
        IpAddr::V4(_) | IpAddr::V6(_) => false,
    }
}

/// What the kernel takes as a name.
fn is_device(name: &str) -> bool {
    let is_clean = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    (1..16).contains(&name.len()) && name != "." && name != ".." && name.chars().all(is_clean)
}

fn host(address: &str) -> Option<IpAddr> {
    address.parse::<SocketAddr>().ok().map(|address| address.ip())
}
