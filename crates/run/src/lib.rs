//! Paces a plan onto a backend and keeps its journal.
