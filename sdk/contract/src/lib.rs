//! The C contract between hub and plugin: types only, and the declaration.
