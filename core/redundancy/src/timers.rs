//! Every duration of the protocol, the four profiles, and the rules between them.

use std::time::Duration;

use crate::policy::Policy;
use crate::rule::Rule;

use serde::{Deserialize, Serialize};

/// A set of times for one kind of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Two machines on one wired switch.
    Lan,
    /// A good network with other traffic.
    Fast,
    /// An ordinary building network.
    #[default]
    Normal,
    /// Sites joined by a line.
    Wan,
}

/// Every duration of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// Between two heartbeats on each path.
    pub heartbeat: Duration,
    /// `L_v`: how long a voter keeps a grant after a renewal reached it.
    pub lease: Duration,
    /// Between two renewals.
    pub renew: Duration,
    /// m: how much shorter the holder counts its lease than the voters do.
    pub margin: Duration,
    /// What of `margin` covers scheduling rather than clock rate.
    pub slack: Duration,
    /// G: how long unfenced outputs wait after the old lease ended.
    pub guard: Duration,
    /// Between two candidates.
    pub stagger: Duration,
    /// The longest round trip the network is expected to have.
    pub round_trip: Duration,
    /// `T_start`: how long a node looks for an active one before it wants to be it.
    pub start: Duration,
    /// W: what the receive ring of a hot interface covers.
    pub ring: Duration,
    /// `T_drain`: how long a planned deactivation may take.
    pub drain: Duration,
    /// `T_confirm`: how much longer than a lease the other node of a pair without witness must be silent.
    pub confirm: Duration,
    /// How old [`crate::Input::Evidence`] may be and still count.
    pub evidence_age: Duration,
    /// How much better another node's score must be …
    pub score_margin: u8,
    /// … and for how long, before the role is handed over for it.
    pub score_hold: Duration,
    /// After a move for better health the next one, or the way back, waits this long.
    pub hold_back: Duration,
    /// This many moves that no operator ordered …
    pub flap_moves: u8,
    /// … within this time, and nothing moves back by itself until an operator says so.
    pub flap_window: Duration,
}

/// A rule between timers that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("timer rule broken: {rule}, but {left_name} is {left} and the limit is {right}")]
pub struct TimerRule {
    /// The rule in words.
    pub rule: &'static str,
    /// The timer that breaks it.
    pub left_name: &'static str,
    /// Its value.
    pub left: String,
    /// What it may be at most, or must be at least.
    pub right: String,
}

impl Timers {
    /// The times of `profile`.
    pub fn of(profile: Profile) -> Timers {
        let ms = Duration::from_millis;
        let normal = Timers {
            heartbeat: ms(250),
            lease: ms(1500),
            renew: ms(500),
            margin: ms(150),
            slack: ms(50),
            guard: ms(300),
            stagger: ms(100),
            round_trip: ms(25),
            start: ms(5000),
            ring: ms(30_000),
            drain: ms(2000),
            confirm: ms(1500),
            evidence_age: ms(5000),
            score_margin: 20,
            score_hold: ms(10_000),
            hold_back: ms(60_000),
            flap_moves: 3,
            flap_window: ms(600_000),
        };
        match profile {
            Profile::Lan => Timers {
                heartbeat: ms(10),
                lease: ms(90),
                renew: ms(25),
                margin: ms(20),
                slack: ms(15),
                guard: ms(50),
                stagger: ms(10),
                round_trip: ms(2),
                start: ms(2000),
                ring: ms(10_000),
                drain: ms(500),
                confirm: ms(100),
                evidence_age: ms(2000),
                ..normal
            },
            Profile::Fast => Timers {
                heartbeat: ms(100),
                lease: ms(600),
                renew: ms(200),
                margin: ms(70),
                stagger: ms(50),
                round_trip: ms(10),
                start: ms(3000),
                ring: ms(10_000),
                drain: ms(1000),
                confirm: ms(600),
                evidence_age: ms(3000),
                ..normal
            },
            Profile::Normal => normal,
            Profile::Wan => Timers {
                heartbeat: ms(2000),
                lease: ms(12_000),
                renew: ms(4000),
                margin: ms(500),
                guard: ms(2000),
                stagger: ms(1000),
                round_trip: ms(400),
                start: ms(30_000),
                ring: ms(60_000),
                drain: ms(10_000),
                confirm: ms(12_000),
                evidence_age: ms(30_000),
                ..normal
            },
        }
    }

    /// `L_h`: how long the holder counts its lease from the moment it asked for it.
    pub fn hold(&self) -> Duration {
        if Rule::Margin.holds() { self.lease.saturating_sub(self.margin) } else { self.lease }
    }

    /// How long the other node of a pair without a witness must be silent before this one acts alone. By `evidence` it is
    /// also so long that a node that was cut off and has seen nothing since has dropped its role: it may have been heard
    /// a heartbeat before its last sight of the world, and its clock may be slow and this one fast.
    pub fn silence_alone(&self, policy: Policy) -> Duration {
        let confirmed = self.lease + self.confirm;
        match policy {
            Policy::Manual | Policy::Availability => confirmed,
            Policy::Evidence => confirmed.max(self.evidence_lasts() + self.heartbeat),
        }
    }

    /// For how long evidence must have been good before a node acts on it: if it was the other node's before, that has
    /// dropped its role by then, also by a slow clock.
    pub fn evidence_lasts(&self) -> Duration {
        self.evidence_age + self.evidence_age * 2 * CLOCK_RATE_ERROR_PERCENT / 100 + self.slack
    }

    /// The guard that covers outputs in flight for so long: theirs is counted on a clock that may be slow, the guard on
    /// one that may be fast. In whole milliseconds, as it is written.
    pub fn guard_over(in_flight: Duration) -> Duration {
        let percent = CLOCK_RATE_ERROR_PERCENT;
        let covered = in_flight.saturating_mul(100 + percent) / (100 - percent);
        let ms = covered.as_nanos().div_ceil(MILLISECOND.as_nanos());
        Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
    }

    /// Checks the timers against each other and against the longest time an output of an interface
    /// without a fence can be on its way.
    ///
    /// # Errors
    /// [`TimerRule`], the first rule that is broken.
    pub fn check(&self, in_flight_max: Duration) -> Result<(), TimerRule> {
        let drift = self.lease * 2 * CLOCK_RATE_ERROR_PERCENT / 100;
        let most = [
            ("heartbeat at most lease / 6", "heartbeat", self.heartbeat, self.lease / 6),
            ("renew at most lease / 3", "renew", self.renew, self.lease / 3),
            ("margin at most lease / 2", "margin", self.margin, self.lease / 2),
        ];
        let least = [
            ("heartbeat at least 1 ms", "heartbeat", self.heartbeat, MILLISECOND),
            ("renew at least 1 ms", "renew", self.renew, MILLISECOND),
            ("slack at least 1 ms", "slack", self.slack, MILLISECOND),
            ("margin at least 2 % of lease + slack", "margin", self.margin, drift + self.slack),
            (
                "guard at least the longest in-flight time of an unfenced interface, 1 % slow there and 1 % fast here",
                "guard",
                self.guard,
                Timers::guard_over(in_flight_max),
            ),
            (
                "stagger at least 2 round trips + 5 ms",
                "stagger",
                self.stagger,
                self.round_trip * 2 + MILLISECOND * 5,
            ),
            ("start at least 2 leases", "start", self.start, self.lease * 2),
            (
                "ring at least 2 (lease + guard) + 1 s that the log lags behind",
                "ring",
                self.ring,
                (self.lease + self.guard) * 2 + LOG_LAG_MAX,
            ),
            ("drain at least 2 round trips", "drain", self.drain, self.round_trip * 2),
            ("evidence_age at least 2 heartbeats", "evidence_age", self.evidence_age, self.heartbeat * 2),
            ("confirm at least 2 heartbeats", "confirm", self.confirm, self.heartbeat * 2),
            ("score_hold at least 2 heartbeats", "score_hold", self.score_hold, self.heartbeat * 2),
        ];
        let broken = |rule, left_name, left: Duration, right: Duration| {
            Err(TimerRule { rule, left_name, left: format!("{left:?}"), right: format!("{right:?}") })
        };
        for (rule, left_name, left, right) in most {
            if left > right {
                return broken(rule, left_name, left, right);
            }
        }
        for (rule, left_name, left, right) in least {
            if left < right {
                return broken(rule, left_name, left, right);
            }
        }
        if self.flap_moves == 0 {
            // The role would never go back, and an operator be alarmed at the first takeover.
            let (left, right) = (self.flap_moves.to_string(), "1".to_owned());
            return Err(TimerRule { rule: "flap_moves at least 1", left_name: "flap_moves", left, right });
        }
        Ok(())
    }
}

/// How far two clocks' rates may differ: 1 % is far beyond any oscillator, it covers steering and
/// virtual machines.
const CLOCK_RATE_ERROR_PERCENT: u32 = 1;
const MILLISECOND: Duration = Duration::from_millis(1);
/// How far the log of a standby that may take over lies behind: the 1,000 records that are the limit by default, at 1,000
/// values per second. What only its ring has must stay there for that much longer.
const LOG_LAG_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A profile with three of its timers changed, most of them a little.
    fn timers() -> impl Strategy<Value = (Timers, Duration)> {
        let change = (0..12_usize, 1..300_u64);
        (0..ALL.len(), prop::collection::vec(change, 3), 0..400_u64, 0..9_u8).prop_map(
            |(profile, changes, in_flight, flap_moves)| {
                let mut timers = Timers { flap_moves, ..Timers::of(ALL[profile]) };
                for (which, percent) in changes {
                    let timer = match which {
                        0 => &mut timers.heartbeat,
                        1 => &mut timers.lease,
                        2 => &mut timers.renew,
                        3 => &mut timers.margin,
                        4 => &mut timers.guard,
                        5 => &mut timers.stagger,
                        6 => &mut timers.start,
                        7 => &mut timers.ring,
                        8 => &mut timers.drain,
                        9 => &mut timers.confirm,
                        10 => &mut timers.score_hold,
                        _ => &mut timers.evidence_age,
                    };
                    *timer = Duration::from_micros(u64::try_from(timer.as_micros()).unwrap() * percent / 100);
                }
                (timers, Duration::from_millis(in_flight))
            },
        )
    }

    /// The rules of the design, written down once more and in another way: by name of the timer they limit.
    fn broken(t: &Timers, in_flight: Duration) -> Vec<&'static str> {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let least = 0.000_001;
        let rules = [
            ("heartbeat", ms(t.heartbeat) * 6.0 > ms(t.lease) + least || ms(t.heartbeat) < 1.0),
            ("renew", ms(t.renew) * 3.0 > ms(t.lease) + least || ms(t.renew) < 1.0),
            ("slack", ms(t.slack) < 1.0),
            (
                "margin",
                ms(t.margin) * 2.0 > ms(t.lease) + least
                    || ms(t.margin) < 0.02 * ms(t.lease) + ms(t.slack) - least,
            ),
            ("guard", ms(t.guard) < (ms(in_flight) * 1.01 / 0.99 - least).ceil()),
            ("stagger", ms(t.stagger) < 2.0 * ms(t.round_trip) + 5.0 - least),
            ("start", ms(t.start) < 2.0 * ms(t.lease) - least),
            ("ring", ms(t.ring) < 1000.0 + 2.0 * (ms(t.lease) + ms(t.guard)) - least),
            ("drain", ms(t.drain) < 2.0 * ms(t.round_trip) - least),
            ("evidence_age", ms(t.evidence_age) < 2.0 * ms(t.heartbeat) - least),
            ("confirm", ms(t.confirm) < 2.0 * ms(t.heartbeat) - least),
            ("score_hold", ms(t.score_hold) < 2.0 * ms(t.heartbeat) - least),
            ("flap_moves", t.flap_moves < 1),
        ];
        rules.into_iter().filter(|(_, is_broken)| *is_broken).map(|(name, _)| name).collect()
    }

    proptest! {
        #[test]
        fn what_is_accepted_keeps_every_rule_and_what_is_refused_names_one_that_is_broken(
            (timers, in_flight) in timers(),
        ) {
            let broken = broken(&timers, in_flight);
            match timers.check(in_flight) {
                Ok(()) => prop_assert_eq!(broken, Vec::<&str>::new()),
                Err(rule) => prop_assert!(broken.contains(&rule.left_name), "{rule}: {broken:?}"),
            }
        }
    }

    const ALL: [Profile; 4] = [Profile::Lan, Profile::Fast, Profile::Normal, Profile::Wan];

    #[test]
    fn every_profile_keeps_its_own_rules() {
        for profile in ALL {
            let timers = Timers::of(profile);
            // What is in flight on a clock that is 1 % slow, where the guard counts on one that is 1 % fast.
            let covered = Duration::from_millis(u64::try_from(timers.guard.as_millis()).unwrap() * 98 / 100);
            assert_eq!(timers.check(covered), Ok(()), "{profile:?}");
            assert_eq!(timers.check(timers.guard).unwrap_err().left_name, "guard", "{profile:?}");
        }
    }

    #[test]
    fn each_broken_rule_is_named_with_its_numbers() {
        type Spoil = (fn(&mut Timers), &'static str);
        let ms = Duration::from_millis;
        let spoils: [Spoil; 14] = [
            (|t| t.heartbeat = t.lease / 5, "heartbeat"),
            (|t| t.renew = t.lease / 2, "renew"),
            (|t| t.margin = t.slack, "margin"),
            (|t| t.margin = t.lease, "margin"),
            (|t| t.stagger = Duration::from_millis(1), "stagger"),
            (|t| t.start = t.lease, "start"),
            (|t| t.ring = t.lease, "ring"),
            (|t| t.drain = Duration::ZERO, "drain"),
            (|t| t.renew = Duration::ZERO, "renew"),
            (|t| t.evidence_age = Duration::ZERO, "evidence_age"),
            (|t| t.ring = (t.lease + t.guard) * 2, "ring"),
            (|t| t.confirm = t.heartbeat, "confirm"),
            (|t| t.score_hold = t.heartbeat, "score_hold"),
            (|t| t.flap_moves = 0, "flap_moves"),
        ];
        for profile in ALL {
            for (spoil, name) in spoils {
                let mut timers = Timers::of(profile);
                spoil(&mut timers);
                assert_eq!(timers.check(ms(1)).unwrap_err().left_name, name, "{profile:?}");
            }
        }
        assert_eq!(Timers::guard_over(Duration::ZERO), Duration::ZERO);
        assert_eq!((Timers::guard_over(ms(99)), Timers::guard_over(ms(250))), (ms(101), ms(256)));
        assert_eq!(Timers::guard_over(Duration::MAX), ms(u64::MAX));
        assert_eq!(Timers::of(Profile::Lan).check(ms(49)), Ok(()));
        let error = Timers::of(Profile::Lan).check(ms(50)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "timer rule broken: guard at least the longest in-flight time of an unfenced interface, 1 % slow there \
             and 1 % fast here, but guard is 50ms and the limit is 52ms"
        );
        let error = Timers { flap_moves: 0, ..Timers::of(Profile::Lan) }.check(ms(1)).unwrap_err();
        let words = "timer rule broken: flap_moves at least 1, but flap_moves is 0 and the limit is 1";
        assert_eq!(error.to_string(), words);
    }
}
