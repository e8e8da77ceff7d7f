//! `nnoptc emit`: a stage of the compilation as text.

use crate::backend::gpu;
use crate::check::Request;
use crate::check::program::Program;
use crate::ir::print::{dot, print};
use crate::ir::{Graph, States};
use crate::lower::{Mode, StepSpec, lower};
use crate::passes::optimize;
use crate::plan::{self, plan};
use crate::report::resolved;
use crate::train::device::{fusion, wgsl};

use super::args::{Emit, EmitStage, EmitStep};
use super::compile::compile_and_show;
use super::output::{Exit, Failure, Output};

/// Prints the stage.
pub fn execute(args: &Emit, output: &Output) -> Result<Exit, Failure> {
    let compilation = compile_and_show(&Request::from(&args.pipeline), output)?;
    if args.stage == EmitStage::Ast {
        if let Some(ast) = &compilation.ast {
            output.data(&format!("{ast:#?}\n"))?;
        }
        return Ok(if compilation.program.is_some() { Exit::Done } else { Exit::Failed });
    }
    let Some(program) = &compilation.program else { return Ok(Exit::Failed) };
    let text = match args.stage {
        EmitStage::Ast => unreachable!("the syntax needs no program"),
        EmitStage::Program => resolved::source_text(program),
        EmitStage::Graph => {
            let (graph, states) = optimized(program, args.step)?;
            print(&graph, &states)
        }
        EmitStage::Dot => dot(&optimized(program, args.step)?.0),
        EmitStage::Plan => {
            let (graph, states) = optimized(program, args.step)?;
            plan::print::print(&plan(&graph, &states, fusion(program)), &states)
        }
        EmitStage::Wgsl => {
            let (graph, states) = optimized(program, args.step)?;
            let plan = plan(&graph, &states, gpu::FUSION);
            let kernels = match wgsl(program, &plan).map_err(Failure::usage)? {
                Some(kernels) => kernels,
                // For a GPU, whatever the pipeline runs on.
                None => gpu::wgsl(&plan, false, true).map_err(Failure::usage)?,
            };
            let texts: Vec<String> = kernels.iter().map(|(name, text)| format!("// {name}\n{text}\n")).collect();
            texts.concat()
        }
    };
    output.data(&text)?;
    Ok(Exit::Done)
}

fn optimized(program: &Program, step: EmitStep) -> Result<(Graph, States), Failure> {
    let (mode, split) = match step {
        EmitStep::Train => (Mode::Update, "train"),
        EmitStep::Eval => {
            let split = ["val", "test"].into_iter().find(|name| program.split(name).is_some());
            let split = split.ok_or_else(|| {
                Failure::usage("the pipeline measures no split after an epoch").help("emit `--step train`")
            })?;
            (Mode::Evaluate, split)
        }
    };
    let rows = program.split(split).map_or(0, |split| split.rows);
    let spec = StepSpec { mode, split: split.to_owned(), batch: program.micro_batch().min(rows) };
    let mut states = States::default();
    let mut graph = lower(program, &spec, &mut states).graph;
    optimize(&mut graph, &states, &mut |_, _| {});
    Ok((graph, states))
}
