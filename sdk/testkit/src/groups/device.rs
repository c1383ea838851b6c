//! What the device sees, and what comes from it, when it is disturbed and when another instance takes over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value as Json, json};
use twinhub_contract::manifest::{Mode, State};
use twinhub_contract::{ValueRef, access, code};
use twinhub_loader::Role;

use super::failover::{alone, calm, faults, ms, send, standby, standby_on};
use super::{Group, Outcome, Stop, Test, failed, hold, skipped};
use crate::bench::{Bench, MAIN, Unit, role_of, said};
use crate::device::{Device, Mood};
use crate::host::Record;

pub(super) const ROBUSTNESS: &[Test] = &[Test {
    group: Group::Robustness,
    name: "device",
    about: "a device that is absent, slow, talks nonsense or cuts the link is no fault, and its values come again",
    limit: Duration::from_secs(240),
    run: disturbed,
}];

pub(super) const FAILOVER: &[Test] = &[Test {
    group: Group::Failover,
    name: "device",
    about: "the device sees no output twice and none of a process whose lease ended, and what it has is known to \
            whoever acts within the declared time",
    limit: Duration::from_secs(240),
    run: takeovers,
}];

fn disturbed(bench: &Bench) -> Outcome {
    let device = bench.device()?;
    let unit = bench.active()?;
    let mut site = Site::new(bench, device)?;
    site.round();
    site.shows(&unit)?;
    let (mut notes, mut untried) = (Vec::new(), Vec::new());
    for mood in [Mood::Absent, Mood::Slow, Mood::Garbage] {
        if !device.be(mood)? {
            untried.push(mood.word());
            continue;
        }
        unit.let_run(DISTURBED);
        // Whatever comes of it, it is answered.
        for (item, value) in unit.writable().unwrap_or_default() {
            if let Ok(id) = unit.write(unit.epoch(), item, value) {
                unit.answer(id)?;
            }
        }
        device.be(Mood::Well)?;
        site.round();
        let took = site.shows(&unit).or_else(|stop| after(mood.word(), stop))?;
        notes.push(format!("{} s after {}", seconds(took), mood.word()));
    }
    if device.cut()? {
        site.round();
        let took = site.shows(&unit).or_else(|stop| after("its connections were cut", stop))?;
        notes.push(format!("{} s after a cut", seconds(took)));
    } else {
        untried.push("drop");
    }
    calm(bench, 0)?;
    hold(!notes.is_empty(), || "the device can neither `be` otherwise nor `drop` its connections".to_owned())
        .or_else(|stop| if let Stop::Failed(why) = stop { skipped(why) } else { Err(stop) })?;
    let tried = format!("values again {}", notes.join(", "));
    Ok(if untried.is_empty() {
        tried
    } else {
        format!("{tried}; not of this device: {}", untried.join(", "))
    })
}

fn takeovers(bench: &Bench) -> Outcome {
    let device = bench.device()?;
    let bench = &bench.apart()?;
    let (main, process) = alone(bench)?;
    let backup = standby(bench)?;
    let mut site = Site::new(bench, device)?;
    site.round();
    site.shows(&main)?;
    site.write(&main)?;

    // A process that sleeps over the end of its lease, with writes that it was given before.
    bench.step("SIGSTOP");
    send(process, Signal::STOP)?;
    let asked = site.hand(&main)?;
    main.host.set_lease_end(0);
    let mut times = vec![site.takes_over(&backup, 2, &[])?];
    send(process, Signal::CONT)?;
    // One that slept for too long was replaced.
    let is_there = main.host.record().faults.is_empty();
    for (id, output) in asked {
        let answer = if is_there { main.answer(id)? } else { None };
        site.forbidden.push(output);
        hold(answer.is_none_or(|answer| answer.code != code::OK), || {
            "a write that was read after the end of the lease is answered as carried out".to_owned()
        })?;
    }
    site.judge("after a process woke whose lease had ended")?;
    let mut dead = usize::from(!is_there);
    let main = if is_there {
        main.host.set_lease_end(i64::MAX);
        main.role_in(role_of(bench.manifest().mb.default_standby), 2)?;
        main
    } else {
        main.destroy();
        standby_on(bench, MAIN)?
    };

    let (mut from, mut to) = (&backup, &main);
    for epoch in 3..3 + MOVES {
        from.role_in(role_of(bench.manifest().mb.default_standby), epoch)?;
        let state = match bench.manifest().mb.state {
            State::None => None,
            State::Snapshot | State::SnapshotDelta => Some(
                from.instance.snapshot().or_else(|error| failed(format!("snapshot: {}", said(&error))))?,
            ),
        };
        times.push(site.takes_over(to, epoch, state.as_slice())?);
        site.alone_with(bench, "after a planned move")?;
        site.judge("after a planned move")?;
        (from, to) = (to, from);
    }
    main.destroy();
    backup.destroy();

    let (main, process) = alone(bench)?;
    let backup = standby(bench)?;
    site.write(&main)?;
    let asked = site.hand(&main)?;
    send(process, Signal::KILL)?;
    faults(&main)?;
    dead += 1;
    // It may have done them, once.
    site.perhaps.extend(asked.into_iter().map(|(_, output)| output));
    times.push(site.takes_over(&backup, 2, &[])?);
    site.judge("after a kill")?;
    calm(bench, dead)?;
    site.verdict(bench, times)
}

/// A write that was handed over: its number, what it makes of the device.
type Asked = (u64, (String, Json));

/// The device's items, and what it has to have seen.
#[derive(Debug)]
struct Site<'a> {
    device: &'a Device,
    /// Rows that can be read: handle, path, type with its bounds.
    readable: Vec<(u32, String, Kind)>,
    /// One that can be written.
    written: Option<(u32, String, Kind)>,
    /// Each value is another one than those before.
    round: u32,
    /// Outputs that were answered as carried out.
    done: Vec<(String, Json)>,
    /// Outputs that may be there once.
    perhaps: Vec<(String, Json)>,
    /// Outputs that must not be there.
    forbidden: Vec<(String, Json)>,
}

/// An item whose value did not come.
#[derive(Debug)]
struct Missing {
    item: u32,
    path: String,
    wanted: Json,
    last: Option<Json>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Bool,
    Text,
    Whole { is_signed: bool, low: f64, high: f64 },
    Real { low: f64, high: f64 },
}

impl Kind {
    fn of(row: &BTreeMap<String, String>) -> Option<Self> {
        let word = row.get("type").map_or("", String::as_str);
        let bound = |column: &str| row.get(column).and_then(|text| text.parse::<f64>().ok());
        let low = bound("min").unwrap_or(0.0);
        let high = bound("max").unwrap_or(low + 100.0);
        // What is scaled is no whole number for the hub.
        let is_scaled = row.get("scale").is_some_and(|scale| !scale.is_empty() && scale != "1");
        match word {
            "bool" => Some(Kind::Bool),
            "string" => Some(Kind::Text),
            word if word.starts_with("float") => Some(Kind::Real { low, high }),
            word if word.contains("int") && is_scaled => Some(Kind::Real { low, high }),
            word if word.contains("int") => Some(Kind::Whole { is_signed: word.starts_with('i'), low, high }),
            _ => None,
        }
    }

    /// The value of a round; those of [`ROUNDS`] differ, but for truth values.
    fn value(&self, round: u32) -> Json {
        let place = f64::from(round % ROUNDS);
        match self {
            Kind::Bool => json!(round % 2 == 1),
            Kind::Text => json!(format!("kit {round}")),
            Kind::Whole { low, high, .. } => {
                #[expect(clippy::cast_possible_truncation, reason = "within bounds that people write")]
                let whole = (low.ceil() + place.min((high - low.ceil()).max(0.0).floor())) as i64;
                json!(whole)
            }
            Kind::Real { low, high } => json!(low + ((high - low) / f64::from(ROUNDS) * place).floor()),
        }
    }

    fn tells_apart(&self) -> bool {
        match self {
            Kind::Bool => false,
            Kind::Text => true,
            Kind::Whole { low, high, .. } | Kind::Real { low, high } => high - low >= f64::from(ROUNDS),
        }
    }
}

impl<'a> Site<'a> {
    fn new(bench: &Bench, device: &'a Device) -> Result<Self, Stop> {
        let rows = bench.kit.specs().into_iter().zip(&bench.kit.items);
        let all: Vec<_> = rows
            .filter_map(|(spec, row)| {
                let path = row.get("path").cloned().unwrap_or_default();
                Some((spec.access, (spec.handle, path, Kind::of(row)?)))
            })
            .collect();
        let readable: Vec<_> =
            all.iter().filter(|(may, _)| may & access::READ != 0).map(|(_, item)| item.clone()).collect();
        if readable.is_empty() {
            return skipped("none of its items can be read whose type is a number, a text or a truth value");
        }
        let writable = all.iter().filter(|(may, _)| may & access::WRITE != 0).map(|(_, item)| item);
        let written = writable.max_by_key(|(_, _, kind)| kind.tells_apart()).cloned();
        let none = Vec::new;
        Ok(Self { device, readable, written, round: 0, done: none(), perhaps: none(), forbidden: none() })
    }

    fn round(&mut self) {
        self.round += 1;
    }

    /// The device has the values of this round; how long it takes until the instance has told them all. What a device
    /// sends while nobody listens is gone, so it is told again.
    fn shows(&self, unit: &Unit<'_>) -> Result<Duration, Stop> {
        let begun = Instant::now();
        let mut missing: Vec<Missing> = Vec::new();
        while begun.elapsed() < VALUES {
            for (item, path, kind) in &self.readable {
                if missing.is_empty() || missing.iter().any(|missing| missing.item == *item) {
                    self.device.set(path, &kind.value(self.round))?;
                }
            }
            let all = unit.host.wait(SET_AGAIN, |record| self.missing(record).is_empty().then_some(()));
            if all.is_some() {
                return Ok(begun.elapsed());
            }
            missing = self.missing(&unit.host.record());
        }
        let of = |Missing { path, wanted, last, .. }: &Missing| {
            let last = last.as_ref().map_or_else(|| "nothing".to_owned(), Json::to_string);
            format!("{last} came for {path}, and the device has {wanted}")
        };
        let wrong: Vec<String> = missing.iter().take(WRONG_SHOWN).map(of).collect();
        failed(format!("within {} s {}", VALUES.as_secs(), wrong.join(", ")))
    }

    /// Items of which the last value is not that of this round.
    fn missing(&self, record: &Record) -> Vec<Missing> {
        let of = |(item, path, kind): &(u32, String, Kind)| {
            let wanted = kind.value(self.round);
            let last = record.taken.iter().rev().find(|seen| seen.item == *item && !seen.value.is_null());
            let last = last.map(|seen| seen.value.clone());
            let is_there = last.as_ref().is_some_and(|last| is_same(last, &wanted));
            (!is_there).then(|| Missing { item: *item, path: path.clone(), wanted, last })
        };
        self.readable.iter().filter_map(of).collect()
    }

    /// Hands over one write that the device has not seen yet.
    fn hand(&mut self, unit: &Unit<'_>) -> Result<Vec<Asked>, Stop> {
        let Some((item, path, kind)) = self.written.clone() else { return Ok(Vec::new()) };
        self.round();
        let value = kind.value(self.round);
        let text = value.as_str().unwrap_or_default().to_owned();
        let raw = match &kind {
            Kind::Bool => ValueRef::Bool(value == json!(true)),
            Kind::Text => ValueRef::Str(&text),
            Kind::Whole { is_signed: true, .. } => ValueRef::I64(value.as_i64().unwrap_or_default()),
            Kind::Whole { is_signed: false, .. } => ValueRef::U64(value.as_u64().unwrap_or_default()),
            Kind::Real { .. } => ValueRef::F64(value.as_f64().unwrap_or_default()),
        };
        match unit.write(unit.epoch(), item, raw) {
            Ok(id) => Ok(vec![(id, (path, value))]),
            Err(error) if error.code == code::AGAIN => Ok(Vec::new()),
            Err(error) => failed(format!("a write of {value} to {path}: {}", said(&error))),
        }
    }

    /// Writes until it is carried out, as the first action of whoever acts.
    fn write(&mut self, unit: &Unit<'_>) -> Result<(), Stop> {
        let begun = Instant::now();
        while self.written.is_some() {
            for (id, output) in self.hand(unit)? {
                let answer = unit.host.wait(VALUES, |record| record.writes.get(&id).copied());
                match answer {
                    Some(result) if result.code == code::OK => {
                        self.done.push(output);
                        return Ok(());
                    }
                    // One that it may have sent may be there.
                    Some(_) => self.perhaps.push(output),
                    None => return failed(format!("a write was not answered within {} s", VALUES.as_secs())),
                }
            }
            if begun.elapsed() > VALUES {
                return failed(format!("no write was carried out within {} s", VALUES.as_secs()));
            }
            unit.let_run(AGAIN);
        }
        Ok(())
    }

    /// How long it takes until the next instance has done or told something new, after which it knows all of the device.
    fn takes_over(
        &mut self,
        unit: &Unit<'_>,
        epoch: u64,
        state: &[(u32, Vec<u8>)],
    ) -> Result<Duration, Stop> {
        for (version, bytes) in state {
            unit.instance
                .apply(*version, bytes)
                .or_else(|error| failed(format!("apply: {}", said(&error))))?;
        }
        let begun = Instant::now();
        unit.role_in(Role::Active, epoch)?;
        self.write(unit)?;
        let wrote = self.written.as_ref().map(|_| begun.elapsed());
        self.round();
        self.shows(unit)?;
        Ok(wrote.unwrap_or_else(|| begun.elapsed()))
    }

    /// What two cannot hold at once, two do not hold.
    fn alone_with(&self, bench: &Bench, when: &str) -> Result<(), Stop> {
        let mb = &bench.manifest().mb;
        if mb.exclusive.is_empty() && mb.default_standby != Mode::Cold {
            return Ok(());
        }
        let begun = Instant::now();
        while let Some(sessions) = self.device.sessions()?.filter(|sessions| *sessions > 1) {
            // The end of a connection is on its way.
            if begun.elapsed() > CLOSING {
                return failed(format!(
                    "{when} the device has {sessions} connections: a standby lets go of its own"
                ));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// What the device has seen is what it should have.
    fn judge(&self, when: &str) -> Result<(), Stop> {
        let Some((_, _, kind)) = &self.written else { return Ok(()) };
        if !kind.tells_apart() {
            return Ok(());
        }
        let Some(seen) = self.device.outputs()? else { return Ok(()) };
        let times = |(path, value): &(String, Json)| {
            seen.iter().filter(|(item, seen)| item == path && is_same(seen, value)).count()
        };
        for output in &self.done {
            let count = times(output);
            let (path, value) = output;
            hold(count == 1, || {
                format!(
                    "{when} the device has seen the output {value} to {path} {count} times, and it was answered once"
                )
            })?;
        }
        let find = |outputs: &[(String, Json)], most: usize| {
            outputs
                .iter()
                .find(|output| times(output) > most)
                .map(|(path, value)| format!("{value} to {path}"))
        };
        if let Some(output) = find(&self.perhaps, 1) {
            return failed(format!("{when} the device has seen the output {output} twice"));
        }
        if let Some(output) = find(&self.forbidden, 0) {
            return failed(format!(
                "{when} the device has seen the output {output}, whose lease had ended: the gate has to be asked right \
                 before each effect"
            ));
        }
        Ok(())
    }

    /// A busy machine makes some takeovers slow, and not each of them.
    fn verdict(&self, bench: &Bench, mut times: Vec<Duration>) -> Outcome {
        times.sort_unstable();
        let (best, half, longest) = (times[0], times[times.len() / 2], times[times.len() - 1]);
        let mb = &bench.manifest().mb;
        let target = mb.takeover_target_ms.get(&mb.default_standby).copied().map(Duration::from_millis);
        let first = if self.written.is_some() { "first output" } else { "first value" };
        let note = format!(
            "{first} after p50 {} ms, longest {} ms, best {} ms of {}; {} outputs, each once",
            ms(half),
            ms(longest),
            ms(best),
            times.len(),
            self.done.len()
        );
        match target {
            Some(target) if best > target => {
                failed(format!("{note}; it declares {} ms and has not kept that once", target.as_millis()))
            }
            Some(target) => Ok(format!("{note}; it declares {} ms", target.as_millis())),
            None => Ok(note),
        }
    }
}

fn is_same(one: &Json, other: &Json) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => (one - other).abs() <= 1e-6 * other.abs().max(1.0),
        _ => one == other,
    }
}

fn after<T>(what: &str, stop: Stop) -> Result<T, Stop> {
    match stop {
        Stop::Failed(why) => failed(format!("after {what}: {why}")),
        Stop::Skipped(why) => skipped(why),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64())
}

/// How long a device misbehaves: some polls and some attempts to connect.
const DISTURBED: Duration = Duration::from_millis(1_500);
/// Longer than an attempt to connect and a poll take together on a busy machine.
const VALUES: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(5);
/// What a device sends is heard within this time, or nobody listened.
const SET_AGAIN: Duration = Duration::from_millis(500);
const WRONG_SHOWN: usize = 3;
const CLOSING: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);
/// Planned moves.
const MOVES: u64 = 5;
/// Values that differ.
const ROUNDS: u32 = 50;
