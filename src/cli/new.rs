//! `nnoptc new`: a starter pipeline that runs as it is.

mod made;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::args::{New, Template};
use super::output::{Exit, Failure, Output};
use crate::syntax::format::format;

/// What a template writes: the pipeline, in which the data is called `starter`, and the data.
struct Parts {
    pipeline: &'static str,
    data: Data,
}

enum Data {
    /// `NAME.csv`
    Table(String),
    /// `NAME/`, with files by their paths below it.
    Folder(Vec<(String, Vec<u8>)>),
}

fn parts(template: Template) -> Parts {
    match template {
        Template::Classes => Parts {
            pipeline: include_str!("new/starter.nnopt"),
            data: Data::Table(include_str!("new/starter.csv").to_owned()),
        },
        Template::Regression => {
            Parts { pipeline: include_str!("new/regression.nnopt"), data: Data::Table(made::table()) }
        }
        Template::Images => Parts { pipeline: include_str!("new/images.nnopt"), data: Data::Folder(made::pictures()) },
    }
}

/// Writes `NAME.nnopt` and its data, `NAME.csv` or `NAME/`; overwrites neither.
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
    let Parts { pipeline: text, data } = parts(args.template);
    let place = pipeline.with_file_name(match data {
        Data::Table(_) => format!("{stem}.csv"),
        Data::Folder(_) => stem.to_owned(),
    });
    for path in [&pipeline, &place] {
        if path.exists() {
            return Err(taken(path));
        }
    }
    match &data {
        Data::Table(table) => write_new(&place, table.as_bytes())?,
        Data::Folder(files) => {
            for (path, bytes) in files {
                let path = place.join(path);
                let folder = path.parent().unwrap_or(&place);
                fs::create_dir_all(folder)
                    .map_err(|error| Failure::world(format!("could not make `{}`: {error}", folder.display())))?;
                write_new(&path, bytes)?;
            }
        }
    }
    // The name moves the comments after it.
    let named = text.replace("\"starter", &format!("\"{stem}"));
    let text = format(0, &named).unwrap_or_else(|_| unreachable!("a template has no mistakes"));
    write_new(&pipeline, text.as_bytes())?;
    output.say(format!("wrote {} and {}", pipeline.display(), place.display()));
    output.say(format!("train it with `nnoptc run {}`", pipeline.display()));
    Ok(Exit::Done)
}

fn taken(path: &Path) -> Failure {
    Failure::world(format!("`{}` exists already", path.display())).help("choose another name")
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = OpenOptions::new().write(true).create_new(true).open(path);
    written.and_then(|mut file| file.write_all(bytes)).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(path),
        _ => Failure::world(format!("could not write `{}`: {error}", path.display())),
    })
}
