//! What a journal lacks of a gap in the history.

use twinhub_history::{Gap, Lack};
use twinhub_model::Position;

use super::super::{JournalPart, PartEnd};

/// Reads a journal through a gap, a part at a time, and returns what it lacks there; what it does not answer to, too.
pub(super) fn missing_in(
    gap: &Gap,
    mut ask: impl FnMut(Position) -> Option<JournalPart>,
) -> Vec<(Position, Position)> {
    let (mut missing, mut at) = (Vec::new(), gap.after);
    while at < gap.through {
        let Some(part) = ask(at) else { break };
        missing.extend(part.begins_behind(at).map(|before| (at, before)));
        at = part.entries.last().map_or(at, |entry| entry.position);
        match part.end {
            PartEnd::More => {}
            PartEnd::CaughtUp => break,
            PartEnd::SetAside { common } => at = common.min(at),
            PartEnd::Missing { after, resume } => {
                missing.push((after.min(at), resume));
                at = resume.max(at);
            }
        }
    }
    missing.push((at, gap.through));
    missing
}

/// Whether that is the whole gap.
pub(super) fn is_all(gap: &Gap, missing: &[(Position, Position)]) -> bool {
    Lack { ranges: missing.to_vec(), is_behind: false }.covers(gap.after, gap.through)
}

#[cfg(test)]
mod tests {
    use twinhub_model::Epoch;
    use twinhub_store::Entry;

    use super::*;

    const fn at(seq: u64) -> Position {
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

    /// A journal that lacks what is between two records; what that is of begins behind `from`.
    fn journal(lacks: (u64, u64), from: u64) -> impl FnMut(Position) -> Option<JournalPart> {
        move |after| {
            let last = if after.seq < lacks.0 { lacks.0.min(after.seq + 2) } else { 20 };
            let entries =
                (after.seq + 1..=last).map(|seq| Entry { position: at(seq), body: Vec::new().into() });
            let end = match last {
                last if last == lacks.0 => PartEnd::Missing { after: at(from), resume: at(lacks.1) },
                20 => PartEnd::CaughtUp,
                _ => PartEnd::More,
            };
            let entries = entries.collect();
            Some(JournalPart { entries, dictionary: 0, keys: None, end, last: at(20), life: None, mended: 0 })
        }
    }

    /// A record that was taken in from another node is gone: its values stood behind the second record first, and the
    /// journal has what is between.
    #[test]
    fn a_journal_that_has_what_a_gap_was_lowered_to_lacks_all_of_it_still() {
        let lowered = gap(2, 10);
        assert!(is_all(&lowered, &missing_in(&lowered, journal((8, 10), 2))));
        let mended = missing_in(&lowered, journal((99, 99), 0));
        assert!(!is_all(&lowered, &mended));
        assert_eq!(mended, [(at(10), at(10))], "nothing");
        let missing = missing_in(&lowered, journal((8, 10), 8));
        assert_eq!((missing[0], is_all(&lowered, &missing)), ((at(8), at(10)), false));
    }

    #[test]
    fn what_a_journal_does_not_answer_to_is_missing() {
        assert!(is_all(&gap(2, 10), &missing_in(&gap(2, 10), |_| None)));
    }
}
