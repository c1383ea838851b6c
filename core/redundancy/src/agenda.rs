//! All timers of a machine in one table.

use twinhub_model::Moment;

/// What a machine waits for. The order is the order in which timers that are due together are served: a
/// lost lease comes before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The lease ends, or must be prolonged without the other node.
    Lease,
    /// The gates must be confirmed closed.
    Watchdog,
    /// The drain must be answered.
    Drain,
    /// The next renewal.
    Renew,
    /// The next heartbeat; health, hand-back and score are looked at then, too.
    Heartbeat,
    /// The transfer token is sent again.
    Handoff,
    /// The active node has been silent for too long to follow it.
    Silence,
    /// The votes that were asked for must be there.
    Vote,
    /// The role may be asked for.
    Election,
}

impl Timer {
    pub(crate) const ALL: [Timer; 9] = [
        Timer::Lease,
        Timer::Watchdog,
        Timer::Drain,
        Timer::Renew,
        Timer::Heartbeat,
        Timer::Handoff,
        Timer::Silence,
        Timer::Vote,
        Timer::Election,
    ];
}

/// When each timer is due.
#[derive(Debug)]
pub(crate) struct Agenda {
    due: [Moment; Timer::ALL.len()],
    /// The earliest of them, which is asked for several times with each input.
    next: Moment,
}

impl Agenda {
    pub(crate) fn new() -> Agenda {
        Agenda { due: [Moment::NEVER; Timer::ALL.len()], next: Moment::NEVER }
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Moment) {
        let was = std::mem::replace(&mut self.due[timer as usize], at);
        if at <= self.next {
            self.next = at;
        } else if was == self.next {
            self.next = self.due.iter().copied().min().unwrap_or(Moment::NEVER);
        }
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.set(timer, Moment::NEVER);
    }

    pub(crate) fn is_due(&self, timer: Timer, now: Moment) -> bool {
        self.due[timer as usize] <= now
    }

    /// When the machine must be woken.
    pub(crate) fn next(&self) -> Moment {
        self.next
    }

    /// Takes the first timer that is due.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Timer> {
        if self.next > now {
            return None;
        }
        let timer = Timer::ALL.into_iter().find(|timer| self.is_due(*timer, now))?;
        self.clear(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_lease_is_served_before_an_earlier_timer() {
        let mut agenda = Agenda::new();
        agenda.set(Timer::Heartbeat, Moment(5));
        agenda.set(Timer::Lease, Moment(7));
        assert_eq!(agenda.next(), Moment(5));
        assert_eq!(agenda.take_due(Moment(4)), None);
        assert_eq!(agenda.take_due(Moment(7)), Some(Timer::Lease));
        assert_eq!(agenda.take_due(Moment(7)), Some(Timer::Heartbeat));
        assert_eq!(agenda.next(), Moment::NEVER);
    }

    #[test]
    fn the_next_timer_is_the_earliest_whatever_was_set_and_cleared() {
        let mut agenda = Agenda::new();
        for number in 0..500_u64 {
            let timer = Timer::ALL[usize::try_from(number * 7 % 9).unwrap()];
            if number % 5 == 0 {
                agenda.clear(timer);
            } else {
                agenda.set(timer, Moment(number * 7919 % 13));
            }
            assert_eq!(agenda.next(), agenda.due.into_iter().min().unwrap());
        }
    }

    #[test]
    fn every_timer_has_its_own_place() {
        for (index, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, index);
        }
    }
}
