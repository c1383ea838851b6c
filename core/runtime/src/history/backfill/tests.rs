//! Who is asked for what, and when.

use twinhub_history::{RowId, Store, StoreOptions};
use twinhub_model::{Epoch, Timestamp};

use super::*;

fn at(seq: u64) -> Position {
    Position::new(Epoch(256), seq)
}

fn gap(after: u64, through: u64) -> Gap {
    Gap {
        group: "site".into(),
        after: at(after),
        through: at(through),
        copied: None,
        lacking: Vec::new(),
        remains_of: Vec::new(),
    }
}

fn lack(after: u64, through: u64, is_behind: bool) -> Lack {
    Lack { ranges: vec![(at(after), at(through))], is_behind }
}

const MAIN: NodeRank = NodeRank(0);
const SPARE: NodeRank = NodeRank(2);

fn asks(step: &Step) -> Option<(NodeRank, Position)> {
    match step {
        Step::Ask(question) => Some((question.peer, question.range.through)),
        Step::Wait(_) | Step::GiveUp(_) => None,
    }
}

fn place(item: &str) -> Place {
    Place { item: item.to_owned(), row: RowId::at(Timestamp(0)) }
}

impl Backfill {
    /// The node that was asked answers.
    fn is_told(&mut self, now: Moment, next: Option<Place>, lack: &Lack) -> Verdict {
        let asked = self.take_asked().unwrap();
        let present = [asked.gap.clone()];
        self.answered(now, &asked, &present, &Portion { next, ..Portion::default() }, lack)
    }
}

#[test]
fn the_newest_gap_is_asked_of_the_best_node_one_question_at_a_time() {
    let mut backfill = Backfill::new(1 << 20);
    let gaps = [gap(0, 10), gap(50, 90)];
    let now = Moment::ZERO + Duration::from_secs(1);
    assert!(matches!(backfill.next(now, &[], &[MAIN], &[MAIN]), Step::Wait(Moment::NEVER)));
    assert_eq!(asks(&backfill.next(now, &gaps, &[SPARE, MAIN], &[MAIN, SPARE])), Some((SPARE, at(90))));
    assert_eq!(asks(&backfill.next(now, &gaps, &[SPARE, MAIN], &[MAIN, SPARE])), None);
    // It does not answer: the next one.
    let later = now + ANSWER_MAX;
    assert_eq!(asks(&backfill.next(later, &gaps, &[SPARE, MAIN], &[MAIN, SPARE])), Some((MAIN, at(90))));
    // It is gone: what is older.
    assert_eq!(asks(&backfill.next(later, &gaps, &[SPARE], &[MAIN, SPARE])), Some((SPARE, at(10))));
}

#[test]
fn what_comes_is_paced_and_its_end_foreseen() {
    let mut backfill = Backfill::new(1_000_000);
    let (gaps, mut now) = ([gap(0, 10)], Moment::ZERO + Duration::from_secs(1));
    for part in 1..=10 {
        assert!(asks(&backfill.next(now, &gaps, &[MAIN], &[MAIN])).is_some(), "{part}");
        let Asked { peer, gap, .. } = backfill.take_asked().unwrap();
        backfill.took(now, peer, &gap, 100_000, 1_000, part * 50);
        let Step::Wait(until) = backfill.next(now, &gaps, &[MAIN], &[MAIN]) else { panic!("{part}") };
        assert_eq!(until, now + Duration::from_millis(100));
        now = until;
    }
    let progress = backfill.progress().unwrap();
    assert_eq!((progress.rows, progress.permille, progress.rows_per_second()), (10_000, 500, 11_111));
    assert_eq!(progress.remaining_rows(), Some(11_111));
    assert_eq!(progress.eta_seconds(), Some(1));
}

#[test]
fn what_every_node_lacks_is_given_up_after_some_rounds() {
    let mut backfill = Backfill::new(1 << 30);
    let gaps = [gap(0, 10)];
    let mut now = Moment::ZERO + Duration::from_secs(1);
    let nodes = [MAIN, SPARE];
    for _ in 0..ROUNDS {
        while asks(&backfill.next(now, &gaps, &nodes, &nodes)).is_some() {
            backfill.is_told(now, None, &lack(0, 10, false));
        }
        now = now + ROUND_AFTER;
    }
    // One that is away may have it.
    let away = NodeRank(3);
    assert!(asks(&backfill.next(now, &gaps, &nodes, &[MAIN, SPARE, away])).is_some());
    backfill.is_told(now, None, &lack(0, 10, false));
    assert!(matches!(backfill.next(now, &gaps, &nodes, &nodes), Step::GiveUp(_)));
    // Nobody else: at once.
    assert!(matches!(Backfill::new(1).next(now, &gaps, &[], &[]), Step::GiveUp(_)));
}

/// Two nodes lack the same, each half of it copied from a third one that is away now: what the other one has comes once,
/// not every ten seconds, and the copy goes on where it was when the third one is back.
#[test]
fn what_a_node_has_of_what_it_lacks_too_is_taken_once_while_another_one_is_away() {
    let (mut backfill, away) = (Backfill::new(1 << 30), NodeRank(3));
    let mut gaps = [gap(0, 10)];
    gaps[0].copied = Some(place("plc/half"));
    let (begin, others) = (Moment::ZERO + Duration::from_secs(1), [MAIN, away]);
    let (mut now, mut taken, mut looks) = (begin, Vec::new(), 0);
    while now.since(begin) < Duration::from_secs(24 * 3600) {
        match backfill.next(now, &gaps, &[MAIN], &others) {
            Step::Ask(question) => {
                looks += 1;
                let is_half = question.from == gaps[0].copied;
                let next = is_half.then(|| place("plc/more"));
                let verdict = backfill.is_told(now, next.clone(), &lack(0, 10, false));
                // The copy from the third one stays where it is.
                assert_eq!(verdict.filled, verdict.takes_rows.then(|| Filled::Remains(MAIN, next.clone())));
                if verdict.takes_rows {
                    taken.push(question.from);
                    gaps[0].remains_of = vec![(MAIN, next)];
                }
            }
            Step::Wait(until) => now = until,
            Step::GiveUp(_) => panic!("the third one may have it"),
        }
    }
    assert_eq!(taken, [gaps[0].copied.clone(), Some(place("plc/more"))]);
    assert!((100..300).contains(&looks), "{looks} in a day");
    assert_eq!(asks(&backfill.next(now, &gaps, &[MAIN, away], &others)), Some((away, at(10))));
    let asked = backfill.take_asked().unwrap();
    assert_eq!(asked.from, gaps[0].copied);
    let portion = Portion { next: Some(place("plc/zzz")), ..Portion::default() };
    let verdict = backfill.answered(now, &asked, &gaps, &portion, &Lack::default());
    assert_eq!(verdict.filled, Some(Filled::Copied(place("plc/zzz"), Vec::new())));
    // The one that was away gives; the other one is not asked meanwhile.
    assert_eq!(asks(&backfill.next(now, &gaps, &[MAIN, away], &others)), Some((away, at(10))));
}

/// A third node is configured and never joined, so that nothing is given up; this node is started again and again, the
/// first time in the middle of the copy.
#[test]
fn what_a_node_has_of_what_it_lacks_too_is_taken_once_also_over_restarts() {
    let (dir, never) = (tempfile::tempdir().unwrap(), NodeRank(3));
    let (mut now, mut through) = (Moment::ZERO + Duration::from_secs(1), 10);
    let mut taken = Vec::new();
    for start in 0..6 {
        let mut store = Store::open(StoreOptions::new(dir.path())).unwrap().0;
        if start == 0 {
            store.skip("site", Position::START, at(10));
        } else if start == 4 {
            // What is added was in no copy.
            store.skip("site", at(10), at(20));
            through = 20;
        }
        let (mut backfill, end) = (Backfill::new(1 << 30), now + Duration::from_secs(3600));
        while now < end && (start, taken.len()) != (0, 2) {
            match backfill.next(now, &store.gaps(), &[MAIN], &[MAIN, never]) {
                Step::Ask(question) => {
                    let next = match &question.from {
                        None => Some(place("plc/a")),
                        Some(from) if *from == place("plc/a") => Some(place("plc/b")),
                        Some(_) => None,
                    };
                    let lack = Lack { ranges: vec![(Position::START, at(through))], is_behind: false };
                    let verdict = backfill.is_told(now, next, &lack);
                    if verdict.takes_rows {
                        taken.push(question.from);
                    }
                    if let Some(filled) = verdict.filled {
                        store.fill("site", at(through), [], filled);
                    }
                }
                Step::Wait(until) => now = until,
                Step::GiveUp(_) => panic!("the third one may have it"),
            }
        }
        assert_eq!(store.gaps().len(), 1);
        store.seal().unwrap();
    }
    let once = [None, Some(place("plc/a")), Some(place("plc/b"))];
    assert_eq!(taken, [once.clone(), once].concat());
}

#[test]
fn a_node_that_is_back_or_has_it_by_now_is_asked_at_once() {
    let mut backfill = Backfill::new(1 << 30);
    let (gaps, now) = ([gap(0, 10)], Moment::ZERO + Duration::from_secs(1));
    let others = [MAIN, SPARE];
    assert!(asks(&backfill.next(now, &gaps, &[MAIN], &others)).is_some());
    backfill.is_told(now, None, &lack(0, 10, false));
    assert_eq!(asks(&backfill.next(now, &gaps, &[MAIN], &others)), None);
    assert_eq!(asks(&backfill.next(now, &gaps, &[], &others)), None);
    assert_eq!(asks(&backfill.next(now, &gaps, &[MAIN], &others)), Some((MAIN, at(10))));
    let verdict = backfill.is_told(now, Some(place("plc/a")), &Lack::default());
    assert_eq!(verdict.filled, Some(Filled::Copied(place("plc/a"), Vec::new())));
    let Step::Ask(question) = backfill.next(now, &gaps, &[MAIN], &others) else { panic!("it has it") };
    assert_eq!(question.bytes, PORTION_BYTES);
}

#[test]
fn a_node_that_has_not_read_so_far_is_asked_again_soon() {
    let mut backfill = Backfill::new(1 << 30);
    let (gaps, now) = ([gap(0, 10)], Moment::ZERO + Duration::from_secs(1));
    backfill.next(now, &gaps, &[MAIN], &[MAIN]);
    backfill.is_told(now, None, &lack(5, 10, true));
    assert_eq!(asks(&backfill.next(now, &gaps, &[MAIN], &[MAIN])), None);
    assert_eq!(asks(&backfill.next(now + BEHIND_AFTER, &gaps, &[MAIN], &[MAIN])), Some((MAIN, at(10))));
}

#[test]
fn a_node_that_stays_behind_keeps_nobody_from_asking_another() {
    let mut backfill = Backfill::new(1 << 30);
    let gaps = [gap(0, 10), gap(50, 90)];
    let both = [MAIN, SPARE];
    let mut now = Moment::ZERO + Duration::from_secs(1);
    let mut waits = Vec::new();
    for _ in 0..8 {
        for expected in [(MAIN, at(90)), (SPARE, at(90)), (MAIN, at(10)), (SPARE, at(10))] {
            assert_eq!(asks(&backfill.next(now, &gaps, &both, &both)), Some(expected));
            let lack = lack(0, expected.1.seq, true);
            backfill.is_told(now, None, &lack);
        }
        let Step::Wait(until) = backfill.next(now, &gaps, &both, &both) else { panic!("all were asked") };
        waits.push(until.since(now));
        now = until;
    }
    assert_eq!(waits.first(), Some(&BEHIND_AFTER));
    assert_eq!(waits.last(), Some(&ROUND_AFTER));
}

#[test]
fn a_node_that_has_by_now_what_earlier_portions_lacked_is_asked_again_at_once() {
    let mut backfill = Backfill::new(1 << 30);
    let (mut gaps, now) = ([gap(0, 10)], Moment::ZERO + Duration::from_secs(1));
    gaps[0].lacking = vec![(at(5), at(10))];
    backfill.next(now, &gaps, &[MAIN], &[MAIN]);
    backfill.is_told(now, None, &Lack::default());
    assert_eq!(asks(&backfill.next(now, &gaps, &[MAIN], &[MAIN])), Some((MAIN, at(10))));
}

/// A full copy came meanwhile: more is missing than was asked for.
#[test]
fn an_answer_does_not_fill_what_a_gap_has_grown_by() {
    let mut backfill = Backfill::new(1 << 20);
    let now = Moment::ZERO + Duration::from_secs(1);
    for present in [vec![gap(0, 90)], vec![]] {
        assert_eq!(asks(&backfill.next(now, &[gap(50, 90)], &[MAIN], &[MAIN])), Some((MAIN, at(90))));
        let asked = backfill.take_asked().unwrap();
        let verdict = backfill.answered(now, &asked, &present, &Portion::default(), &Lack::default());
        assert_eq!(verdict, Verdict { takes_rows: false, filled: None, is_end: false });
    }
    assert_eq!(asks(&backfill.next(now, &[gap(0, 90)], &[MAIN], &[MAIN])), Some((MAIN, at(90))));
    let asked = backfill.take_asked().unwrap();
    let shrunk = [gap(60, 90)];
    let verdict = backfill.answered(now, &asked, &shrunk, &Portion::default(), &Lack::default());
    assert!(verdict.filled.is_some() && verdict.is_end, "what the journal gave meanwhile is no more missing");
}
