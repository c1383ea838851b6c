//! How well a node can do its work: what it sees of each interface's field side, as a score.
//!
//! A node knows its field side only in part: a cold interface is not connected, a watched item may not have
//! been heard yet. So there are three numbers. `score` counts what is known to be wrong, `least` counts what
//! is not known as wrong too, `most` counts it as right. **Invariant**: another node is *proven* better only
//! if its `least` is above the own `most`; nothing moves to a node whose field side nobody has seen.

use std::fmt;

/// The best score.
pub const SCORE_MAX: u8 = 100;
/// What a required interface counts.
const POINTS_REQUIRED: u8 = 40;
/// What an optional interface counts: one alone moves nothing.
const POINTS_OPTIONAL: u8 = 10;

/// What a node sees of the field side of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sight {
    /// It works.
    Good,
    /// It works in part.
    Degraded,
    /// It does not work.
    Failed,
    /// Nothing is known: no connection and no probe.
    Unknown,
}

/// One interface, as its node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceSight {
    /// Its id.
    pub interface: String,
    /// Whether the node is of little use without it.
    pub required: bool,
    /// What is seen.
    pub sight: Sight,
    /// Whether the trouble may not be on this node's side: a probe from here is answered, and a probe is all
    /// that another node could show.
    pub disputed: bool,
    /// Why it is not good, in a few words.
    pub cause: String,
}

/// What takes points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthPart {
    /// The interface.
    pub interface: String,
    /// How many points are lost; 0 if it is only not known.
    pub points: u8,
    /// How many points may be lost beside these, as far as is known.
    pub unproven: u8,
    /// Why.
    pub cause: String,
}

/// A node's health in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    score: u8,
    least: u8,
    most: u8,
    parts: Vec<HealthPart>,
}

impl Default for Health {
    fn default() -> Health {
        Health::known(SCORE_MAX)
    }
}

impl Health {
    /// Before anything was looked at: nothing is wrong and nothing is proven.
    pub fn unseen() -> Health {
        Health { score: SCORE_MAX, least: 0, most: SCORE_MAX, parts: Vec::new() }
    }

    /// A health of which everything is known, without parts.
    pub fn known(score: u8) -> Health {
        let score = score.min(SCORE_MAX);
        Health { score, least: score, most: score, parts: Vec::new() }
    }

    /// What the interfaces of a node add up to.
    pub fn of(interfaces: impl IntoIterator<Item = InterfaceSight>) -> Health {
        let mut health = Health::default();
        for InterfaceSight { interface, required, sight, disputed, cause } in interfaces {
            let whole = if required { POINTS_REQUIRED } else { POINTS_OPTIONAL };
            let (known, worst) = match sight {
                Sight::Good => continue,
                Sight::Degraded => (whole / 2, whole / 2),
                Sight::Failed => (whole, whole),
                Sight::Unknown => (0, whole),
            };
            let best = if disputed { 0 } else { known };
            health.score = health.score.saturating_sub(known);
            health.least = health.least.saturating_sub(worst);
            health.most = health.most.saturating_sub(best);
            health.parts.push(HealthPart { interface, points: known, unproven: worst - known, cause });
        }
        health
    }

    /// What is known: 100 less what is wrong.
    pub fn score(&self) -> u8 {
        self.score
    }

    /// What is proven: the score if everything unknown were wrong.
    pub fn least(&self) -> u8 {
        self.least
    }

    /// What is possible: the score if everything unknown or disputed were right.
    pub fn most(&self) -> u8 {
        self.most
    }

    /// What takes points, or could.
    pub fn parts(&self) -> &[HealthPart] {
        &self.parts
    }
}

/// What takes points, as `plc1 -40 (no answer), mqtt1 -20 (2 of 3 topics refused)`; nothing if nothing does.
impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.parts.iter().filter(|part| part.points > 0);
        for (number, part) in lost.enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{} -{} ({})", part.interface, part.points, part.cause)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(interface: &str, required: bool, sight: Sight) -> InterfaceSight {
        let (interface, cause) = (interface.to_owned(), "why".to_owned());
        InterfaceSight { interface, required, sight, disputed: false, cause }
    }

    fn numbers(interfaces: &[(bool, Sight)]) -> (u8, u8, u8) {
        let health = Health::of(interfaces.iter().map(|(required, sight)| seen("a", *required, *sight)));
        (health.least(), health.score(), health.most())
    }

    #[test]
    fn what_is_not_known_is_neither_counted_nor_proven() {
        assert_eq!(numbers(&[(true, Sight::Good)]), (100, 100, 100));
        assert_eq!(numbers(&[(true, Sight::Failed)]), (60, 60, 60));
        assert_eq!(numbers(&[(true, Sight::Degraded)]), (80, 80, 80));
        assert_eq!(numbers(&[(true, Sight::Unknown)]), (60, 100, 100));
        assert_eq!(numbers(&[(false, Sight::Failed), (true, Sight::Failed)]), (50, 50, 50));
        assert_eq!(numbers(&[(true, Sight::Failed); 9]), (0, 0, 0));
    }

    #[test]
    fn disputed_trouble_is_counted_and_possibly_none() {
        for (sight, known) in [(Sight::Failed, 60), (Sight::Degraded, 80)] {
            let health = Health::of([InterfaceSight { disputed: true, ..seen("a", true, sight) }]);
            assert_eq!((health.least(), health.score(), health.most()), (known, known, 100));
        }
    }

    #[test]
    fn the_parts_say_what_takes_points() {
        let health = Health::of([
            seen("plc1", true, Sight::Failed),
            seen("knx1", true, Sight::Unknown),
            seen("mqtt1", false, Sight::Degraded),
        ]);
        assert_eq!(health.to_string(), "plc1 -40 (why), mqtt1 -5 (why)");
        assert_eq!(health.parts()[1].unproven, 40);
        assert_eq!(Health::known(70).to_string(), "");
    }

    proptest! {
        #[test]
        fn the_score_lies_between_what_is_proven_and_what_is_possible(
            interfaces in prop::collection::vec((any::<bool>(), sight()), 0..20),
        ) {
            let (least, score, most) = numbers(&interfaces);
            prop_assert!(least <= score && score <= most && most <= SCORE_MAX);
        }
    }

    fn sight() -> impl Strategy<Value = Sight> {
        prop::sample::select(vec![Sight::Good, Sight::Degraded, Sight::Failed, Sight::Unknown])
    }
}
