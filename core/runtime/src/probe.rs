//! Probes: whether a TCP connection to an interface's field side can be made from this node.
//!
//! A node whose interface is cold knows nothing of its field side but this. A refusal is no answer here: the
//! service behind the port is what is needed. A gateway or relay accepts, and closes when it reaches nobody, so
//! the connection must stay for a moment. Nothing is sent.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A field side that does not accept within this time does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// So long a connection must stay.
const STAY_MIN: Duration = Duration::from_millis(200);

/// What the last try of a probe found; nothing before the first.
#[derive(Debug, Default)]
pub(crate) struct Probed(Mutex<Option<Result<(), String>>>);

impl Probed {
    /// Tries once.
    pub(crate) async fn try_once(&self, address: &str) {
        let found = match timeout(ANSWER_MAX, TcpStream::connect(address)).await {
            Ok(Ok(connection)) => stays(connection).await.map_err(|why| format!("probe {address}: {why}")),
            Ok(Err(error)) => Err(format!("probe {address}: {error}")),
            Err(_) => Err(format!("probe {address}: no answer in {} ms", ANSWER_MAX.as_millis())),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }

    /// What the last try found.
    pub(crate) fn found(&self) -> Option<Result<(), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn stays(mut connection: TcpStream) -> Result<(), String> {
    match timeout(STAY_MIN, connection.read_u8()).await {
        // It is silent, or greets.
        Err(_) | Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("closed at once: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;

    fn probed(listener: &TcpListener) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let probed = Probed::default();
        assert_eq!(probed.found(), None);
        runtime.block_on(probed.try_once(&listener.local_addr().unwrap().to_string()));
        probed.found().unwrap()
    }

    #[test]
    fn a_service_that_is_silent_or_greets_is_there_and_one_that_closes_is_not() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(probed(&silent), Ok(()));

        for (greeting, is_there) in [(&b"hello"[..], true), (b"", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| listener.accept().unwrap().0.write_all(greeting).unwrap());
                assert_eq!(probed(&listener).is_ok(), is_there);
            });
        }
    }

    #[test]
    fn a_refusal_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let probed = Probed::default();
        runtime.block_on(probed.try_once(&address));
        let found = probed.found().unwrap().unwrap_err();
        assert!(found.starts_with(&format!("probe {address}: ")), "{found}");
    }
}
