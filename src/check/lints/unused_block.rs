//! Blocks that no model uses.

use std::collections::BTreeSet;

use super::edit::remove_statement;
use super::{Code, Context, Diagnostic, Lint};
use crate::diagnostic::Applicability;
use crate::syntax::ast::{File, Item, Stage};

const CODE: Code = Code("W0502");

pub(super) const LINT: Lint = Lint { code: CODE, name: "unused_block", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let calls: BTreeSet<&str> = reachable(&context.declared.asts);
    let main = context.declared.end.file;
    let mut said = Vec::new();
    for item in context.declared.asts.iter().flat_map(|file| &file.items) {
        let Item::Block(block) = item else { continue };
        // What an included file declares may be for others that include it.
        if block.span.file != main || calls.contains(block.name.text.as_str()) {
            continue;
        }
        let message = format!("no model uses the block `{}`", block.name.text);
        let (span, text) = remove_statement(context.sources, block.span);
        said.push(Diagnostic::warning(CODE, block.name.span, message).label("never built").fix(
            Applicability::Suggested,
            format!("remove `{}`", block.name.text),
            span,
            text,
        ));
    }
    said
}

/// The names that are called from a model, directly or through blocks.
fn reachable(files: &[File]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let items = || files.iter().flat_map(|file| &file.items);
    for item in items() {
        if let Item::Stages { stages, .. } = item {
            calls(stages, &mut found);
        }
    }
    loop {
        let before = found.len();
        for item in items() {
            if let Item::Block(block) = item
                && found.contains(block.name.text.as_str())
            {
                calls(&block.stages, &mut found);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn calls<'a>(stages: &'a [Stage], found: &mut BTreeSet<&'a str>) {
    for stage in stages {
        match stage {
            Stage::Call(call) => {
                found.insert(&call.name.text);
            }
            Stage::Label { stages, .. } | Stage::Repeat { stages, .. } => calls(stages, found),
            Stage::Residual { stages, shortcut, .. } => {
                calls(stages, found);
                shortcut.iter().for_each(|stages| calls(stages, found));
            }
            Stage::Branch { arms, .. } => arms.iter().for_each(|arm| calls(arm, found)),
        }
    }
}
