//! Tells the program which commit it is built from, where there is one.

use std::path::Path;
use std::process::Command;

fn main() {
    let head = Path::new("../../.git/HEAD");
    if head.exists() {
        println!("cargo::rerun-if-changed={}", head.display());
        println!("cargo::rerun-if-changed=../../.git/logs/HEAD");
    }
    let output = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    if let Some(commit) = output.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok()) {
        println!("cargo::rustc-env=SAGELLM_GIT_COMMIT={}", commit.trim());
    }
}
