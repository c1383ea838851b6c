//! Alarms for readers and operators.

use std::time::Duration;

use tokio::sync::oneshot;
use twinhub_alarms::{Order, PAGE_MAX, Query, Target, Which};

use super::Handle;
use crate::engine::alarms::AlarmJob;
use crate::error::CommandError;
use crate::inbox::Job;
use crate::view::{AlarmAnswer, AlarmView, AlarmsPage};

/// An engine that is taking over answers within this.
const PATIENCE: Duration = Duration::from_secs(10);

impl Handle {
    /// A part of the list of alarms, of one group or of all.
    ///
    /// # Errors
    /// [`CommandError::UnknownGroup`], or [`CommandError::Busy`] if an engine does not answer.
    pub async fn alarms(&self, query: &Query, group: Option<&str>) -> Result<AlarmsPage, CommandError> {
        let mut rows = Vec::new();
        let mut has_more = false;
        let mut found = false;
        for (id, inbox) in &self.0.inboxes {
            if group.is_some_and(|wanted| wanted != id) {
                continue;
            }
            found = true;
            let (reply, answer) = oneshot::channel();
            inbox.push(Job::Alarms(Box::new(AlarmJob::Page { query: query.clone(), reply })));
            let page = match tokio::time::timeout(PATIENCE, answer).await {
                Ok(Ok(page)) => page,
                Ok(Err(_)) => return Err(CommandError::Stopping),
                Err(_) => return Err(CommandError::Busy),
            };
            has_more |= !page.next.is_empty();
            rows.extend(page.rows.into_iter().map(|row| (id.clone(), row)));
        }
        if !found && let Some(group) = group {
            return Err(CommandError::UnknownGroup { group: group.to_owned() });
        }
        let by_name = matches!(query.which, Which::Shelved | Which::Suppressed);
        if by_name {
            rows.sort_by(|(_, a), (_, b)| a.rule.cmp(&b.rule));
        } else {
            rows.sort_by(|(_, a), (_, b)| b.id.cmp(&a.id));
        }
        let limit = query.limit.clamp(1, PAGE_MAX);
        has_more |= rows.len() > limit;
        rows.truncate(limit);
        let rows: Vec<AlarmView> = rows.into_iter().map(|(group, row)| AlarmView::of(row, &group)).collect();
        let next = rows.last().filter(|_| has_more);
        let next = next.map(|row| if by_name { row.alarm.clone() } else { row.id.clone() });
        Ok(AlarmsPage { rows, next })
    }

    /// Does what an operator orders about alarms, and waits until it is on disk, on a standby's, too.
    ///
    /// # Errors
    /// [`CommandError`] if this node does not act, or knows no such alarm.
    pub async fn order_alarms(&self, order: Order, by: &str) -> Result<AlarmAnswer, CommandError> {
        let groups = self.groups_of(&order);
        let is_for_all = matches!(&order, Order::Acknowledge { target: Target::All, .. });
        let mut sum = AlarmAnswer::default();
        let mut refused = None;
        let mut is_done = false;
        for group in groups {
            match self.order_group(&group, order.clone(), by).await {
                Ok(answer) => {
                    is_done = true;
                    sum.changed |= answer.changed;
                    sum.acknowledged.extend(answer.acknowledged);
                    if !is_for_all {
                        break;
                    }
                }
                // Of several groups one that acts elsewhere says more than one that knows no such alarm.
                Err(error) if refused.is_none() || matches!(error, CommandError::NotActive { .. }) => {
                    refused = Some(error);
                }
                Err(_) => {}
            }
        }
        match refused {
            Some(error) if !is_done || is_for_all => Err(error),
            Some(_) | None => Ok(sum),
        }
    }

    async fn order_group(&self, group: &str, order: Order, by: &str) -> Result<AlarmAnswer, CommandError> {
        let inbox = self.0.inboxes.get(group).ok_or(CommandError::Stopping)?;
        if self.0.shared.group(group).active != Some(self.0.shared.rank) {
            return Err(self.0.shared.not_active(group));
        }
        let (reply, answer) = oneshot::channel();
        inbox.push(Job::Alarms(Box::new(AlarmJob::Order { order, by: by.to_owned(), reply })));
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer.map(|answer| AlarmAnswer {
                acknowledged: answer.acknowledged.iter().map(ToString::to_string).collect(),
                changed: answer.is_change,
            }),
            Ok(Err(_)) => Err(CommandError::Stopping),
            Err(_) => Err(CommandError::Timeout { seconds: PATIENCE.as_secs() }),
        }
    }

    /// The groups that an order may be about: that of the rule it names, or all.
    fn groups_of(&self, order: &Order) -> Vec<String> {
        let rule = match order {
            Order::Acknowledge { target: Target::Rule(rule), .. }
            | Order::Shelve { rule, .. }
            | Order::Unshelve { rule }
            | Order::Suppress { rule, .. }
            | Order::Unsuppress { rule } => rule.clone(),
            Order::Acknowledge { target: Target::Occurrence(id), .. } => id.rule.to_string(),
            Order::Acknowledge { target: Target::All, .. } => String::new(),
        };
        let site = &self.0.shared.site;
        let rules = self.0.shared.alarm_rules();
        let item = rules.iter().find(|known| *known.id == *rule).map(|known| &known.item);
        let group = item.and_then(|item| site.interface(item.interface())).map(|found| found.group.clone());
        group.map_or_else(|| self.0.inboxes.keys().cloned().collect(), |group| vec![group])
    }
}
