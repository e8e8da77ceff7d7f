//! The abstract syntax: what a source file says, without how it is written.

use crate::source::Span;

/// A name and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// The text of the name.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A whole file.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// The number after `nnopt` on the first line.
    pub version: Option<(f64, Span)>,
    /// Everything else, in order.
    pub items: Vec<Item>,
    /// Which lints are silenced, and where.
    pub allows: Vec<Allow>,
    /// The span of the whole text.
    pub span: Span,
}

/// `allow(lint, …)`
#[derive(Clone, Debug)]
pub struct Allow {
    /// The lints that it silences.
    pub lints: Vec<Name>,
    /// The whole statement.
    pub span: Span,
    /// The statement after it, for which it holds; at the top level `None`: it holds for the whole pipeline.
    pub covers: Option<Span>,
}

/// Something at the top level of a file.
#[derive(Clone, Debug)]
pub enum Item {
    /// `let name = expression`
    Let(Setting),
    /// `block name(params) { stages }`
    Block(BlockDef),
    /// `include "path"`
    Include {
        /// The path as written.
        path: String,
        /// Where the path stands.
        span: Span,
    },
    /// `profile name { path = value … }`
    Profile {
        /// The profile's name.
        name: Name,
        /// Overrides; each name is a dotted path such as `train.epochs`.
        settings: Vec<Setting>,
        /// The whole profile.
        span: Span,
    },
    /// `data { … }`, `train { … }`: a section of settings.
    Settings {
        /// The section's name.
        name: Name,
        /// Its settings, in order.
        settings: Vec<Setting>,
        /// The whole section.
        span: Span,
    },
    /// `model { … }`, `augment { … }`: a section of stages.
    Stages {
        /// The section's name.
        name: Name,
        /// Its stages, in order.
        stages: Vec<Stage>,
        /// The whole section.
        span: Span,
    },
    /// `loss = cross_entropy`: a setting at the top level.
    Setting(Setting),
}

/// `name = value`
#[derive(Clone, Debug)]
pub struct Setting {
    /// The name; dotted inside a profile.
    pub name: Name,
    /// The value.
    pub value: Expr,
    /// The whole setting.
    pub span: Span,
}

/// `block name(params) { stages }`
#[derive(Clone, Debug)]
pub struct BlockDef {
    /// The block's name.
    pub name: Name,
    /// Parameters with their defaults.
    pub params: Vec<(Name, Option<Expr>)>,
    /// The body.
    pub stages: Vec<Stage>,
    /// The whole definition.
    pub span: Span,
}

/// One stage of a chain; a newline and `->` mean the same.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A layer, a block or a transform. Joins are calls too: `use(a)`, `add(a)`, `concat(a, b)`.
    Call(Call),
    /// `name = stage -> stage`: the chain runs, and its result can be used by that name.
    Label {
        /// The label.
        name: Name,
        /// The chain whose result it names.
        stages: Vec<Stage>,
        /// The whole statement.
        span: Span,
    },
    /// `repeat n { … }`
    Repeat {
        /// How often.
        count: Expr,
        /// What.
        stages: Vec<Stage>,
        /// The whole stage.
        span: Span,
    },
    /// `residual { … } shortcut { … }`: the sum of both; the shortcut is the identity if absent.
    Residual {
        /// The main path.
        stages: Vec<Stage>,
        /// The other path.
        shortcut: Option<Vec<Stage>>,
        /// The whole stage.
        span: Span,
    },
    /// `branch { { … } { … } } join concat`
    Branch {
        /// One chain an arm; all take the same input.
        arms: Vec<Vec<Stage>>,
        /// How the results meet: `concat` or `add`.
        join: Name,
        /// The whole stage.
        span: Span,
    },
}

impl Stage {
    /// Where the stage stands.
    pub fn span(&self) -> Span {
        match self {
            Stage::Call(call) => call.span,
            Stage::Label { span, .. }
            | Stage::Repeat { span, .. }
            | Stage::Residual { span, .. }
            | Stage::Branch { span, .. } => *span,
        }
    }
}

/// `name` or `name(args)`
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called.
    pub name: Name,
    /// The arguments, in order.
    pub args: Vec<Arg>,
    /// The whole call.
    pub span: Span,
}

/// One argument of a call.
#[derive(Clone, Debug)]
pub struct Arg {
    /// The name before `=`, if there is one.
    pub name: Option<Name>,
    /// The value.
    pub value: Expr,
    /// The whole argument.
    pub span: Span,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// The unit after a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// `%`
    Percent,
    /// `epoch`, `epochs`
    Epochs,
    /// `step`, `steps`
    Steps,
    /// `B`, `KiB`, `MiB`, `GiB`: the number is already in bytes.
    Bytes,
    /// `s`, `min`, `h`: the number is already in seconds.
    Seconds,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// `1e-4`, `10%`, `5 epochs`, `64 MiB`
    Number {
        /// The number as written, except bytes and seconds, which are scaled.
        value: f64,
        /// Whether it was written without point and exponent.
        integer: bool,
        /// Its unit.
        unit: Option<Unit>,
    },
    /// `"text"`
    Text(String),
    /// A bare word or a dotted path: `auto`, `none`, `true`, `val.accuracy`, a `let` name.
    Word(String),
    /// `0.35..1`
    Range(Box<Expr>, Box<Expr>),
    /// `[0, 2]`
    List(Vec<Expr>),
    /// `split(train, 10%)`
    Call(Call),
    /// `a + b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `-a`
    Negate(Box<Expr>),
    /// Text that could not be read; the parser has reported it.
    Missing,
}

/// An arithmetic operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}
