//! Devices that send what they like.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use twinhub_contract::code;
use twinhub_loader::ValueRef;

use crate::rig::{Got, Rig, item};

/// Spoils the right answer; `None` ends the connection.
type Spoil = Box<dyn FnMut(&[u8], &[u8]) -> Option<Vec<u8>> + Send>;

/// A server whose right answers hold 4242 in each register, and that spoils some of them.
struct Server {
    address: SocketAddr,
    served: Arc<AtomicU64>,
    is_honest: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(mut spoil: Spoil) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (served, is_honest, stop) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let shared = (Arc::clone(&served), Arc::clone(&is_honest), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.2.load(Ordering::SeqCst) {
                    return;
                }
                serve(client.unwrap(), &mut spoil, &shared.0, &shared.1);
            }
        });
        Self { address, served, is_honest, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

/// One connection after the other, one request after the other.
fn serve(mut client: TcpStream, spoil: &mut Spoil, served: &AtomicU64, is_honest: &AtomicBool) {
    let mut request = [0; 260];
    while let Ok(count @ 1..) = client.read(&mut request) {
        // All requests of these tests are of one length, and small enough to come in one piece.
        for request in request[..count].chunks(12) {
            let right = answer(request);
            let bytes = if is_honest.load(Ordering::SeqCst) { Some(right) } else { spoil(request, &right) };
            served.fetch_add(1, Ordering::SeqCst);
            let Some(bytes) = bytes else { return };
            if client.write_all(&bytes).is_err() {
                return;
            }
        }
    }
}

/// The right answer to a read of registers or a write of one.
fn answer(request: &[u8]) -> Vec<u8> {
    if request[7] == 6 {
        return request.to_vec();
    }
    let count = request[11];
    let mut answer = request[..4].to_vec();
    answer.extend([0, 3 + 2 * count, request[6], request[7], 2 * count]);
    for _ in 0..count {
        answer.extend(4242_u16.to_be_bytes());
    }
    answer
}

/// One request at a time, and two.
fn survives(name: &str, spoil: impl FnMut(&[u8], &[u8]) -> Vec<u8> + Clone + Send + 'static) {
    for pipeline in [1, 2] {
        let mut spoil = spoil.clone();
        let spoil = move |request: &[u8], right: &[u8]| {
            let bytes = spoil(request, right);
            (!bytes.is_empty()).then_some(bytes)
        };
        survives_with(&format!("{name}, {pipeline} under way"), pipeline, Box::new(spoil));
    }
}

fn survives_with(name: &str, pipeline: u8, spoil: Spoil) {
    let server = Server::start(spoil);
    let items =
        [item(1, json!({"address": "hr:1"})), item(2, json!({"address": "hr:500", "type": "uint32"}))];
    let settings = json!({
        "timeout": "30ms", "backoff_min": "1ms", "backoff_max": "5ms", "poll": "5ms", "pipeline": pipeline
    });
    let rig = Rig::active(server.address, &settings, &items);
    rig.until(name, |_| server.served.load(Ordering::SeqCst) >= 20);
    rig.seen(|seen| {
        for update in &seen.updates {
            assert!(update.status & 0x8000_0000 != 0, "{name}: {update:?}");
        }
    });
    server.is_honest.store(true, Ordering::SeqCst);
    rig.reads(1, &Got::U64(4242));
    rig.reads(2, &Got::U64(0x1092_1092));
}

#[test]
fn answers_that_do_not_fit_are_never_values() {
    let patch = |at: usize, with: fn(u8) -> u8| {
        move |_: &[u8], right: &[u8]| {
            let mut bytes = right.to_vec();
            bytes[at] = with(bytes[at]);
            bytes
        }
    };
    survives("another transaction", patch(1, |byte| byte.wrapping_add(1)));
    survives("another protocol", patch(2, |_| 1));
    survives("a length too long", patch(5, |byte| byte + 1));
    survives("a length too short", patch(5, |byte| byte - 1));
    survives("length zero", patch(5, |_| 0));
    survives("a huge length", patch(4, |_| 0xff));
    survives("another unit", patch(6, |byte| byte + 1));
    survives("another function", patch(7, |_| 4));
    survives("the answer to a write", patch(7, |_| 6));
    survives("an odd byte count", patch(8, |byte| byte + 1));
    survives("nothing, and the end", |_, _| Vec::new());
    survives("half an answer", |_, right| right[..right.len() / 2].to_vec());
    survives("a register too few", |_, right| {
        let mut bytes = right[..right.len() - 2].to_vec();
        bytes[5] -= 2;
        bytes[8] -= 2;
        bytes
    });
    survives("a register too many", |_, right| {
        let mut bytes = right.to_vec();
        bytes.extend([0x10, 0x92]);
        bytes[5] += 2;
        bytes[8] += 2;
        bytes
    });
    survives("the request itself", |request, _| request.to_vec());
    survives("an endless stream", |_, _| vec![0xff; 100_000]);
}

#[test]
fn an_answer_that_is_followed_by_another_does_not_shift_the_next_ones() {
    let server = Server::start(Box::new(|_, right| Some([right, right].concat())));
    let items =
        [item(1, json!({"address": "hr:1"})), item(2, json!({"address": "hr:500", "type": "uint32"}))];
    let rig = Rig::active(server.address, &json!({"timeout": "100ms", "backoff_min": "1ms"}), &items);
    rig.more(1, 20);
    rig.seen(|seen| {
        for update in seen.updates.iter().filter(|update| update.status == 0) {
            let expected = if update.item == 1 { 4242 } else { 0x1092_1092 };
            assert_eq!(update.value, Got::U64(expected));
        }
    });
}

/// Demonstrates that the requests are on their way together, and that answers are told apart by their transaction: this
/// device answers nothing before it has four requests, and then the last one first.
#[test]
fn answers_that_come_in_another_order_find_their_items() {
    let mut held: Vec<Vec<u8>> = Vec::new();
    let server = Server::start(Box::new(move |request, right| {
        let mut right = right.to_vec();
        // Each register holds its address.
        let end = right.len();
        right[end - 2..].copy_from_slice(&request[8..10]);
        held.push(right);
        if held.len() < 4 {
            return Some(Vec::new());
        }
        Some(held.drain(..).rev().flatten().collect())
    }));
    let items: Vec<_> =
        (1..=8).map(|place| item(place, json!({"address": format!("hr:{}", 500 * place)}))).collect();
    let rig = Rig::active(server.address, &json!({"pipeline": 4, "timeout": "1s"}), &items);
    rig.more(8, 3);
    rig.seen(|seen| {
        for update in &seen.updates {
            assert_eq!((update.status, &update.value), (0, &Got::U64(u64::from(update.item) * 500)));
        }
    });
}

#[test]
fn an_echo_of_another_value_leaves_a_write_in_doubt() {
    let server = Server::start(Box::new(|_, right| {
        let mut bytes = right.to_vec();
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        Some(bytes)
    }));
    let items = [item(1, json!({"address": "hr:1", "access": "w"}))];
    let rig = Rig::active(server.address, &json!({"timeout": "100ms"}), &items);
    assert_eq!(rig.written(&[(1, ValueRef::U64(7))]), [code::TIMEOUT]);
}

/// Random bytes, from a fixed seed so that a failure can be replayed. An answer can come out right by chance only if the
/// transaction number, the protocol, the length and the byte count all do.
#[test]
fn random_bytes_are_never_values() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let bytes = prop::collection::vec(any::<u8>(), 1..300);
    survives("random bytes", move |_, right| {
        let mut random = bytes.new_tree(&mut runner).unwrap().current();
        // Half of them begin like an answer.
        if random[0] % 2 == 0 {
            random.splice(..random.len().min(8), right[..8].iter().copied());
            random.truncate(right.len() - 1);
        }
        random
    });
}
