//! Loads plugin libraries behind the C contract and hands out safe instances.
