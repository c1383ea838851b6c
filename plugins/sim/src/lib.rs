//! Simulated interface plugin: generated values for demos and load.
