//! Orders of operators, and what becomes of them.

use twinhub_model::NodeRank;

use super::Handle;
use crate::control::Told;
use crate::error::CommandError;
use crate::inbox::Job;
use crate::view::OperationView;

/// What an operator can order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Move the role, planned and without loss.
    Switchover {
        /// To this node, or to the best one.
        to: Option<String>,
    },
    /// Make this node active now.
    Failover {
        /// Also without a majority.
        force: bool,
    },
    /// Nothing moves by itself any more.
    Pause,
    /// Moves are allowed again.
    Resume,
    /// This node fetches a full copy from the active one.
    Resync,
}

impl Handle {
    /// Gives an operator's order; the answer is an operation to watch.
    ///
    /// # Errors
    /// [`CommandError`] if the order names what does not exist.
    pub fn order(&self, group: Option<&str>, order: &Order, by: &str) -> Result<u64, CommandError> {
        let shared = &self.0.shared;
        let mut groups: Vec<String> = match group {
            Some(group) if self.0.inboxes.contains_key(group) => vec![group.to_owned()],
            Some(group) => return Err(CommandError::UnknownGroup { group: group.to_owned() }),
            None => self.0.inboxes.keys().cloned().collect(),
        };
        let machine_order = match order {
            Order::Switchover { to } => {
                let to = match to {
                    Some(name) => Some(self.rank_of(name)?),
                    None => None,
                };
                if let (None, Some(to)) = (group, to) {
                    // Of all groups those are meant that the node is in and that it does not act for yet.
                    groups
                        .retain(|group| self.is_member(to, group) && shared.group(group).active != Some(to));
                }
                twinhub_redundancy::Order::Switchover { to }
            }
            Order::Failover { force } => twinhub_redundancy::Order::Failover { force: *force },
            Order::Pause => twinhub_redundancy::Order::Pause,
            Order::Resume => twinhub_redundancy::Order::Resume,
            Order::Resync => {
                let operation = shared.begin_operation("resync".to_owned(), &groups);
                for group in &groups {
                    if let Some(inbox) = self.0.inboxes.get(group) {
                        inbox.push(Job::Resync);
                    }
                    shared.end_operation(operation, group, true, "a full copy is on its way");
                }
                return Ok(operation);
            }
        };
        let operation = shared.begin_operation(shared.say(&machine_order), &groups);
        for group in groups {
            self.0.control.tell(Told::Order { group, order: machine_order, by: by.to_owned(), operation });
        }
        Ok(operation)
    }

    fn is_member(&self, node: NodeRank, group: &str) -> bool {
        let name = self.0.shared.name_of(node);
        self.site().group(group).is_some_and(|group| group.nodes.contains(&name))
    }

    fn rank_of(&self, name: &str) -> Result<NodeRank, CommandError> {
        self.site()
            .nodes
            .iter()
            .find(|node| node.name == name)
            .map(|node| NodeRank(node.rank))
            .ok_or_else(|| CommandError::UnknownNode { node: name.to_owned() })
    }

    /// What became of an order.
    pub fn operation(&self, id: u64) -> Option<OperationView> {
        self.0.shared.operation(id)
    }
}
