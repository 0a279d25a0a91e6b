//! What the program says of itself.

mod common;

use std::fs;
use std::process::Command;

use common::Place;

#[test]
fn help_of_the_program() {
    insta::assert_snapshot!(Place::new().succeed("--help").out);
}

#[test]
fn help_of_run() {
    insta::assert_snapshot!(Place::new().succeed("run --help").out);
}

#[test]
fn help_of_report() {
    insta::assert_snapshot!(Place::new().succeed("report --help").out);
}

#[test]
fn help_of_schema() {
    insta::assert_snapshot!(Place::new().succeed("schema --help").out);
}

#[test]
fn help_leaves_nothing_and_says_nothing_else() {
    let place = Place::new();
    for line in ["--help", "-h", "help", "help run", "run -h", "report -h", "--version"] {
        let ran = place.succeed(line);
        assert!(ran.err.is_empty() && !ran.out.is_empty(), "{line}");
    }
    assert!(place.listing().is_empty());
}

#[test]
fn exit_codes_are_listed() {
    let help = Place::new().succeed("--help").out;
    let listed = help.split("Exit codes:").nth(1).unwrap_or_default();
    let codes: Vec<u8> = listed.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    assert_eq!(codes, [0, 2, 3, 4, 5, 6, 7, 130]);
}

#[test]
fn the_version_is_that_of_the_package() {
    let version = Place::new().succeed("--version").out;
    assert!(version.starts_with(concat!("sagellm-benchmark ", env!("CARGO_PKG_VERSION"))), "{version}");
}

#[test]
fn schemas_are_listed_and_printed() {
    let place = Place::new();
    let names = place.succeed("schema").out;
    assert!(names.lines().count() >= 4, "{names}");
    for name in names.lines() {
        let schema: serde_json::Value = serde_json::from_str(&place.succeed(&format!("schema {name}")).out).unwrap();
        assert!(schema["$schema"].is_string(), "{name}");
    }
    place.succeed("schema --output schemas --glossary metrics.md");
    for name in names.lines() {
        assert_eq!(place.text(&format!("schemas/{name}")), place.succeed(&format!("schema {name}")).out);
    }
    assert!(place.text("metrics.md").contains("`avg_ttft_ms`"));
}

#[test]
fn completions_are_scripts_that_a_shell_can_read() {
    let place = Place::new();
    let script = place.succeed("completions bash").out;
    assert!(script.contains("--num-prompts") && script.contains("calibrate"));
    fs::write(place.file("script"), script).unwrap();
    assert!(Command::new("bash").arg("-n").arg(place.file("script")).status().unwrap().success());
    for shell in ["elvish", "fish", "powershell", "zsh"] {
        assert!(place.succeed(&format!("completions {shell}")).out.contains("num-prompts"), "{shell}");
    }
    assert_eq!(place.run("completions tcsh").code, 2);
}

#[test]
fn manual_pages_are_printed_and_written() {
    let place = Place::new();
    let main = place.succeed("man").out;
    assert!(main.contains(".SH NAME"), "{main}");
    place.succeed("man --output pages");
    assert_eq!(place.text("pages/sagellm-benchmark.1"), main);
    let help = place.succeed("--help").out;
    let listed = help.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("  ")).map(|(name, _)| name);
    let commands: Vec<&str> =
        listed.filter(|name| !name.is_empty() && !name.starts_with([' ', '-']) && *name != "help").collect();
    assert!(commands.contains(&"run") && commands.contains(&"man"), "{commands:?}");
    for command in commands {
        let name = format!("sagellm-benchmark-{command}");
        assert!(main.replace('\\', "").contains(&name), "{command} is not in the main page");
        assert!(place.text(&format!("pages/{name}.1")).contains(".SH NAME"));
    }
    assert!(place.text("pages/sagellm-benchmark-run.1").contains("num\\-prompts"));
    assert!(place.file("pages/sagellm-benchmark-history-trend.1").exists(), "those below a command have their own");
}
