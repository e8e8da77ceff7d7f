//! The command line as it is written: commands, their arguments, options of all commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Compiles a training pipeline, written as one `.nnopt` file, to fused kernels, and runs it
#[derive(Debug, Parser)]
#[command(
    name = "nnoptc",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
#[command(after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Options of all commands
    #[command(flatten)]
    pub global: Global,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 diagnostics, or a run that ended without its goal; 2 usage;
3 wrong world (file, device, memory); 130 or 143 after a signal";

/// Options of all commands.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// How diagnostics are written: for people, one line each, or on stdout for programs; JSON is one object a line and
    /// covers the events of a run too, SARIF is one 2.1.0 log, `github` marks lines of a change in GitHub Actions
    #[arg(long, global = true, value_enum, default_value_t = MessageFormat::Human, value_name = "FORMAT")]
    #[arg(hide_possible_values = false)]
    pub message_format: MessageFormat,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Print only errors and results
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more about what happens
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// How diagnostics and events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// With the source around them.
    Human,
    /// One line each.
    Short,
    /// One JSON object a line, on stdout.
    Json,
    /// One SARIF 2.1.0 log, on stdout.
    Sarif,
    /// Workflow commands of GitHub Actions, on stdout.
    Github,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Report all mistakes in pipelines; needs no device
    Check(Check),
    /// Check a pipeline again whenever it, a file that it includes, or its data changes
    Watch(Watch),
    /// Train a pipeline and write a run folder
    Run(Run),
    /// Look for a learning rate by a short training whose rate rises
    FindLr(FindLr),
    /// Say what a run's figures mean for its pipeline, with edits
    Advise(Advise),
    /// Measure the trained weights of a run on a split
    Eval(Eval),
    /// Show what a pipeline means: settings with their origins, layers, memory, kernels
    Plan(Plan),
    /// Write a stage of the compilation as text
    Emit(Emit),
    /// List the devices that can train
    Devices(Devices),
    /// Rewrite pipelines in the one canonical style
    Fmt(Fmt),
    /// Explain a diagnostic's code, or a layer, loss, optimizer or other item
    Explain(Explain),
    /// Write a starter pipeline
    New(New),
    /// Print a script that completes commands and options in a shell
    Completions(Completions),
    /// Write pages for `man` into a folder
    Man(Man),
    /// Serve an editor with the Language Server Protocol over stdin and stdout
    Lsp(Lsp),
}

/// A pipeline, and what is changed in it from outside.
#[derive(Clone, Debug, Args)]
pub struct Pipeline {
    /// The pipeline
    pub file: PathBuf,
    /// Override a setting, such as `train.epochs=3` or `optimizer.lr=3e-4`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Apply the profile of this name
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

/// `nnoptc check`
#[derive(Debug, Args)]
pub struct Check {
    /// The pipelines
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Override a setting, such as `train.epochs=3`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Apply the profile of this name
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// Write what can be mended without asking into the files, then check again
    #[arg(long)]
    pub fix: bool,
    /// Let warnings fail the check too
    #[arg(long, value_enum, value_name = "WHAT")]
    pub deny: Option<Deny>,
}

/// `nnoptc watch`
#[derive(Debug, Args)]
pub struct Watch {
    /// The pipeline
    pub file: PathBuf,
    /// Override a setting, such as `train.epochs=3`; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    pub sets: Vec<String>,
    /// Apply the profile of this name
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}

/// What is treated as an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deny {
    /// Every warning.
    Warnings,
}

/// `nnoptc run`
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    /// The pipeline
    pub pipeline: Pipeline,
    /// Where to train: `auto`, `cpu`, `gpu`, or an adapter's number, UUID, PCI bus, backend or part of its name
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// The run folder [default: runs/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Threads of the CPU executor [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `nnoptc find-lr`
#[derive(Debug, Args)]
pub struct FindLr {
    #[command(flatten)]
    /// The pipeline
    pub pipeline: Pipeline,
    /// The lowest rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-7)]
    pub from: f64,
    /// The highest rate
    #[arg(long, value_name = "RATE", default_value_t = 10.0)]
    pub to: f64,
    /// Updates, each with a higher rate than the one before
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(20..))]
    pub steps: u16,
    /// The picture of the curve [default: NAME-lr.png]
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    pub png: Option<PathBuf>,
    /// A folder for the picture and the figures, find-lr.png and find-lr.json
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Where to train: `auto`, `cpu`, `gpu`, or an adapter's number, UUID, PCI bus, backend or part of its name
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Threads of the CPU executor [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// `nnoptc advise`
#[derive(Debug, Args)]
pub struct Advise {
    /// The run folder
    pub run: PathBuf,
}

/// `nnoptc eval`
#[derive(Debug, Args)]
pub struct Eval {
    /// The run folder, or a pipeline together with `--weights`
    pub run: PathBuf,
    /// The checkpoint to measure, when a pipeline is given instead of a run folder
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoint")]
    pub weights: Option<PathBuf>,
    /// The split: `train`, `val` or `test` [default: test, or the last that there is]
    #[arg(long, value_name = "NAME")]
    pub split: Option<String>,
    /// Which weights [default: those that the run ended with]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub checkpoint: Option<WhichCheckpoint>,
    /// Where to compute: `auto`, `cpu`, `gpu`, or an adapter's number, UUID, PCI bus, backend or part of its name
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Threads of the CPU executor [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
}

/// The weights of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhichCheckpoint {
    /// Of the best epoch.
    Best,
    /// Of the last epoch.
    Last,
}

/// `nnoptc plan`
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    /// The pipeline
    pub pipeline: Pipeline,
    /// Plan for this device: `auto`, `cpu`, `gpu`, or an adapter's number, UUID, PCI bus, backend or part of its name
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Also load the data, open the device, and measure how long each kind of step takes there, on a GPU launch by launch
    #[arg(long)]
    pub measure: bool,
}

/// `nnoptc emit`
#[derive(Debug, Args)]
pub struct Emit {
    #[command(flatten)]
    /// The pipeline
    pub pipeline: Pipeline,
    /// Which stage of the compilation
    #[arg(long, value_enum)]
    pub stage: EmitStage,
    /// Which step, for `graph`, `plan`, `wgsl` and `dot`
    #[arg(long, value_enum, default_value_t = EmitStep::Train)]
    pub step: EmitStep,
}

/// A stage of the compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EmitStage {
    /// The abstract syntax.
    Ast,
    /// The checked program with every value.
    Program,
    /// The optimized graph.
    Graph,
    /// The kernels.
    Plan,
    /// The kernels' text for GPUs.
    Wgsl,
    /// The optimized graph in Graphviz's language.
    Dot,
}

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EmitStep {
    /// An update.
    Train,
    /// A measurement.
    Eval,
}

/// `nnoptc devices`
#[derive(Debug, Args)]
pub struct Devices {
    /// Let each adapter compute what drivers are known to get wrong
    #[arg(long)]
    pub check: bool,
}

/// `nnoptc fmt`
#[derive(Debug, Args)]
pub struct Fmt {
    /// The pipelines; `-` reads one from stdin and writes it to stdout
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Write nothing; exit with 1 if a file is not in canonical style
    #[arg(long)]
    pub check: bool,
    /// Write nothing but the differences, to stdout; exit with 1 if there are any
    #[arg(long)]
    pub diff: bool,
}

/// `nnoptc explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// A code such as `E0301`, a lint such as `no_normalization`, or an item such as `conv2d`; without it, all are listed
    #[arg(value_name = "CODE|ITEM")]
    pub topic: Option<String>,
}

/// `nnoptc lsp`
#[derive(Debug, Args)]
pub struct Lsp {
    /// Accepted, as many editors give it; there is no other way
    #[arg(long, hide = true)]
    pub stdio: bool,
}

/// `nnoptc new`
#[derive(Debug, Args)]
pub struct New {
    /// The file, with or without `.nnopt`
    pub name: PathBuf,
    /// What it is about; the data is made up and written beside it
    #[arg(short, long, value_enum, default_value_t = Template::Classes, value_name = "TEMPLATE")]
    pub template: Template,
}

/// What a starter pipeline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Template {
    /// Classes of the rows of a table.
    Classes,
    /// A number for each row of a table.
    Regression,
    /// Classes of pictures in folders.
    Images,
}

/// `nnoptc completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `nnoptc man`
#[derive(Debug, Args)]
pub struct Man {
    /// The folder; it is made if it is not there
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
}

impl From<&Pipeline> for crate::check::Request {
    fn from(pipeline: &Pipeline) -> Self {
        let Pipeline { file, sets, profile } = pipeline.clone();
        crate::check::Request { path: file, sets, profile }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_stand_anywhere() {
        let cli = Cli::try_parse_from(["nnoptc", "check", "a.nnopt", "-q", "--color", "never"]).unwrap();
        assert!(cli.global.quiet && cli.global.color == Color::Never);
        let cli = Cli::try_parse_from(["nnoptc", "--message-format", "json", "explain"]).unwrap();
        assert_eq!(cli.global.message_format, MessageFormat::Json);
    }
}
