//! Modbus TCP as a device sees it.

pub(crate) mod device;
pub(crate) mod frames;
pub(crate) mod log;
