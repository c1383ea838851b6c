//! What becomes of orders. An order to several groups has ended when it has in each of them.

use std::collections::{BTreeSet, VecDeque};

use crate::view::OperationView;

/// Orders that are remembered.
const KEPT_MAX: usize = 256;

/// Running and ended orders.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    kept: VecDeque<Operation>,
    last: u64,
}

#[derive(Debug)]
struct Operation {
    id: u64,
    order: String,
    groups: usize,
    pending: BTreeSet<String>,
    is_failed: bool,
    details: Vec<String>,
}

impl Operations {
    /// A new order to these groups; the oldest one is forgotten if there are too many.
    pub(crate) fn begin(&mut self, order: String, groups: &[String]) -> u64 {
        self.last += 1;
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Operation {
            id: self.last,
            order,
            groups: groups.len(),
            pending: groups.iter().cloned().collect(),
            is_failed: false,
            details: if groups.is_empty() { vec!["nothing had to be done".to_owned()] } else { Vec::new() },
        });
        self.last
    }

    /// The order has ended in one group.
    pub(crate) fn end(&mut self, id: u64, group: &str, done: bool, detail: &str) {
        let Some(operation) = self.kept.iter_mut().find(|operation| operation.id == id) else { return };
        if !operation.pending.remove(group) {
            return;
        }
        operation.is_failed |= !done;
        let is_alone = operation.groups == 1;
        operation.details.push(if is_alone { detail.to_owned() } else { format!("{group}: {detail}") });
    }

    pub(crate) fn view(&self, id: u64) -> Option<OperationView> {
        let operation = self.kept.iter().find(|operation| operation.id == id)?;
        let state = match (operation.pending.is_empty(), operation.is_failed) {
            (false, _) => "running",
            (true, true) => "failed",
            (true, false) => "done",
        };
        Some(OperationView {
            id,
            order: operation.order.clone(),
            state: state.to_owned(),
            detail: operation.details.join("; "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_to_two_groups_ends_with_the_second_and_fails_with_either() {
        let groups = ["energy".to_owned(), "site".to_owned()];
        let mut operations = Operations::default();
        let id = operations.begin("switchover".to_owned(), &groups);
        operations.end(id, "site", false, "nobody is ready");
        operations.end(id, "site", true, "said twice");
        assert_eq!(operations.view(id).unwrap().state, "running");
        operations.end(id, "energy", true, "done");
        let view = operations.view(id).unwrap();
        assert_eq!((&*view.state, &*view.detail), ("failed", "site: nobody is ready; energy: done"));
    }

    #[test]
    fn old_orders_are_forgotten() {
        let mut operations = Operations::default();
        let first = operations.begin("pause".to_owned(), &["site".to_owned()]);
        for _ in 0..KEPT_MAX {
            operations.begin("pause".to_owned(), &["site".to_owned()]);
        }
        assert!(operations.view(first).is_none() && operations.view(first + 1).is_some());
    }

    #[test]
    fn an_order_to_no_group_has_ended() {
        let mut operations = Operations::default();
        let id = operations.begin("switchover".to_owned(), &[]);
        assert_eq!(operations.view(id).unwrap().state, "done");
    }
}
