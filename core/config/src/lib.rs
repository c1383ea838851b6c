//! Parses and validates configuration files into typed values, with diagnostics that point at the line.
