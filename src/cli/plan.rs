//! `nnoptc plan`: what a pipeline means, before anything runs.

use crate::check::Request;
use crate::report::{overview, resolved};
use crate::train::device::{fusion, limits};
use crate::train::memory::check_memory;
use crate::train::prepare::prepare;

use super::args::Plan;
use super::compile::program;
use super::output::{Exit, Failure, Output};

/// Prints settings, layers, memory and kernels; then fails if the device cannot hold that.
pub fn execute(args: &Plan, output: &Output) -> Result<Exit, Failure> {
    let Some((compilation, program)) = program(&Request::from(&args.pipeline), output)? else {
        return Ok(Exit::Failed);
    };
    let prepared = prepare(&program, fusion(&program));
    let parts = [
        resolved::listing(&program, &compilation.sources),
        overview::layers(&program),
        overview::memory(&program, &prepared),
        overview::kernels(&program, &prepared),
    ];
    output.data(&parts.join("\n"))?;
    // The plan is of use without the device.
    if let Ok(limits) = limits(&program) {
        check_memory(&program, &prepared, &limits).map_err(|error| Failure::from_error(&*error))?;
    }
    Ok(Exit::Done)
}
