//! Generates the compatibility matrix from declarations and measured results.
