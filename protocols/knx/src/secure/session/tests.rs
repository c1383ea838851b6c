use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ip::Hpai;
use crate::secure::Secret;

/// The session of the example of the standard, AN159 (v06), annex A: its private key, and all that goes over the wire.
#[test]
fn a_session_is_opened_with_the_bytes_of_the_example() {
    let user_key = Key::of_user(&Secret::from("secret")).unwrap();
    let device_key = Key::of_device(&Secret::from("trustme")).unwrap();
    let config = SessionConfig::new(1, user_key, Some(device_key), [0x00, 0xfa, 0x12, 0x34, 0x56, 0x78]);
    let mut session = Session::new(config);
    let private_key =
        PrivateKey::new(array("b8fabd62665d8b9e8a9d8b1f4bca42c8c2789a6110f50e9dd785b3ede883f378"));
    session.handle_input(Input::Start { private_key }, Moment::ZERO);
    let request =
        "06100951002e 0802000000000000 0aa227b4fd7a32319ba9960ac036ce0e5c4507b5ae55161f1078b1dcfb3cb631";
    assert_eq!(transmitted(&mut session), [bytes(request)]);
    let response = "061009520038 0001 bdf099909923143ef0a5de0b3be3687bc5bd3cf5f9e6f901699cd870ec1ff824
                    a922505aaa436163570bd5494c2df2a3";
    session.handle_input(Input::Frame(bytes(response)), Moment::ZERO);
    let authenticate = &transmitted(&mut session)[0];
    // The tag of the example is another one than devices and this client have, so only what it does not touch is equal.
    assert_eq!(authenticate[..20], bytes("06100950003e 0001 000000000000 00fa12345678"));
    let status =
        "06100950002e 0001 000000000000 00faaaaaaaaa affe 26156db5c749888f a373c3e0b4bde4497c395e4b1c2f46a1";
    session.handle_input(Input::Frame(bytes(status)), Moment::ZERO);
    assert_eq!(session.poll_output(), Output::Action(Action::Opened { session: 1 }));
}

#[test]
fn the_states_are_walked_as_in_the_diagram() {
    let mut world = World::new(Options::default());
    world.open();
    world.input(Input::Send { to: Endpoint::Data, frame: INNER.to_vec() });
    assert_eq!(world.received(), [INNER.to_vec()], "by the server");
    world.answer(INNER);
    assert_eq!(world.told(), [Action::Received(INNER.to_vec())]);
    world.input(Input::Stop);
    assert_eq!(world.told(), [Action::Closed { reason: Reason::Stopped }]);
    assert!(world.is_server_closed, "the server is told");
    assert_eq!(world.session.poll_output(), Output::Timeout(Moment::NEVER));
    world.open();
}

#[test]
fn a_wrong_password_and_an_unknown_user_are_told_with_the_user() {
    for options in [
        Options { user_key: Key::new([9; 16]), ..Options::default() },
        Options { user: 7, ..Options::default() },
    ] {
        let user = options.user;
        let mut world = World::new(options);
        world.start();
        assert_eq!(world.told(), [Action::Closed { reason: Reason::WrongUser { user } }]);
        assert!(world.is_server_closed);
    }
}

#[test]
fn a_device_that_is_another_one_is_not_told_the_password() {
    let mut world = World::new(Options { device_key: Some(Key::new([9; 16])), ..Options::default() });
    world.start();
    assert_eq!(world.told(), [Action::Closed { reason: Reason::WrongDevice }]);
    assert_eq!(world.server.as_ref().unwrap().user(), None);

    let mut world = World::new(Options { device_key: None, ..Options::default() });
    world.open();
}

#[test]
fn silence_ends_the_handshake_with_its_length() {
    let mut world = World::new(Options::default());
    world.is_cut = true;
    world.start();
    world.pass(Duration::from_secs(10));
    assert_eq!(world.told(), [Action::Closed { reason: Reason::NoResponse { waited_ms: 10_000 } }]);

    world.is_cut = false;
    world.start_without_status();
    world.answer(INNER);
    assert_eq!(world.told(), [], "nothing is believed before the status");
    world.is_cut = true;
    world.pass(Duration::from_secs(10));
    assert_eq!(world.told(), [Action::Closed { reason: Reason::NoStatus { waited_ms: 10_000 } }]);
}

#[test]
fn a_session_that_cannot_be_had_is_told() {
    for (session, public_key, reason) in [
        (0, [7; 32], Reason::NoFreeSession),
        (1, [0; 32], Reason::WeakKey),
        (1, [7; 32], Reason::WrongDevice),
    ] {
        let device_key = (reason == Reason::WrongDevice).then(|| Key::new([2; 16]));
        let mut world = World::new(Options { device_key, ..Options::default() });
        world.is_cut = true;
        world.start();
        let response = SecureFrame::SessionResponse { session, public_key, code: [0; 16] };
        world.input(Input::Frame(Frame::Secure(response).encode().unwrap()));
        assert_eq!(world.told(), [Action::Closed { reason }]);
    }
}

#[test]
fn an_idle_session_is_kept_alive_and_a_dead_one_is_ended_by_the_server() {
    let mut world = World::new(Options::default());
    world.open();
    for _ in 0..10 {
        world.pass(Duration::from_secs(50));
    }
    assert_eq!(world.told(), []);
    assert!(!world.is_server_closed);
    world.is_cut = true;
    world.pass(Duration::from_secs(60));
    world.is_cut = false;
    let now = world.now;
    let actions = world.server.as_mut().unwrap().handle_wakeup(now);
    world.on_server(actions);
    assert_eq!(world.told(), [Action::Closed { reason: Reason::TimedOut }]);
}

#[test]
fn what_is_replayed_forged_or_plain_is_counted_and_ends_nothing() {
    let mut world = World::new(Options::default());
    world.open();
    let wrapped = world.server.as_mut().unwrap().send(INNER).unwrap();
    world.input(Input::Frame(wrapped.clone()));
    assert_eq!(world.told(), [Action::Received(INNER.to_vec())]);
    world.input(Input::Frame(wrapped));
    let mut forged = world.server.as_mut().unwrap().send(INNER).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    world.input(Input::Frame(forged));
    world.input(Input::Frame(INNER.to_vec()));
    let mut other = world.server.as_mut().unwrap().send(INNER).unwrap();
    other[7] ^= 1;
    world.input(Input::Frame(other));
    // A wrapper in a wrapper.
    let inner = world.server.as_mut().unwrap().send(INNER).unwrap();
    world.answer(&inner);
    world.input(Input::Frame(vec![1, 2, 3]));
    assert_eq!(world.told(), []);
    let counters = Counters { replayed: 1, forged: 1, plain: 1, other_sessions: 1, malformed: 2, unsent: 0 };
    assert_eq!(world.session.counters(), counters);
    world.answer(INNER);
    assert_eq!(world.told(), [Action::Received(INNER.to_vec())]);
}

#[test]
fn the_last_sequence_number_ends_the_session() {
    let mut world = World::new(Options::default());
    world.open();
    let State::Open(channel) = &mut world.session.state else { panic!("not open") };
    channel.next = SEQUENCE_MAX;
    world.input(Input::Send { to: Endpoint::Data, frame: INNER.to_vec() });
    assert_eq!(world.received(), [INNER.to_vec()]);
    world.input(Input::Send { to: Endpoint::Data, frame: INNER.to_vec() });
    assert_eq!(world.told(), [Action::Closed { reason: Reason::SequenceExhausted }]);
}

#[test]
fn nothing_secret_is_in_what_is_printed() {
    let mut world = World::new(Options::default());
    world.open();
    let shown = format!("{:?} {:?}", world.session, world.server);
    // Keys are of the bytes 1 and 2.
    assert!(!shown.contains("1, 1, 1") && !shown.contains("2, 2, 2"), "{shown}");
}

proptest! {
    #[test]
    fn whatever_comes_the_session_lives_on(
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..20),
        services in proptest::collection::vec(0x0950_u16..0x0956, 20),
        is_open: bool,
    ) {
        let mut world = World::new(Options { device_key: None, ..Options::default() });
        if is_open {
            world.open();
        }
        for (body, service) in frames.iter().zip(&services) {
            let length = u16::try_from(body.len() + 6).unwrap();
            let mut frame = vec![0x06, 0x10];
            frame.extend_from_slice(&service.to_be_bytes());
            frame.extend_from_slice(&length.to_be_bytes());
            frame.extend_from_slice(body);
            world.session.handle_input(Input::Frame(frame), world.now);
        }
        prop_assert_eq!(world.session.is_open(), is_open);
    }
}

/// A whole frame: a connection state response.
const INNER: &[u8] = &[0x06, 0x10, 0x02, 0x08, 0x00, 0x08, 0x05, 0x00];

struct Options {
    user: u8,
    user_key: Key,
    device_key: Option<Key>,
}

impl Default for Options {
    fn default() -> Options {
        Options { user: 3, user_key: Key::new([1; 16]), device_key: Some(Key::new([2; 16])) }
    }
}

/// A session and its server, on a wire that can be cut.
struct World {
    session: Session,
    server: Option<Server>,
    now: Moment,
    is_cut: bool,
    drops_status: bool,
    is_server_closed: bool,
    told: Vec<Action>,
    received: Vec<Vec<u8>>,
}

impl World {
    fn new(options: Options) -> World {
        let config = SessionConfig::new(options.user, options.user_key, options.device_key, [5; 6]);
        World {
            session: Session::new(config),
            server: None,
            now: Moment::from_millis(1000),
            is_cut: false,
            drops_status: false,
            is_server_closed: false,
            told: Vec::new(),
            received: Vec::new(),
        }
    }

    fn start(&mut self) {
        self.is_server_closed = false;
        self.input(Input::Start { private_key: PrivateKey::new([0x55; 32]) });
    }

    fn start_without_status(&mut self) {
        self.drops_status = true;
        self.start();
        self.drops_status = false;
    }

    fn open(&mut self) {
        self.start();
        assert_eq!(self.told(), [Action::Opened { session: 1 }]);
        assert_eq!(self.server.as_ref().unwrap().user(), Some(3));
    }

    fn input(&mut self, input: Input) {
        self.session.handle_input(input, self.now);
        while let Output::Action(action) = self.session.poll_output() {
            let Action::Transmit { frame, .. } = action else {
                self.told.push(action);
                continue;
            };
            if !self.is_cut {
                self.on_client(&frame);
            }
        }
    }

    fn on_client(&mut self, frame: &[u8]) {
        let Frame::Secure(frame) = Frame::decode(frame).unwrap() else { panic!("in plain") };
        let now = self.now;
        let SecureFrame::SessionRequest { control, public_key } = frame else {
            let actions = self.server.as_mut().unwrap().handle_frame(frame, now);
            return self.on_server(actions);
        };
        assert_eq!(control, Hpai::TCP);
        let config = ServerConfig {
            device_key: Key::new([2; 16]),
            users: BTreeMap::from([(3, Key::new([1; 16]))]),
            serial: [6; 6],
            authenticate_timeout: Duration::from_secs(10),
            silence_max: Duration::from_secs(60),
        };
        let private_key = PrivateKey::new([0x66; 32]);
        let (server, response) = Server::accept(config, 1, public_key, &private_key, now).unwrap();
        self.server = Some(server);
        self.input(Input::Frame(response));
    }

    fn on_server(&mut self, actions: Vec<ServerAction>) {
        for action in actions {
            match action {
                ServerAction::Transmit(_) if self.drops_status => {}
                ServerAction::Transmit(frame) => self.input(Input::Frame(frame)),
                ServerAction::Authenticated { user } => assert_eq!(user, 3),
                ServerAction::Received(frame) => self.received.push(frame),
                ServerAction::Closed => self.is_server_closed = true,
            }
        }
    }

    fn answer(&mut self, frame: &[u8]) {
        let wrapped = self.server.as_mut().unwrap().send(frame).unwrap();
        self.input(Input::Frame(wrapped));
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.input(Input::Wakeup);
        if let Some(server) = &mut self.server
            && !self.is_cut
        {
            let actions = server.handle_wakeup(self.now);
            self.on_server(actions);
        }
    }

    fn told(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.told)
    }

    fn received(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.received)
    }
}

fn transmitted(session: &mut Session) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    while let Output::Action(action) = session.poll_output() {
        let Action::Transmit { frame, .. } = action else { panic!("{action:?}") };
        frames.push(frame);
    }
    frames
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}
