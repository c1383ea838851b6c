//! The interface against mosquitto and its clients.

mod broker;
mod fake;
mod fence;
mod recovery;
mod rig;
mod roles;
mod secure;
mod traffic;
