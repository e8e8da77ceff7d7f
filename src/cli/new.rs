//! `nnoptc new`: a starter pipeline that runs as it is.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::New;
use super::output::{Exit, Failure, Output};
use crate::syntax::format::format;

const PIPELINE: &str = include_str!("new/starter.nnopt");
const DATA: &str = include_str!("new/starter.csv");

/// Writes `NAME.nnopt` and its small table `NAME.csv`; overwrites neither.
pub fn execute(args: &New, output: &Output) -> Result<Exit, Failure> {
    let pipeline = match args.name.extension() {
        Some(extension) if extension == "nnopt" => args.name.clone(),
        _ => PathBuf::from(format!("{}.nnopt", args.name.display())),
    };
    let Some(stem) = pipeline.file_stem().and_then(|stem| stem.to_str()).filter(|stem| !stem.is_empty()) else {
        return Err(Failure::usage(format!("`{}` is not a name for a file", args.name.display())));
    };
    if stem.contains(['"', '\\']) || stem.chars().any(char::is_control) {
        return Err(Failure::usage(format!("`{stem}` has characters that a path in a pipeline cannot have")));
    }
    let data = pipeline.with_file_name(format!("{stem}.csv"));
    for path in [&pipeline, &data] {
        if path.exists() {
            return Err(taken(path));
        }
    }
    write_new(&data, DATA)?;
    // The name moves the comments after it.
    let text = format(0, &PIPELINE.replace("starter.csv", &format!("{stem}.csv")));
    write_new(&pipeline, &text.unwrap_or_else(|_| unreachable!("the starter has no mistakes")))?;
    output.say(format!("wrote {} and {}", pipeline.display(), data.display()));
    output.say(format!("train it with `nnoptc run {}`", pipeline.display()));
    Ok(Exit::Done)
}

fn taken(path: &Path) -> Failure {
    Failure::world(format!("`{}` exists already", path.display())).help("choose another name")
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    written.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(path),
        _ => Failure::world(format!("could not write `{}`: {error}", path.display())),
    })
}
