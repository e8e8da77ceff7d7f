//! The command line: one file a command.

pub mod args;
mod check;
mod compile;
mod devices;
mod emit;
mod eval;
mod explain;
mod fmt;
mod lsp;
mod new;
mod output;
mod plan;
mod record;
mod run;
mod signals;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use output::{Exit, Failure, Output};

/// Reads the command line of this process and does what it says.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => execute(&cli).into(),
        Err(error) => {
            // Help goes to stdout and mistakes to stderr; where either is closed nothing can be said.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            exit.into()
        }
    }
}

fn execute(cli: &Cli) -> Exit {
    let output = Output::new(&cli.global);
    dispatch(&cli.command, &output).unwrap_or_else(|failure| output.fail(&failure))
}

fn dispatch(command: &Command, output: &Output) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::execute(args, output),
        Command::Run(args) => run::execute(args, output),
        Command::Eval(args) => eval::execute(args, output),
        Command::Plan(args) => plan::execute(args, output),
        Command::Emit(args) => emit::execute(args, output),
        Command::Devices(args) => devices::execute(args, output),
        Command::Fmt(args) => fmt::execute(args, output),
        Command::Explain(args) => explain::execute(args, output),
        Command::Lsp(_) => lsp::execute(output),
        Command::New(args) => new::execute(args, output),
    }
}
