//! What stands under the cursor: documentation, and what is known of it here.

use gen_lsp_types as lsp;

use super::context::{
    Slot, child, describe_word, entry_of_call, is_named, name_of, section_of, slot_of_argument, slot_of_holder,
    slot_of_setting, slot_of_value, span_of, token_at,
};
use super::document::Document;
use super::names::{Named, Names};
use crate::check::lints::lint;
use crate::check::program::{Findings, Stage};
use crate::explain::page;
use crate::figures::{bytes, scaled, whole};
use crate::library::TargetType;
use crate::library::reference::text;
use crate::schema::Param;
use crate::syntax::{SyntaxKind as K, SyntaxNode, SyntaxToken};

/// What is to be shown for an offset.
pub fn hover(document: &Document, offset: usize) -> Option<lsp::Hover> {
    let token = token_at(&document.root(), offset)?;
    let findings = document.current().map(|analysis| &analysis.findings);
    let value = describe(document, &token, findings)?;
    let contents = lsp::Contents::MarkupContent(lsp::MarkupContent { kind: lsp::MarkupKind::Markdown, value });
    Some(lsp::Hover { contents, range: Some(document.token_range(&token)) })
}

fn describe(document: &Document, token: &SyntaxToken, findings: Option<&Findings>) -> Option<String> {
    let parent = token.parent()?;
    match token.kind() {
        K::Keyword => {
            let facts = facts_of_stage(findings, &parent);
            describe_word(token.text()).map(|text| join([Some(text.to_owned()), facts]))
        }
        K::Number | K::String => describe_slot(slot_of_value(&parent)?),
        K::Path => {
            if let Some((named, _)) = Names::new(document).named(token) {
                return Some(describe_named(document, &named, &parent, findings));
            }
            describe_path(token, &parent, findings)
        }
        _ => None,
    }
}

fn describe_path(token: &SyntaxToken, parent: &SyntaxNode, findings: Option<&Findings>) -> Option<String> {
    let name = token.text();
    let plain = || describe_word(name).map(str::to_owned);
    match parent.kind() {
        K::Section => {
            let facts = match name {
                "data" => findings.and_then(facts_of_data),
                _ => None,
            };
            plain().map(|text| join([Some(text), facts]))
        }
        K::Setting => {
            let section = section_of(parent);
            let facts = findings.filter(|_| section == "data").and_then(|findings| facts_of_split(findings, name));
            match slot_of_setting(&section, name) {
                Some(Slot::Param(_, param)) => Some(describe_param(param)),
                _ => plain().map(|text| join([Some(text), facts])),
            }
        }
        K::Call => {
            let facts = facts_of_stage(findings, parent);
            match entry_of_call(parent) {
                Some(entry) => Some(with_facts(&entry.markdown(), facts)),
                None => plain().map(|text| join([Some(text), facts])),
            }
        }
        K::Arg if name_of(parent).as_ref() == Some(token) && is_named(parent) => {
            let call = parent.parent()?.parent()?;
            describe_slot(slot_of_argument(&call, Some(name), None)?)
        }
        K::Expr if parent.ancestors().any(|node| node.kind() == K::Allow) => {
            lint(name).and_then(|lint| page(lint.code.0)).map(|page| page.text.to_owned())
        }
        K::Expr => {
            if name == "classes"
                && let Some(TargetType::Classes(classes)) = findings.and_then(|findings| findings.targets)
            {
                return plain().map(|text| format!("{text} Here it is {classes}."));
            }
            let slot = slot_of_value(parent).or_else(|| slot_of_holder(&parent.parent()?));
            let item = slot.and_then(|slot| slot.entries().into_iter().find(|entry| entry.name == name));
            match (item, slot) {
                (Some(entry), _) => Some(entry.markdown()),
                (None, Some(slot @ Slot::Param(..))) => describe_slot(slot),
                _ => plain(),
            }
        }
        _ => plain(),
    }
}

/// What is known here stands right behind the signature, where it is seen without scrolling.
fn with_facts(markdown: &str, facts: Option<String>) -> String {
    const END: &str = "\n```\n";
    match (facts, markdown.find(END)) {
        (Some(facts), Some(at)) => {
            let (signature, rest) = markdown.split_at(at + END.len());
            format!("{signature}\n{facts}\n{rest}")
        }
        (facts, _) => join([Some(markdown.to_owned()), facts]),
    }
}

fn describe_named(document: &Document, named: &Named, at: &SyntaxNode, findings: Option<&Findings>) -> String {
    match named {
        Named::Let(name) => {
            let value = findings.and_then(|findings| findings.lets.iter().find(|(known, _)| known == name));
            match value {
                Some((name, value)) => format!("```nnopt\nlet {name} = {value}\n```"),
                None => format!("```nnopt\nlet {name}\n```"),
            }
        }
        Named::Block(name) => {
            let root = document.root();
            let block = root.children().find(|node| node.kind() == K::Block && node_is(node, name));
            let args = block.as_ref().and_then(|block| child(block, K::Args)).map(|args| args.text().to_string());
            let head = format!("```nnopt\nblock {name}{}\n```", args.unwrap_or_default());
            join([Some(head), facts_of_stage(findings, at)])
        }
        Named::Label(name) => {
            let facts = child(at, K::Chain).and_then(|chain| facts_of_stage(findings, &chain.last_child()?));
            join([
                Some(format!("The label `{name}`: `use({name})`, `add({name})`, `concat({name})` take its value.")),
                facts,
            ])
        }
        Named::Param(_, name) => format!("The parameter `{name}` of this block."),
    }
}

fn node_is(node: &SyntaxNode, name: &str) -> bool {
    name_of(node).is_some_and(|token| token.text() == name)
}

fn describe_slot(slot: Slot) -> Option<String> {
    match slot {
        Slot::Param(_, param) => Some(describe_param(param)),
        _ => None,
    }
}

/// A parameter: what it is, what it takes, its default.
pub fn describe_param(param: &Param) -> String {
    let default = param.default.map(|default| format!(" Default: `{}`.", default())).unwrap_or_default();
    format!("`{}`: {}\n\nTakes {}.{default}", param.name, text(param.docs), (param.expected)())
}

/// Shapes and costs of what runs here.
fn facts_of_stage(findings: Option<&Findings>, node: &SyntaxNode) -> Option<String> {
    let stages = findings?.stages_at(span_of(node));
    /// More than this is more than anyone reads.
    const SHOWN: usize = 8;
    let mut lines: Vec<String> = stages.iter().take(SHOWN).map(|stage| facts(stage)).collect();
    if stages.len() > SHOWN {
        lines.push(format!("- and {} more", stages.len() - SHOWN));
    }
    if let [only] = &lines[..] {
        return Some(only.trim_start_matches("- ").to_owned());
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn facts(stage: &Stage) -> String {
    let elements: usize = stage.output.shape.iter().product();
    let mut parts = vec![format!("- `{}` → `{}`", stage.input.show(), stage.output.show())];
    if stage.cost.parameters > 0 {
        let memory = bytes(4 * stage.cost.parameters);
        parts.push(format!("{} parameters ({memory})", whole(stage.cost.parameters)));
    }
    if stage.cost.flops > 0 {
        parts.push(format!("{} FLOPs a sample", scaled(stage.cost.flops as f64)));
    }
    parts.push(format!("{} of output a sample", bytes(4 * elements as u64)));
    parts.join(" · ")
}

fn facts_of_data(findings: &Findings) -> Option<String> {
    let input = findings.input.as_ref()?;
    let targets = match findings.targets? {
        TargetType::Classes(classes) => format!("{classes} classes"),
        TargetType::Values(width) => format!("{width} numbers to predict"),
    };
    let mut lines = vec![format!("Samples of `{}`, {targets}.", input.show())];
    lines.extend(findings.splits.iter().map(|split| format!("- `{}`: {} rows", split.name, whole(split.rows as u64))));
    Some(lines.join("\n"))
}

fn facts_of_split(findings: &Findings, name: &str) -> Option<String> {
    let split = findings.splits.iter().find(|split| split.name == name)?;
    Some(format!("{} rows", whole(split.rows as u64)))
}

fn join<const N: usize>(parts: [Option<String>; N]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
}
