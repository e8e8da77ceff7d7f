//! The command line: one file a command.

mod advise;
pub mod args;
mod check;
mod compile;
mod completions;
mod devices;
mod emit;
mod eval;
mod explain;
mod find_lr;
mod fmt;
mod lsp;
mod new;
mod output;
mod plan;
mod record;
mod run;
mod signals;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::backend::{gpu, peers};
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
    // Of the processes that a launcher has started, only the first says what all have to say.
    let guard = match cli.command {
        Command::Run(_) => match peers::join() {
            Ok(guard) => Some(guard),
            Err(reason) => {
                let help = "build it with `cargo install --path . --features mpi`; see docs/mpi.md";
                return output.fail(&Failure::world(format!("this is {reason}")).help(help));
            }
        },
        _ => None,
    };
    let rank = peers::standing().rank;
    let output = if rank == 0 { output } else { Output { quiet: true, ..output } };
    let exit = dispatch(&cli.command, &output).unwrap_or_else(|mut failure| {
        let told = guard.as_ref().is_some_and(|guard| guard.tell(failure.exit.code(), &failure.message));
        if rank > 0 && told {
            // The first says it for all.
            return failure.exit;
        }
        if rank > 0 {
            failure.message = format!("rank {rank}: {}", failure.message);
        }
        output.fail(&failure)
    });
    if let Some(guard) = guard {
        guard.leave(exit.code());
    }
    #[cfg(unix)]
    if gpu::is_hung() {
        // SAFETY: ends the process. All that was to be written has been; what drivers want done at the end would wait for
        // work that does not end.
        unsafe { libc::_exit(exit.code().into()) }
    }
    exit
}

fn dispatch(command: &Command, output: &Output) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::execute(args, output),
        Command::Run(args) => run::execute(args, output),
        Command::FindLr(args) => find_lr::execute(args, output),
        Command::Advise(args) => advise::execute(args, output),
        Command::Eval(args) => eval::execute(args, output),
        Command::Plan(args) => plan::execute(args, output),
        Command::Emit(args) => emit::execute(args, output),
        Command::Devices(args) => devices::execute(args, output),
        Command::Fmt(args) => fmt::execute(args, output),
        Command::Explain(args) => explain::execute(args, output),
        Command::Lsp(_) => lsp::execute(output),
        Command::Watch(args) => watch::execute(args, output),
        Command::Completions(args) => completions::completions(args, output),
        Command::Man(args) => completions::man(args, output),
        Command::New(args) => new::execute(args, output),
    }
}
