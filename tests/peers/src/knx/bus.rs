//! What is behind the gateway: tunnels with their addresses, and one device that knows some groups.

use std::collections::BTreeMap;

use twinhub_knx_protocol::cemi::{Control, Destination, LData, Message, Tpci, Tpdu};
use twinhub_knx_protocol::ip::{ConnectionInfo, Feature, Frame, Hpai, Sequenced, Status};
use twinhub_knx_protocol::{Apdu, Cemi, GroupAddress, IndividualAddress, Payload};

use super::link::Link;

/// One tunnel that the gateway has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its address on the bus.
    pub address: IndividualAddress,
    /// The user that may have it in a secure session.
    pub user: Option<u8>,
}

/// A telegram that was on the bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusTelegram {
    /// Who sent it.
    pub source: IndividualAddress,
    /// To which group.
    pub group: GroupAddress,
    /// What it said, as it was on the bus.
    pub apdu: Apdu,
}

/// A connected client.
#[derive(Debug)]
struct Client {
    slot: usize,
    channel: u8,
    link: Link,
    sent: u8,
    expected: u8,
}

/// Tunnels, device and log.
#[derive(Debug)]
pub(crate) struct Bus {
    slots: Vec<Slot>,
    takes_extended: bool,
    clients: Vec<Client>,
    next_channel: u8,
    device: IndividualAddress,
    values: BTreeMap<GroupAddress, Payload>,
    log: Vec<BusTelegram>,
    is_mute: bool,
}

impl Bus {
    pub(crate) fn new(slots: Vec<Slot>, takes_extended: bool, device: IndividualAddress) -> Self {
        Self {
            slots,
            takes_extended,
            clients: Vec::new(),
            next_channel: 0,
            device,
            values: BTreeMap::new(),
            log: Vec::new(),
            is_mute: false,
        }
    }

    pub(crate) fn log(&self) -> &[BusTelegram] {
        &self.log
    }

    pub(crate) fn clients(&self) -> Vec<IndividualAddress> {
        self.clients.iter().map(|client| self.slots[client.slot].address).collect()
    }

    pub(crate) fn value(&self, group: GroupAddress) -> Option<&Payload> {
        self.values.get(&group)
    }

    pub(crate) fn set_value(&mut self, group: GroupAddress, payload: Payload) {
        self.values.insert(group, payload);
    }

    /// While it is mute, telegrams are taken and never confirmed.
    pub(crate) fn set_mute(&mut self, is_mute: bool) {
        self.is_mute = is_mute;
    }

    /// What a frame of a client, taken out of its session, is answered with. Everything else goes out on its own.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a gateway of tests leaves out most services")]
    pub(crate) fn handle(&mut self, frame: Frame, link: &Link) {
        let tcp = Hpai::TCP;
        match frame {
            Frame::ConnectRequest { request, .. } => {
                let result = self.connect(&request, link);
                let info = |(channel, address)| (channel, Ok((tcp, ConnectionInfo::Tunnel { address })));
                let (channel, result) = result.map_or_else(|status| (0, Err(status)), info);
                let result = result.map(|(_, info)| (link.endpoint(), info));
                link.send(&Frame::ConnectResponse { channel, result });
            }
            Frame::ConnectionStateRequest { channel, .. } => {
                let status = self.status(channel);
                link.send(&Frame::ConnectionStateResponse { channel, status });
            }
            Frame::DisconnectRequest { channel, .. } => {
                let status = self.status(channel);
                self.clients.retain(|client| client.channel != channel);
                link.send(&Frame::DisconnectResponse { channel, status });
            }
            Frame::TunnellingRequest { header, cemi } => self.on_request(header, &cemi, link),
            Frame::FeatureGet(header, feature) => self.on_feature(header, &feature, link),
            // Acknowledgments are not waited for: nothing is lost on the loopback.
            _ => {}
        }
    }

    /// A device says something.
    pub(crate) fn say(&mut self, source: IndividualAddress, group: GroupAddress, apdu: Apdu) {
        self.spread(source, group, apdu, None);
    }

    /// The clients of a connection that is gone.
    pub(crate) fn forget(&mut self, link: &Link) {
        self.clients.retain(|client| client.link.connection() != link.connection());
    }

    /// Those of one session of it.
    pub(crate) fn forget_session(&mut self, link: &Link) {
        self.clients.retain(|client| client.link != *link);
    }

    /// Tells all clients that their connections end.
    pub(crate) fn disconnect_all(&mut self) {
        for client in self.clients.drain(..) {
            let control = client.link.endpoint();
            client.link.send(&Frame::DisconnectRequest { channel: client.channel, control });
        }
    }

    fn connect(
        &mut self,
        request: &twinhub_knx_protocol::ip::ConnectionRequest,
        link: &Link,
    ) -> Result<(u8, IndividualAddress), Status> {
        use twinhub_knx_protocol::ip::{ConnectionRequest, TunnelLayer};
        let ConnectionRequest::Tunnel { layer, address } = request else {
            return Err(Status::CONNECTION_TYPE);
        };
        if *layer != TunnelLayer::Link {
            return Err(Status::TUNNELLING_LAYER);
        }
        if address.is_some() && !self.takes_extended {
            return Err(Status::CONNECTION_TYPE);
        }
        let may = |slot: &Slot| match link.user() {
            Some(user) => user == MANAGEMENT || slot.user == Some(user),
            None => true,
        };
        let is_free = |index: usize| self.clients.iter().all(|client| client.slot != index);
        let slot = match address {
            Some(address) => {
                let index = self.slots.iter().position(|slot| slot.address == *address);
                let index = index.ok_or(Status::NO_TUNNELLING_ADDRESS)?;
                if !may(&self.slots[index]) {
                    return Err(Status::AUTHORISATION_ERROR);
                }
                if is_free(index) { index } else { return Err(Status::CONNECTION_IN_USE) }
            }
            None => (0..self.slots.len())
                .find(|index| may(&self.slots[*index]) && is_free(*index))
                .ok_or(Status::NO_MORE_CONNECTIONS)?,
        };
        self.next_channel = self.next_channel.wrapping_add(1).max(1);
        let channel = self.next_channel;
        self.clients.push(Client { slot, channel, link: link.clone(), sent: 0, expected: 0 });
        Ok((channel, self.slots[slot].address))
    }

    fn status(&self, channel: u8) -> Status {
        let is_known = self.clients.iter().any(|client| client.channel == channel);
        if is_known { Status::NO_ERROR } else { Status::CONNECTION_ID }
    }

    fn on_request(&mut self, header: Sequenced, cemi: &[u8], link: &Link) {
        let Some(client) = self.clients.iter_mut().find(|client| client.channel == header.channel) else {
            return;
        };
        let channel = client.channel;
        if link.is_udp() {
            if header.sequence != client.expected && header.sequence != client.expected.wrapping_sub(1) {
                return;
            }
            link.send(&Frame::TunnellingAck { header, status: Status::NO_ERROR });
            if header.sequence != client.expected {
                return;
            }
            client.expected = client.expected.wrapping_add(1);
        }
        if self.is_mute {
            return;
        }
        let own = self.slots[client.slot].address;
        let Ok(Cemi::Data(mut telegram)) = Cemi::decode(cemi) else { return };
        let said = telegram.group_apdu().map(|(group, apdu)| (group, apdu.clone()));
        telegram.message = Message::Confirmation;
        if telegram.source == IndividualAddress::NONE {
            telegram.source = own;
        }
        let source = telegram.source;
        self.send(channel, telegram);
        if let Some((group, apdu)) = said {
            self.spread(source, group, apdu, Some(channel));
        }
    }

    /// Puts a telegram on the bus, and lets the device answer it.
    fn spread(&mut self, source: IndividualAddress, group: GroupAddress, apdu: Apdu, from: Option<u8>) {
        self.log.push(BusTelegram { source, group, apdu: apdu.clone() });
        let channels: Vec<u8> = self.clients.iter().map(|client| client.channel).collect();
        for channel in channels.into_iter().filter(|channel| Some(*channel) != from) {
            let telegram = LData {
                message: Message::Indication,
                additional: Vec::new(),
                control: Control::default(),
                source,
                destination: Destination::Group(group),
                tpdu: Tpdu::Data { tpci: Tpci::Unnumbered, apdu: apdu.clone() },
            };
            self.send(channel, telegram);
        }
        match apdu {
            Apdu::GroupValueWrite(payload) if self.values.contains_key(&group) => {
                self.values.insert(group, payload);
            }
            Apdu::GroupValueRead => {
                if let Some(payload) = self.values.get(&group).cloned() {
                    self.spread(self.device, group, Apdu::GroupValueResponse(payload), None);
                }
            }
            Apdu::GroupValueWrite(_) | Apdu::GroupValueResponse(_) | Apdu::Other { .. } => {}
        }
    }

    fn send(&mut self, channel: u8, telegram: LData) {
        let Some(client) = self.clients.iter_mut().find(|client| client.channel == channel) else { return };
        let Ok(cemi) = Cemi::Data(telegram).encode() else { return };
        let header = Sequenced { channel, sequence: client.sent };
        client.sent = client.sent.wrapping_add(1);
        client.link.send(&Frame::TunnellingRequest { header, cemi });
    }

    fn on_feature(&mut self, header: Sequenced, feature: &Feature, link: &Link) {
        let Some(client) = self.clients.iter().find(|client| client.channel == header.channel) else {
            return;
        };
        let value = match feature.id {
            0x03 => vec![1],
            0x06 => self.slots[client.slot].address.0.to_be_bytes().to_vec(),
            0x07 => vec![0, 254],
            _ => Vec::new(),
        };
        let return_code = u8::from(value.is_empty());
        link.send(&Frame::FeatureResponse(header, Feature { id: feature.id, return_code, value }));
    }
}

/// The user that may do everything.
const MANAGEMENT: u8 = 1;
