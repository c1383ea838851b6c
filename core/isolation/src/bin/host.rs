//! The least program that hosts a plugin for [`twinhub_isolation::Isolated`]; the hub itself is another.

fn main() -> std::process::ExitCode {
    twinhub_isolation::run()
}
