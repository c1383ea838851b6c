//! Links between interfaces, resolved to handles: for each driving item a chain of driven items.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use twinhub_model::{Convert, IntentKind, ItemId, Moment, Position, Value};

const NONE: u32 = u32::MAX;

/// One driving item and one driven item. Of ten thousands of them few go another way.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) from: ItemId,
    pub(crate) to: ItemId,
    pub(crate) way: Arc<Way>,
    next: u32,
}

/// What is the same for all routes of a link to one interface.
#[derive(Debug)]
pub(crate) struct Way {
    /// Which interface of the engine takes the value.
    pub(crate) target: usize,
    /// Whether the target is a stream with a cursor; otherwise each value is a command.
    pub(crate) stream: bool,
    pub(crate) kind: IntentKind,
    /// Whether a route goes the other way too: equal values are not sent back.
    pub(crate) both: bool,
    pub(crate) convert: Option<Convert>,
    /// `link:N`, as commands and logs name it.
    pub(crate) origin: Arc<str>,
}

impl Route {
    pub(crate) fn new(from: ItemId, to: ItemId, way: Arc<Way>) -> Route {
        Route { from, to, way, next: NONE }
    }
}

/// All routes of a group.
#[derive(Debug)]
pub(crate) struct Routes {
    all: Vec<Route>,
    /// Per item of the table: its first route.
    first: Vec<u32>,
    /// What was passed last, for routes with a deadband or a smallest interval.
    passed: HashMap<u32, Passed>,
    /// Driving items whose image is still to come in this epoch, with what they showed when it began.
    first_words: BTreeMap<ItemId, Value>,
    /// Whether who acted last, as far as this process knows, had the same links.
    are_inherited: bool,
    /// Images that showed nothing new: the record of each, and which of its samples it is.
    repeats: HashMap<ItemId, (Position, usize)>,
    /// Values that could not be converted.
    pub(crate) unconverted: u64,
}

#[derive(Debug)]
struct Passed {
    value: Value,
    at: Moment,
    waiting: Option<(Value, Position)>,
}

impl Routes {
    pub(crate) fn new(items: usize, mut routes: Vec<Route>) -> Routes {
        let mut first = vec![NONE; if routes.is_empty() { 0 } else { items }];
        for number in (0..routes.len()).rev() {
            let from = routes[number].from.index();
            routes[number].next = first[from];
            first[from] = u32::try_from(number).unwrap_or(NONE);
        }
        Routes {
            all: routes,
            first,
            passed: HashMap::new(),
            first_words: BTreeMap::new(),
            are_inherited: false,
            repeats: HashMap::new(),
            unconverted: 0,
        }
    }

    pub(crate) fn get(&self, number: u32) -> &Route {
        &self.all[number as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Route)> {
        (0_u32..).zip(&self.all)
    }

    /// The first route of an item.
    pub(crate) fn first(&self, item: ItemId) -> Option<u32> {
        self.first.get(item.index()).copied().filter(|number| *number != NONE)
    }

    /// The route after this one of the same item.
    pub(crate) fn next(&self, number: u32) -> Option<u32> {
        Some(self.all[number as usize].next).filter(|number| *number != NONE)
    }

    /// The node that this one follows acts, and has the same links or not.
    pub(crate) fn inherit(&mut self, are_same: bool) {
        self.are_inherited = are_same;
    }

    /// A new epoch begins. What a driving item says first is an image, not a change, if its interface reads everything anew.
    /// `shown` is what the journal has of an item, `Null` if nothing that links carry; it says something only if the node before
    /// had these links.
    pub(crate) fn begin_epoch(
        &mut self,
        is_read_anew: impl Fn(ItemId) -> bool,
        shown: impl Fn(ItemId) -> Value,
    ) {
        let sources = self.all.iter().map(|route| route.from).filter(|item| is_read_anew(*item));
        let were_same = std::mem::replace(&mut self.are_inherited, true);
        let shown = |item| if were_same { shown(item) } else { Value::Null };
        self.first_words = sources.map(|item| (item, shown(item))).collect();
        self.repeats.clear();
    }

    /// If this is the first that such an item says in this epoch: what it showed before.
    pub(crate) fn first_word(&mut self, item: ItemId) -> Option<Value> {
        if self.first_words.is_empty() { None } else { self.first_words.remove(&item) }
    }

    /// The sample at this place of a record is an image that shows nothing new.
    pub(crate) fn note_repeat(&mut self, item: ItemId, position: Position, place: usize) {
        self.repeats.insert(item, (position, place));
    }

    /// Whether a stream leaves out this sample of an item: what it shows went along the link before, or stands in the
    /// journal before it. Of a link that thins out, what it showed before may have waited in vain on the node before.
    pub(crate) fn is_repeat(&self, number: u32, position: Position, place: usize) -> bool {
        if self.repeats.is_empty() {
            return false;
        }
        let Route { from, way, .. } = &self.all[number as usize];
        let thins_out = way.convert.as_ref().is_some_and(|convert| convert.min_interval.is_some());
        !thins_out && self.repeats.get(from) == Some(&(position, place))
    }

    /// The value that goes out on a route for `value`, if it goes out now.
    #[inline]
    pub(crate) fn pass(
        &mut self,
        number: u32,
        value: &Value,
        position: Position,
        now: Moment,
    ) -> Option<Value> {
        match self.all[number as usize].way.convert {
            None => Some(value.clone()),
            Some(_) => self.convert(number, value, position, now),
        }
    }

    /// What a route makes of a value that is no change.
    pub(crate) fn show(&self, number: u32, value: &Value) -> Option<Value> {
        match &self.all[number as usize].way.convert {
            None => Some(value.clone()),
            Some(convert) => convert.apply(value).ok(),
        }
    }

    #[inline(never)]
    fn convert(&mut self, number: u32, value: &Value, position: Position, now: Moment) -> Option<Value> {
        let convert = self.all[number as usize].way.convert.as_ref()?;
        let converted = match convert.apply(value) {
            Ok(converted) => converted,
            Err(error) => {
                if self.unconverted == 0 {
                    tracing::warn!(link = %self.all[number as usize].way.origin, %error, "value not carried by link");
                }
                self.unconverted += 1;
                return None;
            }
        };
        if convert.deadband.is_none() && convert.min_interval.is_none() {
            return Some(converted);
        }
        if let Some(passed) = self.passed.get_mut(&number) {
            if !convert.is_outside_deadband(&passed.value, &converted) {
                passed.waiting = None;
                return None;
            }
            if now < convert.next_allowed(passed.at) {
                passed.waiting = Some((converted, position));
                return None;
            }
        }
        self.passed.insert(number, Passed { value: converted.clone(), at: now, waiting: None });
        Some(converted)
    }

    /// Values whose smallest interval is over.
    pub(crate) fn due(&mut self, now: Moment) -> Vec<(u32, Value, Position)> {
        let mut due = Vec::new();
        for (number, passed) in &mut self.passed {
            let convert = self.all[*number as usize].way.convert.as_ref();
            if convert.is_some_and(|convert| now >= convert.next_allowed(passed.at))
                && let Some((value, position)) = passed.waiting.take()
            {
                passed.value = value.clone();
                passed.at = now;
                due.push((*number, value, position));
            }
        }
        due
    }

    /// When [`Routes::due`] has something next.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.passed
            .iter()
            .filter(|(_, passed)| passed.waiting.is_some())
            .filter_map(|(number, passed)| {
                self.all[*number as usize].way.convert.as_ref().map(|convert| convert.next_allowed(passed.at))
            })
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn route(from: u32, to: u32, convert: Option<Convert>) -> Route {
        let (kind, origin) = (IntentKind::Set, "link:0".into());
        let way = Way { target: 0, stream: false, kind, both: false, convert, origin };
        Route::new(ItemId(from), ItemId(to), Arc::new(way))
    }

    #[test]
    fn an_item_drives_several_others_in_order() {
        let routes = Routes::new(4, vec![route(0, 1, None), route(2, 1, None), route(0, 3, None)]);
        let first = routes.first(ItemId(0)).unwrap();
        let second = routes.next(first).unwrap();
        assert_eq!((routes.get(first).to, routes.get(second).to), (ItemId(1), ItemId(3)));
        assert_eq!((routes.next(second), routes.first(ItemId(1))), (None, None));
    }

    #[test]
    fn the_first_word_of_an_item_is_known_once_in_each_epoch() {
        let mut routes = Routes::new(4, vec![route(0, 1, None), route(2, 3, None)]);
        assert_eq!(routes.first_word(ItemId(0)), None);
        for shown in [Value::Null, Value::U64(8)] {
            // The first time nobody knows who had which links.
            routes.begin_epoch(|item| item == ItemId(0), |_| Value::U64(8));
            assert_eq!((routes.first_word(ItemId(1)), routes.first_word(ItemId(2))), (None, None));
            assert_eq!(routes.first_word(ItemId(0)), Some(shown));
            assert_eq!(routes.first_word(ItemId(0)), None);
        }
    }

    #[test]
    fn a_repeat_is_one_sample_of_one_epoch_and_never_on_a_link_that_thins_out() {
        let thinning = Convert { min_interval: Some(Duration::from_millis(100)), ..Convert::default() };
        let mut routes = Routes::new(4, vec![route(0, 1, None), route(0, 2, Some(thinning))]);
        let at = Position::START;
        routes.note_repeat(ItemId(0), at, 1);
        assert!(routes.is_repeat(0, at, 1) && !routes.is_repeat(0, at, 0) && !routes.is_repeat(1, at, 1));
        routes.begin_epoch(|_| true, |_| Value::Null);
        assert!(!routes.is_repeat(0, at, 1));
    }

    #[test]
    fn within_the_interval_the_newest_value_waits() {
        let convert = Convert { min_interval: Some(Duration::from_millis(100)), ..Convert::default() };
        let mut routes = Routes::new(2, vec![route(0, 1, Some(convert))]);
        let mut pass =
            |value: u64, ms| routes.pass(0, &Value::U64(value), Position::START, Moment::from_millis(ms));
        assert_eq!(pass(1, 1000), Some(Value::U64(1)));
        assert_eq!((pass(2, 1010), pass(3, 1020)), (None, None));
        assert_eq!(routes.next_due(), Some(Moment::from_millis(1100)));
        assert!(routes.due(Moment::from_millis(1099)).is_empty());
        assert_eq!(routes.due(Moment::from_millis(1100)), [(0, Value::U64(3), Position::START)]);
        assert_eq!(routes.next_due(), None);
    }
}
