//! A KNXnet/IP gateway with a bus behind it, and xknx as the independent client.

pub(crate) mod bus;
pub(crate) mod gateway;
pub(crate) mod link;
