//! `nnoptc explain`: the long text on a diagnostic's code or an item of the language.

use std::fmt::Write;

use crate::diagnostic::did_you_mean;
use crate::explain::{PAGES, page};
use crate::library::reference::{Entry, entries};

use super::args::Explain;
use super::output::{Exit, Failure, Output};

/// Prints the text on a topic, or lists all topics.
pub fn execute(args: &Explain, output: &Output) -> Result<Exit, Failure> {
    let Some(topic) = &args.topic else {
        output.data(&list())?;
        return Ok(Exit::Done);
    };
    if let Some(page) = page(topic) {
        output.data(&page.markdown())?;
        return Ok(Exit::Done);
    }
    let items = items();
    let found: Vec<&Entry> = items.iter().filter(|item| item.name == topic).collect();
    if found.is_empty() {
        let known = items.iter().map(|item| item.name).chain(PAGES.iter().map(|page| page.code));
        let failure = Failure::usage(format!("nothing is known of `{topic}`"));
        let wanted = if topic.starts_with(['e', 'E']) { topic.to_uppercase() } else { topic.clone() };
        let close = did_you_mean(topic, known.clone()).or_else(|| did_you_mean(&wanted, known));
        return Err(match close {
            Some(close) => failure.help(format!("a similar topic is `{close}`")),
            None => failure.help("`nnoptc explain` lists all codes and items"),
        });
    }
    let texts: Vec<String> =
        found.iter().map(|item| format!("# {} ({})\n\n{}", item.name, item.kind, item.markdown())).collect();
    output.data(&texts.join("\n"))?;
    Ok(Exit::Done)
}

/// All items: those of the tables and those of the sections.
fn items() -> Vec<Entry> {
    entries().into_iter().chain(crate::check::entries()).collect()
}

fn list() -> String {
    let items = items();
    let width = items.iter().map(|item| item.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut kind = "";
    for item in &items {
        if item.kind != kind {
            let _ = writeln!(text, "{}{}:", if kind.is_empty() { "" } else { "\n" }, plural(item.kind));
            kind = item.kind;
        }
        let _ = writeln!(text, "  {:width$}  {}", item.name, item.summary());
    }
    text.push_str("\ncodes:\n");
    for page in PAGES {
        let _ = writeln!(text, "  {:width$}  {}", page.code, page.title());
    }
    text
}

fn plural(kind: &str) -> String {
    match kind {
        "loss" => "losses".to_owned(),
        _ => format!("{kind}s"),
    }
}
