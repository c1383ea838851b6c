//! The floating address of a group: the keeper that holds it, the lease that the keeper asks, what is shown of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use twinhub_config::{Group, Site};
use twinhub_floating::{Address, Keeper, Report, Setup, State};
use twinhub_model::{Event, NodeRank, Severity};

use crate::clock;
use crate::error::StartError;
use crate::gate::Gate;
use crate::inbox::Inbox;
use crate::shared::Shared;
use crate::view::FloatingView;

/// Starts the keeper of a group's address, if it has one.
pub(crate) fn start(
    group: &Group,
    shared: &Arc<Shared>,
    gate: &Arc<Gate>,
    inbox: &Arc<Inbox>,
) -> Result<Option<Keeper>, StartError> {
    let Some(floating) = &group.floating else { return Ok(None) };
    let address = Address { ip: floating.address, prefix: floating.prefix };
    let setup = Setup {
        name: group.id.clone(),
        address,
        device: floating.device.clone(),
        announcements: floating.announcements,
        interval: floating.interval,
        peers: peers(&shared.site, group, shared.rank, &address),
    };
    let lease = {
        let gate = Arc::clone(gate);
        move || gate.remaining(clock::now())
    };
    let tell = {
        let (shared, inbox, id) = (Arc::clone(shared), Arc::clone(inbox), group.id.clone());
        let mut last = Report::default();
        move |report: &Report| {
            show(&shared, &id, &address, report);
            if let Some(event) = event(&id, &address, &last, report) {
                inbox.push(event.into());
            }
            last = report.clone();
        }
    };
    let started = Keeper::start(setup, lease, tell);
    started
        .map(Some)
        .map_err(|source| StartError::Thread { what: "the thread of a floating address", source })
}

/// The addresses that move with roles, to be taken off when the hub process has died.
pub fn addresses(site: &Site) -> Vec<Address> {
    let floating = site.groups.iter().filter_map(|group| group.floating.as_ref());
    floating.map(|floating| Address { ip: floating.address, prefix: floating.prefix }).collect()
}

/// Where the other nodes of the group are in the network of the address.
fn peers(site: &Site, group: &Group, own: NodeRank, address: &Address) -> Vec<IpAddr> {
    let others = site.nodes.iter().filter(|node| node.rank != own.0 && group.nodes.contains(&node.name));
    others
        .flat_map(|node| &node.links)
        .filter_map(|link| Some(link.parse::<SocketAddr>().ok()?.ip()))
        .filter(|ip| address.has_neighbor(*ip))
        .collect()
}

fn show(shared: &Shared, group: &str, address: &Address, report: &Report) {
    let view = FloatingView {
        address: address.to_string(),
        device: report.device.clone(),
        state: report.state.word().to_owned(),
        error: report.error.clone(),
        conflicts: report.conflicts,
        taken: report.taken,
    };
    shared.update_group(group, |status| status.floating = Some(view));
}

/// What an operator is to read of a change; nothing about what goes as it should, which the role's history tells.
fn event(group: &str, address: &Address, last: &Report, report: &Report) -> Option<Event> {
    let (severity, code, text) = match (&report.error, &last.error) {
        (Some(error), last) if last.as_ref() != Some(error) => {
            let code = match report.state {
                State::Duplicate | State::Held => "TH-FLOATING-001",
                State::Fault | State::Released | State::Checking => "TH-FLOATING-002",
            };
            (Severity::Error, code, format!("floating address {address}: {error}"))
        }
        (None, Some(_)) => (
            Severity::Info,
            "TH-FLOATING-003",
            format!("floating address {address} is {} again", report.state.word()),
        ),
        (Some(_) | None, _) => return None,
    };
    if severity == Severity::Error {
        tracing::error!(group, code, text, "floating address");
    }
    Some(Event { severity, source: group.into(), code: code.into(), text: text.into(), at: clock::utc() })
}
