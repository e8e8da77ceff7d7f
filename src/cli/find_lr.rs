//! `nnoptc find-lr`: a learning rate for a pipeline, found by a range test. `lr = auto` uses it too.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::backend::Session;
use crate::check::Request;
use crate::check::program::Program;
use crate::data::load::{Loaded, load};
use crate::formats::atomic::write_atomic;
use crate::formats::files::Disk;
use crate::report::curve;
use crate::schema::{FromArg, Real};
use crate::train::device::{fusion, open_session};
use crate::train::find_rate::{RateTest, Sweep, find_rate};
use crate::train::prepare::{Prepared, prepare};

use super::args::{FindLr, MessageFormat};
use super::compile::program;
use super::output::{Exit, Failure, Output};
use super::run::device_setting;
use super::signals::Signals;

/// Runs the test, prints the rate and draws the curve. The training that it takes leaves nothing behind.
pub fn execute(args: &FindLr, output: &Output) -> Result<Exit, Failure> {
    let sweep = Sweep { from: args.from, to: args.to, steps: usize::from(args.steps) };
    if !(sweep.from > 0.0 && sweep.to > sweep.from && sweep.to.is_finite()) {
        return Err(Failure::usage(format!("rates cannot rise from {} to {}", sweep.from, sweep.to)));
    }
    let mut request = Request::from(&args.pipeline);
    request.sets.extend(args.device.as_deref().map(device_setting));
    let Some((_, program)) = program(&request, output)? else { return Ok(Exit::Failed) };
    let signals = Signals::listen().map_err(|error| Failure::world(format!("could not listen to signals: {error}")))?;
    let loaded = load(&program, &Disk).map_err(|error| Failure::from_error(&error))?;
    let prepared = prepare(&program, fusion(&program));
    let threads = args.threads.map(usize::from);
    let mut session =
        open_session(&program, &prepared, &loaded, threads).map_err(|error| Failure::from_error(&error))?;
    let test = search(&program, &prepared, &loaded, session.as_mut(), &sweep, &signals)?;

    let picture = picture_path(args)?;
    let bytes = curve::png(&test).map_err(|error| Failure::from_error(&error))?;
    write(&picture, &bytes)?;
    let object = object(&test, &sweep, &session.device());
    if let Some(folder) = &args.out {
        write(&folder.join("find-lr.json"), format!("{object:#}\n").as_bytes())?;
    }
    output.say(format!("{} on {}; the curve is in `{}`", told(&test, &sweep), session.device(), picture.display()));
    if output.format == MessageFormat::Json {
        output.json(&object)?;
    }
    let rate = chosen(&test, &sweep)?;
    if output.format != MessageFormat::Json {
        output.data(&format!("{}\n", Real(rate).show()))?;
    }
    Ok(Exit::Done)
}

/// Runs a range test on an open session.
pub fn search(
    program: &Program,
    prepared: &Prepared,
    loaded: &Loaded,
    session: &mut dyn Session,
    sweep: &Sweep,
    signals: &Signals,
) -> Result<RateTest, Failure> {
    let interrupted = || signals.received().is_some();
    let test = find_rate(program, prepared, loaded, session, sweep, &interrupted)
        .map_err(|error| Failure::from_error(&error))?;
    test.ok_or_else(|| Failure {
        exit: Exit::Signal(signals.received().unwrap_or(2)),
        message: "interrupted while a learning rate was looked for".to_owned(),
        help: None,
    })
}

/// The rate that a test chose.
pub fn chosen(test: &RateTest, sweep: &Sweep) -> Result<f64, Failure> {
    test.rate().ok_or_else(|| Failure {
        exit: Exit::Failed,
        message: format!("no learning rate from {:e} to {:e} lowers the loss", sweep.from, sweep.to),
        help: Some("look at the data and the model, or give a learning rate".to_owned()),
    })
}

/// What a test did, for people.
pub fn told(test: &RateTest, sweep: &Sweep) -> String {
    let steps = test.points.len();
    let last = test.points.last().map_or(sweep.to, |point| point.lr);
    let why = if steps < sweep.steps { ", where the loss had grown" } else { "" };
    format!("{steps} steps with rates from {:e} to {:.1e}{why}", sweep.from, last)
}

/// A test as JSON.
pub fn object(test: &RateTest, sweep: &Sweep, device: &str) -> Value {
    let points: Vec<Value> = test
        .points
        .iter()
        .map(|point| json!({ "lr": point.lr, "loss": point.loss, "smoothed": point.smoothed }))
        .collect();
    json!({
        "event": "find_lr", "lr": test.rate(), "from": sweep.from, "to": sweep.to, "steps": sweep.steps,
        "device": device, "points": points,
    })
}

/// Where the picture goes: as told, into `--out`, or beside nothing else in the current folder.
fn picture_path(args: &FindLr) -> Result<PathBuf, Failure> {
    if let Some(folder) = &args.out {
        let made = std::fs::create_dir_all(folder);
        made.map_err(|error| Failure::world(format!("could not make `{}`: {error}", folder.display())))?;
        return Ok(folder.join("find-lr.png"));
    }
    let stem = args.pipeline.file.file_stem().unwrap_or_default().to_string_lossy();
    Ok(args.png.clone().unwrap_or_else(|| PathBuf::from(format!("{stem}-lr.png"))))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write_atomic(path, bytes).map_err(|error| Failure::from_error(&error))
}
