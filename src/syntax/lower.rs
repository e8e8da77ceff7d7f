//! The lossless tree to the abstract syntax.

mod values;

use rowan::NodeOrToken;

use super::ast::*;
use super::kind::{SyntaxKind as K, SyntaxNode, SyntaxToken};
use super::{BAD_VERSION, MISSING_NAME, MISSING_VALUE};
use crate::diagnostic::{Applicability, Diagnostic};
use crate::source::Span;

/// Lowers a whole file.
pub(super) fn lower_file(root: &SyntaxNode, file: u16, diagnostics: &mut Vec<Diagnostic>) -> File {
    let mut lowering = Lowering { file, diagnostics, hoisted: Vec::new() };
    let mut result = File { span: lowering.span(root), ..File::default() };
    for node in root.descendants().filter(|node| node.kind() == K::Allow) {
        result.allows.extend(lowering.allow(&node));
    }
    for node in root.children() {
        if node.kind() == K::Version {
            lowering.version(&node, &mut result);
        } else {
            let item = lowering.item(&node);
            result.items.append(&mut lowering.hoisted);
            result.items.extend(item);
        }
    }
    result
}

/// Lowers the one value of a `--set`.
pub(super) fn lower_value(root: &SyntaxNode, file: u16, diagnostics: &mut Vec<Diagnostic>) -> Option<Expr> {
    let mut lowering = Lowering { file, diagnostics, hoisted: Vec::new() };
    child(root, K::Expr).map(|node| lowering.expr(&node, 0))
}

struct Lowering<'a> {
    file: u16,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// `let`s found inside a section; they stand before it in the result.
    hoisted: Vec<Item>,
}

impl Lowering<'_> {
    fn version(&mut self, node: &SyntaxNode, file: &mut File) {
        let span = self.span(node);
        if !file.items.is_empty() || file.version.is_some() {
            self.diagnostics.push(
                Diagnostic::error(
                    BAD_VERSION,
                    span,
                    "`nnopt` stands once, at the start of the file, found it again or later",
                )
                .label("not at the start")
                .fix(Applicability::Suggested, "remove it", span, ""),
            );
        }
        let Some(token) = token(node, K::Number) else { return };
        let token_span = self.token_span(&token);
        match token.text().parse() {
            Ok(number) => {
                file.version.get_or_insert((number, token_span));
            }
            Err(_) => self.diagnostics.push(
                Diagnostic::error(BAD_VERSION, token_span, format!("`{}` is not a version", token.text()))
                    .label("expected one number")
                    .fix(Applicability::Suggested, "write `1`", token_span, "1"),
            ),
        }
    }

    fn allow(&mut self, node: &SyntaxNode) -> Option<Allow> {
        let span = self.span(node);
        let args = child(node, K::Args)?;
        let mut lints = Vec::new();
        for arg in self.args(&args, 0) {
            match (arg.name, arg.value) {
                (None, Expr { kind: ExprKind::Word(text), span }) => lints.push(Name { text, span }),
                (_, Expr { kind: ExprKind::Missing, .. }) => {}
                _ => self.diagnostics.push(
                    Diagnostic::error(MISSING_NAME, arg.span, "expected the name of a lint, found a value")
                        .label("not a name")
                        .help("write `allow(no_normalization)`; `nnoptc explain` lists the lints"),
                ),
            }
        }
        let top = node.parent().is_none_or(|parent| parent.kind() == K::File);
        let covers = match top {
            true => None,
            // Several of them before one statement all hold for it.
            false => {
                let mut after = std::iter::successors(node.next_sibling(), SyntaxNode::next_sibling);
                Some(after.find(|node| node.kind() != K::Allow).map_or(span, |next| self.span(&next)))
            }
        };
        Some(Allow { lints, span, covers })
    }

    fn item(&mut self, node: &SyntaxNode) -> Option<Item> {
        let span = self.span(node);
        match node.kind() {
            K::Let => self.setting(node, true).map(Item::Let),
            K::Setting => self.setting(node, false).map(Item::Setting),
            K::Block => {
                let name = self.plain_name(node)?;
                let params = child(node, K::Args).map(|args| self.params(&args)).unwrap_or_default();
                let stages = self.body(node);
                Some(Item::Block(BlockDef { name, params, stages, span }))
            }
            K::Include => self.include(node),
            K::Profile => {
                let name = self.plain_name(node)?;
                let settings = self.settings(node);
                Some(Item::Profile { name, settings, span })
            }
            K::Section => {
                let name = self.name(node)?;
                let staged = match child(node, K::SettingBody) {
                    Some(_) => false,
                    None => child(node, K::StageBody).is_some() || matches!(name.text.as_str(), "model" | "augment"),
                };
                Some(if staged {
                    Item::Stages { stages: self.body(node), name, span }
                } else {
                    Item::Settings { settings: self.settings(node), name, span }
                })
            }
            _ => None,
        }
    }

    fn include(&mut self, node: &SyntaxNode) -> Option<Item> {
        let path = self.expr(&child(node, K::Expr)?, 0);
        match path.kind {
            ExprKind::Text(text) => Some(Item::Include { path: text, span: path.span }),
            ExprKind::Missing => None,
            ExprKind::Word(_) => {
                let written = self.text(node, path.span);
                self.diagnostics.push(
                    Diagnostic::error(MISSING_VALUE, path.span, format!("expected a quoted path, found `{written}`"))
                        .label("not in quotes")
                        .fix(
                            Applicability::Safe,
                            format!("write `\"{written}\"`"),
                            path.span,
                            format!("\"{written}\""),
                        ),
                );
                Some(Item::Include { path: written, span: path.span })
            }
            _ => {
                self.diagnostics.push(
                    Diagnostic::error(MISSING_VALUE, path.span, "expected a quoted path, found another value")
                        .label("not a path")
                        .help("write `include \"file.nnopt\"`"),
                );
                None
            }
        }
    }

    fn params(&mut self, args: &SyntaxNode) -> Vec<(Name, Option<Expr>)> {
        let mut params = Vec::new();
        for arg in self.args(args, 0) {
            match (arg.name, arg.value) {
                (Some(name), value) => params.push((name, Some(value))),
                (None, Expr { kind: ExprKind::Word(text), span }) => params.push((Name { text, span }, None)),
                (None, Expr { kind: ExprKind::Missing, .. }) => {}
                (None, _) => self.diagnostics.push(
                    Diagnostic::error(MISSING_NAME, arg.span, "expected the name of a parameter, found a value")
                        .label("not a name")
                        .help("parameters are `name` or `name = default`"),
                ),
            }
        }
        params
    }

    fn settings(&mut self, section: &SyntaxNode) -> Vec<Setting> {
        let mut settings = Vec::new();
        for node in child(section, K::SettingBody).iter().flat_map(SyntaxNode::children) {
            match node.kind() {
                K::Setting => settings.extend(self.setting(&node, false)),
                K::Misplaced => self.hoist(&node),
                _ => {}
            }
        }
        settings
    }

    fn setting(&mut self, node: &SyntaxNode, plain: bool) -> Option<Setting> {
        let name = if plain { self.plain_name(node) } else { self.name(node) }?;
        let span = self.span(node);
        let value = self.value(node, 0);
        Some(Setting { name, value, span })
    }

    /// The value among the children of a node, or [`ExprKind::Missing`] at its end.
    fn value(&mut self, node: &SyntaxNode, depth: usize) -> Expr {
        match child(node, K::Expr) {
            Some(expr) => self.expr(&expr, depth),
            None => Expr { kind: ExprKind::Missing, span: self.span(node).after() },
        }
    }

    fn hoist(&mut self, node: &SyntaxNode) {
        if let Some(setting) = child(node, K::Let).and_then(|node| self.setting(&node, true)) {
            self.hoisted.push(Item::Let(setting));
        }
    }

    /// The stages in the body of a node.
    fn body(&mut self, node: &SyntaxNode) -> Vec<Stage> {
        child(node, K::StageBody).map(|body| self.stages(&body)).unwrap_or_default()
    }

    /// The stages among the children of a node.
    fn stages(&mut self, node: &SyntaxNode) -> Vec<Stage> {
        let mut stages = Vec::new();
        for node in node.children() {
            let span = self.span(&node);
            match node.kind() {
                K::Chain => stages.append(&mut self.stages(&node)),
                K::Misplaced => {
                    self.hoist(&node);
                    stages.append(&mut self.body(&node));
                }
                K::LabelStage => {
                    let chain = child(&node, K::Chain).map(|chain| self.stages(&chain)).unwrap_or_default();
                    if let Some(name) = self.name(&node) {
                        stages.push(Stage::Label { name, stages: chain, span });
                    }
                }
                K::Call => {
                    let body = child(&node, K::Misplaced);
                    if body.is_some() && child(&node, K::Join).is_some() {
                        stages.push(self.branch(&node, span));
                        continue;
                    }
                    // A misspelt `residual { … }` looks like a layer with a body: what counts is inside.
                    if body.is_none() || child(&node, K::Args).is_some() {
                        stages.extend(self.call(&node, 0).map(Stage::Call));
                    }
                    if let Some(body) = body {
                        stages.append(&mut self.body(&body));
                    }
                }
                K::Repeat => {
                    let count = self.value(&node, 0);
                    stages.push(Stage::Repeat { count, stages: self.body(&node), span });
                }
                K::Residual => {
                    let main = self.body(&node);
                    let shortcut = child(&node, K::Shortcut).map(|shortcut| self.body(&shortcut));
                    stages.push(Stage::Residual { stages: main, shortcut, span });
                }
                K::Branch => stages.push(self.branch(&node, span)),
                _ => {}
            }
        }
        stages
    }

    fn branch(&mut self, node: &SyntaxNode, span: Span) -> Stage {
        let mut arms = Vec::new();
        // A misspelt `branch` is a layer with a misplaced body.
        let misspelt = || child(&child(node, K::Misplaced)?, K::StageBody);
        for arm in child(node, K::BranchBody).or_else(misspelt).iter().flat_map(SyntaxNode::children) {
            match arm.kind() {
                K::StageBody => arms.push(self.stages(&arm)),
                K::Misplaced if child(&arm, K::Let).is_some() => self.hoist(&arm),
                K::Misplaced => arms.push(match child(&arm, K::StageBody) {
                    Some(body) => self.stages(&body),
                    None => self.stages(&arm),
                }),
                _ => {}
            }
        }
        let join = child(node, K::Join).and_then(|join| self.name(&join));
        // A missing join has been reported; either kind lets the check go on.
        let join = join.unwrap_or_else(|| Name { text: "concat".into(), span: span.after() });
        Stage::Branch { arms, join, span }
    }

    /// The name of a node: its first path.
    fn name(&mut self, node: &SyntaxNode) -> Option<Name> {
        let token = token(node, K::Path)?;
        let text = self.path(&token);
        let span = self.token_span(&token);
        Some(Name { text, span: Span { end: span.start + text_length(&token), ..span } })
    }

    /// The name of something declared, which has no dots.
    fn plain_name(&mut self, node: &SyntaxNode) -> Option<Name> {
        let name = self.name(node)?;
        if name.text.contains('.') {
            self.diagnostics.push(
                Diagnostic::error(
                    MISSING_NAME,
                    name.span,
                    format!("expected a name without dots, found `{}`", name.text),
                )
                .label("not a plain name")
                .fix(
                    Applicability::Suggested,
                    format!("write `{}`", name.text.replace('.', "_")),
                    name.span,
                    name.text.replace('.', "_"),
                ),
            );
        }
        Some(name)
    }

    fn path(&mut self, token: &SyntaxToken) -> String {
        let text = token.text();
        if let Some(path) = text.strip_suffix('.') {
            let at = self.token_span(token).after();
            if !self.diagnostics.iter().any(|diagnostic| diagnostic.span() == at) {
                self.diagnostics.push(
                    Diagnostic::error(MISSING_NAME, at, format!("expected a name after `{text}`"))
                        .label("name missing"),
                );
            }
            return path.to_string();
        }
        // Dashes have been reported.
        text.replace('-', "_")
    }

    fn text(&self, node: &SyntaxNode, span: Span) -> String {
        let start = usize::from(node.text_range().start());
        let text = node.text().to_string();
        let range = span.range();
        text.get(range.start - start..range.end - start).unwrap_or("").to_string()
    }

    fn span(&self, node: &SyntaxNode) -> Span {
        let range = node.text_range();
        Span::new(self.file, range.start().into(), range.end().into())
    }

    fn token_span(&self, token: &SyntaxToken) -> Span {
        let range = token.text_range();
        Span::new(self.file, range.start().into(), range.end().into())
    }
}

/// The length of a path without a dot at its end.
fn text_length(token: &SyntaxToken) -> u32 {
    token.text().trim_end_matches('.').len() as u32
}

fn child(node: &SyntaxNode, kind: K) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind() == kind)
}

/// The first token of this kind directly in a node.
fn token(node: &SyntaxNode, kind: K) -> Option<SyntaxToken> {
    node.children_with_tokens().filter_map(NodeOrToken::into_token).find(|token| token.kind() == kind)
}
