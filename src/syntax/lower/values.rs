//! Values: calls with their arguments, literals, and operators by precedence.

use rowan::NodeOrToken;

use super::super::ast::*;
use super::super::kind::{SyntaxKind as K, SyntaxNode, SyntaxToken};
use super::super::literal::{read_number, read_string};
use super::super::{TOO_DEEP, UNEXPECTED};
use super::{Lowering, child, token};
use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// How deep values may nest, operators included; whoever walks them recurses this deep.
const MAX_VALUE_DEPTH: usize = 256;

impl Lowering<'_> {
    pub(super) fn call(&mut self, node: &SyntaxNode, depth: usize) -> Option<Call> {
        let name = self.name(node)?;
        let args = child(node, K::Args).map(|args| self.args(&args, depth)).unwrap_or_default();
        let parts = [
            token(node, K::Path).map(|token| self.token_span(&token)),
            child(node, K::Args).map(|args| self.span(&args)),
        ];
        let span = parts.into_iter().flatten().reduce(Span::to)?;
        Some(Call { name, args, span })
    }

    pub(super) fn args(&mut self, node: &SyntaxNode, depth: usize) -> Vec<Arg> {
        let mut args = Vec::new();
        for arg in node.children().filter(|node| node.kind() == K::Arg) {
            let name = self.name(&arg);
            let value = self.value(&arg, depth);
            args.push(Arg { name, value, span: self.span(&arg) });
        }
        args
    }

    pub(super) fn expr(&mut self, node: &SyntaxNode, depth: usize) -> Expr {
        let mut operators = Vec::new();
        for element in node.children_with_tokens() {
            if let NodeOrToken::Token(token) = element
                && token.kind() == K::Operator
            {
                operators.push(match token.text() {
                    "+" => Some(BinaryOp::Add),
                    "-" => Some(BinaryOp::Subtract),
                    "*" => Some(BinaryOp::Multiply),
                    "/" => Some(BinaryOp::Divide),
                    _ => None,
                });
            }
        }
        let depth = depth + operators.len() + 1;
        if depth > MAX_VALUE_DEPTH {
            let span = self.span(node);
            self.diagnostics.push(
                Diagnostic::error(
                    TOO_DEEP,
                    span,
                    format!("a value of more than {MAX_VALUE_DEPTH} nested operators and calls"),
                )
                .label("too deep")
                .help("name parts of it with `let`"),
            );
            return Expr { kind: ExprKind::Missing, span };
        }
        let operands = self.operands(node, depth);
        self.combine(operands, operators)
    }

    /// The operands of a value, one more than operators; those not written are [`ExprKind::Missing`].
    fn operands(&mut self, node: &SyntaxNode, depth: usize) -> Vec<Expr> {
        let mut operands = Vec::new();
        let mut minus: Option<(Span, bool)> = None;
        let mut pending = true;
        let mut end = Span { end: self.span(node).start, ..self.span(node) };
        for element in node.children_with_tokens() {
            let kind = element.kind();
            if kind.is_trivia() || kind == K::Error {
                continue;
            }
            let range = element.text_range();
            let span = Span::new(self.file, range.start().into(), range.end().into());
            match kind {
                K::Operator => {
                    if pending {
                        operands.push(Expr { kind: ExprKind::Missing, span: end.after() });
                    }
                    (minus, pending) = (None, true);
                }
                K::Minus => {
                    let (first, odd) = minus.unwrap_or((span, false));
                    minus = Some((first, !odd));
                }
                _ => {
                    let mut operand = self.operand(element, span, depth);
                    if let Some((first, odd)) = minus.take() {
                        let span = first.to(operand.span);
                        operand = match odd {
                            true => Expr { kind: ExprKind::Negate(Box::new(operand)), span },
                            false => Expr { span, ..operand },
                        };
                    }
                    operands.push(operand);
                    pending = false;
                }
            }
            end = span;
        }
        if pending {
            operands.push(Expr { kind: ExprKind::Missing, span: end.after() });
        }
        operands
    }

    fn operand(&mut self, element: NodeOrToken<SyntaxNode, SyntaxToken>, span: Span, depth: usize) -> Expr {
        let kind = match &element {
            NodeOrToken::Node(node) => match node.kind() {
                K::Call => self.call(node, depth).map_or(ExprKind::Missing, ExprKind::Call),
                K::List => ExprKind::List(self.list(node, depth)),
                K::Group => return Expr { span, ..self.value(node, depth) },
                _ => ExprKind::Missing,
            },
            NodeOrToken::Token(token) => {
                let text = token.text();
                match token.kind() {
                    K::Number => read_number(text, span, self.diagnostics),
                    K::String => {
                        let inner = Span { start: span.start + 1, end: span.end - 1, ..span };
                        ExprKind::Text(read_string(&text[1..text.len() - 1], inner, self.diagnostics))
                    }
                    K::OpenString => {
                        let inner = text.trim_end_matches([' ', '\t', ')', ']', '}', ',', ';', '\\']);
                        ExprKind::Text(inner.trim_start_matches('"').to_string())
                    }
                    K::WrongString => {
                        let mut chars = text.chars();
                        chars.next();
                        chars.next_back();
                        ExprKind::Text(chars.as_str().to_string())
                    }
                    K::Path => ExprKind::Word(self.path(token)),
                    _ => ExprKind::Missing,
                }
            }
        };
        Expr { kind, span }
    }

    fn list(&mut self, node: &SyntaxNode, depth: usize) -> Vec<Expr> {
        let mut values = Vec::new();
        for arg in self.args(node, depth) {
            if let Some(name) = &arg.name {
                self.diagnostics.push(
                    Diagnostic::error(
                        UNEXPECTED,
                        name.span,
                        format!("a list holds values, found the name `{}`", name.text),
                    )
                    .label("no names in a list")
                    .help("write the value alone"),
                );
            }
            values.push(arg.value);
        }
        values
    }

    /// Joins operands by precedence: products, then sums, then ranges; each from the left.
    fn combine(&mut self, operands: Vec<Expr>, operators: Vec<Option<BinaryOp>>) -> Expr {
        let mut operands = operands.into_iter();
        let missing = Expr { kind: ExprKind::Missing, span: Span::new(self.file, 0, 0) };
        let mut values = vec![operands.next().unwrap_or(missing)];
        let mut waiting: Vec<Option<BinaryOp>> = Vec::new();
        for (operator, operand) in operators.into_iter().zip(operands) {
            while let Some(last) = waiting.pop_if(|last| strength(*last) >= strength(operator)) {
                self.join(last, &mut values);
            }
            waiting.push(operator);
            values.push(operand);
        }
        while let Some(last) = waiting.pop() {
            self.join(last, &mut values);
        }
        values.swap_remove(0)
    }

    fn join(&mut self, operator: Option<BinaryOp>, values: &mut Vec<Expr>) {
        let (Some(right), Some(left)) = (values.pop(), values.pop()) else {
            unreachable!("every operator stands between two operands");
        };
        let span = left.span.to(right.span);
        if operator.is_none() && matches!(left.kind, ExprKind::Range(..)) {
            self.diagnostics.push(
                Diagnostic::error(UNEXPECTED, right.span, "a range has two ends, found a third")
                    .label("one end too many")
                    .help("write `low..high`"),
            );
        }
        let (left, right) = (Box::new(left), Box::new(right));
        let kind = match operator {
            Some(operator) => ExprKind::Binary(operator, left, right),
            None => ExprKind::Range(left, right),
        };
        values.push(Expr { kind, span });
    }
}

fn strength(operator: Option<BinaryOp>) -> u8 {
    match operator {
        None => 0,
        Some(BinaryOp::Add | BinaryOp::Subtract) => 1,
        Some(BinaryOp::Multiply | BinaryOp::Divide) => 2,
    }
}
