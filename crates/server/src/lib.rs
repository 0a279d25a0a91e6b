//! OpenAI-compatible servers: scripted, simulated, and over the CPU engine.
