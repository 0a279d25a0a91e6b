//! Markdown, as for a comment on GitHub.

use std::fmt::Write;

use sagellm_core::plain;

use super::footnotes::Footnotes;
use super::sections::{Room, Section, headline, sections};
use super::{code_and_text, environment, grouped, subject, synthetic_note};
use crate::{Finding, Manifest, Summary};

pub(crate) fn markdown(summary: &Summary) -> String {
    let mut text = format!("## Benchmark: {}", summary.validity.verdict.word());
    if let Some((model, backend, _)) = subject(summary) {
        let _ = write!(text, ", {} on {}", code(&model), code(&backend));
    }
    text.push_str("\n\n");
    if let Some(note) = synthetic_note(summary) {
        let _ = write!(text, "> {note}\n\n");
    }
    findings(&mut text, "Why it is invalid", &grouped(summary, &summary.validity.reasons));
    let mut notes = Footnotes::default();
    grid(&mut text, &headline(summary));
    for section in sections(summary, Room::Long, &mut notes) {
        let _ = write!(text, "### {}\n\n", section.title);
        grid(&mut text, &section);
    }
    let lines = notes.lines();
    for (mark, line) in &lines {
        let _ = writeln!(text, "{} {}<br>", escape(mark), escape(line));
    }
    if !lines.is_empty() {
        text.push('\n');
    }
    findings(&mut text, "Warnings", &grouped(summary, &summary.validity.warnings));
    findings(&mut text, "Notes", &grouped(summary, &summary.validity.notes));
    if let Some(manifest) = &summary.environment {
        environment(&mut text, manifest);
        reproduce(&mut text, manifest);
    }
    text
}

fn findings(text: &mut String, title: &str, findings: &[(String, &Finding)]) {
    if findings.is_empty() {
        return;
    }
    let _ = write!(text, "### {title}\n\n");
    for (who, finding) in findings {
        let who = if who.is_empty() { String::new() } else { format!("{}: ", code(who)) };
        let remedy = match finding.remedy.as_str() {
            "" => String::new(),
            remedy => format!(" *What to do:* {}.", escape(remedy)),
        };
        let _ = writeln!(text, "- {who}{}.{remedy}", escape(&finding.message));
    }
    text.push('\n');
}

fn grid(text: &mut String, section: &Section) {
    let labelled = section.rows.iter().any(|row| !row.label.is_empty());
    let mut head = String::from("| workload |");
    let mut rule = String::from("|---|");
    if labelled {
        head.push_str(" |");
        rule.push_str("---|");
    }
    for column in &section.columns {
        let _ = write!(head, " {column} |");
        rule.push_str("--:|");
    }
    let _ = write!(text, "{head}\n{rule}\n");
    for row in &section.rows {
        let _ = write!(text, "| {} |", code(&row.workload));
        if labelled {
            let _ = write!(text, " {} |", row.label);
        }
        for cell in &row.cells {
            let _ = write!(text, " {} |", escape(cell));
        }
        text.push('\n');
    }
    text.push('\n');
}

fn environment(text: &mut String, manifest: &Manifest) {
    let setting = |(key, value): (&String, &String)| format!("{}: {}", code(key), escape(value));
    let settings: Vec<String> = manifest.backend.settings.iter().map(setting).collect();
    text.push_str("<details><summary>Environment</summary>\n\n| | |\n|---|---|\n");
    for (name, value) in environment::rows(manifest) {
        let _ = writeln!(text, "| {name} | {} |", escape(&value));
    }
    for (key, value) in &manifest.metadata {
        let _ = writeln!(text, "| {} | {} |", escape(key), escape(value));
    }
    if !settings.is_empty() {
        let _ = writeln!(text, "| settings | {} |", settings.join("<br>"));
    }
    text.push_str("\n</details>\n\n");
}

fn reproduce(text: &mut String, manifest: &Manifest) {
    if manifest.command_line.is_empty() {
        return;
    }
    let command = manifest.shell_line();
    // The fence must be longer than any run of backticks in what it holds.
    let longest = command.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = write!(text, "### How to reproduce\n\n{fence}bash\n{command}\n{fence}\n");
}

/// A name as code. One that looks like HTML is written as the code element of HTML: not every reader of Markdown knows
/// that backticks switch HTML off.
pub(crate) fn code(name: &str) -> String {
    if name.contains('<') {
        let name = name.replace('&', "&amp;").replace('<', "&lt;").replace('|', "&#124;").replace('`', "&#96;");
        return format!("<code>{}</code>", in_cell(&name));
    }
    format!("`{}`", in_cell(&name.replace('`', "'")))
}

/// Keeps text from ending a cell, beginning an emphasis or a link, or becoming HTML. What stands in backticks is left
/// alone but for the bar, which ends a cell there too.
pub(crate) fn escape(text: &str) -> String {
    let escaped = |(is_code, piece): (bool, &str)| match is_code {
        true => code(piece),
        false => {
            let marks = ['\\', '`', '*', '<', '['];
            let chars = piece.chars().flat_map(|c| marks.contains(&c).then_some('\\').into_iter().chain([c]));
            in_cell(&chars.collect::<String>())
        }
    };
    code_and_text(text).into_iter().map(escaped).collect()
}

/// Text on one line, whose bars end no cell.
fn in_cell(text: &str) -> String {
    plain(&text.replace('|', r"\|").replace(['\n', '\r'], " ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_a_cell() {
        assert_eq!(escape("a|b"), r"a\|b");
        assert_eq!(escape("12.3*"), r"12.3\*");
        assert_eq!(escape("`a*|b` <i>"), r"`a*\|b` \<i>");
        assert_eq!(escape("two\nlines"), "two lines");
        assert_eq!(code("a`b"), "`a'b`");
        assert_eq!(code("m<script>a|b</script>\u{1b}"), r"<code>m&lt;script>a&#124;b&lt;/script>\u{1b}</code>");
        assert_eq!(code(r"C:\*"), r"`C:\*`");
    }

    #[test]
    fn text_of_a_server_cannot_become_html() {
        assert_eq!(escape("model `x not found <img> *a*"), r"model \`x not found \<img> \*a\*");
        assert_eq!(escape(r"\<b>"), r"\\\<b>");
        // Three and one are no pair, and so what stands between is no code.
        assert_eq!(escape("```<img>`"), r"\`\`\`\<img>\`");
        assert_eq!(escape("[a](b)"), r"\[a](b)");
    }
}
