//! Requests for areas, and what answers and refusals mean.

use tokio_modbus::{ExceptionCode, Request, Response};
use twinhub_plugin::Quality;

use crate::address::Area;
use crate::image::Data;
use crate::session::Fault;

pub(super) fn request(area: Area, start: u16, count: u16) -> Request<'static> {
    match area {
        Area::Coil => Request::ReadCoils(start, count),
        Area::Discrete => Request::ReadDiscreteInputs(start, count),
        Area::Input => Request::ReadInputRegisters(start, count),
        Area::Holding => Request::ReadHoldingRegisters(start, count),
    }
}

pub(crate) fn data(response: Response, count: u16) -> Result<Data, Fault> {
    match response {
        Response::ReadCoils(mut bits) | Response::ReadDiscreteInputs(mut bits) => {
            bits.truncate(usize::from(count));
            Ok(Data::Bits(bits))
        }
        Response::ReadInputRegisters(words)
        | Response::ReadHoldingRegisters(words)
        | Response::ReadWriteMultipleRegisters(words) => Ok(Data::Words(words)),
        Response::WriteSingleCoil(..)
        | Response::WriteMultipleCoils(..)
        | Response::WriteSingleRegister(..)
        | Response::WriteMultipleRegisters(..)
        | Response::ReportServerId(..)
        | Response::MaskWriteRegister(..)
        | Response::ReadDeviceIdentification(_)
        | Response::Custom(..) => Err(Fault::Garbled("not the answer to a read".to_owned())),
    }
}

/// "Busy" (6) and "gateway target does not respond" (11) can pass.
pub(crate) fn is_passing(exception: ExceptionCode) -> bool {
    matches!(exception, ExceptionCode::ServerDeviceBusy | ExceptionCode::GatewayTargetDevice)
}

/// What a gateway says of a unit that it does not reach (specification V1.1b3, section 7).
pub(super) fn is_absent(exception: ExceptionCode) -> bool {
    matches!(exception, ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice)
}

pub(super) fn refusal_quality(exception: ExceptionCode) -> Quality {
    match exception {
        ExceptionCode::IllegalFunction
        | ExceptionCode::IllegalDataAddress
        | ExceptionCode::IllegalDataValue => Quality::BAD_CONFIGURATION,
        ExceptionCode::GatewayPathUnavailable | ExceptionCode::GatewayTargetDevice => {
            Quality::BAD_NO_COMMUNICATION
        }
        ExceptionCode::ServerDeviceFailure
        | ExceptionCode::Acknowledge
        | ExceptionCode::ServerDeviceBusy
        | ExceptionCode::MemoryParityError
        | ExceptionCode::Custom(_) => Quality::BAD_DEVICE_FAILURE,
    }
}
