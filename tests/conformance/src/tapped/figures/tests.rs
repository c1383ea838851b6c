//! The judge finds what is wrong, and nothing where nothing is.

use super::*;

#[test]
fn a_clean_takeover_has_its_time_and_no_problem() {
    let script = Script::clean();
    let figures = script.figures();
    assert_eq!((figures.takeover_ms, figures.from_fault_ms), (Some(1012.0), Some(1002.0)));
    assert_eq!((figures.values, figures.commands.sent), (5, 2));
    assert_eq!(script.problems(), [""; 0]);
}

#[test]
fn a_value_that_never_arrives_is_lost() {
    let mut script = Script::clean();
    script.seen.arrivals.remove(0);
    assert_eq!(script.problems(), ["1 values lost"]);
}

#[test]
fn a_value_of_the_last_moment_dies_with_its_node_and_one_before_does_not() {
    let lost = |ms: u64| {
        let script = Script::clean().gave(ms, "main", "7", Answer::Ok).sorted();
        let figures = script.figures();
        (figures.values_lost, figures.values_died_with_node)
    };
    assert_eq!(lost(980), (0, 1));
    assert_eq!(lost(900), (1, 0));
}

#[test]
fn what_the_broker_shows_from_the_node_before_need_not_come_again() {
    let script = |value| Script::clean().gave(1990, "backup", value, Answer::Ok).sorted();
    assert_eq!(script("3").problems(), [""; 0], "the value with which the main ended");
    assert_eq!(script("7").problems(), ["1 values lost"]);
}

#[test]
fn a_value_that_arrives_twice_is_doubled() {
    let mut script = Script::clean();
    script.seen.arrivals.insert(1, script.seen.arrivals[0]);
    assert_eq!(script.problems(), ["1 values doubled"]);
}

#[test]
fn a_value_of_which_the_answer_is_unknown_may_arrive_or_not() {
    let script = Script::clean().gave(995, "main", "7", Answer::Unknown).sorted();
    assert_eq!(script.problems(), [""; 0]);
    let mut script = Script::clean().gave(995, "main", "7", Answer::Unknown).sorted();
    script.seen.arrivals.insert(3, (script.at(1100), 7));
    assert_eq!(script.problems(), [""; 0]);
}

#[test]
fn an_old_node_that_goes_on_is_a_second_writer() {
    let script = Script::clean().wrote(2500, "main", "9");
    let problems = script.problems();
    assert!(problems.contains(&"1 acts by two nodes".to_owned()), "{problems:?}");
    assert!(problems.contains(&"1 acts on an inactive node".to_owned()), "{problems:?}");
    assert_eq!((script.figures().two_writers(), script.figures().stray()), (1, 1));
}

#[test]
fn a_message_of_the_old_node_after_the_takeover_is_one_of_two_nodes() {
    let mut script = Script::clean();
    script.seen.sent.push((script.at(2500), "main".to_owned()));
    assert_eq!((script.figures().broker.two_writers, script.figures().broker.stray), (1, 1));
}

#[test]
fn a_woken_plugin_that_is_refused_is_fenced_and_does_no_harm() {
    let script = Script::clean().gave(2500, "main", "8", Answer::Fenced);
    assert_eq!((script.figures().fenced, script.problems().len()), (1, 0));
}

#[test]
fn a_plugin_that_gives_values_without_having_been_told_to_act_is_seen_though_the_hub_refuses_them() {
    let mut script = Script::clean().gave(500, "backup", "8", Answer::Fenced);
    script.seen.deeds.last_mut().unwrap().is_told_to_act = false;
    assert_eq!(script.sorted().problems(), ["1 acts of a plugin that was not told to act"]);
}

#[test]
fn a_value_marked_as_a_standbys_is_an_act_only_of_who_has_completed_the_change_of_role() {
    let mut script = Script::clean().gave(500, "backup", "8", Answer::Ok);
    script.seen.deeds.last_mut().unwrap().is_marked_standby = true;
    assert_eq!(script.problems(), [""; 0]);
    script.seen.deeds.last_mut().unwrap().is_told_to_act = false;
    assert_eq!(script.problems(), ["1 acts of a plugin that was not told to act"]);
}

#[test]
fn a_value_that_a_woken_node_takes_and_nobody_sees_is_lost() {
    let script = Script::clean().gave(2500, "main", "8", Answer::Ok);
    assert!(script.problems().contains(&"1 values lost".to_owned()), "{:?}", script.problems());
}

#[test]
fn a_command_that_is_carried_out_on_both_nodes_is_doubled() {
    let script = Script::clean().wrote(2100, "backup", "1").wrote(2200, "backup", "3");
    let problems = script.problems();
    assert!(problems.contains(&"1 commands doubled".to_owned()), "{problems:?}");
    assert!(problems.contains(&"1 commands carried out after a newer one".to_owned()), "{problems:?}");
}

#[test]
fn a_command_of_which_nothing_newer_was_carried_out_is_lost() {
    let mut script = Script::clean();
    script.seen.commands.push((script.at(2600), 3));
    assert_eq!(script.problems(), ["1 commands lost"]);
}

#[test]
fn a_run_in_which_nothing_happened_is_no_success() {
    let script =
        Script { seen: Evidence { value: "value".to_owned(), ..Evidence::default() }, ..Script::clean() };
    assert_eq!(
        script.problems(),
        ["nothing measured: 0 values, 0 commands", "no takeover seen at the subscriber"]
    );
}

#[test]
fn where_nothing_moves_the_other_node_does_nothing() {
    let mut script = Script::clean();
    script.new = None;
    assert_eq!(script.figures().contract.stray, 3);
    assert_eq!(script.figures().takeover_ms, None);
}

/// Main acts until 1000 ms, then dies; the backup acts from 2000 ms on and counts from 1 again.
struct Script {
    start: Instant,
    new: Option<String>,
    seen: Evidence,
}

impl Script {
    fn clean() -> Self {
        let seen = Evidence { value: "value".to_owned(), ..Evidence::default() };
        let mut script = Self { start: Instant::now(), new: Some("backup".to_owned()), seen };
        for (ms, node, number) in
            [(100, "main", 1), (500, "main", 2), (990, "main", 3), (2000, "backup", 1), (2400, "backup", 2)]
        {
            script = script.gave(ms, node, &number.to_string(), Answer::Ok);
            let at = script.at(ms + 1);
            script.seen.sent.push((at, node.to_owned()));
            script.seen.arrivals.push((script.at(ms + 2), number));
        }
        script.seen.commands = vec![(script.at(50), 1), (script.at(2050), 2)];
        script.wrote(60, "main", "1").wrote(2060, "backup", "2").sorted()
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn gave(self, ms: u64, node: &str, text: &str, answer: Answer) -> Self {
        self.did(ms, node, What::Gave, text, answer)
    }

    fn wrote(self, ms: u64, node: &str, text: &str) -> Self {
        self.did(ms, node, What::Wrote, text, Answer::Ok)
    }

    fn did(mut self, ms: u64, node: &str, what: What, text: &str, answer: Answer) -> Self {
        let (at, item) = (self.at(ms), "value".to_owned());
        let (node, text) = (node.to_owned(), text.to_owned());
        let (is_marked_standby, is_told_to_act) = (false, true);
        self.seen.deeds.push(Deed { at, node, what, item, text, answer, is_marked_standby, is_told_to_act });
        self
    }

    fn sorted(mut self) -> Self {
        self.seen.deeds.sort_by_key(|deed| deed.at);
        self
    }

    fn window(&self) -> Window {
        Window {
            from: self.start,
            fault: self.at(1000),
            until: self.at(10_000),
            old: "main".to_owned(),
            new: self.new.clone(),
            is_abrupt: true,
        }
    }

    fn figures(&self) -> PartFigures {
        PartFigures::of(&self.seen, &self.window())
    }

    fn problems(&self) -> Vec<String> {
        self.figures().problems(&self.window(), Duration::from_secs(2))
    }
}
