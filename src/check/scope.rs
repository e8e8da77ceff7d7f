//! Names and arithmetic: expressions of the source to given values.

use std::collections::BTreeMap;

use super::{Applicability, Code, Diagnostic};
use crate::schema::{Given, GivenCall, GivenKind};
use crate::syntax::ast::{BinaryOp, Call, Expr, ExprKind, Setting, Unit};

const CYCLE: Code = Code("E0211");
const ARITHMETIC: Code = Code("E0210");
const NO_CLASSES: Code = Code("E0219");

/// What names mean at some place.
pub(super) struct Scope<'a> {
    lets: &'a [Setting],
    open: Vec<&'a str>,
    /// Parameters of the blocks that are being expanded, innermost last.
    pub params: Vec<BTreeMap<String, Given>>,
    /// What `classes` means here.
    pub classes: Classes,
}

/// What the word `classes` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Classes {
    /// Nothing yet: in the section of the data itself it is a word like any other.
    Word,
    /// So many.
    Known(usize),
    /// The data has numbers as targets.
    None,
    /// The data could not be understood, which has been reported.
    Unknown,
}

impl<'a> Scope<'a> {
    pub fn new(lets: &'a [Setting]) -> Scope<'a> {
        Scope { lets, open: Vec::new(), params: Vec::new(), classes: Classes::Word }
    }

    /// The value of an expression; `None` where that has been reported or cannot be known.
    pub fn evaluate(&mut self, expr: &Expr, diagnostics: &mut Vec<Diagnostic>) -> Option<Given> {
        let kind = match &expr.kind {
            ExprKind::Missing => return None,
            ExprKind::Number { value, integer, unit } => {
                GivenKind::Number { value: *value, integer: *integer, unit: *unit }
            }
            ExprKind::Text(text) => GivenKind::Text(text.clone()),
            ExprKind::Word(word) => self.word(word, expr, diagnostics)?,
            ExprKind::Range(low, high) => {
                let low = self.number(low, diagnostics)?;
                let high = self.number(high, diagnostics)?;
                GivenKind::Range(low, high)
            }
            ExprKind::List(items) => {
                let items: Vec<Option<Given>> = items.iter().map(|item| self.evaluate(item, diagnostics)).collect();
                GivenKind::List(items.into_iter().collect::<Option<Vec<Given>>>()?)
            }
            ExprKind::Call(call) => GivenKind::Call(self.call(call, diagnostics)),
            ExprKind::Negate(inner) => match self.evaluate(inner, diagnostics)?.kind {
                GivenKind::Number { value, integer, unit } => GivenKind::Number { value: -value, integer, unit },
                _ => return self.not_a_number(inner, diagnostics),
            },
            ExprKind::Binary(op, left, right) => self.arithmetic(expr, *op, left, right, diagnostics)?,
        };
        Some(Given { kind, span: expr.span })
    }

    /// A call with its arguments evaluated; those that could not be are [`GivenKind::Unknown`].
    pub fn call(&mut self, call: &Call, diagnostics: &mut Vec<Diagnostic>) -> GivenCall {
        let mut args = Vec::new();
        for arg in &call.args {
            let unknown = Given { kind: GivenKind::Unknown, span: arg.value.span };
            args.push((arg.name.clone(), self.evaluate(&arg.value, diagnostics).unwrap_or(unknown)));
        }
        GivenCall { name: call.name.clone(), args, span: call.span }
    }

    fn word(&mut self, word: &str, expr: &Expr, diagnostics: &mut Vec<Diagnostic>) -> Option<GivenKind> {
        if let Some(given) = self.params.last().and_then(|params| params.get(word)) {
            return (!matches!(given.kind, GivenKind::Unknown)).then(|| given.kind.clone());
        }
        let lets: &'a [Setting] = self.lets;
        if let Some(binding) = lets.iter().find(|binding| binding.name.text == word) {
            if self.open.contains(&word) {
                let message = format!("`{word}` is defined by itself");
                let diagnostic = Diagnostic::error(CYCLE, binding.name.span, message)
                    .label("defined here")
                    .also(expr.span, "used for its own value here")
                    .help("a name keeps the value that it is given once: choose another for the new value");
                diagnostics.push(diagnostic);
                return None;
            }
            self.open.push(&binding.name.text);
            let given = self.evaluate(&binding.value, diagnostics);
            self.open.pop();
            return given.map(|given| given.kind);
        }
        if word == "classes" {
            return match self.classes {
                Classes::Word => Some(GivenKind::Word(word.to_owned())),
                Classes::Known(n) => Some(GivenKind::Number { value: n as f64, integer: true, unit: None }),
                Classes::Unknown => None,
                Classes::None => {
                    let message = "`classes` is the number of classes, and the data has numbers as targets";
                    let help = "write the number of outputs, such as `linear(1)`, or `task = classes` in the data";
                    let diagnostic = Diagnostic::error(NO_CLASSES, expr.span, message).label("there are no classes");
                    diagnostics.push(diagnostic.help(help));
                    None
                }
            };
        }
        Some(GivenKind::Word(word.to_owned()))
    }

    fn number(&mut self, expr: &Expr, diagnostics: &mut Vec<Diagnostic>) -> Option<f64> {
        match self.evaluate(expr, diagnostics)?.kind {
            GivenKind::Number { value, unit: None, .. } => Some(value),
            GivenKind::Number { value, unit: Some(Unit::Percent), .. } => Some(value / 100.0),
            _ => self.not_a_number(expr, diagnostics),
        }
    }

    fn not_a_number<T>(&self, expr: &Expr, diagnostics: &mut Vec<Diagnostic>) -> Option<T> {
        let diagnostic = match &expr.kind {
            ExprKind::Word(word) => {
                let names = self.lets.iter().map(|binding| binding.name.text.as_str()).chain(["classes"]);
                let message = format!("`{word}` is not a number");
                let diagnostic = Diagnostic::error(ARITHMETIC, expr.span, message).label("unknown name");
                match crate::diagnostic::did_you_mean(word, names) {
                    Some(close) => diagnostic.help(format!("a similar name is `{close}`")).fix(
                        Applicability::Suggested,
                        format!("write `{close}`"),
                        expr.span,
                        close,
                    ),
                    None => diagnostic.help(format!("define it: `let {word} = …`")),
                }
            }
            _ => Diagnostic::error(ARITHMETIC, expr.span, "arithmetic takes numbers").label("not a number"),
        };
        diagnostics.push(diagnostic);
        None
    }

    fn arithmetic(
        &mut self,
        whole: &Expr,
        op: BinaryOp,
        left: &Expr,
        right: &Expr,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<GivenKind> {
        let a = self.evaluate(left, diagnostics)?;
        let b = self.evaluate(right, diagnostics)?;
        let is_misspelt = |given: &Given| match &given.kind {
            GivenKind::Word(word) => {
                crate::diagnostic::did_you_mean(word, self.lets.iter().map(|binding| binding.name.text.as_str()))
                    .is_some()
            }
            _ => false,
        };
        if !is_misspelt(&a)
            && !is_misspelt(&b)
            && let Some(diagnostic) = not_arithmetic(whole, op, [&a, &b])
        {
            diagnostics.push(diagnostic);
            return None;
        }
        let (
            GivenKind::Number { value: x, integer: x_whole, unit: x_unit },
            GivenKind::Number { value: y, integer: y_whole, unit: y_unit },
        ) = (&a.kind, &b.kind)
        else {
            let wrong = if matches!(a.kind, GivenKind::Number { .. }) { right } else { left };
            return self.not_a_number(wrong, diagnostics);
        };
        let unit = match (op, x_unit, y_unit) {
            (_, None, None) => None,
            (BinaryOp::Add | BinaryOp::Subtract, x, y) if x == y => *x,
            (BinaryOp::Multiply, unit, None) | (BinaryOp::Multiply, None, unit) => *unit,
            (BinaryOp::Divide, unit, None) => *unit,
            (BinaryOp::Divide, x, y) if x == y => None,
            _ => {
                let message = format!("`{}` and `{}` have units that do not go together", a.show(), b.show());
                diagnostics.push(Diagnostic::error(ARITHMETIC, whole.span, message));
                return None;
            }
        };
        let value = match op {
            BinaryOp::Add => x + y,
            BinaryOp::Subtract => x - y,
            BinaryOp::Multiply => x * y,
            BinaryOp::Divide => x / y,
        };
        if !value.is_finite() {
            let message = format!("`{} / {}` is not a number", a.show(), b.show());
            diagnostics.push(Diagnostic::error(ARITHMETIC, whole.span, message));
            return None;
        }
        let integer = *x_whole && *y_whole && value.fract() == 0.0;
        Some(GivenKind::Number { value, integer, unit })
    }
}

/// Words with a sign between them that was meant as part of a name, or of a path without its quotes.
fn not_arithmetic(whole: &Expr, op: BinaryOp, operands: [&Given; 2]) -> Option<Diagnostic> {
    let [GivenKind::Word(a), GivenKind::Word(b)] = operands.map(|operand| &operand.kind) else { return None };
    let (message, help, text) = match op {
        BinaryOp::Subtract => {
            let joined = format!("{a}_{b}");
            ("`-` subtracts numbers, found names", "names are written with `_`", joined)
        }
        BinaryOp::Divide => {
            let path = format!("\"{a}/{b}\"");
            ("`/` divides numbers, found names", "a path stands in quotes", path)
        }
        BinaryOp::Add | BinaryOp::Multiply => return None,
    };
    let diagnostic = Diagnostic::error(ARITHMETIC, whole.span, message).label("not numbers").help(help);
    Some(diagnostic.fix(Applicability::Suggested, format!("write `{text}`"), whole.span, text))
}
