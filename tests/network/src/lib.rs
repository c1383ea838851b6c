//! Real faults between real processes in network namespaces.
//!
//! A [`Lab`] is a small plant: one namespace per machine (main, backup, witness, field device, client), a switch
//! between all, a second switch for the field, and a cable between main and backup. Nothing of it is visible to the
//! machine it runs on, and it is gone when the lab is dropped. A [`Pair`] is witness and two nodes of the real
//! executable in it, which poll a Modbus device and write what they read back to it. The device's own log, with time
//! and source address of each request, is the judge.

mod bench;
mod error;
mod lab;
mod pair;
mod ping;
mod turn;
mod verdict;

pub use bench::{FailoverOptions, bench_failover, bench_stability};
pub use error::{Error, Result};
pub use lab::{Lab, Machine, Net};
pub use pair::Pair;
pub use ping::{Ping, Responder};
pub use turn::{guarded, print};
pub use verdict::Verdict;
