//! The matcher against stock's recorded signatures.
