//! Which rules there are, and how others take their place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use twinhub_model::{ItemId, Timestamp};

use super::{Alarms, FNV_START};
use crate::book::Book;
use crate::rule::Rule;
use crate::watch::Watch;

impl Alarms {
    /// These rules, each with the handle of its item if this node has it; the book keeps so many occurrences.
    /// Of two rules with the same name the first one counts.
    pub fn new(rules: impl IntoIterator<Item = (Rule, Option<ItemId>)>, keep: usize) -> Alarms {
        let mut alarms = Alarms {
            rules: Vec::new(),
            items: Vec::new(),
            numbers: BTreeMap::new(),
            by_item: Vec::new(),
            lists: Vec::new(),
            watches: Vec::new(),
            book: Book::new(keep),
            hash: 0,
            evaluated: 0,
            unchanged: BTreeSet::new(),
            acting: None,
            listening: Timestamp::NONE,
            agenda: BTreeSet::new(),
            keeping: BTreeSet::new(),
            ahead: None,
            revision: 0,
        };
        for (rule, item) in rules {
            if alarms.numbers.contains_key(&rule.id) {
                continue;
            }
            let number = alarms.rules.len();
            if number == 0 {
                alarms.hash = FNV_START;
            }
            rule.hash(&mut alarms.hash);
            alarms.numbers.insert(Arc::clone(&rule.id), number);
            if let Some(item) = item {
                alarms.watch_item(item, number);
            }
            alarms.rules.push(rule);
            alarms.items.push(item);
            alarms.watches.push(Watch::default());
        }
        alarms
    }

    fn watch_item(&mut self, item: ItemId, number: usize) {
        if self.by_item.len() <= item.index() {
            self.by_item.resize(item.index() + 1, 0);
        }
        if self.by_item[item.index()] == 0 {
            self.lists.push(Vec::new());
            self.by_item[item.index()] = u32::try_from(self.lists.len()).unwrap_or(0);
        }
        let place = self.by_item[item.index()] as usize;
        if let Some(list) = place.checked_sub(1).and_then(|place| self.lists.get_mut(place)) {
            list.push(number);
        }
    }

    /// These rules take the place of others: everything that is known of occurrences stays, and a rule that is the same
    /// goes on as it stands, with the time that it has waited.
    pub fn go_on_from(&mut self, before: &Alarms) {
        for change in before.snapshot() {
            self.apply(&change);
        }
        (self.acting, self.listening, self.ahead) = (before.acting, before.listening, before.ahead);
        let was_evaluated =
            |number: &usize| before.evaluated == before.hash || before.unchanged.contains(number);
        self.unchanged = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| {
                let known = before.numbers.get(&rule.id).filter(|number| was_evaluated(number));
                known.is_some_and(|number| before.rules[*number] == **rule)
            })
            .map(|(number, _)| number)
            .collect();
    }
}
