//! `nnoptc eval`: measures the weights of a run, or a checkpoint of a pipeline, on a split.

use std::path::PathBuf;

use serde_json::{Map, json};

use crate::check::Request;
use crate::check::program::Program;
use crate::data::load::load;
use crate::formats::files::{Disk, Files};
use crate::report::folder::CHECKPOINTS;
use crate::report::progress::figure;
use crate::train::checkpoint;
use crate::train::device::{fusion, open_session};
use crate::train::evaluate::evaluate;
use crate::train::initialize::initialize;
use crate::train::prepare::{evaluation_specs, prepare_steps};

use super::args::{Eval, MessageFormat, WhichCheckpoint};
use super::compile::compile_from;
use super::output::{Exit, Failure, Output};
use super::record::Record;
use super::run::device_setting;

/// Measures a run's own weights on its own pipeline, or a checkpoint on a pipeline.
pub fn execute(args: &Eval, output: &Output) -> Result<Exit, Failure> {
    if args.run.is_file() {
        let Some(weights) = &args.weights else {
            let failure = Failure::usage(format!("`{}` is a pipeline, which has no weights", args.run.display()));
            return Err(failure.help("name a run folder, or a checkpoint with `--weights`"));
        };
        let request = Request { path: args.run.clone(), ..Request::default() };
        return measure(args, request, &Disk, |_| weights.clone(), output);
    }
    if args.weights.is_some() {
        let failure = Failure::usage(format!("`{}` is a run folder, which has weights of its own", args.run.display()));
        return Err(failure.help("leave out `--weights`, or name a pipeline"));
    }
    let (record, files) = Record::read(&args.run)?;
    let chosen = |program: &Program| {
        // Without a rule for stopping a run ends with its last weights, else with its best.
        let which = args.checkpoint.unwrap_or(match program.train.early_stop {
            Some(_) => WhichCheckpoint::Best,
            None => WhichCheckpoint::Last,
        });
        args.run.join(CHECKPOINTS).join(match which {
            WhichCheckpoint::Best => "best.safetensors",
            WhichCheckpoint::Last => "last.safetensors",
        })
    };
    measure(args, record.request(), &files, chosen, output)
}

/// Compiles a pipeline, loads the checkpoint that `weights` names for it, and measures.
fn measure(
    args: &Eval,
    mut request: Request,
    files: &dyn Files,
    weights: impl FnOnce(&Program) -> PathBuf,
    output: &Output,
) -> Result<Exit, Failure> {
    request.sets.extend(args.device.as_deref().map(device_setting));
    let mut compilation = compile_from(&request, files, output)?;
    let Some(program) = compilation.program.take() else { return Ok(Exit::Failed) };
    let split = choose_split(args.split.as_deref(), &program)?;

    let prepared = prepare_steps(&program, &evaluation_specs(&program, &split), fusion(&program));
    let path = weights(&program);
    let world = |error: &dyn std::error::Error| Failure::from_error(error);
    let (snapshot, meta) = checkpoint::load(&path, &prepared.states, false).map_err(|error| world(&error))?;
    let loaded = load(&program, files).map_err(|error| world(&error))?;
    let threads = args.threads.map(usize::from);
    let mut session = open_session(&program, &prepared, &loaded, threads).map_err(|error| world(&error))?;
    initialize(&program, &loaded, &prepared.states, session.as_mut()).map_err(|error| world(&error))?;
    for (id, words) in checkpoint::words_of(&prepared.states, &snapshot) {
        session.write_state(id, words).map_err(|error| world(&error))?;
    }
    let index = program.data.splits.iter().position(|other| other.name == split);
    let rows = index.map_or(&[][..], |index| &loaded.rows[index]);
    let measured = evaluate(&program, &prepared, session.as_mut(), &split, rows).map_err(|error| world(&error))?;

    output.say(format!("{} samples of `{split}`, weights of epoch {}, {}", rows.len(), meta.epoch, session.device()));
    if output.format == MessageFormat::Json {
        let figures = measured.means.iter().map(|(name, value)| (format!("{split}.{name}"), json!(value)));
        let mut object = Map::new();
        object.insert("event".to_owned(), json!("eval"));
        object.extend(figures);
        output.json(&object.into())?;
    } else {
        let figures: Vec<String> =
            measured.means.iter().map(|(name, value)| format!("{split}.{name} {}\n", figure(*value))).collect();
        output.data(&figures.concat())?;
    }
    Ok(Exit::Done)
}

fn choose_split(wanted: Option<&str>, program: &Program) -> Result<String, Failure> {
    let names: Vec<&str> = program.data.splits.iter().map(|split| split.name.as_str()).collect();
    match wanted {
        Some(wanted) if names.contains(&wanted) => Ok(wanted.to_owned()),
        Some(wanted) => Err(Failure::usage(format!("the pipeline has no split `{wanted}`"))
            .help(format!("it has `{}`", names.join("`, `")))),
        None => {
            let last = ["test", "val"].into_iter().find(|name| names.contains(name));
            Ok(last.unwrap_or("train").to_owned())
        }
    }
}
