//! Workloads and arrival processes, made into a plan.
