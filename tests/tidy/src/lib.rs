//! Layering, licence, generated-file and link checks.
