//! The items with their poll cycles, and what the hub was last told about them.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use twinhub_plugin::{Item, Publisher, Quality, Update, Value, unix_ns};

use crate::address::Span;
use crate::backoff::Backoff;
use crate::codec::{Datum, Plain};
use crate::config::{Publish, Settings};
use crate::inbox::Points;
use crate::planner::{Block, plan, split};
use crate::point::Point;

/// What a read returned.
#[derive(Debug)]
pub(crate) enum Data {
    /// Coils or discrete inputs.
    Bits(Vec<bool>),
    /// Registers.
    Words(Vec<u16>),
}

/// Items that are read together.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) period: Duration,
    pub(crate) blocks: Vec<Block>,
    pub(crate) next_due: Instant,
    /// The running cycle: when it was due, and the next block.
    pub(crate) cycle: Option<(Instant, usize)>,
    refused: Vec<Block>,
    retry_at: Instant,
}

impl Class {
    /// Number of its items that the device refuses.
    pub(crate) fn refused_items(&self) -> usize {
        self.refused.iter().map(|block| block.members.len()).sum()
    }

    /// Begins a cycle if one is due.
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.cycle.is_some() || now < self.next_due {
            return;
        }
        if !self.refused.is_empty() && now >= self.retry_at {
            self.blocks.append(&mut self.refused);
        }
        self.cycle = Some((self.next_due, 0));
    }

    /// Ends the cycle; returns how many were missed because it took longer than its period.
    ///
    /// After an overrun the next cycle begins at once, and there is only one of it.
    pub(crate) fn end(&mut self, now: Instant) -> u64 {
        let Some((due, _)) = self.cycle.take() else { return 0 };
        self.next_due = due + self.period;
        if now < self.next_due {
            return 0;
        }
        self.next_due = now;
        u64::try_from(now.duration_since(due).as_nanos() / self.period.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The blocks from `cursor` on that are read together: of one unit, so that a silent one does not cost others.
    pub(crate) fn burst(&self, cursor: usize, most: usize) -> Option<(u8, Vec<Span>)> {
        let unit = self.blocks.get(cursor)?.unit;
        let blocks = self.blocks[cursor..].iter().take(most).take_while(|block| block.unit == unit);
        let span = |block: &Block| Span { area: block.area, start: block.start, count: block.count };
        Some((unit, blocks.map(span).collect()))
    }

    /// The refused block at the cursor is cut in two, or taken out of the plan; returns the latter's members.
    pub(crate) fn refuse(&mut self, points: &[Point], retry_after: Duration) -> Vec<usize> {
        let Some((_, cursor)) = self.cycle else { return Vec::new() };
        if let Some((left, right)) = split(&self.blocks[cursor], points) {
            self.blocks[cursor] = left;
            self.blocks.insert(cursor + 1, right);
            return Vec::new();
        }
        let block = self.blocks.remove(cursor);
        let members = block.members.clone();
        if self.refused.is_empty() {
            self.retry_at = Instant::now() + retry_after;
        }
        self.refused.push(block);
        members
    }
}

/// How a unit behind the connection is doing.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) backoff: Backoff,
    pub(crate) trouble: Option<(Quality, String)>,
}

/// What a poll needs of a point, and what it left. Points are a hundred bytes long, and ten thousand of them do not stay
/// in the cache of a processor from one poll to the next.
#[derive(Clone, Copy, Debug)]
struct Polled {
    item: u32,
    start: u16,
    /// How the register is to be read, if it takes no more than that.
    plain: Option<Plain>,
    /// Whether the hub was told anything.
    is_told: bool,
    quality: u32,
    /// Fingerprint of the registers.
    raw: u64,
}

impl Polled {
    fn new(point: &Point) -> Self {
        let plain = point.codec.plain().filter(|_| !point.area.is_bits() && !point.is_register_bit);
        Self { item: point.item, start: point.start, plain, is_told: false, quality: 0, raw: 0 }
    }

    /// Takes note of what is told; whether that is news.
    fn tell(&mut self, quality: u32, raw: u64) -> bool {
        let is_news = !self.is_told || self.quality != quality || self.raw != raw;
        (self.is_told, self.quality, self.raw) = (true, quality, raw);
        is_news
    }

    /// Its register in data that begins at `start`, if the point is that simple.
    #[inline]
    fn plain(&self, start: u16, data: &Data) -> Option<(Plain, u16)> {
        let (Some(plain), Data::Words(words)) = (self.plain, data) else { return None };
        Some((plain, *words.get(usize::from(self.start.checked_sub(start)?))?))
    }
}

/// All items of the interface.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) points: Rc<Points>,
    pub(crate) classes: Vec<Class>,
    pub(crate) units: BTreeMap<u8, Unit>,
    /// By point, beside what was last published of it: all that a poll touches of most points.
    polled: Vec<Polled>,
    publisher: Publisher,
    mode: Publish,
}

impl Image {
    pub(crate) fn new(publisher: Publisher, mode: Publish) -> Self {
        publisher.set_linger(LINGER);
        let (points, classes, units, polled) = (Rc::default(), Vec::new(), BTreeMap::new(), Vec::new());
        Self { points, classes, units, polled, publisher, mode }
    }

    /// Plans the cycles for new items; all are due at once.
    pub(crate) fn plan(&mut self, points: Rc<Points>, settings: &Settings) {
        let mut classes: BTreeMap<Duration, Vec<usize>> = BTreeMap::new();
        for (index, point) in points.iter().enumerate() {
            if let Some(period) = point.period {
                classes.entry(period).or_default().push(index);
            }
        }
        let now = Instant::now();
        let class = |(period, members)| Class {
            period,
            blocks: plan(&points, members, settings.limits),
            next_due: now,
            cycle: None,
            refused: Vec::new(),
            retry_at: now,
        };
        self.classes = classes.into_iter().map(class).collect();
        let mut units = BTreeMap::new();
        for point in points.iter() {
            units.entry(point.unit).or_insert_with(|| {
                self.units.remove(&point.unit).unwrap_or_else(|| Unit {
                    backoff: Backoff::new(settings.config.backoff_min.0, settings.config.backoff_max.0),
                    trouble: None,
                })
            });
        }
        self.units = units;
        self.polled = points.iter().map(Polled::new).collect();
        self.points = points;
    }

    /// Forgets what the hub was told, so that everything is told again; all cycles are due at once.
    pub(crate) fn resync(&mut self) {
        let now = Instant::now();
        for unit in self.units.values_mut() {
            unit.backoff.succeed();
            unit.trouble = None;
        }
        for class in &mut self.classes {
            class.cycle = None;
            class.next_due = now;
            class.retry_at = now;
        }
        for polled in &mut self.polled {
            polled.is_told = false;
        }
    }

    /// Ends all cycles without reading.
    pub(crate) fn pause(&mut self) {
        for class in &mut self.classes {
            class.cycle = None;
        }
    }

    /// Number of items that the device refuses.
    pub(crate) fn refused(&self) -> usize {
        self.classes.iter().map(Class::refused_items).sum()
    }

    /// A unit has answered: its items are read at once if it had not before. Returns whether that is news.
    pub(crate) fn answered(&mut self, unit: u8) -> bool {
        let Some(state) = self.units.get_mut(&unit) else { return false };
        state.backoff.succeed();
        if state.trouble.take().is_none() {
            return false;
        }
        let now = Instant::now();
        for class in &mut self.classes {
            if class.cycle.is_none() && class.blocks.iter().any(|block| block.unit == unit) {
                class.next_due = class.next_due.min(now);
            }
        }
        true
    }

    /// All items of a unit are bad. Returns whether that is news.
    pub(crate) fn trouble(&mut self, unit: u8, quality: Quality, cause: &str) -> bool {
        let Some(state) = self.units.get_mut(&unit) else { return false };
        if state.trouble.as_ref().is_some_and(|(known, _)| *known == quality) {
            return false;
        }
        state.trouble = Some((quality, cause.to_owned()));
        let members =
            (0..self.points.len()).filter(|index| self.points[*index].unit == unit).collect::<Vec<_>>();
        self.bad(&members, quality);
        true
    }

    /// Some items are bad.
    pub(crate) fn bad(&mut self, members: &[usize], quality: Quality) {
        let now = unix_ns();
        for member in members {
            let (point, polled) = (&self.points[*member], &mut self.polled[*member]);
            if point.period.is_some() && !(polled.is_told && polled.quality == quality.0) {
                polled.tell(quality.0, 0);
                self.publisher.push(Update::bad(Item(point.item), quality).source_ns(now));
            }
        }
        self.publisher.flush();
    }

    /// Publishes the block at `cursor` of a class. The values wait a little for those of the blocks that follow.
    pub(crate) fn publish(&mut self, class: usize, cursor: usize, data: &Data) {
        let block = &self.classes[class].blocks[cursor];
        self.publisher.keep_together(block.members.len());
        let now = unix_ns();
        for member in &block.members {
            let polled = &mut self.polled[*member];
            if let Some((plain, word)) = polled.plain(block.start, data) {
                if polled.tell(Quality::GOOD.0, word.into()) || self.mode == Publish::All {
                    let item = Item(polled.item);
                    match plain {
                        Plain::Unsigned => {
                            self.publisher.push(Update::new(item, u64::from(word)).source_ns(now));
                        }
                        Plain::Signed => {
                            let word = word.cast_signed();
                            self.publisher.push(Update::new(item, i64::from(word)).source_ns(now));
                        }
                    }
                }
                continue;
            }
            if let Some((update, raw)) = update(&self.points[*member], block.start, data)
                && (polled.tell(update.quality.0, raw) || self.mode == Publish::All)
            {
                self.publisher.push(update.source_ns(now));
            }
        }
    }

    /// Sends what waits for more.
    pub(crate) fn flush(&self) {
        self.publisher.flush();
    }

    /// Publishes what was read back after a write.
    pub(crate) fn publish_points(&mut self, points: &[Point], start: u16, data: &Data) {
        let now = unix_ns();
        for point in points.iter().filter(|point| point.is_readable) {
            if let Some((update, _)) = update(point, start, data) {
                self.publisher.push(update.source_ns(now));
            }
        }
        self.publisher.flush();
    }
}

/// The value of a point in data that begins at `start`, and a fingerprint of its registers.
fn update(point: &Point, start: u16, data: &Data) -> Option<(Update, u64)> {
    let at = usize::from(point.start.checked_sub(start)?);
    let (datum, raw) = match data {
        Data::Bits(bits) => {
            let bit = *bits.get(at)?;
            (Ok(Datum::Bool(bit)), u64::from(bit))
        }
        Data::Words(words) => {
            let words = words.get(at..at + usize::from(point.count))?;
            (point.codec.decode(words), fingerprint(words))
        }
    };
    let item = Item(point.item);
    let update = match datum {
        Ok(Datum::F64(value)) if !value.is_finite() => {
            Update::new(item, value).quality(Quality::BAD_SENSOR_FAILURE)
        }
        Ok(datum) => Update::new(item, value(datum)),
        Err(_) => Update::bad(item, Quality::BAD_DECODING),
    };
    Some((update, raw))
}

fn value(datum: Datum) -> Value {
    match datum {
        Datum::Bool(value) => Value::Bool(value),
        Datum::I64(value) => Value::I64(value),
        Datum::U64(value) => Value::U64(value),
        Datum::F64(value) => Value::F64(value),
        Datum::Text(value) => Value::Str(value),
    }
}

/// Exact for up to four registers; of a longer text the FNV-1a hash.
fn fingerprint(words: &[u16]) -> u64 {
    if words.len() <= 4 {
        return words.iter().fold(0, |raw, word| raw << 16 | u64::from(*word));
    }
    words
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ u64::from(*word)).wrapping_mul(0x0100_0000_01b3))
}

/// How long values wait for those of the next blocks: with a device that answers at once, a thousand values travel
/// together instead of a hundred. A slower device's values do not wait.
pub(crate) const LINGER: Duration = Duration::from_millis(1);
