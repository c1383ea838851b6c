//! Device and server simulators, and start/stop of independent peers.
