//! Measures OpenAI-compatible servers over HTTP/1.1.
