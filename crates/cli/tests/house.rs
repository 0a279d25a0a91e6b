//! The rules of the house, checked on the files themselves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::repository;

/// Which crates of the workspace a crate may import.
const MAY_IMPORT: [(&str, &[&str]); 11] = [
    ("core", &[]),
    ("model", &["core"]),
    ("plan", &["core", "model"]),
    ("run", &["core", "sys"]),
    ("http", &["core", "model", "sys"]),
    ("sys", &[]),
    ("engine", &["core", "model"]),
    ("telemetry", &["core"]),
    ("stats", &[]),
    ("report", &["core", "stats"]),
    ("server", &["core", "engine", "model"]),
];

/// Where unsafe code is allowed: vector instructions, mapping of weights, the handler of SIGBUS, what only the operating system
/// knows, and an allocator that a test counts with.
const UNSAFE: [&str; 6] = [
    "engine/src/kernels/mod.rs",
    "model/src/map.rs",
    "model/src/shrink.rs",
    "model/tests/damage.rs",
    "sys/src/priority.rs",
    "sys/src/tcp.rs",
];

/// Beginnings of paths that mean something on one machine only.
const PLACES: [&str; 3] = ["/home/", "/root/", "/Users/"];

/// The longest source file.
const MOST_LINES: usize = 600;

/// All files below a folder that belong to the project.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !["target", ".git", "benchmark_results", "artifacts", "corpus"].contains(&name.as_str()) {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&repository().join("crates"), &mut found);
    found.retain(|path| path.extension().is_some_and(|ending| ending == "rs"));
    assert!(found.len() > 100, "{} source files", found.len());
    found
}

/// The crates of the workspace that a crate imports, outside of its tests.
fn imports(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.ends_with("dependencies]") && !section.contains("dev-");
        } else if inside && let Some(name) = line.strip_prefix("sagellm-") {
            found.push(name.split(['.', ' ', '=']).next().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn crates_import_only_what_they_may() {
    let allowed = BTreeMap::from(MAY_IMPORT);
    let mut checked = 0;
    for entry in fs::read_dir(repository().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        // The program wires all of them.
        if name == "cli" {
            continue;
        }
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("it is not said what `{name}` may import"));
        for import in imports(&fs::read_to_string(folder.join("Cargo.toml")).unwrap()) {
            assert!(may.contains(&import.as_str()), "`{name}` may not import `{import}`");
            checked += 1;
        }
    }
    assert!(checked > 8, "{checked} imports");
}

#[test]
fn files_are_of_a_size_to_be_read() {
    for path in sources() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines", path.display());
    }
    let main = fs::read_to_string(repository().join("crates/cli/src/main.rs")).unwrap();
    assert!(main.lines().count() < 80, "main.rs is a table of contents");
}

#[test]
fn unsafe_code_is_where_it_is_allowed() {
    let crates = repository().join("crates");
    for path in sources().iter().filter(|path| !path.ends_with("house.rs")) {
        let text = fs::read_to_string(path).unwrap();
        let place = path.strip_prefix(&crates).unwrap();
        let lifted = text.contains("allow(unsafe_code") || text.contains("expect(unsafe_code");
        assert!(!lifted || UNSAFE.iter().any(|allowed| place == Path::new(allowed)), "{}", place.display());
    }
}

#[test]
fn no_file_names_a_place_of_a_machine() {
    let mut found = Vec::new();
    files(&repository(), &mut found);
    for path in found.iter().filter(|path| !path.ends_with("house.rs")) {
        // Weights are no text.
        let Ok(text) = fs::read_to_string(path) else { continue };
        for place in PLACES {
            assert!(!text.contains(place), "{} names {place}", path.display());
        }
    }
}
