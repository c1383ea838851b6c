//! The executable of the hub: `twinhub run` runs a node, all other commands talk to one or to files.

mod cli;
mod client;
mod commands;
mod exit;
mod logging;
mod output;
mod paths;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, ConfigCommand, InterfacesCommand, ItemsCommand, PeerCommand};
use crate::commands::{
    accounts, alarms, backup, check, configuration, deliveries, demo, doctor, events, import, init,
    interfaces, items, join, matrix, merges, monitor, orders, peer, plugin, records, run, status, trend,
    witness,
};
use crate::exit::Outcome;
use crate::output::Answer;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::PluginHost = cli.command {
        return twinhub_isolation::run();
    }
    logging::start(cli.global.log_format);
    let answer = Answer::new(cli.global.output);
    match std::panic::catch_unwind(|| dispatch(&cli, answer)) {
        Ok(Ok(code)) => code.into(),
        Ok(Err(failure)) => failure.show(),
        // The panic's own message is on stderr.
        Err(_) => exit::Code::Internal.into(),
    }
}

fn dispatch(cli: &Cli, answer: Answer) -> Outcome {
    let global = &cli.global;
    match &cli.command {
        Command::Run(args) => run::run(global, args),
        Command::PluginHost => Ok(exit::Code::Usage),
        Command::Witness(args) => witness::run(global, args),
        Command::Join(args) => join::run(global, args, answer),
        Command::Init(args) => init::run(global, args, answer),
        Command::Config(ConfigCommand::Check) => check::check(global, answer),
        Command::Config(ConfigCommand::Apply(args)) => configuration::apply(global, args, answer),
        Command::Config(ConfigCommand::Diff(args)) => configuration::diff(global, args, answer),
        Command::Config(ConfigCommand::Rollback(args)) => configuration::rollback(global, args, answer),
        Command::Config(ConfigCommand::History) => configuration::history(global, answer),
        Command::Config(ConfigCommand::Activate(args)) => configuration::activate(global, args, answer),
        Command::Config(ConfigCommand::Schema) => check::schema(),
        Command::Config(ConfigCommand::Show(args)) => configuration::show(global, args, answer),
        Command::Status(args) => status::status(global, args, answer),
        Command::Switchover(args) => orders::switchover(global, args, answer),
        Command::Drain(args) => orders::drain(global, args, answer),
        Command::Shrink(args) => orders::shrink(global, args, answer),
        Command::Grow(args) => orders::grow(global, args, answer),
        Command::Failover(args) => orders::failover(global, args, answer),
        Command::Pause(args) => orders::order(global, "pause", args, answer),
        Command::Resume(args) => orders::order(global, "resume", args, answer),
        Command::Resync(args) => orders::order(global, "resync", args, answer),
        Command::Peer(PeerCommand::Test(args)) => peer::test(global, args, answer),
        Command::Items(ItemsCommand::Ls(args)) => items::ls(global, args, answer),
        Command::Items(ItemsCommand::Get { keys }) => items::get(global, keys, answer),
        Command::Items(ItemsCommand::Set(args)) => items::set(global, args, answer),
        Command::Items(ItemsCommand::Watch(args)) => items::watch(global, args, answer),
        Command::Alarms(command) => alarms::run(global, command, answer),
        Command::Deliveries(command) => deliveries::run(global, command, answer),
        Command::Merge(command) => merges::merge(global, command, answer),
        Command::Interfaces(InterfacesCommand::Ls) => interfaces::ls(global, answer),
        Command::Interfaces(InterfacesCommand::Restart(args)) => interfaces::restart(global, args, answer),
        Command::Interfaces(InterfacesCommand::Browse(args)) => interfaces::browse(global, args, answer),
        Command::Interfaces(InterfacesCommand::Diag { interface }) => {
            interfaces::diag(global, interface, answer)
        }
        Command::Interfaces(InterfacesCommand::Test { interface }) => {
            interfaces::test(global, interface, answer)
        }
        Command::Interfaces(InterfacesCommand::Discover { interface, wait }) => {
            interfaces::discover(global, interface, *wait, answer)
        }
        Command::Import(args) => import::run(global, args, answer),
        Command::Monitor(args) => monitor::monitor(global, args, answer),
        Command::Plugin(command) => plugin::run(global, command, answer),
        Command::Matrix(command) => matrix::run(global, command, answer),
        Command::Trend(args) => trend::trend(global, args, answer),
        Command::History(args) => records::history(global, args, answer),
        Command::Events(args) => events::run(global, args, answer),
        Command::Backup(command) => backup::run(global, command, answer),
        Command::Users(command) => accounts::users(global, command, answer),
        Command::Tokens(command) => accounts::tokens(global, command, answer),
        Command::Audit(args) => accounts::audit(global, args, answer),
        Command::Doctor(args) => doctor::run(global, args, answer),
        Command::Demo(args) => demo::run(args),
        Command::Completions { shell } => demo::completions(*shell),
    }
}
