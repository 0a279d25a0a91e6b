//! Structured content: a list of parts in place of a text, some of which may be thoughts.

use serde_json::Value;

/// The parts of structured content; `None` for a plain text.
pub(crate) fn parts(value: &str) -> Option<Vec<Value>> {
    let parts: Vec<Value> = value.starts_with('[').then(|| serde_json::from_str(value).ok()).flatten()?;
    parts.iter().all(Value::is_object).then_some(parts)
}

/// Whether structured content holds thoughts only.
pub(crate) fn are_thoughts(value: &str) -> bool {
    let kind = |part: &Value| part.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let thought = |part: &Value| ["think", "reason"].iter().any(|word| kind(part).contains(word));
    parts(value).is_some_and(|parts| parts.iter().all(thought))
}

/// Appends the text of a part of structured content. Mistral nests the parts of a thought.
pub(crate) fn push_part(part: &Value, out: &mut String) {
    for field in ["text", "summary", "thinking"] {
        match part.get(field) {
            Some(Value::String(text)) => out.push_str(text),
            Some(Value::Array(parts)) => parts.iter().for_each(|part| push_part(part, out)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::push_text;

    #[test]
    fn structured_content_is_read_by_its_parts() {
        let text = |value: &str| {
            let mut out = String::new();
            push_text(value, &mut out);
            (are_thoughts(value), out)
        };
        assert_eq!(text(r#"[{"type":"text","text":"a"},{"type":"text","text":" b"}]"#), (false, "a b".into()));
        let thought = r#"[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]}]"#;
        assert_eq!(text(thought), (true, "hm".into()));
        assert_eq!(text(r#"[{"type":"reasoning.text","text":"x"}]"#), (true, "x".into()));
        assert_eq!(text(r#"[{"type":"reasoning.encrypted","data":"x"}]"#), (true, String::new()));
        assert_eq!(text(r#""plain""#), (false, "plain".into()));
        assert_eq!(text("[1,2"), (false, "[1,2".into()), "as it is written");
    }
}
