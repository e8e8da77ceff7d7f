//! Where text goes: data to stdout, words for people to stderr, and the exit code that follows.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use super::args::{Color, Global, MessageFormat};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// Diagnostics, or a run that ended without its goal.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// A file, a device or memory is not as needed.
    World,
    /// A signal of this number ended it.
    Signal(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::World => 3,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command could not be carried out; the message has been found, not yet printed.
#[derive(Debug)]
pub struct Failure {
    /// How it ends.
    pub exit: Exit,
    /// What happened.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

impl Failure {
    /// A file, a device or memory is not as needed.
    pub fn world(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::World, message: message.into(), help: None }
    }

    /// The command line makes no sense.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Usage, message: message.into(), help: None }
    }

    /// Says what to do.
    pub fn help(mut self, help: impl Into<String>) -> Failure {
        self.help = Some(help.into());
        self
    }

    /// An error of the world with its causes.
    pub fn from_error(error: &dyn std::error::Error) -> Failure {
        Failure::world(chain(error))
    }
}

/// An error and its causes: `could not write `a`: permission denied`. A cause that its effect repeats is left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}

/// The streams of this process and how they are to be used.
#[derive(Clone, Debug)]
pub struct Output {
    /// How diagnostics and events are written.
    pub format: MessageFormat,
    /// Whether stderr gets colour.
    pub color: bool,
    /// Whether stderr is a terminal, so that a line can be drawn over.
    pub terminal: bool,
    /// Only errors and results.
    pub quiet: bool,
    /// More about what happens.
    pub verbose: bool,
}

impl Output {
    /// What the options and the terminal say.
    pub fn new(global: &Global) -> Output {
        let terminal = io::stderr().is_terminal();
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            // Knows `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and terminals without colour.
            Color::Auto => anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never,
        };
        Output { format: global.message_format, color, terminal, quiet: global.quiet, verbose: global.verbose }
    }

    /// Writes data to stdout. A reader that has gone away is no failure: `nnoptc plan a.nnopt | head` is fine.
    pub fn data(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::world(format!("could not write to stdout: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Writes one JSON object as a line of stdout.
    pub fn json(&self, object: &serde_json::Value) -> Result<(), Failure> {
        self.data(&format!("{object}\n"))
    }

    /// Says something to people, unless they want to hear only of errors.
    pub fn say(&self, text: impl Display) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// Says something to people who asked for details.
    pub fn detail(&self, text: impl Display) {
        if self.verbose {
            self.complain(text);
        }
    }

    /// Says something to people in any case.
    pub fn complain(&self, text: impl Display) {
        // Nothing can be done where stderr is closed.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Prints why a command could not be carried out.
    pub fn fail(&self, failure: &Failure) -> Exit {
        if self.format == MessageFormat::Json {
            let object = serde_json::json!({
                "event": "error", "message": failure.message, "help": failure.help, "exit": failure.exit.code(),
            });
            let _ = self.json(&object);
            return failure.exit;
        }
        let (red, bold, reset) = if self.color { ("\x1b[1;31m", "\x1b[1m", "\x1b[0m") } else { ("", "", "") };
        self.complain(format!("{red}error{reset}{bold}: {}{reset}", printable(&failure.message)));
        if let Some(help) = &failure.help {
            self.complain(format!("  help: {}", printable(help)));
        }
        failure.exit
    }
}

/// The text without characters that would command the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_contract() {
        let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::World, Exit::Signal(2), Exit::Signal(15)];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 130, 143]);
    }

    #[test]
    fn messages_cannot_command_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\nc");
    }
}
