//! What a keeper is told, in a list that does not grow.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a keeper can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Hold,
    Release,
    Announce,
}

/// The list between those who order and the keeper's thread, which may wait for the kernel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders(Arc<(Mutex<List>, Condvar)>);

#[derive(Debug, Default)]
struct List {
    waiting: VecDeque<Order>,
    dropped: u64,
    is_closed: bool,
}

/// What waiting for an order came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Order(Order),
    Nothing,
    Closed,
}

impl Orders {
    /// Adds an order. The same twice in a row is one, so that what is wanted last is always among the newest; of too many
    /// the oldest are dropped and counted.
    pub(crate) fn give(&self, order: Order) {
        let (list, bell) = &*self.0;
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        if list.waiting.back() == Some(&order) {
            return;
        }
        if list.waiting.len() == ORDERS_MAX {
            list.waiting.pop_front();
            list.dropped += 1;
        }
        list.waiting.push_back(order);
        bell.notify_one();
    }

    /// Nobody orders any more.
    pub(crate) fn close(&self) {
        let (list, bell) = &*self.0;
        list.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        bell.notify_one();
    }

    /// The next order, waited for at most so long.
    pub(crate) fn take(&self, wait: Duration) -> Next {
        let until = Instant::now() + wait;
        let (list, bell) = &*self.0;
        let mut list = list.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(order) = list.waiting.pop_front() {
                return Next::Order(order);
            }
            if list.is_closed {
                return Next::Closed;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Next::Nothing;
            }
            list = bell.wait_timeout(list, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many orders were dropped because the thread did not take them in time.
    pub(crate) fn dropped(&self) -> u64 {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }
}

/// More changes of a role than there are while one call of the kernel lasts.
const ORDERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_last_is_kept_whatever_was_dropped() {
        let orders = Orders::default();
        for _ in 0..20 {
            orders.give(Order::Hold);
            orders.give(Order::Announce);
            orders.give(Order::Announce);
            orders.give(Order::Release);
        }
        assert_eq!(orders.dropped(), 60 - 16);
        orders.close();
        let taken: Vec<Next> = std::iter::repeat_with(|| orders.take(Duration::ZERO)).take(17).collect();
        assert_eq!(taken[15..], [Next::Order(Order::Release), Next::Closed]);
    }

    #[test]
    fn an_order_ends_the_wait_and_so_does_the_end() {
        let orders = Orders::default();
        assert_eq!(orders.take(Duration::ZERO), Next::Nothing);
        let waiting = orders.clone();
        let thread = std::thread::spawn(move || {
            let long = Duration::from_secs(600);
            (waiting.take(long), waiting.take(long))
        });
        orders.give(Order::Announce);
        orders.close();
        assert_eq!(thread.join().unwrap(), (Next::Order(Order::Announce), Next::Closed));
    }
}
