//! How stock prints things: JSON as `JSONFormatter` writes it, `TextTable`, byte and count units, spans of time.
//!
//! Pure functions over values; no state of the monitor is known here.

mod json;
mod table;
mod units;

pub use json::{compact, pretty};
pub use table::{Align, TextTable};
pub use units::{byte_u, fmt_g, percentify, pretty_timespan_span, si_u, stringify_f32};
