//! What training programs share.

mod metrics;

pub use metrics::MetricsCsv;
