//! Ways through a model that several lints take.

use std::collections::BTreeMap;

use super::super::program::{ModelNode, Program, Stage};
use crate::library::{Layer, Role};
use crate::schema::Made;
use crate::source::Span;

/// A layer where it stands in the model.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    /// The layer.
    pub layer: &'a Made<dyn Layer>,
    /// What goes in and comes out.
    pub stage: &'a Stage,
}

impl Step<'_> {
    /// Whether it is a layer of this kind.
    pub fn is(&self, role: Role) -> bool {
        self.layer.item.role() == role
    }

    /// Whether it is an activation.
    pub fn is_activation(&self) -> bool {
        matches!(self.layer.item.role(), Role::Activation { .. })
    }
}

/// Layers that follow each other directly, with nothing else using what flows between them.
pub(super) fn runs(program: &Program) -> Vec<Vec<Step<'_>>> {
    let mut runs = Vec::new();
    collect(&program.model, program, &mut runs);
    runs
}

fn collect<'a>(nodes: &'a [ModelNode], program: &'a Program, runs: &mut Vec<Vec<Step<'a>>>) {
    let mut run = Vec::new();
    for node in nodes {
        match node {
            ModelNode::Layer { stage, layer } => {
                run.push(Step { layer, stage: &program.stages[*stage] });
                continue;
            }
            ModelNode::Residual { main, shortcut, .. } => {
                collect(main, program, runs);
                collect(shortcut, program, runs);
            }
            ModelNode::Branch { arms, .. } => arms.iter().for_each(|arm| collect(arm, program, runs)),
            ModelNode::Keep { .. } | ModelNode::Use { .. } | ModelNode::Meet { .. } => {}
        }
        runs.push(std::mem::take(&mut run));
    }
    runs.push(run);
}

/// Every layer.
pub(super) fn layers(program: &Program) -> impl Iterator<Item = Step<'_>> {
    runs(program).into_iter().flatten()
}

/// The first layer that does more than reshape or drop: where the samples arrive. With it, its activation.
pub(super) fn entry(program: &Program) -> Option<(Step<'_>, Option<Step<'_>>)> {
    let first = runs(program).into_iter().next()?;
    let mut steps = first.into_iter().filter(|step| !matches!(step.layer.item.role(), Role::Other | Role::Dropout));
    let entry = steps.next()?;
    Some((entry, steps.next().filter(|step| entry.is(Role::Weights) && step.is_activation())))
}

/// The places that `wanted` holds for every time they are used: a block or a `repeat` uses a place several times.
pub(super) fn places<'a, T>(
    uses: impl Iterator<Item = (Span, T)> + 'a,
    wanted: impl Fn(&T) -> bool,
) -> impl Iterator<Item = (Span, T)> {
    let mut places: BTreeMap<Span, (T, bool)> = BTreeMap::new();
    for (span, used) in uses {
        let holds = wanted(&used);
        let place = places.entry(span).or_insert((used, true));
        place.1 &= holds;
    }
    places.into_iter().filter(|(_, (_, holds))| *holds).map(|(span, (used, _))| (span, used))
}
