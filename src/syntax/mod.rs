//! Text to a lossless tree to the abstract syntax.

pub mod ast;
pub mod format;
mod kind;
mod literal;
mod lower;
#[cfg(test)]
mod mistakes;
mod parse;
mod recover;
#[cfg(test)]
pub(crate) mod robustness;
#[cfg(test)]
pub(crate) mod tests;

pub use kind::{Nnopt, SyntaxKind, SyntaxNode, SyntaxToken};

use crate::diagnostic::{Code, Diagnostic};
use crate::source::Span;
use ast::{Expr, ExprKind, File};
use parse::Entry;

/// Every word that the grammar itself gives a meaning, but for names of sections.
pub const KEYWORDS: [&str; 11] =
    ["nnopt", "allow", "let", "block", "include", "profile", "repeat", "residual", "shortcut", "branch", "join"];

/// The units that a number can have, as they are written.
pub use literal::unit_names;

/// What became of one source text; there is always a tree, and an [`ast::File`] of all that could be read.
#[derive(Clone, Debug)]
pub struct Parse {
    /// The lossless tree: its text is the source, byte for byte.
    pub tree: rowan::GreenNode,
    /// What the source says; parts that could not be read are left out or [`ExprKind::Missing`].
    pub ast: File,
    /// What is wrong with the source, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

impl Parse {
    /// The root of the tree, to walk it.
    pub fn syntax(&self) -> SyntaxNode {
        SyntaxNode::new_root(self.tree.clone())
    }
}

/// Parses a whole file; never fails, whatever the text is.
pub fn parse(file: u16, text: &str) -> Parse {
    let (tree, mut diagnostics) = parse::build_tree(file, text, Entry::File);
    let ast = lower::lower_file(&SyntaxNode::new_root(tree.clone()), file, &mut diagnostics);
    sort(&mut diagnostics);
    Parse { tree, ast, diagnostics }
}

/// Parses one value, as in `--set name=value`.
pub fn parse_expression(file: u16, text: &str) -> (Expr, Vec<Diagnostic>) {
    let (tree, mut diagnostics) = parse::build_tree(file, text, Entry::Value);
    let expr = lower::lower_value(&SyntaxNode::new_root(tree), file, &mut diagnostics);
    sort(&mut diagnostics);
    let missing = Expr { kind: ExprKind::Missing, span: Span::new(file, 0, text.len()) };
    (expr.unwrap_or(missing), diagnostics)
}

fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| diagnostic.span().start);
}

/// Every code that this module reports.
pub const CODES: [Code; 26] = [
    UNEXPECTED,
    WRONG_EQUALS,
    MISSING_EQUALS,
    MISSING_VALUE,
    OPEN_STRING,
    WRONG_QUOTES,
    MISSING_COMMA,
    UNCLOSED,
    STRAY_CLOSE,
    MISSING_OPEN,
    MISSING_NAME,
    UNKNOWN_UNIT,
    BAD_NUMBER,
    BAD_ESCAPE,
    MISSING_SEPARATOR,
    MISSING_STAGE,
    WRONG_ARROW,
    WRONG_COMMENT,
    MISPLACED,
    NO_BODY,
    DASHED_NAME,
    MISSING_JOIN,
    BAD_VERSION,
    EXTRA_COMMA,
    TOO_LARGE,
    TOO_DEEP,
];

const UNEXPECTED: Code = Code("E0101");
const WRONG_EQUALS: Code = Code("E0102");
const MISSING_EQUALS: Code = Code("E0103");
const MISSING_VALUE: Code = Code("E0104");
const OPEN_STRING: Code = Code("E0105");
const WRONG_QUOTES: Code = Code("E0106");
const MISSING_COMMA: Code = Code("E0107");
const UNCLOSED: Code = Code("E0108");
const STRAY_CLOSE: Code = Code("E0109");
const MISSING_OPEN: Code = Code("E0110");
const MISSING_NAME: Code = Code("E0111");
const UNKNOWN_UNIT: Code = Code("E0112");
const BAD_NUMBER: Code = Code("E0113");
const BAD_ESCAPE: Code = Code("E0114");
const MISSING_SEPARATOR: Code = Code("E0115");
const MISSING_STAGE: Code = Code("E0116");
const WRONG_ARROW: Code = Code("E0117");
const WRONG_COMMENT: Code = Code("E0118");
const MISPLACED: Code = Code("E0119");
const NO_BODY: Code = Code("E0120");
const DASHED_NAME: Code = Code("E0121");
const MISSING_JOIN: Code = Code("E0122");
const BAD_VERSION: Code = Code("E0123");
const EXTRA_COMMA: Code = Code("E0124");
const TOO_LARGE: Code = Code("E0198");
const TOO_DEEP: Code = Code("E0199");
