//! `nnoptc plan`: what a pipeline means, before anything runs.

use crate::check::Request;
use crate::check::program::Program;
use crate::data::load::load;
use crate::formats::files::Disk;
use crate::report::{overview, resolved};
use crate::train::device::{fusion, limits, open_session};
use crate::train::measure::measure;
use crate::train::memory::check_memory;
use crate::train::prepare::{Prepared, prepare};

use super::args::Plan;
use super::compile::program;
use super::output::{Exit, Failure, Output};
use super::run::device_setting;

/// Prints settings, layers, memory and kernels; then fails if the device cannot hold that, or measures it there.
pub fn execute(args: &Plan, output: &Output) -> Result<Exit, Failure> {
    let mut request = Request::from(&args.pipeline);
    request.sets.extend(args.device.as_deref().map(device_setting));
    let Some((compilation, program)) = program(&request, output)? else {
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
    if args.measure {
        output.data(&format!("\n{}", measured(&program, &prepared)?))?;
    }
    Ok(Exit::Done)
}

/// What each kind of step takes on the device.
fn measured(program: &Program, prepared: &Prepared) -> Result<String, Failure> {
    if program.train.is_parallel() {
        return Err(Failure::usage("`--measure` takes the time of one device, the pipeline trains on several")
            .help("name one with `--device`; `nnoptc devices` lists them"));
    }
    let loaded = load(program, &Disk).map_err(|error| Failure::from_error(&error))?;
    let mut session = open_session(program, prepared, &loaded, None).map_err(|error| Failure::from_error(&error))?;
    let times = measure(program, prepared, &loaded, session.as_mut()).map_err(|error| Failure::from_error(&error))?;
    let table = overview::times(&times);
    Ok(format!("on {}\n{table}", session.device()))
}
