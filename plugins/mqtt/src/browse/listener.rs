//! A connection that hears everything below a topic for a short time and leaves nothing at the broker.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use twinhub_plugin::{Code, Error, Result};

use super::catalog::{Catalog, Place};
use crate::config::Settings;
use crate::link::{Link, Role};
use crate::packet::{Codec, Filter, Incoming, Outgoing, Qos};
use crate::transport::{self, Stream, Tls};

/// Listens for what belongs to a place.
///
/// # Errors
/// The broker is not reached or refuses, or the role allows no connection any more.
pub async fn listen(link: &Link, place: &Place) -> Result<Catalog> {
    if link.role() < Role::Warm {
        return Err(not_in_this_role());
    }
    let settings = passing(&link.settings);
    let limit = settings.connect_timeout;
    let mut catalog = Catalog::new(place.clone());
    let opened = timeout(limit, Listener::open(settings, place, &mut catalog)).await;
    let mut listener =
        opened.map_err(|_| Error::device(format!("the broker does not answer within {limit:?}")))??;
    let until = Instant::now() + LISTEN;
    while Instant::now() < until {
        if link.role() < Role::Warm {
            return Err(not_in_this_role());
        }
        if !listener.hear(&mut catalog, until.min(Instant::now() + LOOK_EVERY)).await? {
            break;
        }
    }
    listener.leave().await;
    Ok(catalog)
}

/// Another client, without will, status and session.
fn passing(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    settings.client_id.push_str("-browse");
    settings.status_topic = None;
    settings.persistent = false;
    settings.keep_alive = Duration::from_secs(60);
    settings
}

struct Listener {
    settings: Settings,
    stream: Stream,
    codec: Codec,
    input: BytesMut,
    /// Bytes that came.
    heard: usize,
}

impl Listener {
    async fn open(settings: Settings, place: &Place, catalog: &mut Catalog) -> Result<Self> {
        let tls = settings.tls.as_ref().map(Tls::load).transpose();
        let tls = tls.map_err(|error| Error::config(error.to_string()))?;
        let (stream, _) = transport::connect(&settings, tls.as_ref())
            .await
            .map_err(|error| Error::device(format!("no connection to the broker: {error}")))?;
        let codec = Codec::new(settings.version, settings.packet_size_bytes_max);
        let mut listener = Self { settings, stream, codec, input: BytesMut::new(), heard: 0 };
        listener.send(Outgoing::Connect { clean: true }).await?;
        let answer = listener.packet(catalog).await?;
        let Incoming::ConnAck(ack) = answer else { return Err(unexpected(&answer)) };
        if let Some(reason) = ack.refused {
            let client = &listener.settings.client_id;
            return Err(Error::device(format!("the broker refuses client `{client}`: {reason}")));
        }
        let filter = Filter { filter: place.filter(), qos: Qos::AtMostOnce, no_local: false };
        listener.send(Outgoing::Subscribe(1, vec![filter])).await?;
        let answer = listener.packet(catalog).await?;
        let Incoming::SubAck(_, accepted) = answer else { return Err(unexpected(&answer)) };
        if accepted.first() == Some(&true) {
            return Ok(listener);
        }
        let filter = place.filter();
        Err(Error::device(format!(
            "the broker refuses the subscription of `{filter}`; ask for a topic that this user may read"
        )))
    }

    /// Takes what comes until then; false if there is no more room, or no more to come.
    async fn hear(&mut self, catalog: &mut Catalog, until: Instant) -> Result<bool> {
        loop {
            loop {
                match self.codec.decode(&mut self.input) {
                    Ok(Some(Incoming::Publish(publish))) => {
                        if !catalog.add(&publish.topic, &publish.payload, publish.retain) {
                            return Ok(false);
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) if catalog.is_empty() => return Err(Error::device(error.to_string())),
                    Err(_) => {
                        catalog.cut();
                        return Ok(false);
                    }
                }
            }
            if self.heard > HEARD_BYTES_MAX {
                catalog.cut();
                return Ok(false);
            }
            self.input.reserve(READ_BYTES);
            match timeout_at(until, self.stream.read_buf(&mut self.input)).await {
                Err(_) => return Ok(true),
                Ok(Ok(count)) if count > 0 => self.heard += count,
                Ok(Ok(_) | Err(_)) => {
                    catalog.cut();
                    return Ok(false);
                }
            }
        }
    }

    /// The next packet that is no message: a broker may send those before its answer (MQTT 5.0, 3.8.4).
    async fn packet(&mut self, catalog: &mut Catalog) -> Result<Incoming> {
        loop {
            match self.codec.decode(&mut self.input) {
                Ok(Some(Incoming::Publish(publish))) => {
                    if !catalog.add(&publish.topic, &publish.payload, publish.retain) {
                        catalog.cut();
                    }
                }
                Ok(Some(packet)) => return Ok(packet),
                Ok(None) => {
                    self.input.reserve(READ_BYTES);
                    let read = self.stream.read_buf(&mut self.input).await;
                    if read.map_err(|error| lost(&error.to_string()))? == 0 {
                        return Err(lost("closed by the broker"));
                    }
                }
                Err(error) => return Err(Error::device(error.to_string())),
            }
        }
    }

    async fn send(&mut self, packet: Outgoing) -> Result<()> {
        let mut bytes = BytesMut::new();
        let encoded = self.codec.encode(packet, &self.settings, &mut bytes);
        encoded.map_err(|error| Error::internal(error.to_string()))?;
        let sent = async {
            self.stream.write_all(&bytes).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| lost(&error.to_string()))
    }

    /// The broker forgets it all the same when the connection is gone.
    async fn leave(mut self) {
        let _said_or_not = timeout(LEAVE_MAX, self.send(Outgoing::Disconnect)).await;
    }
}

fn not_in_this_role() -> Error {
    Error::new(Code::NotActive, "a cold standby has no connection to the broker; ask the active node")
}

fn lost(cause: &str) -> Error {
    Error::device(format!("the connection to the broker was lost: {cause}"))
}

fn unexpected(packet: &Incoming) -> Error {
    if let Incoming::Disconnect(reason) = packet {
        lost(reason)
    } else {
        Error::device("the broker answered something else")
    }
}

/// Retained messages come at once; of the others those that come in this time are seen.
const LISTEN: Duration = Duration::from_secs(2);
/// The role is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LEAVE_MAX: Duration = Duration::from_millis(200);
/// More is not read.
const HEARD_BYTES_MAX: usize = 16 * 1024 * 1024;
const READ_BYTES: usize = 16 * 1024;
