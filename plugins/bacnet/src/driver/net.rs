//! The socket: what comes in, and the one place where something goes out.

use std::net::SocketAddrV4;
use std::rc::Rc;

use tokio::net::UdpSocket;
use tokio::time::Instant;
use twinhub_bacnet_protocol::apdu::Apdu;
use twinhub_bacnet_protocol::bvlc::Bvlc;
use twinhub_bacnet_protocol::engine::{Answer, Input, Peer, Token};
use twinhub_bacnet_protocol::foreign::Standing as Entry;
use twinhub_bacnet_protocol::link::{Heard, Reach, heard, to_everyone, to_peer};
use twinhub_bacnet_protocol::names::{
    ConfirmedService, ErrorClass, ErrorCode, RejectReason, UnconfirmedService,
};
use twinhub_bacnet_protocol::services::{CovNotification, IAm, ServiceError, WhoIs};
use twinhub_bacnet_protocol::tag::Message;
use twinhub_plugin::{InterfaceState, Role};

use super::Driver;

impl Driver {
    /// Opens the socket, or tries again later.
    pub(super) fn open(&mut self) {
        if self.retry_bind_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        match bound(self.settings.bind) {
            Ok(socket) => {
                self.retry_bind_at = None;
                self.socket = Some(Rc::new(socket));
            }
            Err(error) => {
                self.retry_bind_at = Some(Instant::now() + self.settings.config.retry_silent.0);
                self.cx.status(InterfaceState::Fault, format!("{}: {error}", self.settings.bind));
            }
        }
    }

    /// Takes datagrams, a bounded number of them, so that the hub's calls get their turn.
    pub(super) fn receive(&mut self) {
        let Some(socket) = self.socket.clone() else { return };
        let mut buffer = [0; DATAGRAM_BYTES];
        for _ in 0..DATAGRAMS_PER_TURN {
            let Ok((length, from)) = socket.try_recv_from(&mut buffer) else { return };
            let std::net::SocketAddr::V4(from) = from else { continue };
            self.counts.received += 1;
            self.on_datagram(from, &buffer[..length]);
        }
    }

    fn on_datagram(&mut self, from: SocketAddrV4, datagram: &[u8]) {
        match heard(from, datagram) {
            Ok(Heard::Apdu { peer, apdu, .. }) => {
                let now = self.now();
                self.engine.handle_input(Input::Received { peer, apdu }, now);
                self.pump();
            }
            Ok(Heard::Result(result)) => {
                let now = self.now();
                if let Some(foreign) = self.foreign.as_mut().filter(|_| Some(from) == self.settings.bbmd) {
                    foreign.on_result(result, now);
                }
            }
            Ok(Heard::RouteRejected { network, reason }) => {
                tracing::debug!(network, ?reason, "a router did not pass a message on");
            }
            Ok(Heard::Routes(_) | Heard::NotForUs) => {}
            Err(_) => self.counts.unreadable += 1,
        }
    }

    /// Someone asks something of us, who have no objects: only notifications are taken.
    pub(super) fn on_asked(&mut self, token: Token, peer: Peer, service: ConfirmedService, payload: &[u8]) {
        let answer = if service != ConfirmedService::CONFIRMED_COV_NOTIFICATION {
            Answer::Reject(RejectReason::UNRECOGNIZED_SERVICE)
        } else if self.on_notification(peer, payload) {
            Answer::Simple
        } else {
            Answer::Error(
                ServiceError::new(ErrorClass::SERVICES, ErrorCode::new(UNKNOWN_SUBSCRIPTION)).into(),
            )
        };
        let now = self.now();
        self.engine.handle_input(Input::Answer { token, answer }, now);
    }

    pub(super) fn on_told(&mut self, peer: Peer, service: UnconfirmedService, payload: &[u8]) {
        if service == UnconfirmedService::I_AM {
            let Ok(i_am) = IAm::decode(payload) else {
                self.counts.unreadable += 1;
                return;
            };
            let instance = i_am.device.instance();
            if self.heard.len() < HEARD_MAX || self.heard.contains_key(&instance) {
                self.heard.insert(instance, peer);
            }
            self.bindings.on_i_am(peer, &i_am);
        } else if service == UnconfirmedService::UNCONFIRMED_COV_NOTIFICATION {
            self.on_notification(peer, payload);
        }
    }

    /// Whether it belongs to a subscription.
    fn on_notification(&mut self, peer: Peer, payload: &[u8]) -> bool {
        let Ok(notification) = CovNotification::decode(payload) else {
            self.counts.unreadable += 1;
            return false;
        };
        let ids = self.cov.matches(peer, notification.process, notification.object).to_vec();
        if self.role != Role::Active || ids.is_empty() {
            self.counts.notifications_unasked += 1;
            return false;
        }
        self.counts.notifications += 1;
        for id in ids {
            self.notified(id, &notification);
        }
        true
    }

    pub(super) fn send_who_is(&mut self, who_is: WhoIs, reach: Reach) {
        let apdu = Apdu::UnconfirmedRequest { service: WHO_IS, payload: &who_is.encode() }.encode();
        let is_foreign = self.foreign.as_ref().is_some_and(|entry| entry.standing() == Entry::Registered);
        let to = self.settings.bbmd.filter(|_| is_foreign).unwrap_or(self.settings.broadcast);
        if let Ok(datagram) = to_everyone(reach, &apdu, is_foreign) {
            self.send(to, &datagram);
        }
    }

    pub(super) fn send_registration(&mut self, seconds: u16) {
        let datagram = Bvlc::RegisterForeignDevice { seconds }.encode();
        if let (Some(bbmd), Ok(datagram)) = (self.settings.bbmd, datagram) {
            self.send(bbmd, &datagram);
        }
    }

    pub(super) fn send_apdu(&mut self, peer: Peer, apdu: &[u8], expects_reply: bool) {
        if self.role != Role::Active && !is_for_standby(apdu) {
            self.counts.suppressed += 1;
            return;
        }
        if let Ok(datagram) = to_peer(peer, apdu, expects_reply) {
            self.send(peer.link, &datagram);
        }
    }

    /// What the active node sends needs a permit at this moment: a process that was frozen sends nothing when it wakes.
    fn send(&mut self, to: SocketAddrV4, datagram: &[u8]) {
        let Some(socket) = self.socket.clone() else { return };
        if self.role == Role::Active {
            let permit = self.cx.gate().permit(self.epoch);
            if permit.and_then(|permit| permit.recheck()).is_err() {
                self.counts.suppressed += 1;
                return;
            }
        }
        match socket.try_send_to(datagram, to.into()) {
            Ok(_) => self.counts.sent += 1,
            // It is sent again if nobody answers.
            Err(error) => {
                self.counts.not_sent += 1;
                tracing::debug!(%to, %error, "not sent");
            }
        }
    }
}

/// Whether a standby may send it: Who-Is, ReadProperty, and what ends a transaction. Never a write, never a subscription.
fn is_for_standby(apdu: &[u8]) -> bool {
    match Apdu::decode(apdu) {
        Ok(Apdu::ConfirmedRequest { service, .. }) => {
            u32::from(service) == ConfirmedService::READ_PROPERTY.number()
        }
        Ok(Apdu::UnconfirmedRequest { service, .. }) => service == WHO_IS,
        Ok(Apdu::Error { .. } | Apdu::Reject { .. } | Apdu::Abort { .. } | Apdu::SegmentAck { .. }) => true,
        Ok(Apdu::SimpleAck { .. } | Apdu::ComplexAck { .. }) | Err(_) => false,
    }
}

/// A port of its own: who shares one gets the answers of others.
fn bound(address: SocketAddrV4) -> std::io::Result<UdpSocket> {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// The unconfirmed service Who-Is, clause 21.
const WHO_IS: u8 = 8;
/// Error code `unknown-subscription`, clause 21.
const UNKNOWN_SUBSCRIPTION: u32 = 79;
/// The longest of Ethernet; BACnet/IP has no longer ones.
const DATAGRAM_BYTES: usize = 2048;
const DATAGRAMS_PER_TURN: usize = 64;
/// Devices whose address is remembered without being wanted.
const HEARD_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use twinhub_bacnet_protocol::apdu::MaxSegments;

    #[test]
    fn a_standby_sends_neither_writes_nor_subscriptions_nor_answers() {
        let request = |service: ConfirmedService| {
            Apdu::ConfirmedRequest {
                segment: None,
                takes_segments: true,
                max_segments: MaxSegments::Count(16),
                max_apdu: 480,
                invoke_id: 1,
                service: u8::try_from(service.number()).unwrap(),
                payload: &[],
            }
            .encode()
        };
        assert!(is_for_standby(&request(ConfirmedService::READ_PROPERTY)));
        for number in (0..=255).filter(|number| *number != ConfirmedService::READ_PROPERTY.number()) {
            assert!(!is_for_standby(&request(ConfirmedService::new(number))), "{number}");
        }
        assert!(!is_for_standby(&Apdu::SimpleAck { invoke_id: 1, service: 1 }.encode()));
        assert!(is_for_standby(&Apdu::UnconfirmedRequest { service: WHO_IS, payload: &[] }.encode()));
        assert!(!is_for_standby(&Apdu::UnconfirmedRequest { service: 6, payload: &[] }.encode()));
    }
}
