//! `nnoptc eval`: measures the weights of a run on a split.

use serde_json::{Map, json};

use crate::check::program::Program;
use crate::data::load::load;
use crate::report::folder::CHECKPOINTS;
use crate::report::progress::figure;
use crate::train::checkpoint;
use crate::train::device::open_session;
use crate::train::evaluate::evaluate;
use crate::train::initialize::initialize;
use crate::train::prepare::{evaluation_specs, prepare_steps};

use super::args::{Eval, MessageFormat, WhichCheckpoint};
use super::compile::compile_from;
use super::output::{Exit, Failure, Output};
use super::record::Record;
use super::run::device_setting;

/// Compiles the run's pipeline, loads its weights, and measures.
pub fn execute(args: &Eval, output: &Output) -> Result<Exit, Failure> {
    let (record, files) = Record::read(&args.run)?;
    let mut request = record.request();
    request.sets.extend(args.device.as_deref().map(device_setting));
    let mut compilation = compile_from(&request, &files, output)?;
    let Some(program) = compilation.program.take() else { return Ok(Exit::Failed) };
    let split = choose_split(args.split.as_deref(), &program)?;

    let prepared = prepare_steps(&program, &evaluation_specs(&program, &split));
    // Without a rule for stopping a run ends with its last weights, else with its best.
    let which = args.checkpoint.unwrap_or(match program.train.early_stop {
        Some(_) => WhichCheckpoint::Best,
        None => WhichCheckpoint::Last,
    });
    let path = args.run.join(CHECKPOINTS).join(match which {
        WhichCheckpoint::Best => "best.safetensors",
        WhichCheckpoint::Last => "last.safetensors",
    });
    let world = |error: &dyn std::error::Error| Failure::from_error(error);
    let (snapshot, meta) = checkpoint::load(&path, &prepared.states, false).map_err(|error| world(&error))?;
    let loaded = load(&program, &files).map_err(|error| world(&error))?;
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
