//! Node-to-node transfer: snapshot, journal tail, acknowledgements, hot ring.
