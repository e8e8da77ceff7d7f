//! `nnoptc completions` and `nnoptc man`: the command line for shells and for `man`.

use clap::CommandFactory;

use super::args::{Cli, Completions, Man};
use super::output::{Exit, Failure, Output};

/// Prints a script that lets a shell complete commands, options and their values.
pub fn completions(args: &Completions, output: &Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "nnoptc", &mut script);
    output.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// Writes a page on `nnoptc` and one on each command into a folder.
pub fn man(args: &Man, output: &Output) -> Result<Exit, Failure> {
    let folder = args.folder.display();
    std::fs::create_dir_all(&args.folder)
        .map_err(|error| Failure::world(format!("could not make `{folder}`: {error}")))?;
    clap_mangen::generate_to(Cli::command(), &args.folder)
        .map_err(|error| Failure::world(format!("could not write pages to `{folder}`: {error}")))?;
    output.say(format!("wrote the pages to {folder}; `man -l {folder}/nnoptc.1` shows one"));
    Ok(Exit::Done)
}
