//! Metric registry, summary, validity verdict and renderers.
