//! Names that nothing uses.

use std::collections::BTreeSet;

use super::super::load::TOP_SETTINGS;
use super::edit::remove_statement;
use super::{Code, Context, Diagnostic, Lint};
use crate::diagnostic::{Applicability, did_you_mean};
use crate::syntax::ast::{Arg, Expr, ExprKind, File, Item, Setting, Stage};

const CODE: Code = Code("W0501");

pub(super) const LINT: Lint = Lint { code: CODE, name: "unused_let", check };

fn check(context: &Context) -> Vec<Diagnostic> {
    let mut words = BTreeSet::new();
    context.declared.asts.iter().for_each(|file| words_of_file(file, &mut words));
    let main = context.declared.end.file;
    // What an included file declares may be for others that include it.
    let unused = context.declared.asts.iter().flat_map(|file| &file.items).filter_map(|item| match item {
        Item::Let(setting) if setting.span.file == main && !words.contains(setting.name.text.as_str()) => Some(setting),
        _ => None,
    });
    unused.map(|setting| report(context, setting)).collect()
}

fn report(context: &Context, setting: &Setting) -> Diagnostic {
    let name = &setting.name;
    let diagnostic = Diagnostic::warning(CODE, name.span, format!("nothing uses `{}`", name.text)).label("never read");
    let (span, text) = remove_statement(context.sources, setting.span);
    let diagnostic = match did_you_mean(&name.text, TOP_SETTINGS).filter(|close| *close == name.text) {
        Some(close) => diagnostic.help(format!("`{close} = …` without `let` is the setting")),
        None => diagnostic,
    };
    diagnostic.fix(Applicability::Suggested, format!("remove `{}`", name.text), span, text)
}

fn words_of_file<'a>(file: &'a File, words: &mut BTreeSet<&'a str>) {
    for item in &file.items {
        match item {
            Item::Let(setting) | Item::Setting(setting) => words_of(&setting.value, words),
            Item::Block(block) => {
                block.params.iter().filter_map(|(_, value)| value.as_ref()).for_each(|value| words_of(value, words));
                words_of_stages(&block.stages, words);
            }
            Item::Profile { settings, .. } => settings.iter().for_each(|setting| {
                words.insert(&setting.name.text);
                words_of(&setting.value, words);
            }),
            Item::Settings { settings, .. } => settings.iter().for_each(|setting| words_of(&setting.value, words)),
            Item::Stages { stages, .. } => words_of_stages(stages, words),
            Item::Include { .. } => {}
        }
    }
}

fn words_of_stages<'a>(stages: &'a [Stage], words: &mut BTreeSet<&'a str>) {
    for stage in stages {
        match stage {
            Stage::Call(call) => words_of_args(&call.args, words),
            Stage::Label { stages, .. } => words_of_stages(stages, words),
            Stage::Repeat { count, stages, .. } => {
                words_of(count, words);
                words_of_stages(stages, words);
            }
            Stage::Residual { stages, shortcut, .. } => {
                words_of_stages(stages, words);
                shortcut.iter().for_each(|stages| words_of_stages(stages, words));
            }
            Stage::Branch { arms, .. } => arms.iter().for_each(|arm| words_of_stages(arm, words)),
        }
    }
}

fn words_of_args<'a>(args: &'a [Arg], words: &mut BTreeSet<&'a str>) {
    args.iter().for_each(|arg| words_of(&arg.value, words));
}

fn words_of<'a>(value: &'a Expr, words: &mut BTreeSet<&'a str>) {
    match &value.kind {
        ExprKind::Word(word) => {
            words.insert(word);
        }
        ExprKind::Range(low, high) | ExprKind::Binary(_, low, high) => {
            words_of(low, words);
            words_of(high, words);
        }
        ExprKind::List(values) => values.iter().for_each(|value| words_of(value, words)),
        ExprKind::Call(call) => words_of_args(&call.args, words),
        ExprKind::Negate(inner) => words_of(inner, words),
        ExprKind::Number { .. } | ExprKind::Text(_) | ExprKind::Missing => {}
    }
}
