//! Node-to-node framing and the versioned encoding of records and messages.
