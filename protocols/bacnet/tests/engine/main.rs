//! Two engines that speak through a network in memory, which loses, doubles and swaps what a seed or a list says.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail the test")]

mod net;

use std::time::Duration;

use net::{Chance, Fault, Net, long, peer, settings};
use twinhub_bacnet_protocol::apdu::{Apdu, MaxSegments, Segment};
use twinhub_bacnet_protocol::binding::{BindingSettings, Bindings};
use twinhub_bacnet_protocol::engine::{
    Action, Answer, Engine, Failure, Input, Output, PeerLimits, Reply, RequestId, Settings,
};
use twinhub_bacnet_protocol::link::{Heard, heard};
use twinhub_bacnet_protocol::moment::Moment;
use twinhub_bacnet_protocol::names::{
    AbortReason, ConfirmedService, ErrorClass, ErrorCode, RejectReason, Segmentation,
};
use twinhub_bacnet_protocol::services::{IAm, ServiceError};
use twinhub_bacnet_protocol::tag::Message;

#[test]
fn a_list_of_700_objects_comes_in_segments_of_every_length_and_window() {
    for (max_apdu, window) in [(50, 127), (128, 16), (206, 1), (480, 2), (480, 127), (1024, 3), (1476, 4)] {
        let mut net = Net::new(settings(max_apdu, window), settings(1476, 127), 1);
        net.read_list(1);
        net.run();
        assert_eq!(net.list(1).len(), 702, "{max_apdu} bytes, window {window}");
        assert_eq!(net.client.counters(), net.server.counters(), "nothing had to be done again");
    }
}

#[test]
fn every_window_from_1_to_127_works_in_both_directions() {
    for window in 1..=127 {
        for (ours, theirs) in [(window, 127), (127, window), (window, window)] {
            let mut net = Net::new(settings(50, ours), settings(50, theirs), 1);
            net.echo(1, 6000);
            net.run();
            assert_eq!(net.results[&1], Ok(Reply::Complex(long(6000))), "{ours} and {theirs}");
        }
    }
}

/// A request in segments whose answer has segments, too: whichever single packet is lost, it still completes.
#[test]
fn the_loss_of_any_single_packet_is_mended() {
    for window in [1, 2, 3, 5, 16] {
        let mut whole = Net::new(settings(128, window), settings(128, window), 1);
        whole.echo(1, 3000);
        whole.run();
        let packets = whole.sent;
        assert!(packets > 50, "{packets}");
        for lost in 0..packets {
            let mut net = Net::new(settings(128, window), settings(128, window), 1);
            net.fault = Fault::Lose(lost);
            net.echo(1, 3000);
            net.run();
            assert_eq!(net.results[&1], Ok(Reply::Complex(long(3000))), "packet {lost} of window {window}");
            assert!(net.now.since_start() < Duration::from_secs(30), "packet {lost}: {:?}", net.now);
        }
    }
}

#[test]
fn a_packet_that_comes_twice_or_late_changes_nothing() {
    for window in [1, 4, 16] {
        for place in 0..60 {
            for fault in [Fault::Double(place), Fault::Delay(place)] {
                let mut net = Net::new(settings(128, window), settings(128, window), 1);
                net.fault = fault;
                net.echo(1, 3000);
                net.run();
                assert_eq!(net.results[&1], Ok(Reply::Complex(long(3000))), "{fault:?}, window {window}");
            }
        }
    }
}

/// A bad line: each packet is lost, doubled or delayed with some probability. Some requests fail; none hangs, none
/// is answered with something else, and nothing panics.
#[test]
fn a_bad_line_never_gives_wrong_answers() {
    let (mut done, mut failed) = (0, 0);
    for seed in 0..150 {
        let mut net = Net::new(settings(128, 8), settings(206, 8), seed);
        net.fault = Fault::Random { permille: 40 };
        for request in 0..12 {
            net.echo(request, 100 * usize::try_from(request).unwrap());
        }
        net.run();
        for request in 0..12 {
            match &net.results[&request] {
                Ok(reply) => {
                    done += 1;
                    assert_eq!(*reply, Reply::Complex(long(100 * usize::try_from(request).unwrap())));
                }
                Err(_) => failed += 1,
            }
        }
    }
    assert!(done > 50 * failed, "{done} done, {failed} failed");
}

#[test]
fn a_peer_that_never_answers_ends_in_time() {
    let mut net = Net::new(settings(1476, 16), settings(1476, 16), 1);
    net.fault = Fault::Random { permille: 1000 };
    net.echo(1, 10);
    net.run();
    let waited = Duration::from_secs(12);
    assert_eq!(net.results[&1], Err(Failure::Silent { attempts: 4, waited }));
    assert_eq!(net.now.since_start(), waited);
    net.echo(2, 100_000);
    net.run();
    assert!(matches!(net.results[&2], Err(Failure::Silent { .. })));
    assert_eq!(net.now.since_start(), waited + Duration::from_secs(8));
}

#[test]
fn the_first_segment_of_an_answer_is_acknowledged_at_once() {
    let mut engine = Engine::new(settings(480, 16), 1);
    ask(&mut engine, 1, 10);
    let invoke_id = invoke_id_of(&transmitted(&mut engine)[0]);
    receive(&mut engine, &answer_segment(invoke_id, 0, true), Moment::START);
    let ack = transmitted(&mut engine);
    assert_eq!(ack, [segment_ack(invoke_id, 0, 10)]);
}

/// Walks the client's diagram: queue, await, segmented confirmation, done.
#[test]
fn a_client_goes_through_its_states() {
    let mut engine = Engine::new(settings(480, 16), 1);
    ask(&mut engine, 1, 10);
    let request = transmitted(&mut engine);
    let invoke_id = invoke_id_of(&request[0]);
    assert_eq!(next(&mut engine), Moment::START + Duration::from_secs(3), "it awaits the confirmation");
    engine.handle_input(Input::Wake, Moment::START + Duration::from_secs(3));
    assert_eq!(transmitted(&mut engine), request, "the very same request again");
    let later = Moment::START + Duration::from_secs(4);
    receive(&mut engine, &answer_segment(invoke_id, 3, true), later);
    assert!(transmitted(&mut engine).is_empty(), "not the first segment");
    receive(&mut engine, &answer_segment(invoke_id, 0, true), later);
    assert_eq!(transmitted(&mut engine), [segment_ack(invoke_id, 0, 10)]);
    assert_eq!(next(&mut engine), later + Duration::from_secs(8), "it waits for the next segment");
    receive(&mut engine, &Apdu::SimpleAck { invoke_id, service: 15 }.encode(), later);
    receive(&mut engine, &answer_segment(invoke_id, 1, false), later);
    assert_eq!(transmitted(&mut engine), [segment_ack(invoke_id, 1, 10)]);
    assert_eq!(results(&mut engine), [(1, Ok(Reply::Complex(vec![0, 1])))]);
    assert_eq!(next(&mut engine), Moment::NEVER, "nothing is waited for");

    ask(&mut engine, 2, 10);
    let invoke_id = invoke_id_of(&transmitted(&mut engine)[0]);
    receive(&mut engine, &answer_segment(invoke_id, 0, true), Moment::START);
    transmitted(&mut engine);
    engine.handle_input(Input::Wake, Moment::START + Duration::from_secs(8));
    let abort = Apdu::Abort { from_server: false, invoke_id, reason: AbortReason::TSM_TIMEOUT };
    assert_eq!(transmitted(&mut engine), [abort.encode()]);
    assert_eq!(results(&mut engine), [(2, Err(Failure::GivenUp(AbortReason::TSM_TIMEOUT)))]);
}

/// Walks the server's diagram: segmented request, await response, segmented response, gone.
#[test]
fn a_server_goes_through_its_states() {
    let mut engine = Engine::new(settings(480, 16), 1);
    let request = |sequence, is_followed| {
        let segment = Some(Segment { is_followed, sequence, window: 4 });
        request(segment, true, &[sequence])
    };
    receive(&mut engine, &request(0, true), Moment::START);
    assert_eq!(transmitted(&mut engine), [served_ack(0, 4)]);
    receive(&mut engine, &request(1, false), Moment::START);
    let actions = drain(&mut engine);
    let Some(Action::Asked { token, payload, .. }) = actions.last() else { panic!("{actions:?}") };
    assert_eq!(payload, &[0, 1]);
    receive(&mut engine, &request(1, false), Moment::START);
    assert_eq!(transmitted(&mut engine), [served_ack(1, 4)], "its acknowledgment was lost");
    let answer = Answer::Complex(vec![7; 600]);
    engine.handle_input(Input::Answer { token: *token, answer: answer.clone() }, Moment::START);
    let first = transmitted(&mut engine);
    assert_eq!(first.len(), 1, "the first segment is sent alone");
    engine.handle_input(Input::Wake, Moment::START + Duration::from_secs(2));
    assert_eq!(transmitted(&mut engine), first);
    let ack = |sequence| {
        let (is_negative, from_server) = (false, false);
        Apdu::SegmentAck { is_negative, from_server, invoke_id: 9, sequence, window: 4 }.encode()
    };
    receive(&mut engine, &ack(0), Moment::START);
    assert_eq!(transmitted(&mut engine).len(), 1);
    receive(&mut engine, &ack(1), Moment::START);
    assert_eq!(next(&mut engine), Moment::NEVER, "nothing is waited for");
    engine.handle_input(Input::Answer { token: *token, answer }, Moment::START);
    assert!(transmitted(&mut engine).is_empty());
    assert_eq!(engine.counters().late_answers, 1);
}

#[test]
fn a_request_that_comes_again_while_it_is_carried_out_is_not_carried_out_again() {
    let mut engine = Engine::new(settings(480, 16), 1);
    for _ in 0..3 {
        receive(&mut engine, &request(None, true, &[1]), Moment::START);
    }
    let asked =
        drain(&mut engine).into_iter().filter(|action| matches!(action, Action::Asked { .. })).count();
    assert_eq!(asked, 1);
    assert_eq!(engine.counters().duplicates, 2);
    engine.handle_input(Input::Wake, Moment::START + Duration::from_secs(10));
    let reason = AbortReason::APPLICATION_EXCEEDED_REPLY_TIME;
    assert_eq!(
        transmitted(&mut engine),
        [Apdu::Abort { from_server: true, invoke_id: 9, reason }.encode()],
        "an answer that never comes ends it"
    );
}

#[test]
fn answers_that_a_client_cannot_take_are_aborted() {
    for (takes_segments, bytes, reason) in
        [(false, 600, AbortReason::SEGMENTATION_NOT_SUPPORTED), (true, 100_000, AbortReason::BUFFER_OVERFLOW)]
    {
        let mut engine = Engine::new(settings(480, 16), 1);
        receive(&mut engine, &request(None, takes_segments, &[1]), Moment::START);
        let token = match drain(&mut engine).pop() {
            Some(Action::Asked { token, .. }) => token,
            other => panic!("{other:?}"),
        };
        engine.handle_input(Input::Answer { token, answer: Answer::Complex(vec![0; bytes]) }, Moment::START);
        assert_eq!(
            transmitted(&mut engine),
            [Apdu::Abort { from_server: true, invoke_id: 9, reason }.encode()]
        );
    }
}

#[test]
fn errors_rejects_and_aborts_are_results() {
    let detail = ServiceError::new(ErrorClass::OBJECT, ErrorCode::UNKNOWN_OBJECT).into();
    let (reject, abort) = (RejectReason::UNRECOGNIZED_SERVICE, AbortReason::BUFFER_OVERFLOW);
    let cases = [
        (Answer::Simple, Ok(Reply::Simple)),
        (Answer::Error(detail), {
            let error = ServiceError::new(ErrorClass::OBJECT, ErrorCode::UNKNOWN_OBJECT);
            Err(Failure::Error(error.into()))
        }),
        (Answer::Reject(reject), Err(Failure::Rejected(reject))),
        (Answer::Abort(abort), Err(Failure::Aborted(abort))),
    ];
    for (answer, result) in cases {
        let mut net = Net::new(settings(480, 16), settings(480, 16), 1);
        net.answer = Some(answer);
        net.echo(1, 10);
        net.run();
        assert_eq!(net.results[&1], result);
    }
}

#[test]
fn four_requests_are_open_and_the_queue_has_an_end() {
    let queue = Settings { queue_per_peer_max: 10, ..settings(480, 16) };
    let mut engine = Engine::new(queue, 1);
    for id in 0..16 {
        ask(&mut engine, id, 10);
    }
    let actions = drain(&mut engine);
    let open = actions.iter().filter(|action| matches!(action, Action::Transmit { .. })).count();
    let full = Err(Failure::QueueFull { max: 10 });
    let refused = actions.iter().filter(|a| matches!(a, Action::Done { result, .. } if *result == full));
    assert_eq!((open, refused.count()), (4, 2));
    assert_eq!(engine.counters().refused_requests, 2);

    engine.handle_input(Input::Stop, Moment::START);
    let actions = drain(&mut engine);
    let stopped = actions.iter().filter(|action| matches!(action, Action::Done { .. })).count();
    assert_eq!((stopped, actions.len()), (14, 18), "four aborts and fourteen ends");
    assert_eq!(next(&mut engine), Moment::NEVER);
}

#[test]
fn a_device_that_takes_one_request_at_a_time_gets_one() {
    let mut engine = Engine::new(settings(480, 16), 1);
    engine.handle_input(Input::Parallel { peer: peer(2), count: 1 }, Moment::START);
    for id in 0..3 {
        ask(&mut engine, id, 10);
    }
    let sent = transmitted(&mut engine);
    assert_eq!(sent.len(), 1);
    let answer = Apdu::SimpleAck { invoke_id: invoke_id_of(&sent[0]), service: 15 }.encode();
    receive(&mut engine, &answer, Moment::START);
    assert_eq!(transmitted(&mut engine).len(), 1);
}

#[test]
fn an_invoke_id_rests_as_long_as_its_answer_may_come() {
    let mut engine = Engine::new(Settings { retries: 0, ..settings(480, 16) }, 7);
    ask(&mut engine, 0, 1);
    let silent = invoke_id_of(&transmitted(&mut engine)[0]);
    let mut now = Moment::START + Duration::from_secs(3);
    engine.handle_input(Input::Wake, now);
    assert!(matches!(results(&mut engine)[0].1, Err(Failure::Silent { attempts: 1, .. })));
    let mut used = Vec::new();
    for id in 1..600 {
        now = now + Duration::from_millis(1);
        ask_at(&mut engine, id, 1, now);
        let invoke_id = invoke_id_of(&transmitted(&mut engine)[0]);
        used.push(invoke_id);
        receive(&mut engine, &Apdu::SimpleAck { invoke_id, service: 15 }.encode(), now);
        assert_eq!(results(&mut engine).len(), 1);
    }
    assert!(!used.contains(&silent));
    assert!(used.windows(255).all(|ids| ids[1..].iter().all(|id| *id != ids[0])), "each comes last");
}

#[test]
fn a_request_that_a_peer_cannot_take_is_told() {
    let mut engine = Engine::new(settings(1476, 16), 1);
    let limits = PeerLimits { max_apdu: 206, segmentation: Segmentation::NONE, segments_max: None };
    engine.handle_input(Input::Learned { peer: peer(2), limits }, Moment::START);
    ask(&mut engine, 1, 203);
    assert_eq!(results(&mut engine), [(1, Err(Failure::TooLong { length: 203, max: 202 }))]);
    ask(&mut engine, 2, 202);
    assert_eq!(transmitted(&mut engine)[0].len(), 206);
}

#[test]
fn open_requests_of_others_have_a_limit() {
    let mut engine = Engine::new(Settings { served_max: 2, ..settings(480, 16) }, 1);
    for host in 1..=3 {
        let apdu = request(None, true, &[1]);
        engine.handle_input(Input::Received { peer: peer(host), apdu: &apdu }, Moment::START);
    }
    let reason = AbortReason::OUT_OF_RESOURCES;
    assert_eq!(transmitted(&mut engine), [Apdu::Abort { from_server: true, invoke_id: 9, reason }.encode()]);
    assert_eq!(engine.counters().refused_served, 1);
}

/// Any bytes in any order, with two open requests and one served: nothing panics, and everything ends.
#[test]
fn random_apdus_are_survived() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let mut engine = Engine::new(settings(128, 4), seed);
        ask(&mut engine, 1, 10);
        ask(&mut engine, 2, 1000);
        let mut now = Moment::START;
        for _ in 0..400 {
            let ids: Vec<u8> = (0..4).map(|_| chance.below(256)).collect();
            let first = chance.below(8) << 4 | chance.below(16);
            let invoke_id =
                if chance.below(2) == 0 { invoke_ids(seed)[usize::from(chance.below(2))] } else { ids[0] };
            let mut bytes =
                vec![first, invoke_id, chance.below(6), chance.below(20), 15, ids[1], ids[2], ids[3]];
            bytes.truncate(usize::from(chance.below(9)));
            now = now + Duration::from_millis(u64::from(chance.below(50)));
            receive(&mut engine, &bytes, now);
            drain(&mut engine);
        }
        for _ in 0..1000 {
            let at = next(&mut engine);
            if at == Moment::NEVER {
                break;
            }
            engine.handle_input(Input::Wake, at);
            drain(&mut engine);
        }
        assert_eq!(next(&mut engine), Moment::NEVER, "seed {seed}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Whole datagrams, as the socket brings them: valid headers of the link and network layer before anything.
    #[test]
    fn hostile_datagrams_are_survived_by_all_layers(
        bodies in proptest::collection::vec(
            (0_u8..13, 0_u8..=255, proptest::collection::vec(0_u8..=255, 0..60)), 1..60,
        ),
    ) {
        let mut engine = Engine::new(settings(128, 4), 3);
        let mut bindings = Bindings::new(BindingSettings::default());
        bindings.want(1, None, Moment::START);
        for id in 0..3 {
            ask(&mut engine, id, 300);
        }
        let mut now = Moment::START;
        for (function, control, body) in bodies {
            let length = u16::try_from(body.len() + 6).unwrap().to_be_bytes();
            let datagram = [&[0x81, function, length[0], length[1], 1, control], body.as_slice()].concat();
            if let Ok(Heard::Apdu { peer, apdu, .. }) = heard(peer(2).link, &datagram) {
                engine.handle_input(Input::Received { peer, apdu }, now);
                if let Ok(i_am) = IAm::decode(apdu.get(2..).unwrap_or_default()) {
                    bindings.on_i_am(peer, &i_am);
                }
            }
            now = now + Duration::from_millis(7);
            for action in drain(&mut engine) {
                if let Action::Asked { token, .. } = action {
                    let answer = Answer::Complex(long(400));
                    engine.handle_input(Input::Answer { token, answer }, now);
                }
            }
        }
        for _ in 0..2000 {
            drain(&mut engine);
            let at = next(&mut engine);
            if at == Moment::NEVER {
                break;
            }
            engine.handle_input(Input::Wake, at);
        }
        drain(&mut engine);
        proptest::prop_assert_eq!(next(&mut engine), Moment::NEVER);
    }
}

fn ask(engine: &mut Engine, id: u64, bytes: usize) {
    ask_at(engine, id, bytes, Moment::START);
}

fn ask_at(engine: &mut Engine, id: u64, bytes: usize, now: Moment) {
    let (service, payload) = (ConfirmedService::WRITE_PROPERTY, long(bytes));
    engine.handle_input(Input::Request { id: RequestId(id), peer: peer(2), service, payload }, now);
}

fn receive(engine: &mut Engine, apdu: &[u8], now: Moment) {
    engine.handle_input(Input::Received { peer: peer(2), apdu }, now);
}

fn drain(engine: &mut Engine) -> Vec<Action> {
    let mut actions = Vec::new();
    while let Output::Action(action) = engine.poll_output() {
        actions.push(action);
    }
    actions
}

/// Takes what is to be sent next, up to what is something else.
fn transmitted(engine: &mut Engine) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    let mut others = Vec::new();
    for action in drain(engine) {
        match action {
            Action::Transmit { apdu, .. } => sent.push(apdu),
            Action::Done { id, result } => others.push((id.0, result)),
            Action::Asked { .. } | Action::Told { .. } => {}
        }
    }
    RESULTS.with_borrow_mut(|results| results.extend(others));
    sent
}

thread_local! {
    /// Results that were met while looking for what is sent.
    static RESULTS: std::cell::RefCell<Vec<(u64, Result<Reply, Failure>)>> = const { std::cell::RefCell::new(Vec::new()) };
}

fn results(engine: &mut Engine) -> Vec<(u64, Result<Reply, Failure>)> {
    transmitted(engine);
    RESULTS.with_borrow_mut(std::mem::take)
}

fn next(engine: &mut Engine) -> Moment {
    match engine.poll_output() {
        Output::Timeout(at) => at,
        Output::Action(action) => panic!("{action:?} was not taken"),
    }
}

fn invoke_id_of(request: &[u8]) -> u8 {
    match Apdu::decode(request) {
        Ok(Apdu::ConfirmedRequest { invoke_id, .. }) => invoke_id,
        other => panic!("{other:?}"),
    }
}

fn answer_segment(invoke_id: u8, sequence: u8, is_followed: bool) -> Vec<u8> {
    let segment = Some(Segment { is_followed, sequence, window: 10 });
    Apdu::ComplexAck { segment, invoke_id, service: 15, payload: &[sequence] }.encode()
}

fn segment_ack(invoke_id: u8, sequence: u8, window: u8) -> Vec<u8> {
    Apdu::SegmentAck { is_negative: false, from_server: false, invoke_id, sequence, window }.encode()
}

fn served_ack(sequence: u8, window: u8) -> Vec<u8> {
    Apdu::SegmentAck { is_negative: false, from_server: true, invoke_id: 9, sequence, window }.encode()
}

fn request(segment: Option<Segment>, takes_segments: bool, payload: &[u8]) -> Vec<u8> {
    let (max_segments, max_apdu) = (MaxSegments::Count(16), 480);
    Apdu::ConfirmedRequest {
        segment,
        takes_segments,
        max_segments,
        max_apdu,
        invoke_id: 9,
        service: 15,
        payload,
    }
    .encode()
}

/// The first two invoke ids of an engine of this seed.
fn invoke_ids(seed: u64) -> [u8; 2] {
    let first = seed.wrapping_add(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0];
    [first, first.wrapping_add(1)]
}
