//! A broker made of bytes, for what a real one never does.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// CONNACK of v3.1.1.
pub(crate) const NEW_SESSION: &[u8] = &[0x20, 2, 0, 0];
pub(crate) const OLD_SESSION: &[u8] = &[0x20, 2, 1, 0];

pub(crate) struct Fake {
    listener: TcpListener,
    pub(crate) port: u16,
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    /// Takes the next connection, reads its CONNECT and sends `answer`.
    pub(crate) async fn accept(&self, answer: &[u8]) -> Peer {
        let accepted = tokio::time::timeout(Duration::from_secs(10), self.listener.accept()).await;
        let (stream, _) = accepted.expect("a connection within 10 s").unwrap();
        let mut peer = Peer { stream };
        let connect = peer.packet().await.expect("a first packet");
        assert_eq!(connect[0], 0x10, "the first packet is CONNECT");
        peer.send(answer).await;
        peer
    }
}

pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

impl Peer {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next packet, `None` at the end or reset of the connection.
    pub(crate) async fn packet(&mut self) -> Option<Vec<u8>> {
        let mut packet = vec![self.byte().await?];
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = self.byte().await?;
            packet.push(byte);
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let start = packet.len();
        packet.resize(start + length, 0);
        self.stream.read_exact(&mut packet[start..]).await.ok()?;
        Some(packet)
    }

    /// The next PUBLISH that is not the node's status; other packets are answered as a broker does.
    pub(crate) async fn publish(&mut self) -> Option<Vec<u8>> {
        loop {
            let packet = self.packet().await?;
            match packet[0] >> 4 {
                3 if !packet.windows(7).any(|part| part == b"twinhub") => return Some(packet),
                3 => {
                    let at = 4 + usize::from(packet[3]);
                    let id = [packet[at], packet[at + 1]];
                    self.send(&[0x40, 2, id[0], id[1]]).await;
                }
                8 => {
                    let filters = count_filters(&packet);
                    let mut answer = vec![0x90, u8::try_from(2 + filters).unwrap(), packet[2], packet[3]];
                    answer.resize(4 + filters, 1);
                    self.send(&answer).await;
                }
                10 => self.send(&[0xb0, 2, packet[2], packet[3]]).await,
                12 => self.send(&[0xd0, 0]).await,
                _ => {}
            }
        }
    }

    async fn byte(&mut self) -> Option<u8> {
        self.stream.read_u8().await.ok()
    }
}

fn count_filters(packet: &[u8]) -> usize {
    let (mut at, mut count) = (4, 0);
    while at < packet.len() {
        at += 3 + usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
        count += 1;
    }
    count
}
