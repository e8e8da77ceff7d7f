//! The `nnoptc` program.

fn main() -> std::process::ExitCode {
    nnoptc::cli::main()
}
