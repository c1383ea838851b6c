//! Orders of operators, and what becomes of them.

use std::fmt;

use twinhub_model::NodeRank;
use twinhub_redundancy::{MembersChange, Order as MachineOrder, VoterId};

use super::Handle;
use crate::control::Told;
use crate::error::CommandError;
use crate::inbox::Job;
use crate::shared;
use crate::view::OperationView;

/// What an operator can order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Move the role, planned and without loss.
    Switchover {
        /// To this node, or to the best one.
        to: Option<String>,
    },
    /// Move the role to the node that each group prefers.
    SwitchoverToPrimary,
    /// Move the role to the node after the active one in the order of each group.
    SwitchoverToNext,
    /// Give every role of this node away and take none until [`Order::EndDrain`]; survives a restart.
    Drain,
    /// This node may be active again.
    EndDrain,
    /// Make this node active now.
    Failover {
        /// Also without a majority.
        force: bool,
    },
    /// Nothing moves by itself any more.
    Pause,
    /// Moves are allowed again.
    Resume,
    /// A voter votes no more until it is back: its machine is serviced.
    Shrink {
        /// The node, or `witness`.
        voter: String,
        /// It is silent, and its machine is surely off.
        fenced: bool,
        /// It stays out until [`Order::Grow`].
        hold: bool,
    },
    /// A voter that was shrunk votes again.
    Grow {
        /// The node, or `witness`.
        voter: String,
    },
    /// This node fetches a full copy from the active one.
    Resync,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Order::Switchover { to: Some(to) } => write!(f, "switchover to {to}"),
            Order::Switchover { to: None } => f.write_str("switchover"),
            Order::SwitchoverToPrimary => f.write_str("switchover to the primary"),
            Order::SwitchoverToNext => f.write_str("switchover to the next"),
            Order::Drain => f.write_str("drain"),
            Order::EndDrain => f.write_str("end of drain"),
            Order::Failover { force: true } => f.write_str("forced failover"),
            Order::Failover { force: false } => f.write_str("failover"),
            Order::Pause => f.write_str("pause"),
            Order::Resume => f.write_str("resume"),
            Order::Shrink { voter, .. } => write!(f, "shrink {voter}"),
            Order::Grow { voter } => write!(f, "grow {voter}"),
            Order::Resync => f.write_str("resync"),
        }
    }
}

impl Handle {
    /// Gives an operator's order; the answer is an operation to watch.
    ///
    /// # Errors
    /// [`CommandError`] if the order names what does not exist.
    pub fn order(&self, group: Option<&str>, order: &Order, by: &str) -> Result<u64, CommandError> {
        let shared = &self.0.shared;
        let groups: Vec<String> = match group {
            Some(group) if self.0.inboxes.contains_key(group) => vec![group.to_owned()],
            Some(group) => return Err(CommandError::UnknownGroup { group: group.to_owned() }),
            None => self.0.inboxes.keys().cloned().collect(),
        };
        if *order == Order::Resync {
            return Ok(self.resync(&groups));
        }
        let mut orders = Vec::new();
        for id in groups {
            if let Some(machine_order) = self.order_in(&id, order, group.is_some())? {
                orders.push((id, machine_order));
            }
        }
        let concerned: Vec<String> = orders.iter().map(|(group, _)| group.clone()).collect();
        let operation = shared.begin_operation(shared.say(order), &concerned);
        for (group, order) in orders {
            self.0.control.tell(Told::Order { group, order, by: by.to_owned(), operation });
        }
        Ok(operation)
    }

    /// What an order means for one group; nothing if it is done there already and the group was not named.
    fn order_in(
        &self,
        group: &str,
        order: &Order,
        is_named: bool,
    ) -> Result<Option<MachineOrder>, CommandError> {
        let active = self.0.shared.group(group).active;
        let to = match order {
            Order::Switchover { to: None } => return Ok(Some(MachineOrder::Switchover { to: None })),
            Order::Switchover { to: Some(name) } => Some(self.rank_of(name)?),
            Order::SwitchoverToPrimary => self.members(group).next(),
            Order::SwitchoverToNext => {
                let place = self.members(group).position(|node| Some(node) == active);
                self.members(group).cycle().nth(place.map_or(0, |place| place + 1))
            }
            Order::Drain => return Ok(Some(MachineOrder::Maintenance(true))),
            Order::EndDrain => return Ok(Some(MachineOrder::Maintenance(false))),
            Order::Failover { force } => return Ok(Some(MachineOrder::Failover { force: *force })),
            Order::Pause => return Ok(Some(MachineOrder::Pause)),
            Order::Resume => return Ok(Some(MachineOrder::Resume)),
            Order::Shrink { voter, fenced, hold } => {
                let (fenced, hold) = (*fenced, *hold);
                let change =
                    self.voter(group, voter)?.map(|voter| MembersChange::Shrink { voter, fenced, hold });
                return Ok(change.map(MachineOrder::Members));
            }
            Order::Grow { voter } => {
                let change = self.voter(group, voter)?.map(|voter| MembersChange::Grow { voter });
                return Ok(change.map(MachineOrder::Members));
            }
            Order::Resync => return Ok(None),
        };
        let is_elsewhere = to != active && self.members(group).any(|node| Some(node) == to);
        Ok((is_named || is_elsewhere).then_some(MachineOrder::Switchover { to }))
    }

    /// The voter with this name; nothing if it has no part in the group.
    fn voter(&self, group: &str, name: &str) -> Result<Option<VoterId>, CommandError> {
        if name == WITNESS && self.site().cluster.witness.is_some() {
            return Ok(Some(VoterId::Witness));
        }
        let node = self.rank_of(name)?;
        Ok(self.members(group).any(|member| member == node).then_some(VoterId::Node(node)))
    }

    fn resync(&self, groups: &[String]) -> u64 {
        let shared = &self.0.shared;
        let operation = shared.begin_operation(shared.say(&Order::Resync), groups);
        for group in groups {
            match shared.group(group).active {
                Some(active) if active == shared.rank => {
                    let text =
                        format!("{} is active, its copy is the one that counts: ask a standby", shared.node);
                    shared.end_operation(operation, group, false, &text);
                }
                Some(_) => {
                    if let Some(inbox) = self.0.inboxes.get(group) {
                        inbox.push(Job::Resync);
                    }
                    shared.end_operation(operation, group, true, "a full copy is on its way");
                }
                None => {
                    let text = "no node is known to be active that could send a full copy";
                    shared.end_operation(operation, group, false, text);
                }
            }
        }
        operation
    }

    /// The nodes of a group in its order.
    fn members(&self, group: &str) -> impl Iterator<Item = NodeRank> + Clone + '_ {
        let names = self.site().group(group).map_or(&[][..], |group| &group.nodes);
        names.iter().filter_map(|name| self.rank_of(name).ok())
    }

    /// Where the web interface of a node is.
    pub fn web_url(&self, node: &str) -> Option<String> {
        let node = self.site().node(node)?;
        Some(shared::web_url(&node.web, node.links.first().map(String::as_str)))
    }

    /// The node with this name.
    ///
    /// # Errors
    /// [`CommandError::UnknownNode`].
    pub fn rank_of(&self, name: &str) -> Result<NodeRank, CommandError> {
        self.site()
            .nodes
            .iter()
            .find(|node| node.name == name)
            .map(|node| NodeRank(node.rank))
            .ok_or_else(|| self.site().unknown_node(name).into())
    }

    /// What became of an order.
    pub fn operation(&self, id: u64) -> Option<OperationView> {
        self.0.shared.operation(id)
    }
}

/// What the witness is called.
const WITNESS: &str = "witness";
