//! `nnoptc explain`: the long text on a diagnostic's code, an item of the language, a section or a setting.

use std::fmt::Write;

use crate::check::lints::{LINTS, lint};
use crate::check::reference::{Topic, topics};
use crate::diagnostic::did_you_mean;
use crate::explain::{PAGES, page};
use crate::library::reference::{Entry, entries};

use super::args::Explain;
use super::output::{Exit, Failure, Output};

/// An item of any kind.
struct Item {
    kind: &'static str,
    name: &'static str,
    summary: String,
    page: String,
}

/// Prints the text on a topic, or lists all topics.
pub fn execute(args: &Explain, output: &Output) -> Result<Exit, Failure> {
    let Some(topic) = &args.topic else {
        output.data(&list())?;
        return Ok(Exit::Done);
    };
    // A lint has a name beside its code.
    let code = lint(topic).map_or(topic.as_str(), |lint| lint.code.0);
    if let Some(page) = page(code) {
        output.data(&page.markdown())?;
        return Ok(Exit::Done);
    }
    let items = items();
    let found: Vec<&Item> = items.iter().filter(|item| item.name == topic).collect();
    if found.is_empty() {
        let codes = PAGES.iter().map(|page| page.code).chain(LINTS.iter().map(|lint| lint.name));
        let known = items.iter().map(|item| item.name).chain(codes);
        let failure = Failure::usage(format!("nothing is known of `{topic}`"));
        let wanted = if topic.starts_with(['e', 'E', 'w', 'W']) { topic.to_uppercase() } else { topic.clone() };
        let close = did_you_mean(topic, known.clone()).or_else(|| did_you_mean(&wanted, known));
        return Err(match close {
            Some(close) => failure.help(format!("a similar topic is `{close}`")),
            None => failure.help("`nnoptc explain` lists all codes and items"),
        });
    }
    let texts: Vec<String> =
        found.iter().map(|item| format!("# {} ({})\n\n{}", item.name, item.kind, item.page)).collect();
    output.data(&texts.join("\n"))?;
    Ok(Exit::Done)
}

/// All items, sections and settings, by kind, in the order of the reference.
fn items() -> Vec<Item> {
    let of_entry = |entry: Entry| Item {
        kind: entry.kind,
        name: entry.name,
        summary: entry.summary().to_owned(),
        page: entry.markdown(),
    };
    let of_topic = |topic: Topic| Item { kind: topic.kind, name: topic.name, summary: topic.summary, page: topic.page };
    entries().into_iter().map(of_entry).chain(topics().into_iter().map(of_topic)).collect()
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
        let _ = writeln!(text, "  {:width$}  {}", item.name, item.summary);
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
        "setting of data" | "setting of train" | "value of a split" | "value of normalize" | "value of early_stop" => {
            kind.replacen("setting", "settings", 1).replacen("value", "values", 1)
        }
        _ => format!("{kind}s"),
    }
}
