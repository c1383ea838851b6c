//! Documents through their public door: changes in, what every node has out.

use proptest::prelude::*;
use twinhub_documents::{
    Action, AuditEntry, Body, Change, Configuration, ConfigurationFile, Digest, Documents, Entry, Kind,
    PasswordHash, Refusal, Role, Session, Token, User, limits, ours_after,
};
use twinhub_model::{Epoch, NodeRank, Position, Timestamp};

#[test]
fn a_user_is_made_changed_and_removed_and_the_list_says_who_did_it() {
    let mut world = World::default();
    world.done(put("ada", user(Role::Viewer, 1), Some(0)));
    world.done(put("ada", user(Role::Engineer, 1), None));
    assert_eq!(world.state.user("ada").map(|user| user.role), Some(Role::Engineer));
    world.done(remove(Kind::User, "ada"));
    assert_eq!(world.state.user("ada"), None);
    assert!(world.state.get(Kind::User, "ada").is_some_and(|mark| mark.revision == 3 && mark.body.is_none()));
    let said: Vec<&str> = world.state.audit().map(|entry| entry.text.as_str()).collect();
    assert_eq!(said, ["made user `ada`, viewer", "set user `ada`, engineer", "removed user `ada`"]);
}

#[test]
fn who_looked_at_an_older_revision_is_refused() {
    let mut world = World::default();
    world.done(put("ada", user(Role::Viewer, 1), Some(0)));
    let error = world.refused(put("ada", user(Role::Admin, 1), Some(0)));
    assert!(matches!(error, Refusal::Stale { revision: 1, base: 0, .. }), "{error}");
    world.done(put("ada", user(Role::Admin, 1), Some(1)));
}

#[test]
fn sessions_end_with_their_time_their_user_and_a_new_password() {
    let mut world = World::default();
    world.done(put("ada", user(Role::Viewer, 1), Some(0)));
    world.done(login("ada", 1, 1_000));
    world.done(login("ada", 2, 50));
    let seen = |world: &World, number: u8, now: i64| {
        world.state.session(&Digest::new([number; 32]), Timestamp(now)).is_some()
    };
    assert!(seen(&world, 1, 999) && !seen(&world, 1, 1_000), "it ends with its time");
    world.time = 60;
    world.done(put("ada", user(Role::Operator, 1), None));
    assert!(seen(&world, 1, 60), "a role does not end it");
    assert_eq!(world.state.sessions().count(), 1, "what has ended is forgotten");
    world.done(put("ada", user(Role::Operator, 2), None));
    assert!(!seen(&world, 1, 60), "a new password does");
    world.done(login("ada", 3, 1_000));
    world.done(remove(Kind::User, "ada"));
    assert!(!seen(&world, 3, 61));
    world.refused(login("ada", 4, 1_000));
}

#[test]
fn a_user_with_too_many_sessions_loses_the_oldest() {
    let mut world = World::default();
    world.done(put("ada", user(Role::Viewer, 1), Some(0)));
    for number in 0..=u8::try_from(limits::SESSIONS_OF_USER_MAX).unwrap() {
        world.done(login("ada", number, 1_000_000));
    }
    assert_eq!(world.state.sessions().count(), limits::SESSIONS_OF_USER_MAX);
    assert!(world.state.session(&Digest::new([0; 32]), Timestamp(0)).is_none());
}

#[test]
fn a_revoked_token_is_none_and_one_made_anew_is_another() {
    let mut world = World::default();
    world.done(put("grafana", token(1), Some(0)));
    assert_eq!(world.state.token(&Digest::new([1; 32])).map(|(name, _)| name), Some("grafana"));
    world.refused(put("other", token(1), Some(0)));
    world.done(remove(Kind::Token, "grafana"));
    assert!(world.state.token(&Digest::new([1; 32])).is_none());
    world.refused(remove(Kind::Token, "grafana"));
    world.done(put("grafana", token(2), Some(0)));
    assert!(world.state.token(&Digest::new([1; 32])).is_none());
    assert!(world.state.token(&Digest::new([2; 32])).is_some());
}

#[test]
fn configurations_are_kept_as_revisions_and_the_oldest_is_forgotten() {
    let mut world = World::default();
    for number in 0..limits::REVISIONS_MAX + 3 {
        world.done(put("site", configuration(u8::try_from(number).unwrap()), None));
    }
    let newest = limits::REVISIONS_MAX as u64 + 3;
    assert_eq!(world.state.configuration().map(|document| document.revision), Some(newest));
    assert_eq!(world.state.revisions().count(), limits::REVISIONS_MAX);
    assert!(world.state.revision(3).is_none() && world.state.revision(4).is_some());
    assert_eq!(world.state.pieces().len(), limits::REVISIONS_MAX);
}

#[test]
fn files_outside_the_directory_are_refused() {
    let world = World::default();
    for name in ["../x", "/etc/passwd", "a//b", "a/../b", "", "a\\b", "a\nb", "c:x", "."] {
        let mut configuration = site(1);
        configuration.files[0].name = name.to_owned();
        let error = world.refused(put("site", Body::Configuration(configuration), None));
        assert!(matches!(error, Refusal::Invalid { .. }), "{name}: {error}");
    }
    let mut twice = site(1);
    twice.files.push(twice.files[0].clone());
    world.refused(put("site", Body::Configuration(twice), None));
    let mut cut = site(1);
    cut.files[0].size = limits::PIECE_BYTES_MAX as u64 + 1;
    world.refused(put("site", Body::Configuration(cut), None));
}

#[test]
fn names_that_could_be_mistaken_are_refused() {
    let world = World::default();
    for name in ["", "a b", "a/b", "ä", "a\u{202e}b", &"x".repeat(65)] {
        assert!(
            matches!(world.refused(put(name, user(Role::Viewer, 1), None)), Refusal::Name { .. }),
            "{name}"
        );
    }
}

#[test]
fn a_copy_makes_the_same_state_and_records_in_it_change_nothing_again() {
    let mut world = World::default();
    world.done(put("ada", user(Role::Admin, 1), None));
    world.done(put("grafana", token(1), None));
    world.done(login("ada", 1, 1_000_000));
    world.done(put("site", configuration(1), None));
    world.done(put("site", configuration(2), None));
    world.done(remove(Kind::Token, "grafana"));
    let mut copy = Documents::default();
    for entry in world.state.snapshot() {
        copy.apply(Position::START, Entry::decode(&entry.encode()).unwrap());
    }
    assert_eq!(copy, world.state);
    let before = copy.clone();
    for (position, entry) in &world.journal {
        copy.apply(*position, entry.clone());
    }
    assert_eq!(copy, before);
}

#[test]
fn every_list_is_bounded() {
    let mut world = World::default();
    for number in 0..limits::REMOVED_MAX + 10 {
        let name = format!("t{number}");
        world.done(put(&name, numbered_token(number), None));
        world.done(remove(Kind::Token, &name));
    }
    assert_eq!(world.state.audit().len(), limits::AUDIT_MAX);
    assert!(world.state.get(Kind::Token, "t0").is_none(), "the oldest mark is forgotten");
    for number in 0..limits::TOKENS_MAX {
        world.done(put(&format!("u{number}"), numbered_token(number), None));
    }
    assert!(matches!(world.refused(put("one-more", token(7), None)), Refusal::Full { .. }));
}

#[test]
fn what_a_lone_node_revoked_stays_revoked_and_what_it_made_is_kept_beside() {
    let mut common = World::default();
    common.done(put("ada", user(Role::Admin, 1), None));
    common.done(put("bob", user(Role::Viewer, 1), None));
    common.done(put("grafana", token(1), None));
    common.done(put("site", configuration(1), None));
    let fork = common.state.through();
    let mut lone = common.at(Epoch::new(2, NodeRank(1)));
    lone.done(remove(Kind::Token, "grafana"));
    lone.done(remove(Kind::User, "bob"));
    lone.done(put("eve", user(Role::Admin, 3), None));
    lone.done(put("site", configuration(9), None));
    lone.done(login("ada", 5, 1_000_000));
    let mut writer = common.at(Epoch::new(3, NodeRank(0)));
    writer.done(put("bob", user(Role::Operator, 1), None));
    writer.done(put("site", configuration(2), None));

    let merge = ours_after(fork, "backup", &lone.state, &writer.state, Timestamp(10));
    for change in merge.changes {
        writer.done(change);
    }
    let state = &writer.state;
    assert!(state.token(&Digest::new([1; 32])).is_none(), "a revocation wins");
    assert!(state.user("bob").is_none(), "a removal wins over a change");
    assert!(state.user("eve").is_none(), "a user made alone is not in force");
    assert!(state.session(&Digest::new([5; 32]), Timestamp(10)).is_some(), "sessions join");
    let mut kept: Vec<&str> = state.conflicts().map(|conflict| conflict.document.name.as_str()).collect();
    kept.sort_unstable();
    assert_eq!(kept, ["eve", "site"]);
    let hash = |state: &Documents| match state.configuration().and_then(|document| document.body.clone()) {
        Some(Body::Configuration(configuration)) => configuration.hash,
        _ => 0,
    };
    assert_eq!(hash(state), 2, "the writer's configuration stays in force");
    assert!(state.pieces().contains(&Digest::new([9; 32])), "the other one's files are kept");
    assert_eq!(merge.lines.len(), 5, "{:?}", merge.lines);
    let again = ours_after(fork, "backup", &lone.state, &writer.state, Timestamp(10));
    assert_eq!(again.changes, [], "a second time changes nothing");
}

/// The writer compares with what it is told: it gives the same as if it had all documents of the lone node.
#[test]
fn what_a_lone_node_tells_is_enough_to_join_it() {
    let mut common = World::default();
    common.done(put("ada", user(Role::Admin, 1), None));
    common.done(put("site", configuration(1), None));
    let fork = common.state.through();
    let mut lone = common.at(Epoch::new(2, NodeRank(1)));
    lone.done(login("ada", 5, 1_000_000));
    lone.done(put("site", configuration(7), None));
    lone.done(put("site", configuration(8), None));
    lone.done(put("eve", user(Role::Admin, 3), None));
    let mut writer = common.at(Epoch::new(3, NodeRank(0)));
    writer.done(put("bob", user(Role::Operator, 1), None));
    let mut told = Documents::default();
    for entry in lone.state.changed_after(fork) {
        told.apply(Position::START, Entry::decode(&entry.encode()).unwrap());
    }
    let merge = ours_after(fork, "backup", &told, &writer.state, Timestamp(10));
    let whole = ours_after(fork, "backup", &lone.state, &writer.state, Timestamp(10));
    assert_eq!(merge, whole);
    assert_eq!(merge.audit.len(), 4);
    for change in merge.changes {
        writer.done(change);
    }
    let mut kept: Vec<_> = writer
        .state
        .conflicts()
        .map(|conflict| (conflict.document.name.as_str(), conflict.document.revision))
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [("eve", 1), ("site", 2), ("site", 3)], "each revision is kept");
    assert!(writer.state.session(&Digest::new([5; 32]), Timestamp(10)).is_some());
}

#[test]
fn audit_entries_of_another_journal_come_once_and_where_their_time_says() {
    let mut world = World::default();
    world.done(put("ada", user(Role::Admin, 1), None));
    world.done(put("bob", user(Role::Admin, 1), None));
    let times: Vec<i64> = world.state.audit().map(|entry| entry.time).collect();
    let other = |seq, time| AuditEntry {
        position: Position::new(Epoch::new(9, NodeRank(1)), seq),
        time,
        author: "eve".into(),
        origin: "there".into(),
        text: "did something".into(),
    };
    let entries = vec![other(1, times[0]), other(2, i64::MAX), other(3, i64::MIN)];
    for _ in 0..2 {
        let entry = Entry::decode(&Entry::AuditOf(entries.clone()).encode()).unwrap();
        world.state.apply(Position::START, entry);
    }
    let order: Vec<_> =
        world.state.audit().map(|entry| (entry.author.as_str(), entry.position.seq)).collect();
    assert_eq!(order.iter().filter(|(author, _)| *author == "eve").count(), 3);
    assert_eq!((order[0], order[order.len() - 1]), (("eve", 3), ("eve", 2)));
}

#[test]
fn a_removal_does_not_reach_what_was_made_after_it_under_the_same_name() {
    let mut common = World::default();
    common.done(put("grafana", token(1), None));
    let fork = common.state.through();
    let mut lone = common.at(Epoch::new(2, NodeRank(1)));
    lone.done(remove(Kind::Token, "grafana"));
    let mut writer = common.at(Epoch::new(3, NodeRank(0)));
    writer.done(remove(Kind::Token, "grafana"));
    writer.done(put("grafana", token(2), None));
    let merge = ours_after(fork, "backup", &lone.state, &writer.state, Timestamp(10));
    assert_eq!(merge.changes, []);
}

#[test]
fn a_user_removed_by_the_writer_does_not_come_back_through_a_lone_change() {
    let mut common = World::default();
    common.done(put("ada", user(Role::Admin, 1), None));
    let fork = common.state.through();
    let mut lone = common.at(Epoch::new(2, NodeRank(1)));
    lone.done(put("ada", user(Role::Admin, 2), None));
    lone.done(login("ada", 5, 1_000_000));
    let mut writer = common.at(Epoch::new(3, NodeRank(0)));
    writer.done(remove(Kind::User, "ada"));
    let merge = ours_after(fork, "backup", &lone.state, &writer.state, Timestamp(10));
    assert_eq!(merge.changes, []);
}

proptest! {
    #[test]
    fn hostile_bytes_are_an_error_or_an_entry(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut state = Documents::default();
        if let Ok(entry) = Entry::decode(&bytes) {
            state.apply(Position::new(Epoch(256), 1), entry);
        }
    }

    #[test]
    fn a_flipped_byte_of_an_entry_never_panics(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut world = World::default();
        world.done(put("ada", user(Role::Admin, 1), None));
        world.done(put("site", configuration(1), None));
        for entry in world.state.snapshot() {
            let mut bytes = entry.encode();
            let place = place.index(bytes.len());
            bytes[place] ^= flip;
            if let Ok(entry) = Entry::decode(&bytes) {
                let mut state = world.state.clone();
                state.apply(Position::new(Epoch(512), 1), entry);
                state.snapshot();
            }
        }
    }

    #[test]
    fn cut_entries_are_refused(length in 0_usize..200) {
        let entry = Entry::Change(change(put("ada", user(Role::Admin, 1), None), 1));
        let bytes = entry.encode();
        if length < bytes.len() {
            prop_assert!(Entry::decode(&bytes[..length]).is_err());
        }
    }
}

/// One node with its journal.
#[derive(Debug, Clone, Default)]
struct World {
    state: Documents,
    journal: Vec<(Position, Entry)>,
    epoch: Epoch,
    seq: u64,
    time: i64,
}

impl World {
    fn done(&mut self, what: impl Into<What>) {
        let change = self.change_of(what.into());
        self.state.check(&change).expect("the change can be made");
        self.seq += 1;
        let epoch = if self.epoch == Epoch::NONE { Epoch::new(1, NodeRank(0)) } else { self.epoch };
        let position = Position::new(epoch, self.seq);
        self.journal.push((position, Entry::Change(change.clone())));
        self.state.apply(position, Entry::Change(change));
    }

    fn refused(&self, action: Action) -> Refusal {
        self.state.check(&self.change_of(What::Action(action))).expect_err("it is refused")
    }

    fn change_of(&self, what: What) -> Change {
        match what {
            What::Action(action) => change(action, self.time),
            What::Change(change) => change,
        }
    }

    /// The same node in a later epoch.
    fn at(&self, epoch: Epoch) -> World {
        World { epoch, seq: 0, ..self.clone() }
    }
}

enum What {
    Action(Action),
    Change(Change),
}

impl From<Action> for What {
    fn from(action: Action) -> What {
        What::Action(action)
    }
}

impl From<Change> for What {
    fn from(change: Change) -> What {
        What::Change(change)
    }
}

fn change(action: Action, time: i64) -> Change {
    Change { author: "root".to_owned(), origin: "127.0.0.1".to_owned(), time, action, alone: false }
}

fn put(name: &str, body: Body, base: Option<u64>) -> Action {
    Action::Put { name: name.to_owned(), body, base }
}

fn remove(kind: Kind, name: &str) -> Action {
    Action::Remove { kind, name: name.to_owned() }
}

fn user(role: Role, password: u8) -> Body {
    let password = PasswordHash {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
        salt: vec![password; 16].into(),
        hash: vec![password; 32].into(),
    };
    Body::User(User { role, password })
}

fn token(secret: u8) -> Body {
    Body::Token(Token { role: Role::Viewer, digest: Digest::new([secret; 32]), expires: None })
}

fn numbered_token(number: usize) -> Body {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64 + 1000).to_le_bytes());
    Body::Token(Token { role: Role::Viewer, digest: Digest::new(bytes), expires: None })
}

fn login(user: &str, secret: u8, expires: i64) -> Action {
    let session = Session { user: user.to_owned(), expires };
    put(&Digest::new([secret; 32]).to_string(), Body::Session(session), Some(0))
}

fn site(number: u8) -> Configuration {
    let file =
        ConfigurationFile { name: "twinhub.toml".into(), size: 10, pieces: vec![Digest::new([number; 32])] };
    Configuration { message: "why".into(), hash: number.into(), files: vec![file], rolled_back_to: None }
}

fn configuration(number: u8) -> Body {
    Body::Configuration(site(number))
}
