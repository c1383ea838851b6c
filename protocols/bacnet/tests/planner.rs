//! Plans of reads against devices that can do more and less.

#![expect(clippy::unwrap_used, reason = "a helper of tests may fail the test")]

use twinhub_bacnet_protocol::engine::{Failure, PeerLimits, Reply};
use twinhub_bacnet_protocol::names::{
    AbortReason, ConfirmedService, ErrorClass, ErrorCode, ObjectType, PropertyIdentifier, RejectReason,
    Segmentation,
};
use twinhub_bacnet_protocol::planner::{Ask, ReadAbility, ReadFailure, ReadPlan};
use twinhub_bacnet_protocol::services::{
    PropertyOutcome, PropertyReference, ReadAccessResult, ReadProperty, ReadPropertyAck,
    ReadPropertyMultiple, ReadPropertyMultipleAck, ServiceError,
};
use twinhub_bacnet_protocol::tag::Message;
use twinhub_bacnet_protocol::value::{ObjectId, Value};

#[test]
fn many_reads_take_few_requests() {
    let device = Device::default();
    let (values, asked, ability) = device.read(points(200), ReadAbility::default());
    assert!(values.iter().all(Result::is_ok));
    assert!(asked.len() < 10, "{} requests", asked.len());
    assert_eq!(ability, ReadAbility::default());
}

#[test]
fn a_device_that_takes_less_is_asked_for_less_and_this_is_remembered() {
    let device = Device { reads_max: 5, ..Device::default() };
    let (values, asked, ability) = device.read(points(100), ReadAbility::default());
    assert!(values.iter().all(Result::is_ok));
    assert!(ability.reads_max <= 6, "{ability:?}");
    let (_, again, _) = device.read(points(100), ability);
    assert!(again.len() < asked.len() + 10, "{} after {}", again.len(), asked.len());
}

#[test]
fn a_device_without_read_property_multiple_is_asked_once_for_it() {
    for failure in [
        Failure::Rejected(RejectReason::UNRECOGNIZED_SERVICE),
        Failure::Error(ServiceError::new(ErrorClass::SERVICES, ErrorCode::SERVICE_REQUEST_DENIED).into()),
    ] {
        let device = Device { multiple: Some(failure), ..Device::default() };
        let (values, asked, ability) = device.read(points(20), ReadAbility::default());
        assert!(values.iter().all(Result::is_ok));
        assert_eq!(asked.len(), 21);
        assert!(!ability.takes_multiple);
        let (_, again, _) = device.read(points(20), ability);
        assert!(again.iter().all(|service| *service == ConfirmedService::READ_PROPERTY));
    }
}

#[test]
fn a_list_that_is_too_long_is_read_element_by_element() {
    let device = Device { list: 702, ..Device::default() };
    let (values, asked, _) = device.read(vec![list_read()], ReadAbility::default());
    assert_eq!(values[0].as_ref().unwrap().len(), 702);
    assert!(asked.len() < 30, "{} requests", asked.len());

    let device = Device { list: 0, ..device };
    let (values, ..) = device.read(vec![list_read()], ReadAbility::default());
    assert_eq!(values[0], Ok(Vec::new()));

    let device = Device { list: 20_000, ..device };
    let (values, ..) = device.read(vec![list_read()], ReadAbility::default());
    assert!(matches!(values[0], Err(ReadFailure::TooManyElements { count: 20_000, .. })));
}

#[test]
fn an_error_for_all_is_an_error_of_the_one_that_has_it() {
    let device = Device { unknown: Some(7), ..Device::default() };
    let (values, ..) = device.read(points(30), ReadAbility::default());
    let error = ServiceError::new(ErrorClass::OBJECT, ErrorCode::UNKNOWN_OBJECT);
    for (place, values) in values.iter().enumerate() {
        let expected = (place == 7).then_some(Err(ReadFailure::Refused(error)));
        assert!(
            expected.is_none_or(|expected| *values == expected) && (place == 7 || values.is_ok()),
            "{place}"
        );
    }
}

#[test]
fn a_silent_device_fails_every_read_once() {
    let mut plan = ReadPlan::new(points(100), limits(), ReadAbility::default());
    let mut outcomes = 0;
    while let Some(ask) = plan.next_ask() {
        let waited = std::time::Duration::from_secs(12);
        plan.on_result(ask.id, Err(Failure::Silent { attempts: 4, waited }));
        while plan.next_outcome().is_some() {
            outcomes += 1;
        }
    }
    assert_eq!(outcomes, 100);
    assert!(plan.is_done());
}

#[test]
fn an_answer_that_lacks_something_or_is_garbage_is_told() {
    let mut plan = ReadPlan::new(points(1), limits(), ReadAbility::default());
    let ask = plan.next_ask().unwrap();
    plan.on_result(ask.id, Ok(Reply::Complex(Vec::new())));
    assert_eq!(plan.next_outcome().unwrap().values, Err(ReadFailure::Missing));
    let mut plan = ReadPlan::new(points(8), limits(), ReadAbility::default());
    let (mut failed, mut asked) = (0, 0);
    while let Some(ask) = plan.next_ask() {
        asked += 1;
        plan.on_result(ask.id, Ok(Reply::Complex(vec![0xff; 9])));
        while let Some(outcome) = plan.next_outcome() {
            assert!(matches!(outcome.values, Err(ReadFailure::Unreadable(_))));
            failed += 1;
        }
    }
    assert_eq!((failed, asked), (8, 15));
}

/// A device, as its answers show it.
#[derive(Default)]
struct Device {
    /// How many reads it takes at once; 0 for as many as there are.
    reads_max: usize,
    /// What it says to ReadPropertyMultiple.
    multiple: Option<Failure>,
    /// How many objects its list has.
    list: u32,
    /// An object that makes it refuse a whole request.
    unknown: Option<u32>,
}

impl Device {
    #[expect(clippy::type_complexity, reason = "what came of it, what was asked, what was learned")]
    fn read(
        &self,
        reads: Vec<ReadProperty>,
        ability: ReadAbility,
    ) -> (Vec<Result<Vec<Value>, ReadFailure>>, Vec<ConfirmedService>, ReadAbility) {
        let mut outcomes: Vec<Option<Result<Vec<Value>, ReadFailure>>> = vec![None; reads.len()];
        let mut plan = ReadPlan::new(reads, limits(), ability);
        let mut asked = Vec::new();
        while let Some(ask) = plan.next_ask() {
            asked.push(ask.service);
            assert!(ask.payload.len() + 4 <= 480, "a request that does not fit");
            assert!(asked.len() < 10_000, "it never ends");
            plan.on_result(ask.id, self.answer(&ask));
            while let Some(outcome) = plan.next_outcome() {
                assert!(outcomes[outcome.place].replace(outcome.values).is_none(), "told twice");
            }
        }
        assert!(plan.is_done());
        (outcomes.into_iter().map(Option::unwrap).collect(), asked, plan.ability())
    }

    fn answer(&self, ask: &Ask) -> Result<Reply, Failure> {
        let error = ServiceError::new(ErrorClass::OBJECT, ErrorCode::UNKNOWN_OBJECT);
        let bytes = if ask.service == ConfirmedService::READ_PROPERTY {
            let read = ReadProperty::decode(&ask.payload).unwrap();
            if Some(read.object.instance()) == self.unknown {
                return Err(Failure::Error(error.into()));
            }
            ReadPropertyAck { read, values: self.values(read.reference) }.encode()
        } else {
            if let Some(failure) = &self.multiple {
                return Err(failure.clone());
            }
            let request = ReadPropertyMultiple::decode(&ask.payload).unwrap();
            let count: usize = request.accesses.iter().map(|access| access.properties.len()).sum();
            if self.reads_max > 0 && count > self.reads_max {
                return Err(Failure::Aborted(AbortReason::BUFFER_OVERFLOW));
            }
            if request.accesses.iter().any(|access| Some(access.object.instance()) == self.unknown) {
                return Err(Failure::Error(error.into()));
            }
            let results = request.accesses.iter().map(|access| {
                let outcomes = access.properties.iter().map(|reference| PropertyOutcome {
                    reference: *reference,
                    values: Ok(self.values(*reference)),
                });
                ReadAccessResult { object: access.object, outcomes: outcomes.collect() }
            });
            ReadPropertyMultipleAck { results: results.collect() }.encode()
        };
        if bytes.len() + 3 > 480 {
            return Err(Failure::Aborted(AbortReason::SEGMENTATION_NOT_SUPPORTED));
        }
        Ok(Reply::Complex(bytes))
    }

    fn values(&self, reference: PropertyReference) -> Vec<Value> {
        let object = |n| Value::Object(ObjectId::new(ObjectType::ANALOG_VALUE, n));
        match (reference.property, reference.index) {
            (PropertyIdentifier::OBJECT_LIST, None) if self.list == 0 => vec![Value::Octets(vec![0; 600])],
            (PropertyIdentifier::OBJECT_LIST, None) => (0..self.list).map(object).collect(),
            (PropertyIdentifier::OBJECT_LIST, Some(0)) => vec![Value::Unsigned(u64::from(self.list))],
            (PropertyIdentifier::OBJECT_LIST, Some(index)) => vec![object(index)],
            _ => vec![Value::Real(1.0)],
        }
    }
}

fn points(count: u32) -> Vec<ReadProperty> {
    let reference = PropertyReference::whole(PropertyIdentifier::PRESENT_VALUE);
    (0..count)
        .map(|n| ReadProperty { object: ObjectId::new(ObjectType::ANALOG_INPUT, n), reference })
        .collect()
}

fn list_read() -> ReadProperty {
    let reference = PropertyReference::whole(PropertyIdentifier::OBJECT_LIST);
    ReadProperty { object: ObjectId::device(1), reference }
}

fn limits() -> PeerLimits {
    PeerLimits { max_apdu: 480, segmentation: Segmentation::NONE, segments_max: None }
}
