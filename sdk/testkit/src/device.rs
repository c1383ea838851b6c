//! The device of a plugin, simulated by a program of its author.
//!
//! Each test that is given one starts it for itself and talks to it in lines of JSON over its standard input and output;
//! what it prints on standard error stands in the note of a test that did not come back. Items are called by the column
//! `path` of their row.
//!
//! | the kit says | the device answers |
//! |---|---|
//! | `{"do":"items","items":[{"path":…,"address":…,…},…]}`, first and once | `{"settings":{…}}` when it is ready: what of the plugin's settings leads to it, merged into those of `--settings` (RFC 7396) |
//! | `{"do":"set","item":"boiler/temperature","value":21.5}` | `{}`: from now on it has, or sends, this value |
//! | `{"do":"outputs"}` | `{"outputs":[{"item":…,"value":…},…]}`: all that was ever written to it, in order, but for its own `set` |
//! | `{"do":"sessions"}` | `{"sessions":1}`: connections, or what it counts as such |
//! | `{"do":"drop"}` | `{}`: every connection was cut |
//! | `{"do":"be","state":"absent"}` | `{}`: from now on it cannot be reached; `slow`: it answers late; `garbage`: it answers nonsense; `well`: as at first |
//!
//! What it cannot do it answers with `{"unsupported":true}`; the test says so and leaves that out. What went wrong it
//! answers with `{"error":"…"}`. The end of its standard input ends it.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::groups::{Stop, failed};
use crate::kit::Kit;

/// A device that runs.
#[derive(Debug)]
pub(crate) struct Device {
    child: RefCell<Child>,
    input: RefCell<Option<ChildStdin>>,
    answers: Receiver<String>,
}

/// How a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    Absent,
    Slow,
    Garbage,
}

impl Mood {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Mood::Well => "well",
            Mood::Absent => "absent",
            Mood::Slow => "slow",
            Mood::Garbage => "garbage",
        }
    }
}

impl Device {
    /// Starts the device of a kit, and takes what it says into the kit's settings.
    pub(crate) fn start(command: &str, kit: &mut Kit) -> Result<Self, Stop> {
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .or_else(|error| failed(format!("the device `{command}` cannot be started: {error}")))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (sender, answers) = sync_channel(ANSWERS_MAX);
        let reader = move || {
            let mut lines = BufReader::new(output.into_iter().next()?);
            loop {
                let mut line = String::new();
                let count = lines.by_ref().take(LINE_BYTES_MAX).read_line(&mut line).ok()?;
                if count == 0 || sender.send(line).is_err() {
                    return None::<()>;
                }
            }
        };
        let thread = std::thread::Builder::new().name("device".to_owned());
        thread
            .spawn(move || {
                reader();
            })
            .or_else(|error| failed(format!("no thread for the device: {error}")))?;
        let device = Self { child: RefCell::new(child), input: RefCell::new(input), answers };
        let ready = device.ask(&json!({ "do": "items", "items": kit.items }))?.unwrap_or_default();
        merge(&mut kit.config, ready.get("settings").unwrap_or(&json!({})));
        Ok(device)
    }

    /// Its process.
    pub(crate) fn process(&self) -> i32 {
        i32::try_from(self.child.borrow().id()).unwrap_or_default()
    }

    /// It has, or sends, this value from now on.
    pub(crate) fn set(&self, item: &str, value: &Json) -> Result<(), Stop> {
        match self.ask(&json!({ "do": "set", "item": item, "value": value }))? {
            Some(_) => Ok(()),
            None => failed(format!("the device has no way to `set` item {item}: it is of no use then")),
        }
    }

    /// All that was ever written to it: item and value. `None` if it does not know.
    pub(crate) fn outputs(&self) -> Result<Option<Vec<(String, Json)>>, Stop> {
        let Some(answer) = self.ask(&json!({ "do": "outputs" }))? else { return Ok(None) };
        let entry =
            |entry: &Json| Some((entry.get("item")?.as_str()?.to_owned(), entry.get("value")?.clone()));
        let outputs = answer.get("outputs").and_then(Json::as_array);
        match outputs.and_then(|outputs| outputs.iter().map(entry).collect::<Option<Vec<_>>>()) {
            Some(outputs) => Ok(Some(outputs)),
            None => wrong("outputs", &answer, "a list `outputs` of `item` and `value`"),
        }
    }

    /// How many connections it has. `None` if it does not know.
    pub(crate) fn sessions(&self) -> Result<Option<u64>, Stop> {
        let Some(answer) = self.ask(&json!({ "do": "sessions" }))? else { return Ok(None) };
        match answer.get("sessions").and_then(Json::as_u64) {
            Some(sessions) => Ok(Some(sessions)),
            None => wrong("sessions", &answer, "a number `sessions`"),
        }
    }

    /// Cuts its connections. Whether it can.
    pub(crate) fn cut(&self) -> Result<bool, Stop> {
        Ok(self.ask(&json!({ "do": "drop" }))?.is_some())
    }

    /// Makes it behave so. Whether it can.
    pub(crate) fn be(&self, mood: Mood) -> Result<bool, Stop> {
        Ok(self.ask(&json!({ "do": "be", "state": mood.word() }))?.is_some())
    }

    /// An order and its answer; `None` for what it cannot do.
    fn ask(&self, order: &Json) -> Result<Option<Json>, Stop> {
        let what = order.get("do").and_then(Json::as_str).unwrap_or_default();
        let mut input = self.input.borrow_mut();
        let written = input.as_mut().map(|input| writeln!(input, "{order}").and_then(|()| input.flush()));
        drop(input);
        let line = match written {
            Some(Ok(())) => self.answers.recv_timeout(PATIENCE),
            Some(Err(_)) | None => Err(RecvTimeoutError::Disconnected),
        };
        match line {
            Err(RecvTimeoutError::Disconnected) => {
                failed(format!("the device ended, {}, when it was told to do `{what}`", self.end()))
            }
            Err(RecvTimeoutError::Timeout) => failed(format!(
                "the device gave no answer to `{what}` within {} s: one line of JSON for each line it reads",
                PATIENCE.as_secs()
            )),
            Ok(line) => match serde_json::from_str::<Json>(&line) {
                Ok(answer) if answer.get("unsupported") == Some(&json!(true)) => Ok(None),
                Ok(answer) if answer.get("error").is_some() => {
                    failed(format!("the device says to `{what}`: {}", answer["error"]))
                }
                Ok(answer) if answer.is_object() => Ok(Some(answer)),
                Ok(answer) => wrong(what, &answer, "an object"),
                Err(error) => {
                    let line: String = line.trim_end().chars().take(LINE_CHARS_SHOWN).collect();
                    failed(format!("the device answers `{what}` with `{line}`, which is no JSON: {error}"))
                }
            },
        }
    }

    fn end(&self) -> String {
        let begun = Instant::now();
        loop {
            match self.child.borrow_mut().try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) if begun.elapsed() < LEAVE => std::thread::sleep(LOOK),
                Ok(None) => return "its output is closed".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.input.borrow_mut().take();
        let begun = Instant::now();
        let mut child = self.child.borrow_mut();
        while matches!(child.try_wait(), Ok(None)) {
            if begun.elapsed() > LEAVE {
                // It may have ended in this moment.
                child.kill().ok();
                child.wait().ok();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn wrong<T>(what: &str, answer: &Json, wanted: &str) -> Result<T, Stop> {
    let answer: String = answer.to_string().chars().take(LINE_CHARS_SHOWN).collect();
    failed(format!("the device answers `{what}` with {answer}, and not with {wanted}"))
}

/// RFC 7396: an object changes the members that it names, `null` removes one, all else takes the place.
fn merge(target: &mut Json, patch: &Json) {
    let Some(patch) = patch.as_object() else {
        patch.clone_into(target);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            merge(target.entry(name.as_str()).or_insert(Json::Null), value);
        }
    }
}

/// Longer than a device takes to begin on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// From the end of its input to its own.
const LEAVE: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);
const ANSWERS_MAX: usize = 16;
/// A thousand outputs fit.
const LINE_BYTES_MAX: u64 = 4 << 20;
const LINE_CHARS_SHOWN: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers its lines one after the other, whatever it is told.
    fn device(answers: &[&str]) -> (Result<Device, Stop>, Kit) {
        let mut kit = Kit::new("none");
        kit.config = json!({ "link": { "port": 1, "unit": 3 }, "old": true });
        let lines: Vec<String> = answers.iter().map(|line| format!("read -r order; echo '{line}'")).collect();
        let command = format!("{}; cat >/dev/null", lines.join("; "));
        (Device::start(&command, &mut kit), kit)
    }

    fn said<T: std::fmt::Debug>(answer: Result<T, Stop>) -> String {
        match answer {
            Err(Stop::Failed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn its_settings_lead_to_it_and_what_it_cannot_is_known() {
        let answers = [
            r#"{"settings":{"link":{"port":7777},"old":null}}"#,
            "{}",
            r#"{"unsupported":true}"#,
            r#"{"sessions":2}"#,
            r#"{"outputs":[{"item":"a","value":1.5}]}"#,
        ];
        let (device, kit) = device(&answers);
        let device = device.unwrap();
        assert_eq!(kit.config, json!({ "link": { "port": 7777, "unit": 3 } }));
        device.set("a", &json!(1)).unwrap();
        assert!(!device.be(Mood::Slow).unwrap());
        assert_eq!(device.sessions().unwrap(), Some(2));
        assert_eq!(device.outputs().unwrap(), Some(vec![("a".to_owned(), json!(1.5))]));
    }

    #[test]
    fn what_a_device_says_wrong_is_told() {
        let (device, _) = device(&["{}", r#"{"error":"no such item"}"#, "7", "ready", r#"{"outputs":[{}]}"#]);
        let device = device.unwrap();
        assert!(said(device.set("a", &json!(1))).contains("no such item"));
        assert!(said(device.sessions()).contains("not with an object"));
        assert!(said(device.cut()).contains("`ready`, which is no JSON"));
        assert!(said(device.outputs()).contains("a list `outputs`"));
    }

    #[test]
    fn a_device_that_ends_or_is_none_is_told() {
        let mut kit = Kit::new("none");
        let text = said(Device::start("exit 3", &mut kit));
        assert!(text.contains("exit status: 3"), "{text}");
        let text = said(Device::start("no-such-program-here 2>/dev/null", &mut kit));
        assert!(text.contains("exit status: 127"), "{text}");
    }
}
