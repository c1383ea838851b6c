//! What clients take together, and what was refused or cut because of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;
use crate::problem::Problem;

/// All clients of one server.
#[derive(Debug, Clone)]
pub(crate) struct Clients(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    taken: Mutex<BTreeMap<IpAddr, usize>>,
    /// A permit for each KiB of an answer that is on its way.
    memory: Arc<Semaphore>,
    dropped: [AtomicU64; Cause::ALL.len()],
}

/// Why a client got nothing, or not all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// All connections are taken.
    Full,
    /// One address has as many as it may have.
    Address,
    /// No whole request came in time.
    Idle,
    /// The client took nothing of its answer for too long.
    Reader,
    /// The answers that are on their way hold all the memory they may.
    Memory,
}

impl Cause {
    const ALL: [Cause; 5] = [Cause::Full, Cause::Address, Cause::Idle, Cause::Reader, Cause::Memory];

    /// The label of the metric.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Cause::Full => "full",
            Cause::Address => "address",
            Cause::Idle => "idle",
            Cause::Reader => "reader",
            Cause::Memory => "memory",
        }
    }
}

/// One counted connection; gone when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    clients: Clients,
    address: IpAddr,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients(Arc::new(Shared {
            taken: Mutex::default(),
            memory: Arc::new(Semaphore::new(limits::ANSWERS_KIB_MAX as usize)),
            dropped: std::array::from_fn(|_| AtomicU64::new(0)),
        }))
    }
}

impl Clients {
    /// A seat for a connection.
    pub(crate) fn take(&self, address: IpAddr) -> Result<Seat, Cause> {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&address).copied().unwrap_or(0);
        // One machine cannot lock all others out: the last seats are for those that have few.
        let reserved = if own < limits::FEW_CONNECTIONS { 0 } else { limits::CONNECTIONS_RESERVED };
        let cause = if all + reserved >= limits::CONNECTIONS_MAX {
            Some(Cause::Full)
        } else if !address.is_loopback() && own >= limits::CONNECTIONS_PER_ADDRESS_MAX {
            Some(Cause::Address)
        } else {
            None
        };
        if let Some(cause) = cause {
            self.dropped(cause);
            return Err(cause);
        }
        taken.insert(address, own + 1);
        Ok(Seat { clients: self.clone(), address })
    }

    /// Counts what was refused or cut.
    pub(crate) fn dropped(&self, cause: Cause) {
        self.0.dropped[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Memory for this many bytes that are on their way to a client; small answers need none.
    pub(crate) fn room(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, Cause> {
        if bytes <= limits::SMALL_ANSWER_BYTES {
            return Ok(None);
        }
        // What is larger than all of it goes alone.
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(limits::ANSWERS_KIB_MAX);
        Arc::clone(&self.0.memory).try_acquire_many_owned(kib).map(Some).map_err(|_| {
            self.dropped(Cause::Memory);
            Cause::Memory
        })
    }

    /// Lets an answer go once there is memory for it, which it holds until the client took it or is given up.
    pub(crate) async fn in_memory(&self, response: Response) -> Response {
        let size = response.body().size_hint().exact().unwrap_or(0);
        let Ok(permit) = self.room(usize::try_from(size).unwrap_or(usize::MAX)) else {
            let detail =
                "other clients are slow to take what they asked for: ask again, or for less at a time";
            return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "TH-WEB-503", detail).into_response();
        };
        let Some(permit) = permit else { return response };
        let (parts, body) = response.into_parts();
        match axum::body::to_bytes(body, usize::MAX).await {
            Ok(bytes) => {
                let bytes = Bytes::from_owner(Held { bytes, _permit: permit });
                Response::from_parts(parts, Body::from(bytes))
            }
            Err(error) => Response::from_parts(parts, Body::from(error.to_string())),
        }
    }

    /// Open connections.
    pub(crate) fn open(&self) -> usize {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// How often what happened, by cause.
    pub(crate) fn counts(&self) -> [(Cause, u64); Cause::ALL.len()] {
        Cause::ALL.map(|cause| (cause, self.0.dropped[cause as usize].load(Ordering::Relaxed)))
    }
}

impl Seat {
    /// Counts that this client was cut.
    pub(crate) fn dropped(&self, cause: Cause) {
        self.clients.dropped(cause);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.clients.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// Bytes that hold their place until the last reference to them is gone.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(clients: &Clients, cause: Cause) -> u64 {
        clients.counts().into_iter().find(|(found, _)| *found == cause).unwrap().1
    }

    #[test]
    fn one_address_cannot_take_all_connections() {
        let clients = Clients::default();
        let stranger: IpAddr = "10.0.0.99".parse().unwrap();
        let mut held: Vec<Seat> =
            (0..limits::CONNECTIONS_PER_ADDRESS_MAX).map(|_| clients.take(stranger).unwrap()).collect();
        assert_eq!(clients.take(stranger).err(), Some(Cause::Address));
        assert!(clients.take("10.0.0.98".parse().unwrap()).is_ok());
        held.pop();
        assert!(clients.take(stranger).is_ok());
        assert_eq!(clients.open(), limits::CONNECTIONS_PER_ADDRESS_MAX - 1);
        drop(held);
        assert_eq!((clients.open(), counted(&clients, Cause::Address)), (0, 1));
    }

    #[test]
    fn the_last_connections_are_for_who_has_few() {
        let clients = Clients::default();
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        let held: Vec<Seat> =
            (0..2 * limits::CONNECTIONS_MAX).map_while(|_| clients.take(local).ok()).collect();
        assert_eq!(held.len(), limits::CONNECTIONS_MAX - limits::CONNECTIONS_RESERVED);
        let mut others = Vec::new();
        for host in 0..=255 {
            let address = IpAddr::from([10, 0, 0, host]);
            others.extend((0..limits::FEW_CONNECTIONS).map_while(|_| clients.take(address).ok()));
        }
        assert_eq!(others.len(), limits::CONNECTIONS_RESERVED);
        assert_eq!(clients.take("10.0.1.1".parse().unwrap()).err(), Some(Cause::Full));
        assert_eq!(clients.open(), limits::CONNECTIONS_MAX);
    }

    #[tokio::test]
    async fn answers_hold_their_memory_until_their_last_byte_is_dropped() {
        let clients = Clients::default();
        let large = || Response::new(Body::from(vec![b'x'; limits::ANSWERS_KIB_MAX as usize * 1024 / 4]));
        let mut on_their_way = Vec::new();
        for _ in 0..4 {
            let answer = clients.in_memory(large()).await;
            assert_eq!(answer.status(), StatusCode::OK);
            on_their_way.push(axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap());
        }
        assert_eq!(clients.in_memory(large()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(counted(&clients, Cause::Memory), 1);
        let small = || Response::new(Body::from(vec![b'x'; limits::SMALL_ANSWER_BYTES]));
        assert_eq!(clients.in_memory(small()).await.status(), StatusCode::OK, "small ones always go");
        let part = on_their_way.pop().unwrap().slice(..1);
        assert_eq!(clients.in_memory(large()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        drop(part);
        assert_eq!(clients.in_memory(large()).await.status(), StatusCode::OK);
        // One that is larger than all that others may take together goes, alone.
        on_their_way.clear();
        let huge = Response::new(Body::from(vec![b'x'; limits::ANSWERS_KIB_MAX as usize * 2048]));
        assert_eq!(clients.in_memory(huge).await.status(), StatusCode::OK);
    }
}
