//! `knx-secure-gateway`: the KNXnet/IP gateway of this crate as a program.
//!
//! It answers `READY <port>`, and takes orders from standard input, one a line:
//! `value GROUP HEX` (the device has this value, and answers reads), `write GROUP HEX [SOURCE]`, `read GROUP [SOURCE]`,
//! `response GROUP HEX [SOURCE]` (a device says so), `mute`, `unmute`, `disconnect`, `cut`, `log` (one line for each
//! telegram that was on the bus, then `END`). A value of one hexadecimal digit is one of up to six bits.

use std::collections::BTreeMap;
use std::process::ExitCode;

use twinhub_knx_protocol::secure::Secret;
use twinhub_knx_protocol::{Apdu, GroupAddress, IndividualAddress, Payload};
use twinhub_peers::{KnxGateway, KnxGatewayOptions, KnxSlot, end_with_parent};

fn main() -> ExitCode {
    end_with_parent();
    let gateway = parse(std::env::args().skip(1))
        .and_then(|options| KnxGateway::start(options).map_err(|error| error.to_string()));
    let gateway = match gateway {
        Ok(gateway) => gateway,
        Err(error) => {
            complain(&format!("knx-secure-gateway: {error}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    announce(&format!("READY {}", gateway.address().port()));
    for line in std::io::stdin().lines().map_while(Result::ok) {
        if let Err(error) = obey(&gateway, &line) {
            complain(&format!("knx-secure-gateway: `{line}`: {error}"));
        }
    }
    loop {
        std::thread::park();
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<KnxGatewayOptions, String> {
    let mut options =
        KnxGatewayOptions { slots: Vec::new(), takes_plain: false, has_udp: false, ..Default::default() };
    let mut code = None;
    let mut users = BTreeMap::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--port" => options.port = number(&value()?)?,
            "--authentication" => code = Some(Secret::new(value()?)),
            "--user" => {
                let text = value()?;
                let (user, password) =
                    text.split_once(':').ok_or("--user takes NUMBER:PASSWORD, for example 2:secret")?;
                users.insert(number(user)?, Secret::from(password));
            }
            "--tunnel" => {
                let text = value()?;
                let (address, user) = match text.split_once(':') {
                    Some((address, user)) => (address, Some(number(user)?)),
                    None => (text.as_str(), None),
                };
                let address = address.parse().map_err(|error| format!("{error}"))?;
                options.slots.push(KnxSlot { address, user });
            }
            "--plain" => options.takes_plain = true,
            "--udp" => options.has_udp = true,
            "--version-1" => options.takes_extended = false,
            _ => return Err(format!("unknown option {word}")),
        }
    }
    if options.slots.is_empty() {
        options.slots = KnxGatewayOptions::default().slots;
    }
    options.secure = code.map(|code| (code, users));
    Ok(options)
}

fn obey(gateway: &KnxGateway, line: &str) -> Result<(), String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let source = |text: &str| text.parse::<IndividualAddress>().map_err(|error| error.to_string());
    let group = |text: &str| text.parse::<GroupAddress>().map_err(|error| error.to_string());
    match words[..] {
        ["value", to, value] => gateway.set_value(group(to)?, payload(value)?),
        ["write", to, value, ref from @ ..] => {
            let from = source(from.first().unwrap_or(&DEVICE))?;
            gateway.say(from, group(to)?, Apdu::GroupValueWrite(payload(value)?));
        }
        ["response", to, value, ref from @ ..] => {
            let from = source(from.first().unwrap_or(&DEVICE))?;
            gateway.say(from, group(to)?, Apdu::GroupValueResponse(payload(value)?));
        }
        ["read", to, ref from @ ..] => {
            gateway.say(source(from.first().unwrap_or(&DEVICE))?, group(to)?, Apdu::GroupValueRead);
        }
        ["mute"] => gateway.set_mute(true),
        ["unmute"] => gateway.set_mute(false),
        ["disconnect"] => gateway.disconnect_all(),
        ["cut"] => gateway.cut(),
        ["log"] => {
            for telegram in gateway.telegrams() {
                announce(&format!("{} {} {:?}", telegram.source, telegram.group, telegram.apdu));
            }
            announce("END");
        }
        [] => {}
        _ => return Err("no such order".to_owned()),
    }
    Ok(())
}

fn payload(text: &str) -> Result<Payload, String> {
    let wrong = || format!("`{text}` is no value: write 1 for a small one, or whole octets such as 0c33");
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    match text.len() {
        0 => Err(wrong()),
        1 => u8::from_str_radix(text, 16).map(Payload::Small).map_err(|_| wrong()),
        length if length % 2 == 0 => (0..length)
            .step_by(2)
            .map(digit)
            .collect::<Option<Vec<u8>>>()
            .map(Payload::Bytes)
            .ok_or_else(wrong),
        _ => Err(wrong()),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number that fits"))
}

#[expect(clippy::print_stdout, reason = "the caller waits for these lines")]
fn announce(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "the answer of a program to wrong options")]
fn complain(text: &str) {
    eprintln!("{text}");
}

const DEVICE: &str = "1.1.1";
const USAGE: &str =
    "usage: knx-secure-gateway [--port N] [--tunnel ADDRESS[:USER]]... [--authentication CODE]
  [--user NUMBER:PASSWORD]... [--plain] [--udp] [--version-1]";
