//! Plugin instances in a process of their own.
//!
//! Code that is not ours may crash, hang or write where it should not. In the hub's process that ends the hub; in a
//! process of its own it ends that process, which the hub notices and replaces while all other interfaces run on.
//!
//! # Shape
//! ```text
//!  hub                                            child: the same loader, the same library
//!  Instance (loader)                              Instance (loader)
//!     | C contract                                   ^ C contract
//!  [ proxy ] ----- down: commands, writes ------> [ child ]
//!     ^  ^ ------- values: batches <--------------- |
//!     |    ------- answers: the rest <------------- |
//!  pidfd, standard error, ping                    gate page, read-only
//! ```
//! [`Isolated`] is a [`twinhub_loader::Maker`]: what it makes has the table of the contract, so that nobody above the
//! loader sees where a plugin runs. Each arrow is a lane: a ring in shared memory with one writing and one reading side,
//! whose reader sleeps on a futex. What does not fit into the ring waits in order behind it; values and writes are then
//! told `AGAIN`.
//!
//! # Rules
//! - **The output gate is the hub's own.** The two words of a group's gate lie in a page of shared memory that the child
//!   has read-only. The plugin asks it right before an effect, as in the hub's process: there is no copy that could be
//!   older. See [`gate`].
//! - **Nothing of the child is believed.** The reader copies each record out before it looks at it; places, lengths,
//!   counts, kinds and texts are checked, and what breaks the format ends the child.
//! - **What was said before the end is heard**: a child that dies leaves its rings, which are read to their end before the
//!   fault is told.
//! - **Answers keep their place behind values**: each answer says how many batches came before it, and waits for them,
//!   unless the hub has no room for values.
//! - **What is kept by key has one order with values**: a change goes down the lane of values. The child has a copy to read
//!   from, which it gets anew before each other role.
//! - **Events go both ways in order**: one that is given and the answer to one that was brought go down the lane of values;
//!   what the hub says of the first comes later, so that an interface without room holds up no values.
//! - **Before a role ends in order a child is hushed**: it refuses what its plugin gives from then on, says so in the lane
//!   of values, and what is in front of that is heard. So whatever a plugin was told to be taken reaches the journal.
//! - **A child that freezes is killed**: it has to answer every half second, from the threads that call the plugin.
//! - **A child that takes more than 1 GiB of memory is killed**, and if the machine has none left, it goes before the hub.
//! - **A child may do what its plugin declares to need**, and no more, as far as the kernel can see to that: other files,
//!   sockets, programs and processes are out of its reach before its code is mapped (`sandbox`).
//! - **A child does not outlive the hub**: its standard input is a socket whose end it waits for. A child that is frozen
//!   then has no lease when it wakes.
//!
//! # Figures
//! `cargo bench -p twinhub-loader` prints the cost per value and the round trip of a write beside those in the hub's process,
//! in the same run.
//!
//! # Limits
//! Linux only. A batch that the hub refuses, when the lease is lost say, is not told to the plugin, which has its answer
//! already: it is counted, and where the plugin waits for acceptance, the instance is replaced, so that nothing is acknowledged that was not taken.
#![allow(
    unsafe_code,
    reason = "maps shared memory and implements the C contract; every block says why it holds"
)]
#![warn(missing_docs)]

mod batch;
mod child;
mod events;
mod flow;
pub mod gate;
mod keeping;
mod lane;
mod message;
mod offered;
mod process;
mod proxy;
mod reader;
mod region;
mod ring;
mod sandbox;
mod values_in;
mod words;

pub use child::run;
pub use gate::GateWords;
pub use process::memory_kib;
pub use proxy::{HostProgram, Isolated};
