//! KNX Secure between this product and xknx: each is a client of the gateway, and both hear each other through it.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::wildcard_enum_match_arm, reason = "each test looks for one action")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use twinhub_knx_protocol::cemi::LData;
use twinhub_knx_protocol::ip::{HostProtocol, Hpai, StreamReader};
use twinhub_knx_protocol::keyring::Keyring;
use twinhub_knx_protocol::secure::data::{DataSecure, Refusal};
use twinhub_knx_protocol::secure::{Key, PrivateKey, Secret, SecureTunnel, SessionConfig, session};
use twinhub_knx_protocol::tunnel::{Action, Input, Output, ReadOutcome, Reason, SendOutcome};
use twinhub_knx_protocol::{Apdu, GroupAddress, IndividualAddress, Moment, Payload, Priority, TunnelConfig};
use twinhub_peers::{KnxGateway, KnxGatewayOptions, KnxSlot, SecureXknx};

#[test]
fn xknx_and_this_client_talk_through_secure_tunnels() {
    let gateway = gateway();
    let port = gateway.address().port().to_string();
    let mut xknx =
        SecureXknx::connect(&[&secure_xknx(&port)[..], &["--user", "2", "--password", "secret"]].concat())
            .unwrap();
    let mut ours = Client::tcp(gateway.address(), Some(session(3, "other", "trustme")));
    ours.connect();
    assert_eq!(gateway.clients(), [address(241), address(242)]);

    xknx.done("write 1/2/3 1").unwrap();
    let heard = ours.wait_for(|action| match action {
        Action::Received(telegram) => Some(telegram.clone()),
        _ => None,
    });
    assert_eq!(heard.source, address(241));
    assert_eq!(heard.group_apdu(), Some((GROUP, &Apdu::GroupValueWrite(Payload::Small(1)))));

    ours.write(7, Payload::Bytes(vec![0x0c, 0x33]));
    assert!(matches!(ours.sent(7), SendOutcome::Confirmed { .. }));
    xknx.wait_for(|line| line == "telegram 1.1.242 1/2/3 GroupValueWrite 0c33").unwrap();

    // A read of this client, answered by xknx.
    ours.input(Input::Read { id: 8, group: GROUP });
    ours.run_until(|| gateway.telegrams().iter().any(|telegram| telegram.apdu == Apdu::GroupValueRead));
    xknx.wait_for(|line| line == "telegram 1.1.242 1/2/3 GroupValueRead -").unwrap();
    xknx.done("response 1/2/3 17").unwrap();
    let outcome = ours.wait_for(|action| match action {
        Action::ReadDone { id: 8, outcome } => Some(outcome.clone()),
        _ => None,
    });
    let payload = Payload::Bytes(vec![0x17]);
    assert_eq!(outcome, ReadOutcome::Answered { source: address(241), payload });
    assert_eq!(ours.tunnel.session_counters(), session::Counters::default());

    // Both leave in order; the gateway has all its tunnels back.
    xknx.order("stop").unwrap();
    xknx.wait_for(|line| line == "STOPPED").unwrap();
    ours.input(Input::Stop);
    assert_eq!(ours.reason(), Reason::Stopped);
    assert!(gateway.clients().is_empty());
}

#[test]
fn xknx_is_refused_with_a_wrong_password_user_or_device() {
    let gateway = gateway();
    let port = gateway.address().port().to_string();
    for (user, password, code) in
        [("2", "wrong", "trustme"), ("9", "secret", "trustme"), ("2", "secret", "another")]
    {
        let options = [
            "--kind",
            "tcp-secure",
            "--gateway",
            "127.0.0.1",
            "--port",
            &port,
            "--authentication",
            code,
            "--user",
            user,
            "--password",
            password,
        ];
        let mut xknx = SecureXknx::start(&options).unwrap();
        xknx.wait_for(|line| line.starts_with("FAILED")).unwrap();
        assert!(gateway.clients().is_empty());
    }
}

#[test]
fn this_client_is_refused_with_the_reason() {
    let gateway = gateway();
    for (user, password, code, reason) in [
        (2, "wrong", "trustme", session::Reason::WrongUser { user: 2 }),
        (9, "secret", "trustme", session::Reason::WrongUser { user: 9 }),
        (2, "secret", "another", session::Reason::WrongDevice),
    ] {
        let mut ours = Client::tcp(gateway.address(), Some(session(user, password, code)));
        ours.start();
        assert_eq!(ours.reason(), Reason::Session(reason));
    }
    let config = KnxGatewayOptions { secure: None, ..KnxGatewayOptions::default() };
    let plain = KnxGateway::start(config).unwrap();
    let silent =
        SessionConfig { response_timeout: Duration::from_millis(300), ..session(2, "secret", "trustme") };
    let mut ours = Client::tcp(plain.address(), Some(silent));
    ours.start();
    let reason = ours.reason();
    assert!(matches!(reason, Reason::Session(session::Reason::NoResponse { .. })), "{reason}");
}

#[test]
fn a_session_over_udp_carries_a_tunnel_over_udp() {
    let gateway = gateway();
    let mut ours = Client::udp(gateway.address(), Some(session(2, "secret", "trustme")));
    ours.connect();
    gateway.set_value(GROUP, Payload::Small(1));
    ours.write(1, Payload::Small(0));
    assert!(matches!(ours.sent(1), SendOutcome::Confirmed { .. }));
    assert_eq!(gateway.value(GROUP), Some(Payload::Small(0)));
    ours.input(Input::Stop);
    assert_eq!(ours.reason(), Reason::Stopped);
}

#[test]
fn the_same_gateway_gives_plain_tunnels_where_it_is_to() {
    let gateway = KnxGateway::start(KnxGatewayOptions::default()).unwrap();
    let port = gateway.address().port().to_string();
    let xknx =
        |kind| SecureXknx::connect(&["--kind", kind, "--gateway", "127.0.0.1", "--port", &port]).unwrap();
    let mut over_tcp = xknx("tcp");
    let mut over_udp = xknx("udp");
    let mut ours = Client::udp(gateway.address(), None);
    ours.connect();
    over_tcp.done("write 1/2/3 1").unwrap();
    over_udp.wait_for(|line| line == "telegram 1.1.241 1/2/3 GroupValueWrite 1").unwrap();
    over_udp.done("write 1/2/3 0").unwrap();
    over_tcp.wait_for(|line| line == "telegram 1.1.242 1/2/3 GroupValueWrite 0").unwrap();
    for source in [address(241), address(242)] {
        ours.wait_for(|action| match action {
            Action::Received(telegram) if telegram.source == source => Some(()),
            _ => None,
        });
    }
    // The gateway ends it.
    gateway.disconnect_all();
    assert!(matches!(ours.reason(), Reason::ClosedByGateway { .. }));
}

#[test]
fn a_user_gets_its_own_tunnel_only() {
    let gateway = gateway();
    let mut ours = Client::tcp(gateway.address(), Some(session(3, "other", "trustme")));
    ours.connect();
    let mut second = Client::tcp(gateway.address(), Some(session(3, "other", "trustme")));
    second.start();
    assert!(matches!(second.reason(), Reason::Refused { .. }));
    // A plain one is not answered at all.
    let mut plain = Client::tcp(gateway.address(), None);
    plain.tunnel = SecureTunnel::new(TunnelConfig {
        connect_timeout: Duration::from_millis(300),
        ..TunnelConfig::tcp()
    });
    plain.start();
    assert!(matches!(plain.reason(), Reason::NoAnswer { .. }));
    gateway.cut();
    assert_eq!(ours.reason(), Reason::TransportLost);
}

/// Data Secure inside of IP Secure: the gateway sees nothing of what is said, and both clients do.
#[test]
fn xknx_and_this_client_talk_to_a_protected_group() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("project.knxkeys");
    let keyring = write_keyring(&file);
    let file = file.to_str().unwrap();
    let gateway = gateway();
    let port = gateway.address().port().to_string();
    let options =
        ["--user", "2", "--password", "secret", "--keyring", file, "--keyring-password", "password"];
    let mut xknx = SecureXknx::connect(&[&secure_xknx(&port)[..], &options].concat()).unwrap();
    let session = keyring.session(address(242), [0x00, 0xfa, 0, 0, 0, 2]).unwrap();
    let mut ours = Client::tcp(gateway.address(), Some(session));
    let mut data = DataSecure::new(keyring.data(1));
    data.reserve(100);
    ours.tunnel = ours.tunnel.with_data(data);
    ours.connect();

    xknx.done("write 1/2/3 2a01").unwrap();
    let heard = ours.wait_for(|action| match action {
        Action::Received(telegram) => Some(telegram.clone()),
        _ => None,
    });
    let payload = Payload::Bytes(vec![0x2a, 0x01]);
    assert_eq!(heard.group_apdu(), Some((GROUP, &Apdu::GroupValueWrite(payload))));

    ours.write(7, Payload::Small(1));
    assert!(matches!(ours.sent(7), SendOutcome::Confirmed { .. }));
    xknx.wait_for(|line| line == "telegram 1.1.242 1/2/3 GroupValueWrite 1").unwrap();

    ours.input(Input::Read { id: 8, group: GROUP });
    ours.run_until(|| gateway.telegrams().len() == 3);
    xknx.wait_for(|line| line == "telegram 1.1.242 1/2/3 GroupValueRead -").unwrap();
    xknx.done("response 1/2/3 3").unwrap();
    let outcome = ours.wait_for(|action| match action {
        Action::ReadDone { id: 8, outcome } => Some(outcome.clone()),
        _ => None,
    });
    assert_eq!(outcome, ReadOutcome::Answered { source: address(241), payload: Payload::Small(3) });
    for telegram in gateway.telegrams() {
        assert!(matches!(telegram.apdu, Apdu::Other { apci: 0x3f1, .. }), "{telegram:?}");
    }

    // Somebody on the bus repeats a telegram of xknx, and says something in plain: neither is believed.
    let first = gateway.telegrams()[0].clone();
    gateway.say(first.source, first.group, first.apdu);
    gateway.say(address(241), GROUP, Apdu::GroupValueWrite(Payload::Small(0)));
    let mut refusals = Vec::new();
    while refusals.len() < 2 {
        ours.turn();
        refusals.extend(ours.tunnel.data().unwrap().take_refusal());
    }
    assert!(matches!(refusals[..], [Refusal::Replayed { .. }, Refusal::Plain { .. }]), "{refusals:?}");
}

/// A keyring of the gateway's two tunnels, with a key for the group.
fn write_keyring(file: &Path) -> Keyring {
    let tunnel = |device: u8, user: u8, password: &str, sender: u8| {
        let secrets = json!({
            "Type": "Tunneling", "IndividualAddress": address(device).to_string(), "Host": "1.1.0",
            "UserID": user.to_string(), "Password": format!("secret:{password}"), "Authentication": "secret:trustme",
        });
        let senders = address(sender).to_string();
        json!(["Interface", secrets, [["Group", { "Address": GROUP.0.to_string(), "Senders": senders }, []]]])
    };
    let key = format!("key:{}", "5a".repeat(16));
    let groups = json!([["Group", { "Address": GROUP.0.to_string(), "Key": key }, []]]);
    let root = json!({ "Project": "Test", "CreatedBy": "ETS", "Created": "2026-01-02T03:04:05" });
    let tree = json!([
        "Keyring",
        root,
        [tunnel(241, 2, "secret", 242), tunnel(242, 3, "other", 241), ["GroupAddresses", {}, groups],]
    ]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/knx_keyring.py");
    let mut child = Command::new(SecureXknx::python().unwrap())
        .args([script.as_os_str(), "write".as_ref(), file.as_os_str(), "password".as_ref()])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(tree.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    Keyring::read(&std::fs::read(file).unwrap(), &Secret::from("password")).unwrap()
}

const GROUP: GroupAddress = GroupAddress(0x0a03);
const SOON: Duration = Duration::from_secs(20);

const fn address(device: u8) -> IndividualAddress {
    IndividualAddress(0x1100 | device as u16)
}

fn gateway() -> KnxGateway {
    let users = [(2, Secret::from("secret")), (3, Secret::from("other"))];
    KnxGateway::start(KnxGatewayOptions {
        slots: [(241, 2), (242, 3)]
            .map(|(device, user)| KnxSlot { address: address(device), user: Some(user) })
            .to_vec(),
        secure: Some((Secret::from("trustme"), BTreeMap::from(users))),
        takes_plain: false,
        ..KnxGatewayOptions::default()
    })
    .unwrap()
}

fn secure_xknx(port: &str) -> [&str; 8] {
    ["--kind", "tcp-secure", "--gateway", "127.0.0.1", "--port", port, "--authentication", "trustme"]
}

fn session(user: u8, password: &str, code: &str) -> SessionConfig {
    let user_key = Key::of_user(&Secret::from(password)).unwrap();
    let device_key = Key::of_device(&Secret::from(code)).unwrap();
    SessionConfig::new(user, user_key, Some(device_key), [0x00, 0xfa, 0, 0, 0, 2])
}

/// The tunnel with a socket: the smallest owner that there can be.
struct Client {
    tunnel: SecureTunnel,
    socket: Socket,
    began: Instant,
    told: VecDeque<Action>,
}

enum Socket {
    Tcp(TcpStream, StreamReader),
    Udp(UdpSocket),
}

impl Client {
    fn tcp(gateway: SocketAddr, session: Option<SessionConfig>) -> Client {
        let stream = TcpStream::connect(gateway).unwrap();
        stream.set_nodelay(true).unwrap();
        Client::new(TunnelConfig::tcp(), session, Socket::Tcp(stream, StreamReader::new()))
    }

    fn udp(gateway: SocketAddr, session: Option<SessionConfig>) -> Client {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(gateway).unwrap();
        let SocketAddr::V4(own) = socket.local_addr().unwrap() else { panic!("IPv6") };
        let own: SocketAddrV4 = own;
        let control = Hpai { protocol: HostProtocol::Udp, address: *own.ip(), port: own.port() };
        let session = session.map(|session| SessionConfig { control, ..session });
        Client::new(TunnelConfig::udp(control), session, Socket::Udp(socket))
    }

    fn new(config: TunnelConfig, session: Option<SessionConfig>, socket: Socket) -> Client {
        let tunnel = SecureTunnel::new(config);
        let tunnel = match session {
            Some(session) => tunnel.with_session(session),
            None => tunnel,
        };
        Client { tunnel, socket, began: Instant::now(), told: VecDeque::new() }
    }

    fn start(&mut self) {
        let mut random = [0; 32];
        std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
        self.tunnel.set_private_key(PrivateKey::new(random));
        self.input(Input::Start);
    }

    fn connect(&mut self) {
        self.start();
        self.wait_for(|action| matches!(action, Action::Connected { .. }).then_some(()));
    }

    fn write(&mut self, id: u64, payload: Payload) {
        let telegram = LData::group_request(GROUP, Priority::Low, Apdu::GroupValueWrite(payload));
        self.input(Input::Send { id, telegram });
    }

    fn sent(&mut self, wanted: u64) -> SendOutcome {
        self.wait_for(|action| match action {
            Action::Sent { id, outcome } if *id == wanted => Some(outcome.clone()),
            _ => None,
        })
    }

    fn reason(&mut self) -> Reason {
        self.wait_for(|action| match action {
            Action::Disconnected { reason } => Some(*reason),
            _ => None,
        })
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.began.elapsed().as_nanos()).unwrap())
    }

    /// Takes an input, and gives the moment of the next wake-up.
    fn input(&mut self, input: Input) -> Moment {
        let now = self.now();
        self.tunnel.handle_input(input, now);
        loop {
            match self.tunnel.poll_output() {
                Output::Action(Action::Transmit { frame, .. }) => match &mut self.socket {
                    Socket::Tcp(stream, _) => drop(stream.write_all(&frame)),
                    Socket::Udp(socket) => drop(socket.send(&frame)),
                },
                Output::Action(action) => self.told.push_back(action),
                Output::Timeout(moment) => return moment,
            }
        }
    }

    fn wait_for<T>(&mut self, find: impl Fn(&Action) -> Option<T>) -> T {
        let deadline = Instant::now() + SOON;
        loop {
            while let Some(action) = self.told.pop_front() {
                if let Some(found) = find(&action) {
                    return found;
                }
            }
            assert!(Instant::now() < deadline, "not within {SOON:?}");
            self.turn();
        }
    }

    fn run_until(&mut self, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + SOON;
        while !is_so() {
            assert!(Instant::now() < deadline, "not within {SOON:?}");
            self.turn();
        }
    }

    /// Waits for the next input, or for a moment.
    fn turn(&mut self) {
        let wake = self.input(Input::Wakeup);
        let wait = wake.since(self.now()).clamp(Duration::from_millis(1), Duration::from_millis(20));
        for input in self.receive(wait) {
            self.input(input);
        }
    }

    fn receive(&mut self, wait: Duration) -> Vec<Input> {
        let mut buffer = [0; 2048];
        let received = match &mut self.socket {
            Socket::Tcp(stream, _) => {
                stream.set_read_timeout(Some(wait)).unwrap();
                stream.read(&mut buffer)
            }
            Socket::Udp(socket) => {
                socket.set_read_timeout(Some(wait)).unwrap();
                socket.recv(&mut buffer)
            }
        };
        match (received, &mut self.socket) {
            (Ok(0), Socket::Tcp(..)) => vec![Input::TransportLost],
            (Ok(count), Socket::Tcp(_, reader)) => {
                reader.push(&buffer[..count]).unwrap();
                let mut inputs = Vec::new();
                while let Some(frame) = reader.next_frame().unwrap() {
                    inputs.push(Input::Frame(frame.to_vec()));
                }
                inputs
            }
            (Ok(count), Socket::Udp(_)) => vec![Input::Frame(buffer[..count].to_vec())],
            (Err(error), Socket::Tcp(..)) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                vec![Input::TransportLost]
            }
            (Err(_), _) => Vec::new(),
        }
    }
}
