//! `users`, `tokens`, `audit`: who may do what on the site, and who did.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde::Deserialize;
use serde_json::{Value, json};
use twinhub_runtime::view::{AuditView, ChangeView, LoginView, TokenMadeView, TokenView, UserView};

use crate::cli::{AuditArgs, Global, TokensCommand, UsersCommand};
use crate::client::{Client, escape};
use crate::exit::{Code, Failure, Outcome};
use crate::output::{Answer, table};

pub(crate) fn users(global: &Global, command: &UsersCommand, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    match command {
        UsersCommand::Ls => {
            let list: Vec<UserView> = client.get("/api/v1/users")?;
            answer.give(&list, |list| {
                let rows = list
                    .iter()
                    .cloned()
                    .map(|user| [user.name, user.role, user.sessions.to_string(), user.author, user.at]);
                table(["user", "role", "sessions", "changed by", "at"], rows)
            })
        }
        UsersCommand::Add { name, role, alone } => {
            let password = password(&format!("password of {name}: "))?;
            let body =
                json!({ "name": name, "role": role.word(), "password": password, "alone": alone.alone });
            let done: ChangeView = client.send("POST", "/api/v1/users?forward=1", &body)?;
            say(answer, &done, &format!("made user {name}"))
        }
        UsersCommand::Login { name } => {
            let password = password(&format!("password of {name}: "))?;
            let body = json!({ "user": name, "password": password });
            let login: LoginView = client.send("POST", "/api/v1/login", &body)?;
            answer.give(&login, |login| {
                format!("export TWINHUB_TOKEN={}\n# {} until {}", login.session, login.role, login.expires)
            })
        }
        UsersCommand::Logout => {
            let done: Value = client.ask("POST", "/api/v1/logout")?;
            answer.give(&done, |_| "the session has ended".to_owned())
        }
        UsersCommand::Passwd { name, alone } => {
            change_password(&client, name.as_deref(), alone.alone, answer)
        }
        UsersCommand::Role { name, role, alone } => {
            let path = format!("/api/v1/users/{}/role?forward=1", escape(name));
            let body = json!({ "role": role.word(), "alone": alone.alone });
            let done: ChangeView = client.send("PUT", &path, &body)?;
            say(answer, &done, &format!("user {name} is {}", role.word()))
        }
        UsersCommand::Rm { name } => {
            let done: ChangeView =
                client.ask("DELETE", &format!("/api/v1/users/{}?forward=1", escape(name)))?;
            say(answer, &done, &format!("removed user {name}"))
        }
    }
}

#[derive(Debug, Deserialize)]
struct Me {
    name: Option<String>,
}

fn change_password(client: &Client, name: Option<&str>, alone: bool, answer: Answer) -> Outcome {
    let me: Me = client.get("/api/v1/me")?;
    let nobody = "say whose password it is: nobody is logged in here (`twinhub users login NAME`)";
    let name = name.or(me.name.as_deref()).ok_or_else(|| Failure::new(Code::Usage, nobody))?;
    // Who finds a terminal that somebody left logged in is not to take the account along.
    let current = if me.name.as_deref() == Some(name) {
        Some(password(&format!("present password of {name}: "))?)
    } else {
        None
    };
    let new = password(&format!("new password of {name}: "))?;
    let path = format!("/api/v1/users/{}/password?forward=1", escape(name));
    let body = json!({ "password": new, "current": current, "alone": alone });
    let done: ChangeView = client.send("PUT", &path, &body)?;
    say(answer, &done, &format!("user {name} has a new password, its sessions have ended"))
}

pub(crate) fn tokens(global: &Global, command: &TokensCommand, answer: Answer) -> Outcome {
    let client = Client::new(global)?;
    match command {
        TokensCommand::Ls => {
            let list: Vec<TokenView> = client.get("/api/v1/tokens")?;
            answer.give(&list, |list| {
                let rows = list.iter().cloned().map(|token| {
                    let expires = token.expires.unwrap_or_else(|| "never".to_owned());
                    [token.name, token.role, expires, token.author, token.at]
                });
                table(["token", "role", "ends", "made by", "at"], rows)
            })
        }
        TokensCommand::Create { name, role, lasts, alone } => {
            let body = json!({ "name": name, "role": role.word(), "lasts": lasts, "alone": alone.alone });
            let made: TokenMadeView = client.send("POST", "/api/v1/tokens?forward=1", &body)?;
            answer.give(&made, |made| {
                format!(
                    "{}\n\nIt is shown this once. Programs send it as `Authorization: Bearer`.",
                    made.token
                )
            })
        }
        TokensCommand::Revoke { name } => {
            let done: ChangeView =
                client.ask("DELETE", &format!("/api/v1/tokens/{}?forward=1", escape(name)))?;
            say(answer, &done, &format!("revoked token {name}"))
        }
    }
}

pub(crate) fn audit(global: &Global, args: &AuditArgs, answer: Answer) -> Outcome {
    let list: Vec<AuditView> = Client::new(global)?.get(&format!("/api/v1/audit?limit={}", args.limit))?;
    answer.give(&list, |list| {
        let rows = list.iter().cloned().map(|row| [row.at, row.author, row.origin, row.text]);
        table(["at", "who", "from", "what"], rows)
    })
}

fn say(answer: Answer, done: &ChangeView, text: &str) -> Outcome {
    answer.give(done, |done| {
        if done.confirmed {
            text.to_owned()
        } else {
            format!("{text}; no majority of the nodes has it on disk yet")
        }
    })
}

/// A password from the terminal, or one line of standard input.
pub(super) fn password(prompt: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    let unreadable = |error: &dyn std::error::Error| {
        Failure::new(Code::Error, format!("cannot read the password: {error}"))
    };
    let mut line = String::new();
    if !stdin.is_terminal() {
        stdin.lock().read_line(&mut line).map_err(|error| unreadable(&error))?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let shown = tcgetattr(&stdin).map_err(|error| unreadable(&error))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Now, &hidden).map_err(|error| unreadable(&error))?;
    // The question is no part of the answer on standard output.
    write!(io::stderr(), "{prompt}").ok();
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &shown).map_err(|error| unreadable(&error))?;
    writeln!(io::stderr()).ok();
    read.map_err(|error| unreadable(&error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
