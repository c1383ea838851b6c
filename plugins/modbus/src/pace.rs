//! How many reads are sent before the first is answered, to a device that may not keep those that come meanwhile.
//!
//! ```text
//!          two bursts broken off         a single read answered
//!   Full ------------------------> Trial ----------------------> Single
//!    ^                               |
//!    +-------------------------------+
//!        a single read not answered: the device is gone, not simple
//! ```
//!
//! "MODBUS Messaging on TCP/IP Implementation Guide V1.0b", 4.2: a server takes 1 to 16 transactions together, and says
//! nowhere how many. Some answer only the first request of a segment, some none, some close the connection.

/// What became of reads that were sent together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Each was answered.
    All,
    /// They were sent, and at least one was not answered, or not as it should be.
    Broken,
    /// They were not sent, or given up by the hub.
    Nothing,
}

/// How many reads go together.
#[derive(Debug)]
pub(crate) struct Pace {
    most: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Full { broken: u8 },
    Trial,
    Single,
}

impl Pace {
    /// Starts with as many as are configured.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, state: State::Full { broken: 0 } }
    }

    /// The reads that may go together.
    pub(crate) fn most(&self) -> usize {
        match self.state {
            State::Full { .. } => self.most,
            State::Trial | State::Single => 1,
        }
    }

    /// Learns from an exchange of `sent` reads; true once: the device was found to take only one at a time.
    pub(crate) fn heard(&mut self, sent: usize, what: Heard) -> bool {
        let (next, is_news) = match (self.state, what) {
            (State::Full { .. }, Heard::All) if sent > 1 => (State::Full { broken: 0 }, false),
            (State::Full { broken }, Heard::Broken) if sent > 1 => {
                let broken = broken + 1;
                (if broken < BROKEN_MAX { State::Full { broken } } else { State::Trial }, false)
            }
            (State::Trial, Heard::All) if sent == 1 => (State::Single, true),
            (State::Trial, Heard::Broken) => (State::Full { broken: 0 }, false),
            (state, Heard::All | Heard::Broken | Heard::Nothing) => (state, false),
        };
        self.state = next;
        is_news
    }
}

/// One may be a device that restarted or a cable that was pulled.
const BROKEN_MAX: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    /// Hears these in turn; says how many may go together after each, and where it was news.
    fn after(heard: &[(usize, Heard)]) -> Vec<(usize, bool)> {
        let mut pace = Pace::new(8);
        assert_eq!(pace.most(), 8);
        heard
            .iter()
            .map(|(sent, what)| {
                let is_news = pace.heard(*sent, *what);
                (pace.most(), is_news)
            })
            .collect()
    }

    #[test]
    fn a_device_that_breaks_off_two_bursts_and_answers_single_reads_is_asked_one_at_a_time() {
        let heard =
            [(8, Heard::Broken), (8, Heard::Broken), (1, Heard::All), (1, Heard::Broken), (1, Heard::All)];
        assert_eq!(after(&heard), [(8, false), (1, false), (1, true), (1, false), (1, false)]);
    }

    #[test]
    fn a_device_that_is_gone_keeps_its_bursts() {
        let heard = [(8, Heard::Broken), (8, Heard::Broken), (1, Heard::Broken), (8, Heard::All)];
        assert_eq!(after(&heard), [(8, false), (1, false), (8, false), (8, false)]);
    }

    #[test]
    fn a_burst_that_is_answered_forgives_the_one_before() {
        let heard = [(8, Heard::Broken), (8, Heard::All), (8, Heard::Broken), (8, Heard::All)];
        assert_eq!(after(&heard), [(8, false); 4]);
    }

    #[test]
    fn single_reads_and_what_was_not_sent_say_nothing_of_bursts() {
        let heard = [
            (8, Heard::Broken),
            (1, Heard::Broken),
            (1, Heard::All),
            (8, Heard::Nothing),
            (8, Heard::Broken),
        ];
        assert_eq!(after(&heard), [(8, false), (8, false), (8, false), (8, false), (1, false)]);
    }
}
