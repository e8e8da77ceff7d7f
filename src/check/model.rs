//! The model: expands blocks and repeats, resolves labels, and infers the shape after each stage.

use std::collections::BTreeMap;

use super::program::{Join, ModelNode, ResolvedSetting, Stage as StageInfo};
use super::scope::Scope;
use super::{Applicability, Code, Diagnostic};
use crate::library::{self, Cost, Layer, ShapeError, Type};
use crate::schema::{Count, FromArg, GivenCall, Made, Origin, unknown_item};
use crate::source::{Sources, Span};
use crate::syntax::ast::{BlockDef, Call, Name, Stage};

const SHAPE: Code = Code("E0301");
const PATHS_DIFFER: Code = Code("E0302");
const RECURSION: Code = Code("E0214");
const LABEL: Code = Code("E0215");
const BLOCK_ARGUMENT: Code = Code("E0217");
const JOIN: Code = Code("E0218");
/// More stages than any real model has; stops a repeat of repeats from filling the memory.
const MAX_STAGES: usize = 20_000;

/// Words of the model section that join labels.
pub const JOINS: [&str; 3] = ["use", "add", "concat"];

/// Expands and checks the stages of a model.
pub(super) struct ModelChecker<'a, 'b> {
    pub scope: &'b mut Scope<'a>,
    pub sources: &'b Sources,
    pub blocks: &'a [BlockDef],
    pub diagnostics: &'b mut Vec<Diagnostic>,
    pub stages: Vec<StageInfo>,
    pub resolved: Vec<ResolvedSetting>,
    /// Blocks and repeats as wholes.
    pub wholes: Vec<StageInfo>,
    labels: Vec<(String, Option<Flow>, Span)>,
    open: Vec<&'a str>,
    full: bool,
}

/// The type of a value and the stage that gave it.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// Its type; unknown after a mistake.
    pub of: Option<Type>,
    /// Where it comes from.
    pub span: Span,
    /// How that reads: "the data" or "`flatten`".
    pub from: String,
}

impl<'a, 'b> ModelChecker<'a, 'b> {
    pub fn new(
        scope: &'b mut Scope<'a>,
        sources: &'b Sources,
        blocks: &'a [BlockDef],
        diagnostics: &'b mut Vec<Diagnostic>,
    ) -> ModelChecker<'a, 'b> {
        let (stages, resolved, wholes) = (Vec::new(), Vec::new(), Vec::new());
        let (labels, open) = (Vec::new(), Vec::new());
        ModelChecker { scope, sources, blocks, diagnostics, stages, resolved, wholes, labels, open, full: false }
    }

    /// Checks a chain; the flow after it.
    pub fn chain(&mut self, stages: &[Stage], prefix: &str, mut flow: Flow, nodes: &mut Vec<ModelNode>) -> Flow {
        for (position, stage) in stages.iter().enumerate() {
            flow = self.stage(stage, &format!("{prefix}.{position}"), flow, nodes);
        }
        flow
    }

    fn stage(&mut self, stage: &Stage, path: &str, flow: Flow, nodes: &mut Vec<ModelNode>) -> Flow {
        if self.stages.len() >= MAX_STAGES {
            if !self.full {
                self.full = true;
                let message = format!("the model has more than {MAX_STAGES} stages");
                self.diagnostics.push(Diagnostic::error(RECURSION, stage.span(), message).label("too many from here"));
            }
            return flow;
        }
        match stage {
            Stage::Call(call) => self.call(call, path, flow, nodes),
            Stage::Label { name, stages, .. } => {
                let flow = self.chain(stages, path, flow, nodes);
                self.keep(name, flow.clone(), nodes);
                flow
            }
            Stage::Repeat { count, stages, span } => {
                let Some(given) = self.scope.evaluate(count, self.diagnostics) else { return unknown(flow) };
                let Ok(Count(times)) = Count::from_arg(&given) else {
                    let message = format!("`repeat` takes a count, found `{}`", given.show());
                    self.diagnostics.push(Diagnostic::error(BLOCK_ARGUMENT, given.span, message));
                    return unknown(flow);
                };
                let (first, before) = (self.stages.len(), flow.clone());
                let mut flow = flow;
                for turn in 0..times {
                    if self.full {
                        break;
                    }
                    flow = self.chain(stages, &format!("{path}.{turn}"), flow, nodes);
                }
                self.add_whole(path, "repeat", *span, first, [&before, &flow]);
                flow
            }
            Stage::Residual { stages, shortcut, span } => {
                let (mut main, mut short) = (Vec::new(), Vec::new());
                let left = self.chain(stages, &format!("{path}.main"), flow.clone(), &mut main);
                let right = match shortcut {
                    Some(stages) => self.chain(stages, &format!("{path}.shortcut"), flow.clone(), &mut short),
                    None => flow.clone(),
                };
                let hint = "give it a `shortcut { … }` that ends in the same shape";
                let out = self.join_types(Join::Add, &[left, right], *span, "residual", hint);
                let stage = self.add_stage(path, "residual", *span, &flow, out.as_ref());
                nodes.push(ModelNode::Residual { stage, main, shortcut: short });
                Flow { of: out, span: *span, from: "this `residual`".to_owned() }
            }
            Stage::Branch { arms, join, span } => {
                let mut checked = Vec::new();
                let mut ends = Vec::new();
                for (position, arm) in arms.iter().enumerate() {
                    let mut inner = Vec::new();
                    ends.push(self.chain(arm, &format!("{path}.arm{position}"), flow.clone(), &mut inner));
                    checked.push(inner);
                }
                let Some(join) = self.join_word(join) else { return unknown(flow) };
                let out = self.join_types(join, &ends, *span, "branch", "make the arms end in shapes that fit");
                let stage = self.add_stage(path, "branch", *span, &flow, out.as_ref());
                if !checked.is_empty() {
                    nodes.push(ModelNode::Branch { stage, arms: checked, join });
                }
                Flow { of: out, span: *span, from: "this `branch`".to_owned() }
            }
        }
    }

    fn join_word(&mut self, join: &Name) -> Option<Join> {
        match join.text.as_str() {
            "concat" => Some(Join::Concat),
            "add" => Some(Join::Add),
            other => {
                let message = format!("branches join by `concat` or `add`, found `{other}`");
                self.diagnostics.push(Diagnostic::error(JOIN, join.span, message).label("not a way to join"));
                None
            }
        }
    }

    fn keep(&mut self, name: &Name, flow: Flow, nodes: &mut Vec<ModelNode>) {
        if let Some((_, _, first)) = self.labels.iter().find(|(other, ..)| *other == name.text) {
            let message = format!("the label `{}` is given twice", name.text);
            let diagnostic = Diagnostic::error(LABEL, name.span, message).also(*first, "first given here");
            self.diagnostics.push(diagnostic.help("labels inside `repeat` and blocks would be given at every turn"));
            return;
        }
        nodes.push(ModelNode::Keep { label: self.labels.len() });
        self.labels.push((name.text.clone(), Some(flow), name.span));
    }

    fn call(&mut self, call: &Call, path: &str, flow: Flow, nodes: &mut Vec<ModelNode>) -> Flow {
        if JOINS.contains(&call.name.text.as_str()) {
            return self.meet(call, path, flow, nodes);
        }
        let blocks: &'a [BlockDef] = self.blocks;
        if let Some(block) = blocks.iter().find(|block| block.name.text == call.name.text) {
            return self.block(block, call, path, flow, nodes);
        }
        let given = self.scope.call(call, self.diagnostics);
        let Some(schema) = library::layers::ALL.iter().find(|schema| schema.name == call.name.text) else {
            let others: Vec<&str> = blocks.iter().map(|block| block.name.text.as_str()).chain(JOINS).collect();
            self.diagnostics.push(unknown_item(&call.name, "layer", library::layers::ALL, &others));
            return unknown(flow);
        };
        let Some(layer) = schema.make(&given, "argument", self.diagnostics) else { return unknown(flow) };
        self.layer(layer, &given, path, flow, nodes)
    }

    fn layer(
        &mut self,
        layer: Made<dyn Layer>,
        call: &GivenCall,
        path: &str,
        flow: Flow,
        nodes: &mut Vec<ModelNode>,
    ) -> Flow {
        let out = match &flow.of {
            Some(input) => match layer.item.infer(input) {
                Ok(out) => Some(out),
                Err(error) => {
                    let diagnostic = shape_diagnostic(SHAPE, &error, &layer, &flow);
                    self.diagnostics.push(diagnostic);
                    None
                }
            },
            None => None,
        };
        let from = format!("`{}`", call.name.text);
        let value = layer.show();
        self.resolved.push(ResolvedSetting {
            section: "model",
            name: String::new(),
            value,
            origin: Origin::Given(layer.span),
        });
        let stage = self.add_stage(path, &call.name.text, call.span, &flow, out.as_ref());
        if let (Some(input), Some(_)) = (&flow.of, &out) {
            self.stages[stage].cost = library::cost(&*layer.item, input);
        }
        nodes.push(ModelNode::Layer { stage, layer });
        Flow { of: out, span: call.span, from }
    }

    fn add_stage(&mut self, path: &str, word: &str, span: Span, input: &Flow, output: Option<&Type>) -> usize {
        let stage = self.describe(path, word, span, input, output);
        self.stages.push(stage);
        self.stages.len() - 1
    }

    /// Notes what the stages from `first` on amount to.
    fn add_whole(&mut self, path: &str, word: &str, span: Span, first: usize, [input, output]: [&Flow; 2]) {
        let mut whole = self.describe(path, word, span, input, output.of.as_ref());
        whole.cost = self.stages[first..].iter().map(|stage| stage.cost).sum();
        self.wholes.push(whole);
    }

    fn describe(&self, path: &str, word: &str, span: Span, input: &Flow, output: Option<&Type>) -> StageInfo {
        let nothing = || Type::features(Vec::new());
        let written = self.sources.text(span);
        let text = if written.len() <= 60 && !written.contains('\n') { written } else { word }.to_owned();
        StageInfo {
            path: path.to_owned(),
            text,
            span,
            known: input.of.is_some() && output.is_some(),
            input: input.of.clone().unwrap_or_else(nothing),
            output: output.cloned().unwrap_or_else(nothing),
            cost: Cost::default(),
        }
    }

    /// `use(a)`, `add(a, …)`, `concat(a, …)`
    fn meet(&mut self, call: &Call, path: &str, flow: Flow, nodes: &mut Vec<ModelNode>) -> Flow {
        let mut labels = Vec::new();
        for arg in &call.args {
            let crate::syntax::ast::ExprKind::Word(word) = &arg.value.kind else {
                let message = format!("`{}` takes labels", call.name.text);
                self.diagnostics.push(Diagnostic::error(LABEL, arg.span, message).label("not a label"));
                return unknown(flow);
            };
            let Some(label) = self.labels.iter().position(|(name, ..)| name == word) else {
                let message = format!("there is no label `{word}` before this");
                let names = self.labels.iter().map(|(name, ..)| name.as_str());
                let diagnostic = Diagnostic::error(LABEL, arg.span, message).label("unknown label");
                self.diagnostics.push(match crate::diagnostic::did_you_mean(word, names) {
                    Some(close) => diagnostic.help(format!("a similar label is `{close}`")).fix(
                        Applicability::Suggested,
                        format!("write `{close}`"),
                        arg.value.span,
                        close,
                    ),
                    None => diagnostic.help(format!("label a stage above: `{word} = conv2d(8, kernel = 3)`")),
                });
                return unknown(flow);
            };
            labels.push(label);
        }
        let is_use = call.name.text == "use";
        if labels.is_empty() || (is_use && labels.len() > 1) {
            let takes = if is_use { "one label" } else { "at least one label" };
            let message = format!("`{}` takes {takes}", call.name.text);
            self.diagnostics.push(Diagnostic::error(LABEL, call.span, message));
            return unknown(flow);
        }
        if is_use {
            nodes.push(ModelNode::Use { label: labels[0] });
            return self.labels[labels[0]].1.clone().unwrap_or(flow);
        }
        let join = if call.name.text == "add" { Join::Add } else { Join::Concat };
        let mut ends = vec![flow.clone()];
        ends.extend(labels.iter().filter_map(|&label| self.labels[label].1.clone()));
        let out = self.join_types(join, &ends, call.span, &call.name.text, "make both ends have shapes that fit");
        let stage = self.add_stage(path, &call.name.text, call.span, &flow, out.as_ref());
        nodes.push(ModelNode::Meet { stage, labels, join });
        Flow { of: out, span: call.span, from: format!("`{}`", call.name.text) }
    }

    fn join_types(&mut self, join: Join, ends: &[Flow], span: Span, word: &str, help: &str) -> Option<Type> {
        let types: Vec<&Type> = ends.iter().map(|end| end.of.as_ref()).collect::<Option<_>>()?;
        let first = types.first()?;
        let mut shape = first.shape.clone();
        for (position, other) in types.iter().enumerate().skip(1) {
            let fits = match join {
                Join::Add => other.shape == first.shape,
                Join::Concat => !shape.is_empty() && other.shape.len() == shape.len() && other.shape[1..] == shape[1..],
            };
            if !fits {
                let verb = if join == Join::Add { "adds" } else { "joins" };
                let message =
                    format!("`{word}` {verb} paths of one shape, found {} and {}", first.show(), other.show());
                let diagnostic = Diagnostic::error(PATHS_DIFFER, span, message)
                    .label("the paths meet here")
                    .also(ends[0].span, format!("{} gives {}", ends[0].from, first.show()))
                    .also(ends[position].span, format!("{} gives {}", ends[position].from, other.show()))
                    .help(help);
                self.diagnostics.push(diagnostic);
                return None;
            }
            if join == Join::Concat {
                shape[0] += other.shape[0];
            }
        }
        Some(Type::features(shape))
    }

    fn block(&mut self, block: &'a BlockDef, call: &Call, path: &str, flow: Flow, nodes: &mut Vec<ModelNode>) -> Flow {
        if self.open.contains(&block.name.text.as_str()) {
            let message = format!("the block `{}` contains itself", block.name.text);
            let diagnostic = Diagnostic::error(RECURSION, call.span, message).label("used inside itself here");
            let diagnostic = diagnostic.also(block.name.span, "defined here");
            self.diagnostics.push(diagnostic.help("for the same layers several times write `repeat 3 { … }`"));
            return unknown(flow);
        }
        let Some(params) = self.block_params(block, call) else { return unknown(flow) };
        self.scope.params.push(params);
        self.open.push(&block.name.text);
        let (first, before) = (self.stages.len(), flow.clone());
        let flow = self.chain(&block.stages, &format!("{path}.{}", block.name.text), flow, nodes);
        self.open.pop();
        self.scope.params.pop();
        self.add_whole(path, &block.name.text, call.span, first, [&before, &flow]);
        flow
    }

    fn block_params(&mut self, block: &BlockDef, call: &Call) -> Option<BTreeMap<String, crate::schema::Given>> {
        let given = self.scope.call(call, self.diagnostics);
        let mut params = BTreeMap::new();
        let mut position = 0;
        let before = self.diagnostics.len();
        for (name, value) in given.args {
            let target = match &name {
                Some(name) => block.params.iter().find(|(param, _)| param.text == name.text),
                None => {
                    position += 1;
                    block.params.get(position - 1)
                }
            };
            let Some((param, _)) = target else {
                let (span, what) = match &name {
                    Some(name) => (name.span, format!("has no parameter `{}`", name.text)),
                    None => (value.span, format!("takes at most {} arguments", block.params.len())),
                };
                let message = format!("the block `{}` {what}", block.name.text);
                let diagnostic = Diagnostic::error(BLOCK_ARGUMENT, span, message).also(block.name.span, "defined here");
                self.diagnostics.push(diagnostic);
                continue;
            };
            params.insert(param.text.clone(), value);
        }
        for (param, default) in &block.params {
            if params.contains_key(&param.text) {
                continue;
            }
            match default {
                Some(expr) => {
                    let value = self.scope.evaluate(expr, self.diagnostics)?;
                    params.insert(param.text.clone(), value);
                }
                None => {
                    let message = format!("the block `{}` needs its parameter `{}`", block.name.text, param.text);
                    let diagnostic = Diagnostic::error(BLOCK_ARGUMENT, call.span, message)
                        .label(format!("`{}` is missing", param.text))
                        .also(param.span, "declared here")
                        .help(format!(
                            "write `{}({} = …)`, or give it a default value there",
                            block.name.text, param.text
                        ));
                    self.diagnostics.push(diagnostic);
                }
            }
        }
        (self.diagnostics.len() == before).then_some(params)
    }
}

fn unknown(flow: Flow) -> Flow {
    Flow { of: None, ..flow }
}

/// A shape error as a diagnostic with both ends: the item, and what gave it its input.
pub(super) fn shape_diagnostic<T: ?Sized>(code: Code, error: &ShapeError, made: &Made<T>, flow: &Flow) -> Diagnostic {
    let span = error.param.map_or(made.span, |param| made.span_of(param));
    let mut diagnostic = Diagnostic::error(code, span, error.message.clone()).label("does not fit what comes before");
    if let Some(input) = &flow.of {
        diagnostic = diagnostic.also(flow.span, format!("{} gives {}", flow.from, input.show()));
    }
    if let Some(note) = &error.note {
        diagnostic = diagnostic.note(note.clone());
    }
    match &error.help {
        Some(help) => diagnostic.help(help.clone()),
        None => diagnostic,
    }
}
