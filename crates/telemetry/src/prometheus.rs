//! Reads the Prometheus text format, version 0.0.4, in which servers expose their metrics.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Exemplars and the end mark of OpenMetrics are
//! passed over. What is read borrows from the text, so its size is bounded by that of the text.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sagellm_core::{Exit, UserError};

/// A text that is not in the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the metrics: {what}")]
pub struct PrometheusError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl UserError for PrometheusError {
    fn exit(&self) -> Exit {
        Exit::Backend
    }

    fn hint(&self) -> Option<String> {
        Some("check that the address is that of a server's Prometheus metrics".into())
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up, but for a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by bucket, with a sum.
    Histogram,
    /// Quantiles made by the server, with a sum.
    Summary,
    /// Not told, or one of OpenMetrics' own.
    Untyped,
}

/// One line with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Name of the metric, with `_sum`, `_count`, `_bucket` where it has one.
    pub name: &'a str,
    /// Labels in the order written.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The value, which may be NaN or infinite.
    pub value: f64,
}

impl Sample<'_> {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_ref())
    }
}

/// Everything that a server exposes at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition<'a> {
    samples: BTreeMap<&'a str, Vec<Sample<'a>>>,
    kinds: BTreeMap<&'a str, Kind>,
}

impl<'a> Exposition<'a> {
    /// The samples of one name, in the order written.
    pub fn samples(&self, name: &str) -> &[Sample<'a>] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    /// The declared type of a metric, also when it has no sample yet.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.kinds.get(name).copied()
    }

    /// Every name that has samples.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.samples.keys().copied()
    }
}

/// Reads a whole text.
///
/// # Errors
/// Names the first line that is not in the format.
pub fn parse(text: &str) -> Result<Exposition<'_>, PrometheusError> {
    let mut read = Exposition::default();
    for (number, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line).trim_matches([' ', '\t']);
        let wrong = |what| PrometheusError { line: number + 1, what };
        if let Some(comment) = line.strip_prefix('#') {
            if let Some((name, kind)) = declaration(comment) {
                read.kinds.insert(name, kind);
            }
        } else if !line.is_empty() {
            let sample = sample(line).map_err(wrong)?;
            read.samples.entry(sample.name).or_default().push(sample);
        }
    }
    Ok(read)
}

/// The name and type in ` TYPE name type`; other comments have no meaning.
fn declaration(comment: &str) -> Option<(&str, Kind)> {
    let mut words = comment.split([' ', '\t']).filter(|word| !word.is_empty());
    if words.next() != Some("TYPE") {
        return None;
    }
    let name = words.next()?;
    let kind = match words.next()? {
        "counter" => Kind::Counter,
        "gauge" => Kind::Gauge,
        "histogram" => Kind::Histogram,
        "summary" => Kind::Summary,
        _ => Kind::Untyped,
    };
    Some((name, kind))
}

/// `name{label="value",...} value [timestamp] [# exemplar]`
fn sample(line: &str) -> Result<Sample<'_>, &'static str> {
    let (name, rest) = word(line, |byte| byte == b':').ok_or("it does not begin with the name of a metric")?;
    let rest = skip_blanks(rest);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inner) => labels(inner)?,
        None => (Vec::new(), rest),
    };
    let rest = rest.split_once(" # ").map_or(rest, |(before, _exemplar)| before);
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next().and_then(|text| text.parse().ok()).ok_or("the value is not a number")?;
    // Seconds in OpenMetrics, milliseconds elsewhere: of no use here, since the reader knows when it asked.
    if words.next().is_some_and(|stamp| stamp.parse::<f64>().is_err()) {
        return Err("the time stamp is not a number");
    }
    if words.next().is_some() {
        return Err("something follows the time stamp");
    }
    Ok(Sample { name, labels, value })
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// What stands between braces, and what follows them.
fn labels(text: &str) -> Result<(Labels<'_>, &str), &'static str> {
    let mut labels = Vec::new();
    let mut rest = skip_blanks(text);
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = word(rest, |_| false).ok_or("the name of a label is missing")?;
        let after = skip_blanks(after).strip_prefix('=').ok_or("`=` is missing after the name of a label")?;
        let after = skip_blanks(after).strip_prefix('"').ok_or("the value of a label does not begin with a quote")?;
        let (value, after) = quoted(after)?;
        labels.push((name, value));
        rest = skip_blanks(after);
        match rest.strip_prefix(',') {
            Some(after) => rest = skip_blanks(after),
            None if rest.starts_with('}') => {}
            None => return Err("`,` or `}` is missing after a label"),
        }
    }
}

/// The value up to the closing quote, and what follows it.
fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), &'static str> {
    const OPEN: &str = "the value of a label has no closing quote";
    let end = text.find(['"', '\\']).ok_or(OPEN)?;
    if text.as_bytes()[end] == b'"' {
        return Ok((Cow::Borrowed(&text[..end]), &text[end + 1..]));
    }
    let mut value = String::from(&text[..end]);
    let mut rest = text[end..].chars();
    loop {
        match rest.next().ok_or(OPEN)? {
            '"' => return Ok((Cow::Owned(value), rest.as_str())),
            '\\' => match rest.next().ok_or(OPEN)? {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                _ => return Err("the value of a label has an unknown escape"),
            },
            other => value.push(other),
        }
    }
}

/// Letters, digits, `_` and what `also` allows, not beginning with a digit; and what follows.
fn word(text: &str, also: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    let end = text
        .bytes()
        .position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'_' || also(byte)))
        .unwrap_or(text.len());
    (end > 0 && !text.as_bytes()[0].is_ascii_digit()).then(|| text.split_at(end))
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Sample<'_> {
        sample(text).unwrap()
    }

    #[test]
    fn the_example_of_the_specification_is_read() {
        let text = concat!(
            "# HELP http_requests_total The total number of HTTP requests.\n",
            "# TYPE http_requests_total counter\n",
            "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n",
            "http_requests_total{method=\"post\",code=\"400\"}    3 1395066363000\n",
            "\n",
            "# Escaping in label values:\n",
            "msdos_file_access_time_seconds{path=\"C:\\\\DIR\\\\FILE.TXT\",error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\"} 1.458255915e9\n",
            "metric_without_timestamp_and_labels 12.47\n",
            "something_weird{problem=\"division by zero\"} +Inf -3982045\n",
            "rpc_duration_seconds{quantile=\"0.01\"} NaN\r\n",
        );
        let read = parse(text).unwrap();
        assert_eq!(read.samples("http_requests_total").iter().map(|it| it.value).sum::<f64>(), 1030.0);
        assert_eq!(read.samples("http_requests_total")[1].label("code"), Some("400"));
        assert_eq!(read.kind("http_requests_total"), Some(Kind::Counter));
        let file = &read.samples("msdos_file_access_time_seconds")[0];
        assert_eq!(file.label("path"), Some(r"C:\DIR\FILE.TXT"));
        assert_eq!(file.label("error"), Some("Cannot find file:\n\"FILE.TXT\""));
        assert_eq!(read.samples("something_weird")[0].value, f64::INFINITY);
        assert!(read.samples("rpc_duration_seconds")[0].value.is_nan());
        assert_eq!(read.names().count(), 5);
    }

    #[test]
    fn blanks_and_a_last_comma_are_allowed() {
        let sample = one("a:b { x = \"1\" , y=\"\", } \t 2 ");
        assert_eq!((sample.name, sample.label("x"), sample.label("y")), ("a:b", Some("1"), Some("")));
        assert_eq!(one("a{}1").value, 1.0);
        assert_eq!(one("a 5 # {trace=\"x\"} 1").value, 5.0);
    }

    #[test]
    fn each_error_names_its_line() {
        for (line, what) in [
            ("<html>", "it does not begin with the name of a metric"),
            ("1a 2", "it does not begin with the name of a metric"),
            ("a", "the value is not a number"),
            ("a x", "the value is not a number"),
            ("a 1 x", "the time stamp is not a number"),
            ("a 1 2 3", "something follows the time stamp"),
            ("a{b} 1", "`=` is missing after the name of a label"),
            ("a{b=1} 1", "the value of a label does not begin with a quote"),
            ("a{b=\"1} 1", "the value of a label has no closing quote"),
            ("a{b=\"\\", "the value of a label has no closing quote"),
            ("a{b=\"\\t\"} 1", "the value of a label has an unknown escape"),
            ("a{b=\"1\" c=\"2\"} 1", "`,` or `}` is missing after a label"),
            ("a{,} 1", "the name of a label is missing"),
            ("a{b=\"1\"", "`,` or `}` is missing after a label"),
        ] {
            let error = parse(&format!("ok 1\n{line}\n")).unwrap_err();
            assert_eq!(error, PrometheusError { line: 2, what }, "{line}");
        }
        let failure = sagellm_core::Failure::from(parse("?").unwrap_err());
        assert_eq!(failure.message, "line 1 of the metrics: it does not begin with the name of a metric");
    }

    fn escape(value: &str) -> String {
        value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,12}",
            labels in prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", "[^\r]{0,12}"), 0..4),
            value in prop::num::f64::ANY,
            stamp in prop::option::of(any::<i64>()),
        ) {
            let inner: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
            let stamp = stamp.map_or(String::new(), |stamp| format!(" {stamp}"));
            let text = format!("{name}{{{}}} {value:?}{stamp}\n", inner.join(","));
            let read = parse(&text).unwrap();
            let sample = &read.samples(&name)[0];
            prop_assert!(sample.value == value || (sample.value.is_nan() && value.is_nan()));
            let back: Vec<_> = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
            prop_assert_eq!(back, labels);
        }

        #[test]
        fn no_text_is_too_strange(text in "[a-z{}\",=\\\\# \n\t0-9.+é-]{0,200}") {
            if let Err(error) = parse(&text) {
                prop_assert!(error.line <= text.split('\n').count());
            }
        }

        #[test]
        fn a_damaged_capture_is_read_or_refused(at in 0_usize..2500, bytes in "[ -~\n]{0,6}") {
            let whole = std::fs::read_to_string("../../testdata/servers/llama-server/metrics.prom").unwrap();
            let at = at.min(whole.len() - 6);
            let damaged = format!("{}{bytes}{}", &whole[..at], &whole[at + 6..]);
            match parse(&damaged) {
                Ok(read) => prop_assert!(read.names().count() >= 10, "one place spoils two metrics at most"),
                Err(error) => prop_assert!(error.line <= damaged.lines().count()),
            }
        }
    }
}
