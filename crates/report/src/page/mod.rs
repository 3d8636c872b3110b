//! The page: one file, without anything from elsewhere.

mod chart;
mod comparison;
mod curves;
mod html;
mod layers;
mod prompt;
mod sample;
mod scores;
mod single;

use html::{Text, script};

use crate::{Run, figures};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// One run, or several side by side, as HTML.
pub fn page(runs: &[Run]) -> String {
    let (title, body) = match runs {
        [run] => (run.label.clone(), single::body(run)),
        runs => (format!("{} runs", runs.len()), comparison::body(runs)),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}\
         <script type=\"application/json\" id=\"figures\">{figures}</script>\n<script>\n{SCRIPT}</script>\n\
         </body>\n</html>\n",
        title = Text(title),
        figures = script(&figures(runs)),
    )
}

/// A section, or nothing if there is nothing in it.
fn section(title: &str, intro: &str, content: &str) -> String {
    if content.is_empty() {
        return String::new();
    }
    let intro =
        if intro.is_empty() { String::new() } else { format!("<p class=\"intro\">{}</p>\n", Text(intro)) };
    format!("<section>\n<h2>{}</h2>\n{intro}{content}</section>\n", Text(title))
}
