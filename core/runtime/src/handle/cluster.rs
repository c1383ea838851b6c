//! The cluster as this node sees it.

use twinhub_config::Witness;
use twinhub_model::{NodeRank, Position};
use twinhub_redundancy::{Health, NodeState, VoterId};
use twinhub_trust::{Agreement, agreement};

use super::Handle;
use crate::clock;
use crate::setup;
use crate::shared::{GroupStatus, PathStatus, PeerStatus, Voters};
use crate::view::{
    ClusterView, GroupView, HealthPartView, NodeView, PathView, ShrunkView, VotersView, WitnessView,
};

impl Handle {
    /// The whole cluster as this node sees it.
    pub fn cluster(&self) -> ClusterView {
        let shared = &self.0.shared;
        let site = &shared.site;
        let witness = site.cluster.witness.as_ref().map(|witness| {
            let path = shared.paths(VoterId::Witness).into_iter().next().unwrap_or_default();
            let info = shared.info(VoterId::Witness);
            let is_etcd = matches!(witness, Witness::Etcd(_));
            WitnessView {
                address: path.address,
                kind: if is_etcd { "etcd" } else { "witness" }.to_owned(),
                protocol: info.as_ref().map(|info| info.protocol).filter(|_| !is_etcd),
                version: info.map(|info| info.version).unwrap_or_default(),
                up: path.up,
                rtt_us: path.rtt_us,
                error: path.loss.map(|loss| loss.error),
            }
        });
        ClusterView {
            site: site.site.clone(),
            node: shared.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: shared.protocol,
            profile: format!("{:?}", site.cluster.profile).to_lowercase(),
            config_hash: format!("{:016x}", shared.config_hash()),
            notes: self.configuration_notes().into_iter().chain(self.plugin_notes()).collect(),
            groups: site.groups.iter().map(|group| self.group_view(group)).collect(),
            witness,
            history: self.0.shelf.view(&self.0.shared),
            historian: self.0.shelf.historian_view(),
        }
    }

    /// What an operator has to know of nodes that trust or run other plugins than this one.
    fn plugin_notes(&self) -> Vec<String> {
        let shared = &self.0.shared;
        let others = shared.site.nodes.iter().filter(|node| NodeRank(node.rank) != shared.rank);
        let notes = others.filter_map(|node| {
            let theirs = shared.info(VoterId::Node(NodeRank(node.rank)))?.plugins?;
            let name = &node.name;
            match agreement(&shared.code(), &theirs) {
                Agreement::Same => None,
                skew @ Agreement::Skew(_) => Some(format!("{name} is being upgraded, or to be: {skew}")),
                differ @ Agreement::Differ(_) => Some(format!(
                    "{name} trusts or runs other plugins: {differ}; `twinhub plugin verify` there"
                )),
            }
        });
        notes.chain(self.trial_notes()).chain(self.refused_notes()).collect()
    }

    fn group_view(&self, group: &twinhub_config::Group) -> GroupView {
        let shared = &self.0.shared;
        let status = shared.group(&group.id);
        let now = clock::now();
        let nodes = group
            .nodes
            .iter()
            .filter_map(|name| shared.site.nodes.iter().find(|node| node.name == *name))
            .zip(0..)
            .map(|(node, place)| NodeView {
                observer: place >= setup::voting_nodes(&shared.site),
                ..self.node_view(node, &status)
            })
            .collect();
        GroupView {
            id: group.id.clone(),
            epoch: status.epoch.to_string(),
            active: status.active.map(|node| shared.name_of(node)),
            state: status.state.map_or("starting", NodeState::name).to_owned(),
            protected: status.protected,
            split_possible: status.split_possible,
            paused: status.paused,
            voters: self.voters_view(&status.voters),
            reason: status.reason,
            since: status.since,
            lease_remaining_ms: status
                .lease_end
                .map(|end| u64::try_from(end.since(now).as_millis()).unwrap_or(u64::MAX)),
            position: status.position.to_string(),
            alarms: status.alarms,
            nodes,
            floating: status.floating,
            merge: status.merge,
            merged_records: status.counters.merged_records,
        }
    }

    fn voters_view(&self, voters: &Voters) -> VotersView {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let shrunk = voters.members.absent.iter().map(|absence| ShrunkView {
            name: self.0.shared.name_of_voter(absence.voter),
            ground: absence.ground.to_string(),
            hold: absence.hold,
            waits_for: voters.waits_for.get(&absence.voter).cloned(),
        });
        VotersView {
            voting: count(voters.voting),
            needed: count(voters.needed),
            configured: count(voters.configured),
            revision: voters.members.stamp.revision,
            changing: voters.members.before.is_some(),
            shrunk: shrunk.collect(),
        }
    }

    fn node_view(&self, node: &twinhub_config::Node, status: &GroupStatus) -> NodeView {
        let shared = &self.0.shared;
        let rank = NodeRank(node.rank);
        let web = node.web.clone();
        if rank == shared.rank {
            let state = status.state.map_or("starting", NodeState::name);
            let lag = self.own_lag(status);
            return NodeView {
                name: node.name.clone(),
                rank: node.rank,
                observer: false,
                state: state.to_owned(),
                reachable: true,
                unreachable: None,
                lag_records: lag,
                in_sync: matches!(status.state, Some(NodeState::Active | NodeState::Standby)),
                web,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                protocol: Some(shared.protocol),
                config_hash: format!("{:016x}", shared.config_hash()),
                plugins_lock: shared.code().lock.clone(),
                plugins: Some(Agreement::Same.word().to_owned()),
                plugins_differ: Vec::new(),
                paths: Vec::new(),
                score: status.health.as_ref().map(Health::score),
                proven: status.health.as_ref().map(Health::least),
                health: status.health.as_ref().map(health_parts).unwrap_or_default(),
            };
        }
        let PeerStatus { state, reachable, position, score, proven } =
            status.peers.get(&rank).copied().unwrap_or_default();
        let lag =
            status.lags.get(&rank).map(|(lag, _)| *lag).or_else(|| lag_between(status.position, position));
        let word = if reachable { state.map_or("joining", NodeState::name) } else { "unreachable" };
        let paths = shared.paths(VoterId::Node(rank)).into_iter().map(path_view).collect();
        let info = shared.info(VoterId::Node(rank));
        let code = info.as_ref().and_then(|info| info.plugins.as_ref());
        let agreement = code.map(|theirs| agreement(&shared.code(), theirs));
        NodeView {
            name: node.name.clone(),
            rank: node.rank,
            observer: false,
            state: word.to_owned(),
            reachable,
            unreachable: (!reachable).then(|| shared.why_unreachable(VoterId::Node(rank))),
            lag_records: lag,
            in_sync: reachable && matches!(state, Some(NodeState::Active | NodeState::Standby)),
            web,
            protocol: info.as_ref().map(|info| info.protocol),
            config_hash: info.as_ref().map(|info| format!("{:016x}", info.config_hash)).unwrap_or_default(),
            plugins_lock: code.and_then(|code| code.lock.clone()),
            plugins: agreement.as_ref().map(|agreement| agreement.word().to_owned()),
            plugins_differ: agreement.map(|agreement| agreement.differences().to_vec()).unwrap_or_default(),
            version: info.map(|info| info.version).unwrap_or_default(),
            paths,
            score: score.filter(|_| reachable),
            proven: proven.filter(|_| reachable),
            health: Vec::new(),
        }
    }

    fn own_lag(&self, status: &GroupStatus) -> Option<u64> {
        let active = status.active?;
        if active == self.0.shared.rank {
            return Some(0);
        }
        let theirs = status.peers.get(&active)?.position;
        lag_between(theirs, status.position)
    }
}

fn lag_between(ahead: Position, behind: Position) -> Option<u64> {
    (ahead.epoch == behind.epoch).then(|| ahead.seq.saturating_sub(behind.seq))
}

fn health_parts(health: &Health) -> Vec<HealthPartView> {
    let parts = health.parts().iter().map(|part| HealthPartView {
        interface: part.interface.clone(),
        points: part.points,
        unproven: part.unproven,
        cause: part.cause.clone(),
    });
    parts.collect()
}

fn path_view(path: PathStatus) -> PathView {
    PathView {
        address: path.address,
        up: path.up,
        rtt_us: path.rtt_us,
        clock_offset_us: path.clock_offset_us,
        error: path.loss.map(|loss| loss.error),
    }
}
