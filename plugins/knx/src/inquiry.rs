//! For whoever puts an interface into service: does the gateway answer, which ones are there, what goes over the bus.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};
use twinhub_knx_protocol::cemi::Destination;
use twinhub_knx_protocol::ip::{Dib, FRAME_BYTES_MAX, Family, Frame, HostProtocol, Hpai};
use twinhub_plugin::{
    Code, Ctx, Discover, Error, Found, Message, MessageLog, Monitor, Permit, Result, Role, Step, Test,
};

use crate::browse::shown;
use crate::carrier::{local_address_to, resolve};
use crate::config::{Mode, Settings};
use crate::image::Image;
use crate::inbox::Inbox;
use crate::monitor::Telegram;

/// The last telegrams, with the names of items and their values.
pub(crate) fn monitor(inbox: &Inbox, settings: &Settings, monitor: Monitor) {
    let (seen, image) = (inbox.monitor.borrow(), inbox.image.borrow());
    let messages = seen
        .after(monitor.after().unwrap_or_default())
        .map(|telegram| (telegram.number, message(telegram, &image, settings)));
    let log = MessageLog::of(seen.last(), messages);
    monitor.answer(&log);
}

fn message(telegram: &Telegram, image: &Image, settings: &Settings) -> Message {
    let (target, point) = match telegram.destination {
        Destination::Group(group) => (settings.show(group), image.of_group(group)),
        Destination::Individual(device) => (device.to_string(), None),
    };
    let message = if telegram.is_own { Message::outgoing() } else { Message::incoming() };
    let message = message
        .time_ns(telegram.unix_ns)
        .sender(telegram.source.to_string())
        .target(target)
        .kind(telegram.service)
        .name(point.map_or("", |point| &*point.path));
    let Some(payload) = &telegram.payload else { return message };
    let message = message.raw(payload.as_bytes());
    match point {
        Some(point) => {
            let value = shown(Some(&point.dpt), payload);
            let unit = point.dpt.definition().unit;
            message.value(if unit.is_empty() { value } else { format!("{value} {unit}") })
        }
        None => message,
    }
}

/// Asks the gateway who it is, and says how the tunnel is.
pub(crate) fn test(cx: &Ctx, inbox: &Rc<Inbox>, settings: &Rc<Settings>, test: Test) {
    let permit = match permit(cx) {
        Ok(permit) => permit,
        Err(error) => return test.refuse(&error),
    };
    let connected = connected(inbox, settings);
    if settings.config.mode == Mode::Routing {
        return test.answer(&[connected]);
    }
    let settings = Rc::clone(settings);
    cx.spawn(async move {
        let mut steps = vec![connected];
        for gateway in &settings.gateways {
            steps.push(describe(&settings, gateway, permit.as_ref()).await);
        }
        test.answer(&steps);
        Ok(())
    });
}

fn connected(inbox: &Inbox, settings: &Settings) -> Step {
    let monitor = inbox.monitor.borrow();
    let connection = &monitor.connection;
    let name = match settings.config.mode {
        Mode::Tunnel => "tunnel",
        Mode::Routing => "multicast",
    };
    match (connection.address, &connection.last_error) {
        (Some(address), _) => Step::ok(name).detail(format!("{address} through {}", connection.way)),
        (None, Some((_, error))) => Step::failed(name).detail(error.clone()),
        (None, None) => Step::failed(name).detail("it is being opened: try again in a moment"),
    }
}

/// What a gateway says of itself. It answers to where the question came from, so that a translation of addresses is no
/// obstacle.
async fn describe(settings: &Settings, gateway: &str, permit: Option<&Permit>) -> Step {
    let name = format!("describe {gateway}");
    let began = Instant::now();
    match ask_description(settings, gateway, permit).await {
        Ok(Some(description)) => Step::ok(name).detail(said(&description)).took(began.elapsed()),
        Ok(None) => Step::failed(name).detail(format!(
            "no answer over UDP within {} s: is it the gateway's address?",
            DESCRIBE_MAX.as_secs()
        )),
        Err(error) => Step::failed(name).detail(error.to_string()),
    }
}

async fn ask_description(
    settings: &Settings,
    gateway: &str,
    permit: Option<&Permit>,
) -> io::Result<Option<Vec<Dib>>> {
    let gateway = resolve(gateway).await?;
    let socket = socket(settings).await?;
    let request = Frame::DescriptionRequest { control: Hpai::NAT };
    send(&socket, &request, gateway, permit).await?;
    let until = Instant::now() + DESCRIBE_MAX;
    while let Some((frame, from)) = receive(&socket, until).await? {
        if let (Frame::DescriptionResponse { description }, true) = (frame, from.ip() == gateway.ip()) {
            return Ok(Some(description));
        }
    }
    Ok(None)
}

/// Asks in the multicast group who is there.
pub(crate) fn discover(cx: &Ctx, settings: &Rc<Settings>, discover: Discover) {
    let permit = match permit(cx) {
        Ok(permit) => permit,
        Err(error) => return discover.refuse(&error),
    };
    let settings = Rc::clone(settings);
    cx.spawn(async move {
        match search(&settings, discover.wait(), permit.as_ref()).await {
            Ok(found) => discover.answer(&found),
            Err(error) => discover.refuse(&Error::device(error.to_string())),
        }
        Ok(())
    });
}

async fn search(settings: &Settings, wait: Duration, permit: Option<&Permit>) -> io::Result<Vec<Found>> {
    let group = settings.multicast;
    let socket = socket(settings).await?;
    let local = settings.config.interface.map_or_else(|| local_address_to(group), Ok)?;
    if let Some(device) = settings.config.interface {
        socket2::SockRef::from(&socket).set_multicast_if_v4(&device)?;
    }
    let port = socket.local_addr()?.port();
    let discovery = Hpai { protocol: HostProtocol::Udp, address: local, port };
    send(&socket, &Frame::SearchRequest { discovery }, group, permit).await?;
    let until = Instant::now() + wait;
    let mut found: Vec<(SocketAddrV4, Found)> = Vec::new();
    while let Some((frame, from)) = receive(&socket, until).await? {
        let Frame::SearchResponse { control, description } = frame else { continue };
        let address =
            if control.is_route_back() { from } else { SocketAddrV4::new(control.address, control.port) };
        let is_known = found.iter().any(|(other, _)| *other == address);
        if !is_known && found.len() < FOUND_MAX {
            found.push((address, gateway_of(address, &description)));
        }
    }
    found.sort_by_key(|(address, _)| *address);
    Ok(found.into_iter().map(|(_, found)| found).collect())
}

fn gateway_of(address: SocketAddrV4, description: &[Dib]) -> Found {
    let device =
        description.iter().find_map(|dib| if let Dib::Device(device) = dib { Some(device) } else { None });
    Found::new(address.to_string())
        .name(device.map_or("", |device| &device.name))
        .detail(said(description))
        .setting("gateway", address.to_string())
}

/// What a description says, in a line.
fn said(description: &[Dib]) -> String {
    let mut parts = Vec::new();
    for dib in description {
        match dib {
            Dib::Device(device) => {
                let serial: Vec<String> = device.serial.iter().map(|octet| format!("{octet:02X}")).collect();
                parts.push(format!("{} {}, serial number {}", device.name, device.address, serial.concat()));
                if device.is_programming {
                    parts.push("in programming mode".to_owned());
                }
            }
            Dib::Families(families) => parts.extend(families.iter().copied().filter_map(family)),
            Dib::SecuredFamilies(families) => {
                let names: Vec<String> = families.iter().copied().filter_map(family).collect();
                if !names.is_empty() {
                    parts.push(format!("only secure: {}", names.join(" and ")));
                }
            }
            Dib::Tunnelling { slots, .. } => {
                let free = slots.iter().filter(|slot| slot.is_free && slot.is_usable).count();
                parts.push(format!("{free} of {} tunnels free", slots.len()));
            }
            Dib::Extended { medium_status, .. } if medium_status & 1 != 0 => {
                parts.push("the bus is not connected".to_owned());
            }
            Dib::Addresses(_) | Dib::Extended { .. } | Dib::Other { .. } => {}
        }
    }
    parts.join(", ")
}

fn family(family: Family) -> Option<String> {
    let name = match family.id {
        Family::TUNNELLING => "tunnelling",
        Family::ROUTING => "routing",
        Family::SECURITY => "KNX IP Secure",
        _ => return None,
    };
    Some(format!("{name} {}", family.version))
}

/// A node that does not act asks nobody; one that acts needs a permit as for each telegram.
fn permit(cx: &Ctx) -> Result<Option<Permit>> {
    match cx.role() {
        Role::Active => Ok(Some(cx.gate().permit_current()?)),
        Role::Hot => Ok(None),
        Role::Cold | Role::Warm => Err(Error::new(Code::NotActive, "this node is not connected in its role")),
    }
}

async fn socket(settings: &Settings) -> io::Result<UdpSocket> {
    UdpSocket::bind((settings.config.interface.unwrap_or(Ipv4Addr::UNSPECIFIED), 0)).await
}

async fn send(
    socket: &UdpSocket,
    frame: &Frame,
    to: SocketAddrV4,
    permit: Option<&Permit>,
) -> io::Result<()> {
    let bytes = frame.encode().map_err(io::Error::other)?;
    socket.writable().await?;
    if let Some(permit) = permit {
        permit.recheck().map_err(|_| io::Error::other("the lease of this node has ended"))?;
    }
    socket.try_send_to(&bytes, to.into()).map(drop)
}

/// The next frame until then; what is none is left out.
async fn receive(socket: &UdpSocket, until: Instant) -> io::Result<Option<(Frame, SocketAddrV4)>> {
    let mut buffer = [0; FRAME_BYTES_MAX];
    loop {
        let Ok(received) = timeout_at(until, socket.recv_from(&mut buffer)).await else { return Ok(None) };
        let (count, from) = received?;
        if let (Ok(frame), std::net::SocketAddr::V4(from)) = (Frame::decode(&buffer[..count]), from) {
            return Ok(Some((frame, from)));
        }
    }
}

/// How long a gateway has to say who it is.
const DESCRIBE_MAX: Duration = Duration::from_secs(2);
/// Gateways of one answer.
const FOUND_MAX: usize = 256;
