//! Connections come and go.

use std::pin::pin;

use tokio::time::Instant;
use twinhub_knx_protocol::IndividualAddress;
use twinhub_knx_protocol::ip::{Hpai, Status};
use twinhub_knx_protocol::tunnel::Reason;
use twinhub_plugin::{InterfaceState, Role};

use super::Driver;
use crate::config::{Mode, Transport};
use crate::link::Link;

impl Driver {
    /// Opens a connection, if it is time for one.
    pub(super) async fn open(&mut self) {
        if self.backoff.waits_until().is_some() {
            return;
        }
        // A node that was frozen must not take the slot of its successor.
        if self.role == Role::Active && !self.cx.gate().is_open() {
            return;
        }
        let inbox = std::rc::Rc::clone(&self.inbox);
        let reclaim = self.reclaim();
        self.count(|counts| counts.attempts += 1);
        let opened = {
            let mut opening = pin!(Link::open(&self.settings, self.gateway, reclaim));
            loop {
                tokio::select! {
                    biased;
                    () = inbox.changed.notified() => {
                        // A role may have come that wants none; writes wait.
                        if inbox.role_pending() {
                            inbox.changed.notify_one();
                            return;
                        }
                    }
                    opened = &mut opening => break opened,
                }
            }
        };
        inbox.changed.notify_one();
        match opened {
            Ok(mut link) => {
                let event = link.machine.start();
                self.link = Some(link);
                self.take(event);
                self.pump();
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    /// The channel of the predecessor, if its slot is to be freed.
    fn reclaim(&self) -> Option<u8> {
        let config = &self.settings.config;
        if !config.reclaim_slot || self.role != Role::Active || config.transport == Transport::Tcp {
            return None;
        }
        let slot = self.legacy.slot()?;
        (self.settings.gateways.get(self.gateway) == Some(&slot.gateway)).then_some(slot.channel)
    }

    pub(super) fn reclaimed(&mut self, channel: u8, status: Option<Status>) {
        let answer = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        tracing::info!(channel, answer, "the predecessor's tunnel is closed");
        self.inbox.monitor.borrow_mut().connection.reclaimed = Some((channel, answer));
    }

    pub(super) fn connected(&mut self, channel: Option<u8>, address: IndividualAddress, data: Option<Hpai>) {
        let is_nat = self.settings.config.nat;
        let Some(link) = &mut self.link else { return };
        link.connected(address, data, is_nat);
        self.backoff.succeed();
        let mut monitor = self.inbox.monitor.borrow_mut();
        monitor.counts.connections += 1;
        let connection = &mut monitor.connection;
        connection.way = self.settings.way(link.gateway);
        (connection.address, connection.channel) = (Some(address), channel);
        connection.since = Some(Instant::now());
        drop(monitor);
        self.cx.count("knx.connections", 1);
        if let Some(since) = self.down_since.take() {
            let outage_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            tracing::info!(address = %address, outage_ms, "the bus is back");
        }
        if self.role == Role::Active {
            self.owe_slot();
            self.begin_reads(true);
        } else {
            self.reads_at_connect = self.legacy.reads();
        }
        self.report();
    }

    pub(super) fn disconnected(&mut self, reason: Reason) {
        let Some(link) = self.link.take() else { return };
        // A telegram that the machine told no outcome of was under way.
        if let Some(under_way) = self.under_way.take() {
            self.count(|counts| counts.unknown += 1);
            under_way.job.done(twinhub_plugin::Code::Timeout);
        }
        self.reads.disconnected();
        {
            let connection = &mut self.inbox.monitor.borrow_mut().connection;
            (connection.address, connection.channel) = (None, None);
            connection.since = Some(Instant::now());
        }
        self.inbox.image.borrow_mut().lost();
        if self.is_leaving {
            self.left();
            return;
        }
        if link.is_up {
            // The same gateway is asked at once; it may only have been restarted.
            self.gateway = link.gateway;
        }
        self.failed(&reason.to_string());
    }

    /// There is no connection for this reason: the next gateway, or a pause if there is none.
    fn failed(&mut self, reason: &str) {
        let cause = format!("{}: {reason}", self.settings.way(self.gateway));
        self.inbox.monitor.borrow_mut().failed(&cause);
        let was_up = self.down_since.is_none();
        if was_up {
            self.down_since = Some(Instant::now());
            tracing::info!(cause, "there is no way to the bus");
        }
        self.cx.status(InterfaceState::Fault, cause);
        self.gateway += 1;
        if self.gateway >= self.settings.gateways.len() {
            self.gateway = 0;
            self.backoff.fail();
        }
    }

    /// Tells the hub how the interface is doing.
    pub(super) fn report(&self) {
        let Some(link) = self.link.as_ref().filter(|link| link.is_up) else { return };
        let way = self.settings.way(link.gateway);
        let how = match self.settings.config.mode {
            Mode::Tunnel => format!("tunnel {} of {way}", link.address),
            Mode::Routing => format!("routing as {} over {way}", link.address),
        };
        if self.role != Role::Active {
            self.cx.status(InterfaceState::Ok, format!("standby: {how}"));
            return;
        }
        match self.inbox.image.borrow().silent() {
            None => self.cx.status(InterfaceState::Ok, how),
            Some((1, path, group)) => {
                let group = self.settings.show(group);
                self.cx.status(
                    InterfaceState::Degraded,
                    format!("nobody answers the read of {group} ({path}); {how}"),
                );
            }
            Some((count, path, group)) => {
                let group = self.settings.show(group);
                self.cx.status(
                    InterfaceState::Degraded,
                    format!("nobody answers the reads of {count} items, such as {group} ({path}); {how}"),
                );
            }
        }
    }

    /// Leaves for the diagnosis how things are.
    pub(super) fn note(&self) {
        let connection = &mut self.inbox.monitor.borrow_mut().connection;
        if let Some(link) = &self.link {
            connection.foreign = link.foreign();
            connection.machine = link.machine.counters();
        }
        connection.reads = self.reads.depths();
        connection.under_way = usize::from(self.under_way.is_some());
    }
}
