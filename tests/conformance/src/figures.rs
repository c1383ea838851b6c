//! From what was seen to the figures of one scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::evidence::{Act, Evidence};

/// The stretch of time that belongs to one scenario.
#[derive(Clone, Debug)]
pub struct Window {
    /// Begin; only `old` may act from here.
    pub from: Instant,
    /// When it was done to the pair.
    pub fault: Instant,
    /// End.
    pub until: Instant,
    /// Active before.
    pub old: String,
    /// Active after, if the role is meant to move.
    pub new: Option<String>,
    /// Whether the old one had no chance to finish what it had in hand.
    pub is_abrupt: bool,
}

/// What an outsider saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// At the Modbus device.
    pub modbus: Side,
    /// At the MQTT broker.
    pub mqtt: Side,
    /// Counts that a node was told by the device.
    pub values_read: u64,
    /// Of those, counts that never reached the subscriber.
    pub values_lost: u64,
    /// Counts that reached the subscriber more than once.
    pub values_doubled: u64,
    /// Counts that the node which died had been told less than `IN_FLIGHT` before, and nobody else could know.
    pub values_died_with_node: u64,
    /// Numbered commands.
    pub commands: u64,
    /// Of those, commands that left no trace: the device got neither them nor a newer one.
    pub commands_lost: u64,
    /// Of those, commands that a newer one overtook while they waited: a setpoint that is out of date is not written.
    pub commands_superseded: u64,
    /// Writes of a command older than one that the device had already.
    pub commands_stale: u64,
    /// Of those, commands that the device got more than once.
    pub commands_doubled: u64,
}

/// One peer's view.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Side {
    /// From the last act of the old to the first act of the new node, in milliseconds.
    pub takeover_ms: Option<f64>,
    /// From the fault to the first act of the new node, in milliseconds.
    pub from_fault_ms: Option<f64>,
    /// Writes or messages of the old node after the first act of the new one.
    pub two_writers: u64,
    /// Anything sent by a node that is not active.
    pub stray: u64,
}

impl Figures {
    /// Judges the evidence of a window. Values and commands may arrive until the evidence ends.
    pub fn of(evidence: &Evidence, window: &Window) -> Self {
        let mut figures = Self {
            modbus: Side::of(evidence, window, true),
            mqtt: Side::of(evidence, window, false),
            ..Self::default()
        };
        figures.count_values(evidence, window);
        figures.count_commands(evidence, window);
        figures
    }

    /// Every figure that is not as it must be, in words; `limit` is the longest takeover.
    pub fn problems(&self, window_moves: bool, limit: Duration) -> Vec<String> {
        let mut problems = Vec::new();
        let zero = [
            ("values lost", self.values_lost),
            ("values doubled", self.values_doubled),
            ("commands lost", self.commands_lost),
            ("commands doubled", self.commands_doubled),
            ("commands written after a newer one", self.commands_stale),
            ("writes to the device by two nodes", self.modbus.two_writers),
            ("messages to the broker by two nodes", self.mqtt.two_writers),
            ("requests to the device by an inactive node", self.modbus.stray),
            ("messages to the broker by an inactive node", self.mqtt.stray),
        ];
        problems.extend(
            zero.into_iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")),
        );
        if self.values_read == 0 || self.commands == 0 {
            problems
                .push(format!("nothing measured: {} values, {} commands", self.values_read, self.commands));
        }
        if window_moves {
            for (peer, side) in [("device", &self.modbus), ("broker", &self.mqtt)] {
                match side.from_fault_ms {
                    None => problems.push(format!("no takeover seen at the {peer}")),
                    Some(ms) if ms > limit.as_secs_f64() * 1000.0 => {
                        problems.push(format!(
                            "takeover at the {peer} took {ms:.0} ms, limit {} ms",
                            limit.as_millis()
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        problems
    }

    fn count_values(&mut self, evidence: &Evidence, window: &Window) {
        let arrived: BTreeSet<u16> = evidence.arrivals.iter().map(|(_, count)| *count).collect();
        // Per count: who was told it last, and when.
        let mut told: BTreeMap<u16, &Act> = BTreeMap::new();
        for act in acts_within(evidence, window) {
            if let crate::evidence::Effect::Told(count) = act.effect {
                told.insert(count, act);
            }
        }
        self.values_read = told.len() as u64;
        for (_, act) in told.iter().filter(|(count, _)| !arrived.contains(count)) {
            let died = window.is_abrupt && act.node == window.old && act.at + IN_FLIGHT >= window.fault;
            *(if died { &mut self.values_died_with_node } else { &mut self.values_lost }) += 1;
        }
        let mut seen = BTreeSet::new();
        for (at, count) in &evidence.arrivals {
            let is_new = seen.insert(*count);
            if !is_new && (window.from..window.until).contains(at) {
                self.values_doubled += 1;
            }
        }
    }

    fn count_commands(&mut self, evidence: &Evidence, window: &Window) {
        let commands = Commands::of(&evidence.commands, &evidence.written, window);
        self.commands = commands.sent;
        self.commands_lost = commands.lost;
        self.commands_superseded = commands.superseded;
        self.commands_stale = commands.stale;
        self.commands_doubled = commands.doubled;
    }
}

/// What became of numbered commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Commands {
    /// Sent within the window.
    pub sent: u64,
    /// Of those, left no trace: neither they nor a newer one were carried out.
    pub lost: u64,
    /// Of those, overtaken by a newer one while they waited.
    pub superseded: u64,
    /// Carried out after a newer one, at any time.
    pub stale: u64,
    /// Of those sent, how often one was carried out once too often.
    pub doubled: u64,
}

impl Commands {
    /// Judges what was carried out, in its order.
    pub(crate) fn of(sent: &[(Instant, u16)], carried_out: &[u16], window: &Window) -> Self {
        let mut commands = Self::default();
        let mut taken: BTreeMap<u16, u64> = BTreeMap::new();
        let mut newest = 0;
        for number in carried_out {
            *taken.entry(*number).or_default() += 1;
            if *number < newest {
                commands.stale += 1;
            }
            newest = newest.max(*number);
        }
        for (at, number) in sent {
            if (window.from..window.until).contains(at) {
                commands.sent += 1;
                match taken.get(number) {
                    None if *number > newest => commands.lost += 1,
                    None => commands.superseded += 1,
                    Some(times) => commands.doubled += times - 1,
                }
            }
        }
        commands
    }
}

/// Something a node did at one peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed<'a> {
    pub(crate) at: Instant,
    pub(crate) node: &'a str,
    /// Whether it changes something outside.
    pub(crate) is_output: bool,
}

impl Side {
    fn of(evidence: &Evidence, window: &Window, is_modbus: bool) -> Self {
        let deeds: Vec<Deed<'_>> = acts_within(evidence, window)
            .filter(|act| act.effect.is_modbus() == is_modbus && act.effect.is_sent())
            .map(|act| Deed { at: act.at, node: &act.node, is_output: act.effect.is_output() })
            .collect();
        Self::of_deeds(&deeds, window)
    }

    /// Judges what was done within a window, in order of time.
    pub(crate) fn of_deeds(deeds: &[Deed<'_>], window: &Window) -> Self {
        let mut side = Self::default();
        let Some(new) = &window.new else {
            side.stray = deeds.iter().filter(|deed| deed.node != window.old).count() as u64;
            return side;
        };
        let begin =
            deeds.iter().find(|deed| deed.node == *new && deed.at >= window.fault).map(|deed| deed.at);
        let before = |deed: &&Deed<'_>| begin.is_none_or(|begin| deed.at < begin);
        side.stray = deeds.iter().filter(before).filter(|deed| deed.node != window.old).count() as u64;
        if let Some(begin) = begin {
            let last = deeds
                .iter()
                .filter(before)
                .filter(|deed| deed.node == window.old)
                .map(|deed| deed.at)
                .next_back();
            side.takeover_ms = last.map(|last| millis(begin - last));
            side.from_fault_ms = Some(millis(begin - window.fault));
            let late = || deeds.iter().filter(|deed| deed.at >= begin && deed.node != *new);
            side.stray += late().count() as u64;
            side.two_writers = late().filter(|deed| deed.is_output).count() as u64;
        }
        side
    }

    /// Nothing that must be zero is not.
    pub fn is_clean(&self) -> bool {
        self.two_writers == 0 && self.stray == 0
    }
}

fn acts_within<'a>(evidence: &'a Evidence, window: &'a Window) -> impl Iterator<Item = &'a Act> {
    evidence.acts.iter().filter(|act| (window.from..window.until).contains(&act.at))
}

pub(crate) fn millis(duration: Duration) -> f64 {
    // Whole microseconds: the taps know no better.
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Answer of the device to arrival at the standby, on a busy machine: what a node was told later than this before it
/// died was known to nobody else, and the device holds the next count already.
pub(crate) const IN_FLIGHT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Effect;

    struct Script {
        start: Instant,
        evidence: Evidence,
    }

    impl Script {
        fn new() -> Self {
            Self { start: Instant::now(), evidence: Evidence::default() }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn act(mut self, ms: u64, node: &str, effect: Effect) -> Self {
            let at = self.at(ms);
            self.evidence.acts.push(Act { at, node: node.to_owned(), effect });
            self
        }

        fn arrival(mut self, ms: u64, count: u16) -> Self {
            let at = self.at(ms);
            self.evidence.arrivals.push((at, count));
            self
        }

        fn command(mut self, ms: u64, number: u16, times: usize) -> Self {
            let at = self.at(ms);
            self.evidence.commands.push((at, number));
            self.evidence.written.extend(std::iter::repeat_n(number, times));
            self
        }

        fn figures(&self, new: Option<&str>) -> Figures {
            Figures::of(&self.evidence, &self.window(new))
        }

        /// Fault at 1000 ms.
        fn window(&self, new: Option<&str>) -> Window {
            Window {
                from: self.start,
                fault: self.at(1000),
                until: self.at(10_000),
                old: "main".to_owned(),
                new: new.map(str::to_owned),
                is_abrupt: true,
            }
        }
    }

    #[test]
    fn a_takeover_is_measured_from_the_last_act_of_the_old_to_the_first_of_the_new() {
        let script = Script::new().act(990, "main", Effect::Poll).act(3000, "backup", Effect::Poll).act(
            3010,
            "backup",
            Effect::Publish(7),
        );
        let figures = script.figures(Some("backup"));
        assert_eq!(figures.modbus.takeover_ms, Some(2010.0));
        assert_eq!(figures.modbus.from_fault_ms, Some(2000.0));
        assert!(figures.modbus.is_clean() && figures.mqtt.is_clean());
    }

    #[test]
    fn a_woken_node_that_writes_is_a_second_writer_and_its_polls_are_stray() {
        let script = Script::new()
            .act(990, "main", Effect::Write(1))
            .act(3000, "backup", Effect::Write(2))
            .act(4000, "main", Effect::Write(1))
            .act(4001, "main", Effect::Poll);
        let figures = script.figures(Some("backup"));
        assert_eq!((figures.modbus.two_writers, figures.modbus.stray), (1, 2));
    }

    #[test]
    fn a_standby_that_polls_before_the_fault_is_stray() {
        let script = Script::new().act(500, "backup", Effect::Poll).act(990, "main", Effect::Poll).act(
            3000,
            "backup",
            Effect::Poll,
        );
        assert_eq!(script.figures(Some("backup")).modbus.stray, 1);
        assert_eq!(script.figures(None).modbus.stray, 2);
    }

    #[test]
    fn lost_doubled_and_in_flight_values_are_told_apart() {
        let script = Script::new()
            .act(100, "main", Effect::Told(1))
            .act(200, "main", Effect::Told(2))
            .act(990, "main", Effect::Told(3))
            .act(3000, "backup", Effect::Told(4))
            .arrival(101, 1)
            .arrival(3001, 4)
            .arrival(3002, 4);
        let figures = script.figures(Some("backup"));
        let counts =
            (figures.values_read, figures.values_lost, figures.values_doubled, figures.values_died_with_node);
        assert_eq!(counts, (4, 1, 1, 1));
    }

    #[test]
    fn lost_and_doubled_commands_are_counted_by_what_the_device_took() {
        let script =
            Script::new().command(100, 1, 1).command(200, 2, 0).command(300, 3, 2).command(400, 4, 0);
        let figures = script.figures(Some("backup"));
        let counts =
            (figures.commands, figures.commands_lost, figures.commands_superseded, figures.commands_doubled);
        assert_eq!(counts, (4, 1, 1, 1));
        assert_eq!(figures.commands_stale, 0);
    }

    #[test]
    fn an_old_setpoint_after_a_newer_one_is_stale() {
        let script = Script::new().command(200, 2, 1).command(100, 1, 1);
        assert_eq!(script.figures(Some("backup")).commands_stale, 1);
    }

    #[test]
    fn where_a_standby_polls_too_its_writes_tell_who_acts_and_what_it_was_told_is_not_lost() {
        let mut script = Script::new()
            .act(100, "backup", Effect::Poll)
            .act(900, "main", Effect::Write(1))
            .act(1500, "backup", Effect::Told(5))
            .act(2000, "backup", Effect::Write(2))
            .act(2100, "backup", Effect::Told(6))
            .act(2200, "main", Effect::Told(6));
        let window = script.window(Some("backup"));
        script.evidence.leave_out_standby_polls(&window);
        let figures = Figures::of(&script.evidence, &window);
        assert_eq!((figures.modbus.takeover_ms, figures.modbus.stray), (Some(1100.0), 0));
        assert_eq!((figures.values_read, figures.values_lost), (1, 1), "6 was told to the active node");
        let late = script.act(3000, "main", Effect::Write(1));
        assert_eq!(Figures::of(&late.evidence, &window).modbus.two_writers, 1);
    }

    #[test]
    fn a_run_in_which_nothing_happened_is_not_a_success() {
        let problems = Script::new().figures(Some("backup")).problems(true, Duration::from_secs(1));
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}
