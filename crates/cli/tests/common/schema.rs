//! As much of JSON Schema as the program's own schemas use. An unknown word in a schema fails, and so does a key in a
//! file that its schema does not know.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What is wrong with `value`, by the schema `root`.
pub(crate) fn problems(root: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Check { root }.value(root, value, "", &mut found);
    if let (Some(schema), Some(value)) = (root.as_object(), value.as_object()) {
        found.extend(Check { root }.unknown(schema, value, ""));
    }
    found
}

struct Check<'a> {
    root: &'a Value,
}

impl<'a> Check<'a> {
    fn value(&self, schema: &'a Value, value: &Value, at: &str, found: &mut Vec<String>) {
        let Value::Object(schema) = schema else {
            if schema != &Value::Bool(true) {
                found.push(format!("{at}: nothing is allowed here"));
            }
            return;
        };
        for (word, rule) in schema {
            match word.as_str() {
                "$schema" | "$defs" | "title" | "description" | "format" | "default" => {}
                "$ref" => self.value(self.resolve(rule), value, at, found),
                "const" if value != rule => found.push(format!("{at}: {value} is not {rule}")),
                "enum" if !rule.as_array().is_some_and(|allowed| allowed.contains(value)) => {
                    found.push(format!("{at}: {value} is none of {rule}"));
                }
                "const" | "enum" => {}
                "type" if !types(rule).iter().any(|name| is(value, name)) => {
                    found.push(format!("{at}: {value} is not of type {rule}"));
                }
                "type" => {}
                "minimum" | "maximum" => {
                    let outside =
                        |value: f64, limit: f64| if word == "minimum" { value < limit } else { value > limit };
                    if value.as_f64().zip(rule.as_f64()).is_some_and(|(value, limit)| outside(value, limit)) {
                        found.push(format!("{at}: {value} is beyond the {word} {rule}"));
                    }
                }
                "oneOf" | "anyOf" => self.choice(rule, value, at, word == "oneOf", found),
                "prefixItems" => {
                    for (place, (rule, item)) in rule.as_array().into_iter().flatten().zip(list(value)).enumerate() {
                        self.nested(rule, item, &format!("{at}[{place}]"), found);
                    }
                }
                "minItems" | "maxItems" => {
                    let (count, limit) = (list(value).len() as u64, rule.as_u64());
                    let outside = |limit: u64| if word == "minItems" { count < limit } else { count > limit };
                    if value.is_array() && limit.is_none_or(outside) {
                        found.push(format!("{at}: a list of {count} is beyond {word} {rule}"));
                    }
                }
                "items" => {
                    for (place, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.nested(rule, item, &format!("{at}[{place}]"), found);
                    }
                }
                "required" => {
                    let lacking = |key: &&Value| value.is_object() && value.get(key.as_str().unwrap_or("")).is_none();
                    found.extend(
                        rule.as_array().into_iter().flatten().filter(lacking).map(|key| format!("{at}: no {key}")),
                    );
                }
                "properties" => {
                    for (key, rule) in rule.as_object().into_iter().flatten() {
                        if let Some(member) = value.get(key) {
                            self.nested(rule, member, &format!("{at}.{key}"), found);
                        }
                    }
                }
                "additionalProperties" => {
                    let known = schema.get("properties").and_then(Value::as_object);
                    for (key, member) in value.as_object().into_iter().flatten() {
                        if !known.is_some_and(|known| known.contains_key(key)) {
                            self.nested(rule, member, &format!("{at}.{key}"), found);
                        }
                    }
                }
                _ => found.push(format!("{at}: the schema says `{word}`, which this test does not know")),
            }
        }
    }

    /// A value inside another; it has a place of its own, so all of its keys have to be known.
    fn nested(&self, schema: &'a Value, value: &Value, at: &str, found: &mut Vec<String>) {
        self.value(schema, value, at, found);
        if let (Some(schema), Some(value)) = (schema.as_object(), value.as_object()) {
            found.extend(self.unknown(schema, value, at));
        }
    }

    fn choice(&self, rules: &'a Value, value: &Value, at: &str, exactly_one: bool, found: &mut Vec<String>) {
        let mut fitting = 0;
        let mut against = Vec::new();
        for rule in rules.as_array().into_iter().flatten() {
            let mut problems = Vec::new();
            self.value(rule, value, at, &mut problems);
            fitting += usize::from(problems.is_empty());
            against.extend(problems);
        }
        if fitting == 0 || exactly_one && fitting > 1 {
            found.push(format!("{at}: fits {fitting} of the choices: {}", against.join("; ")));
        }
    }

    /// Keys of an object that the schema does not mention anywhere.
    fn unknown(&self, schema: &'a Map<String, Value>, value: &Map<String, Value>, at: &str) -> Vec<String> {
        let mut known = BTreeSet::new();
        if self.mentioned(schema, &mut known) {
            return Vec::new();
        }
        value
            .keys()
            .filter(|key| !known.contains(key.as_str()))
            .map(|key| format!("{at}: unknown key `{key}`"))
            .collect()
    }

    /// Collects the keys that a schema mentions; whether it allows any key.
    fn mentioned(&self, schema: &'a Map<String, Value>, known: &mut BTreeSet<&'a str>) -> bool {
        let properties = schema.get("properties").and_then(Value::as_object);
        known.extend(properties.into_iter().flatten().map(|(key, _)| key.as_str()));
        let mut any = schema.get("additionalProperties").is_some_and(|rule| rule != &Value::Bool(false));
        let choices = ["oneOf", "anyOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
        for inner in schema.get("$ref").map(|name| self.resolve(name)).into_iter().chain(choices) {
            any |= inner.as_object().is_none_or(|inner| self.mentioned(inner, known));
        }
        any
    }

    fn resolve(&self, name: &Value) -> &'a Value {
        let pointer = name.as_str().and_then(|name| name.strip_prefix('#')).unwrap_or("none");
        self.root.pointer(pointer).unwrap_or_else(|| panic!("the schema has no {name}"))
    }
}

fn types(rule: &Value) -> Vec<&str> {
    match rule {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

/// The items of a list; of another value, none.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
