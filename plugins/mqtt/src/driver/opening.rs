//! How a connection comes about, with which session, and what is kept of that.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::{Connection, Driver, End, Leaving, READ_BYTES, WRITE_BYTES};
use crate::config::Version;
use crate::link::{Host, Link, Role};
use crate::packet::{Codec, ConnAck, Incoming, Outgoing};
use crate::succession::{Beginning, Kept};
use crate::transport::{self, Tls};

impl<H: Host> Driver<H> {
    pub(super) fn has_acted_last(&self) -> bool {
        self.host.acted().is_some_and(|name| name == self.name)
    }

    /// Keeps by key that this node acts, before anything that it hears goes to the hub; false if that has to wait. Who heard
    /// all along does not wait: what it hears is no older than what the other one had.
    pub(super) fn keep_acted(&mut self) -> bool {
        let (role, epoch) = (self.link.role(), self.link.epoch());
        let settings = &self.link.settings;
        if role != Role::Active || !settings.persistent || settings.is_session_shared {
            return true;
        }
        if self.kept_in != Some(epoch) {
            let kept = self.host.keep_acted(&self.name);
            match kept {
                Kept::NotYet => return self.link.heard_all_along(),
                Kept::Yes | Kept::Never => self.kept_in = Some(epoch),
            }
            self.link.notes.borrow_mut().acted_last = kept == Kept::Yes;
        }
        self.link.set_current();
        true
    }

    pub(super) async fn open(
        &self,
        tls: Option<&Tls>,
        beginning: Beginning,
    ) -> Result<(Connection, ConnAck), End> {
        let is_fresh = beginning == Beginning::Fresh;
        let has_one_step = self.link.settings.version == Version::V5 || beginning == Beginning::Passing;
        if is_fresh && !has_one_step {
            // A clean session of MQTT 3.1.1 ends with its connection (3.1.2.4), so one that lasts takes a second one.
            self.connect(tls, true).await?.0.leave(&self.link, &self.host).await?;
        }
        let (connection, ack) = self.connect(tls, beginning != Beginning::Resumed && has_one_step).await?;
        if is_fresh && ack.session_present {
            return Err(End::Lost("broker goes on with a session that it was told to forget".to_owned()));
        }
        if is_fresh {
            self.host.count("session.begun", 1);
        }
        Ok((connection, ack))
    }

    async fn connect(&self, tls: Option<&Tls>, clean: bool) -> Result<(Connection, ConnAck), End> {
        let settings = &self.link.settings;
        let (stream, cutter) = transport::connect(settings, tls).await.map_err(|error| match error {
            transport::Error::Connect { .. } => End::Lost(error.to_string()),
            transport::Error::File { .. } | transport::Error::Tls(_) => End::Refused(error.to_string()),
        })?;
        let (reader, writer) = tokio::io::split(stream);
        let mut connection = Connection {
            reader,
            writer,
            cutter,
            codec: Codec::new(settings.version, settings.packet_size_bytes_max),
            input: BytesMut::with_capacity(READ_BYTES),
            output: BytesMut::with_capacity(WRITE_BYTES),
            has_outputs: false,
            has_open_outputs: false,
            needs_flush: false,
            keep_alive: settings.keep_alive,
            last_sent: Instant::now(),
            ping_sent: None,
            pings: 0,
            updates: Vec::new(),
            refused: Vec::new(),
            leaving: Leaving::No,
        };
        connection.encode(Outgoing::Connect { clean }, &self.link)?;
        connection.write_all(&self.link, &self.host).await?;
        let ack = loop {
            match connection.codec.decode(&mut connection.input) {
                Ok(Some(Incoming::ConnAck(ack))) => break ack,
                Ok(Some(_)) => return Err(End::Lost("broker did not begin with CONNACK".to_owned())),
                Ok(None) => connection.read_some().await?,
                Err(error) => return Err(End::Lost(error.to_string())),
            }
        };
        if let Some(reason) = &ack.refused {
            return Err(End::Refused(format!("broker refused the connection: {reason}")));
        }
        Ok((connection, ack))
    }
}

impl Connection {
    /// Says good-bye, and returns when the broker has closed the connection: it is done with the session then.
    async fn leave<H: Host>(mut self, link: &Link, host: &H) -> Result<(), End> {
        self.encode(Outgoing::Disconnect, link)?;
        self.write_all(link, host).await?;
        let closed = async {
            self.writer.shutdown().await?;
            while self.reader.read_buf(&mut self.input).await? > 0 {
                self.input.clear();
            }
            io::Result::Ok(())
        };
        // One that does not close it ends the session when the client comes again (MQTT 3.1.1, 3.1.4).
        let _closed_or_not = timeout(CLOSE_MAX, closed).await;
        Ok(())
    }

    async fn write_all<H: Host>(&mut self, link: &Link, host: &H) -> Result<(), End> {
        while !self.output.is_empty() || self.needs_flush {
            self.write_some(link, host).await.map_err(|error| End::Lost(error.to_string()))?;
        }
        Ok(())
    }
}

/// A broker closes a connection at once when it is asked to.
const CLOSE_MAX: Duration = Duration::from_millis(500);
