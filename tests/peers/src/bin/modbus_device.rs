//! `modbus-device`: the Modbus TCP device of this crate as a program.

use std::process::ExitCode;
use std::time::Duration;

use twinhub_peers::{Device, DeviceOptions, Together};

fn main() -> ExitCode {
    match parse(std::env::args().skip(1))
        .and_then(|options| Device::start(options).map_err(|error| error.to_string()))
    {
        Ok(device) => {
            announce(&format!("READY {}", device.address().port()));
            loop {
                std::thread::park();
            }
        }
        Err(error) => {
            complain(&format!("modbus-device: {error}\n{USAGE}"));
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<DeviceOptions, String> {
    let mut options = DeviceOptions::default();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--port" => options.port = number(&value()?)?,
            "--registers" => options.registers = number(&value()?)?,
            "--unit" => options.unit = number(&value()?)?,
            "--counter" => {
                let [register, interval] = numbers(&value()?)?;
                options.counter = Some((narrow(register)?, Duration::from_millis(interval)));
            }
            "--changing" => {
                let [first, count, interval] = numbers(&value()?)?;
                options.changing = Some((narrow(first)?, narrow(count)?, Duration::from_millis(interval)));
            }
            "--log" => options.log_file = Some(value()?.into()),
            "--no-log" => options.keep_log = false,
            "--delay-ms" => options.quirks.delay = Duration::from_millis(number(&value()?)?),
            "--mute" => options.quirks.mute = true,
            "--together" => {
                options.quirks.together = match value()?.as_str() {
                    "in-order" => Together::InOrder,
                    "backwards" => Together::Backwards,
                    "first-only" => Together::FirstOnly,
                    other => return Err(format!("`{other}`: write in-order, backwards or first-only")),
                };
            }
            "--connections" => options.quirks.connections_max = Some(number(&value()?)?),
            "--exception" => {
                let [function, code] = numbers(&value()?)?;
                options.quirks.exceptions.insert(narrow(function)?, narrow(code)?);
            }
            _ => return Err(format!("unknown option {word}")),
        }
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number that fits"))
}

fn numbers<const N: usize>(text: &str) -> Result<[u64; N], String> {
    let parts = text.split(':').map(number).collect::<Result<Vec<u64>, _>>()?;
    parts.try_into().map_err(|_| format!("`{text}`: {N} numbers with colons between are needed"))
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, String> {
    T::try_from(value).map_err(|_| format!("{value} is too large"))
}

#[expect(clippy::print_stdout, reason = "the caller waits for this line")]
fn announce(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "the answer of a program to wrong options")]
fn complain(text: &str) {
    eprintln!("{text}");
}

const USAGE: &str = "usage: modbus-device [--port N] [--registers N] [--unit N] [--counter REGISTER:MS]
  [--changing FIRST:COUNT:MS] [--log FILE | --no-log] [--delay-ms N] [--mute] [--connections N]
  [--exception FUNCTION:CODE] [--together in-order|backwards|first-only]";
