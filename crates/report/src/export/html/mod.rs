//! Pages for a browser. Each is one file with all that it needs: it loads nothing, and its charts are drawn by scripts of
//! its own.

mod axis;
mod bins;
mod course;
mod forest;
mod page;
mod sweep;
mod trend;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, HtmlEscape, UndefinedBehavior, Value};
use sagellm_core::{plain, plain_json};
use serde::Serialize;

use crate::compare::Comparison;
use crate::history::Trend;
use crate::render::code_and_text;
use crate::sweep::Sweep;
use crate::{Error, Summary};
pub(crate) use course::Course;

/// Files that pages are made of.
const TEMPLATES: [(&str, &str); 5] = [
    ("base.html", include_str!("base.html")),
    ("report.html", include_str!("report.html")),
    ("compare.html", include_str!("compare.html")),
    ("sweep.html", include_str!("sweep.html")),
    ("trend.html", include_str!("trend.html")),
];
const STYLE: &str = include_str!("style.css");
const CHARTS: &str = include_str!("charts.js");
const TIMELINE: &str = include_str!("timeline.js");

/// The page of a run. `courses` are those of its workloads, in their order; without any it has no charts.
pub(crate) fn report(summary: &Summary, courses: Vec<Course>) -> Result<String, Error> {
    let (page, data) = page::page(summary, courses);
    fill("report.html", &[CHARTS, TIMELINE], &page, &data)
}

/// The page of a comparison: its differences as a forest plot.
pub(crate) fn comparison(comparison: &Comparison) -> Result<String, Error> {
    fill("compare.html", &[CHARTS], &forest::page(comparison), &())
}

/// The page of a sweep: latency over throughput, load by load.
pub(crate) fn sweep(sweep: &Sweep) -> Result<String, Error> {
    fill("sweep.html", &[CHARTS], &sweep::page(sweep), &())
}

/// The page of a trend: a figure run by run.
pub(crate) fn trend(trend: &Trend<'_>) -> Result<String, Error> {
    fill("trend.html", &[CHARTS], &trend::page(trend), &())
}

/// Fills a template in; `data` is what its scripts read.
fn fill(template: &str, scripts: &[&str], page: &impl Serialize, data: &impl Serialize) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("code", |text: &str| Value::from_safe_string(code(text)));
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    let context = minijinja::context! {
        page => Serde(page),
        style => STYLE,
        script => scripts.concat(),
        data => in_script(&plain_json(&serde_json::to_string(data)?)),
        version => env!("CARGO_PKG_VERSION"),
    };
    Ok(plain(&environment.get_template(template)?.render(context)?).into_owned())
}

/// Escaped text, with what stands between backticks as code.
fn code(text: &str) -> String {
    let html = |(is_code, piece)| match (is_code, HtmlEscape(piece)) {
        (true, piece) => format!("<code>{piece}</code>"),
        (false, piece) => piece.to_string(),
    };
    code_and_text(text).into_iter().map(html).collect()
}

/// JSON that cannot end the element that holds it.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_make_code() {
        assert_eq!(code("give `--x <y>` & go"), "give <code>--x &lt;y&gt;</code> &amp; go");
        assert_eq!(code("it`s"), "it`s");
        assert_eq!(code(""), "");
    }

    #[test]
    fn data_cannot_end_its_element() {
        let json = in_script(&serde_json::to_string("</script><!--").unwrap());
        assert!(!json.contains('<'));
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "</script><!--");
    }
}
