//! The table for the terminal.

use std::fmt::Write;

use sagellm_core::plain;

use super::footnotes::Footnotes;
use super::sections::{Room, Section, sections};
use super::{Look, grouped, subject, synthetic_note};
use crate::{Summary, Verdict};

/// Widest line of a paragraph.
const WIDTH: usize = 80;

/// Longest name of a workload that is written in full.
const LONGEST_NAME: usize = 12;

pub(crate) fn table(summary: &Summary, look: Look) -> String {
    let colour = look.colour;
    let mut text = String::new();
    head(&mut text, summary, colour);
    let mut notes = Footnotes::default();
    let room = if look.wide { Room::Wide } else { Room::Narrow };
    for section in sections(summary, room, &mut notes) {
        text.push('\n');
        grid(&mut text, &section, colour);
    }
    let lines = notes.lines();
    if !lines.is_empty() {
        text.push('\n');
    }
    for (mark, line) in lines {
        hanging(&mut text, &format!("{mark} "), &line.replace('`', ""));
    }
    let warnings = grouped(summary, &summary.validity.warnings);
    if !warnings.is_empty() {
        let _ = writeln!(text, "\n{}", paint("Warnings", BOLD, colour));
    }
    for (who, finding) in warnings {
        let who = if who.is_empty() { who } else { format!("{who}: ") };
        hanging(&mut text, "- ", &format!("{who}{}", finding.message));
        hanging(&mut text, "  → ", &finding.remedy);
    }
    let seen = grouped(summary, &summary.validity.notes);
    if !seen.is_empty() {
        let _ = writeln!(text, "\n{}", paint("Notes", BOLD, colour));
    }
    for (who, finding) in seen {
        let who = if who.is_empty() { who } else { format!("{who}: ") };
        hanging(&mut text, "- ", &format!("{who}{}", finding.message));
    }
    text
}

fn head(text: &mut String, summary: &Summary, colour: bool) {
    let verdict = summary.validity.verdict;
    let paint_of = if verdict == Verdict::Valid { GREEN } else { RED };
    let _ = write!(text, "{}", paint(verdict.word(), paint_of, colour));
    if let Some((model, backend, facts)) = subject(summary) {
        let facts = if facts.is_empty() { facts } else { format!(" ({facts})") };
        text.push_str(&plain(&format!("  {model}{facts} on {backend}")));
    }
    if let Some(manifest) = &summary.environment {
        text.push_str(&plain(&format!(", sagellm-benchmark {}", manifest.version)));
    }
    text.push('\n');
    if let Some(note) = synthetic_note(summary) {
        hanging(text, "", note);
    }
    for (who, finding) in grouped(summary, &summary.validity.reasons) {
        let who = if who.is_empty() { who } else { format!("{who}: ") };
        hanging(text, "- ", &format!("{who}{}", finding.message));
        hanging(text, "  → ", &finding.remedy);
    }
}

fn grid(text: &mut String, section: &Section, colour: bool) {
    let name_width = section.rows.iter().map(|row| short_name(&row.workload).chars().count()).max().unwrap_or(0);
    let label_width = section.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
    let first_width = match label_width {
        0 => name_width,
        _ => name_width + 2 + label_width,
    }
    .max(section.title.chars().count());
    let width = |place: usize| {
        let cells = section.rows.iter().map(|row| row.cells[place].chars().count());
        cells.chain([section.columns[place].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..section.columns.len()).map(width).collect();
    let title = format!("{:first_width$}", section.title);
    let _ = write!(text, "{}", paint(&title, BOLD, colour));
    for (column, width) in section.columns.iter().zip(&widths) {
        let _ = write!(text, "  {column:>width$}");
    }
    text.push('\n');
    let mut former = "";
    for row in &section.rows {
        let name = if row.workload == former { String::new() } else { short_name(&row.workload) };
        former = &row.workload;
        let first = if label_width == 0 { name } else { format!("{name:name_width$}  {}", row.label) };
        let _ = write!(text, "{first:first_width$}");
        for (cell, width) in row.cells.iter().zip(&widths) {
            let _ = write!(text, "  {:>width$}", plain(cell));
        }
        text.push('\n');
    }
}

fn short_name(name: &str) -> String {
    let name = plain(name);
    if name.chars().count() <= LONGEST_NAME {
        return name.into_owned();
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

/// Writes a paragraph whose first line begins with `first` and whose others are indented as much.
fn hanging(text: &mut String, first: &str, paragraph: &str) {
    let (first, paragraph) = (plain(first), plain(paragraph));
    let indent = first.chars().count();
    let mut column = indent;
    text.push_str(&first);
    for (place, word) in paragraph.split_whitespace().enumerate() {
        let length = word.chars().count();
        if place > 0 && column + 1 + length > WIDTH {
            let _ = write!(text, "\n{:indent$}", "");
            column = indent;
        } else if place > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += length;
    }
    text.push('\n');
}

const BOLD: &str = "1";
const GREEN: &str = "1;32";
const RED: &str = "1;31";

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
