//! Sends writes, answers them, reads back what they did.

use std::borrow::Cow;

use tokio::time::sleep;
use tokio_modbus::{ExceptionCode, Request};
use twinhub_plugin::Code;

use crate::address::Area;
use crate::config::{EXCHANGE_REGISTERS_MAX, MaskWrite};
use crate::driver::{BUSY_PAUSE, Driver, data};
use crate::image::Data;
use crate::point::Point;
use crate::session::Fault;
use crate::writes::{Content, Group, take_group};

impl Driver {
    /// Sends the writes at the front of the queue; false if there are none.
    ///
    /// A write is answered even if the task is cancelled in between: a job that is dropped unanswered is reported by the
    /// batch it belongs to.
    pub(crate) async fn write_next(&mut self) -> bool {
        self.refuse_expired();
        let Some(unit) = self.inbox.writes.borrow().front().map(|job| job.point.unit) else { return false };
        let is_silent = self.image.units.get(&unit).is_some_and(|unit| unit.backoff.waits_until().is_some());
        if is_silent || self.session.waits_until().is_some() {
            self.refuse_front(Code::Device);
            return true;
        }
        // The connection first: it can take longer than a write may wait.
        let inbox = std::rc::Rc::clone(&self.inbox);
        inbox.is_connecting.set(true);
        let opened = tokio::select! {
            biased;
            () = inbox.abort.notified() => Err(Fault::Aborted),
            opened = self.session.open() => opened,
        };
        inbox.is_connecting.set(false);
        if let Err(fault) = opened {
            if !matches!(fault, Fault::Aborted) {
                self.refuse_front(Code::Device);
                self.link_fault(unit, &fault);
            }
            return true;
        }
        self.refuse_expired();
        let group = take_group(&mut self.inbox.writes.borrow_mut(), &self.settings);
        if let Some(group) = group {
            self.send(group).await;
        }
        true
    }

    fn refuse_expired(&self) {
        let mut expired = Vec::new();
        self.inbox.writes.borrow_mut().retain_mut(|job| {
            let is_open = !job.deadline.has_passed();
            if !is_open {
                expired.push((job.batch.take(), job.id));
            }
            is_open
        });
        for (batch, id) in expired {
            if let Some(batch) = batch {
                batch.done(id, Code::Expired);
            }
        }
    }

    fn refuse_front(&self, code: Code) {
        if let Some(job) = self.inbox.writes.borrow_mut().pop_front() {
            job.done(code);
        }
    }

    async fn send(&mut self, group: Group) {
        let mut retries = self.settings.config.retries;
        let outcome = loop {
            match self.send_once(&group).await {
                // "Busy" says that nothing was done.
                Err(Fault::Refused(ExceptionCode::ServerDeviceBusy)) if retries > 0 => {
                    retries -= 1;
                    sleep(BUSY_PAUSE).await;
                    if group.jobs.iter().any(|job| job.deadline.has_passed()) {
                        break Err(Fault::Refused(ExceptionCode::ServerDeviceBusy));
                    }
                }
                outcome => break outcome,
            }
        };
        let code = match &outcome {
            Ok(_) => Code::Ok,
            Err(fault) => write_code(fault),
        };
        for job in &group.jobs {
            job.done(code);
        }
        match outcome {
            Ok(exchanged) => {
                self.answered(group.unit);
                self.show(&group, exchanged).await;
            }
            Err(fault) => {
                let place = format!("{}/{}:{}", group.unit, group.jobs[0].point.area.prefix(), group.start);
                tracing::info!(address = place, cause = %fault, result = ?code, "write failed");
                self.link_fault(group.unit, &fault);
            }
        }
    }

    /// One attempt; returns the registers if the request read them as well.
    async fn send_once(&mut self, group: &Group) -> Result<Option<Data>, Fault> {
        let start = group.start;
        let request = match &group.content {
            Content::Coil(state) => Request::WriteSingleCoil(start, *state),
            Content::Coils(states) => Request::WriteMultipleCoils(start, Cow::Borrowed(states)),
            Content::Register(word) => match self.exchange(group, std::slice::from_ref(word)).await? {
                Some(data) => return Ok(Some(data)),
                None => Request::WriteSingleRegister(start, *word),
            },
            Content::Registers(words) => match self.exchange(group, words).await? {
                Some(data) => return Ok(Some(data)),
                None => Request::WriteMultipleRegisters(start, Cow::Borrowed(words)),
            },
            Content::Bits { mask, value } => return self.send_bits(group, *mask, *value).await,
        };
        self.transmit(group, request).await?;
        Ok(None)
    }

    /// Writes and reads back in one request, where that is configured and the device knows it.
    async fn exchange(&mut self, group: &Group, words: &[u16]) -> Result<Option<Data>, Fault> {
        let count = u16::try_from(words.len()).unwrap_or(u16::MAX);
        let readable = group.jobs.iter().all(|job| job.point.is_readable);
        if !self.settings.config.use_fc23
            || self.lacks.exchange
            || !readable
            || count > EXCHANGE_REGISTERS_MAX
        {
            return Ok(None);
        }
        let request =
            Request::ReadWriteMultipleRegisters(group.start, count, group.start, Cow::Borrowed(words));
        match self.transmit(group, request).await {
            Ok(response) => data(response, count).map(Some),
            Err(Fault::Refused(ExceptionCode::IllegalFunction)) => {
                tracing::info!("the device does not know function code 23, writing without it");
                self.lacks.exchange = true;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    async fn send_bits(&mut self, group: &Group, mask: u16, value: u16) -> Result<Option<Data>, Fault> {
        let how = self.settings.config.mask_write;
        if how == MaskWrite::Native || how == MaskWrite::Fallback && !self.lacks.mask_write {
            // Specification V1.1b3, section 6.16: result = (current AND and) OR (or AND (NOT and)).
            match self.transmit(group, Request::MaskWriteRegister(group.start, !mask, value)).await {
                Err(Fault::Refused(ExceptionCode::IllegalFunction)) if how == MaskWrite::Fallback => {
                    tracing::info!(
                        "the device does not know function code 22, reading and writing the register"
                    );
                    self.lacks.mask_write = true;
                }
                outcome => return outcome.map(|_| None),
            }
        }
        let current = match self.read(group.unit, Area::Holding, group.start, 1).await {
            Ok(Data::Words(words)) => words.first().copied().unwrap_or(0),
            Ok(Data::Bits(_)) => return Err(Fault::Garbled("bits instead of registers".to_owned())),
            // Nothing of the write was sent.
            Err(fault) => return Err(Fault::Connect(std::io::Error::other(fault.to_string()))),
        };
        self.transmit(group, Request::WriteSingleRegister(group.start, current & !mask | value)).await?;
        Ok(None)
    }

    async fn transmit(
        &mut self,
        group: &Group,
        request: Request<'_>,
    ) -> Result<tokio_modbus::Response, Fault> {
        let pass = self.pass(group.jobs[0].epoch)?;
        self.call(group.unit, request, pass).await
    }

    /// Publishes what is in the device after a write.
    async fn show(&mut self, group: &Group, exchanged: Option<Data>) {
        let points: Vec<Point> =
            group.jobs.iter().map(|job| &job.point).filter(|point| point.is_readable).cloned().collect();
        if let Some(data) = exchanged {
            self.image.publish_points(&points, group.start, &data);
            return;
        }
        let (Some(start), Some(end)) =
            (points.iter().map(|point| point.start).min(), points.iter().map(Point::end).max())
        else {
            return;
        };
        let limits = self.settings.limits;
        let area = points[0].area;
        let most = if area.is_bits() { limits.bits } else { limits.registers };
        let count = u16::try_from(end - u32::from(start)).unwrap_or(u16::MAX);
        if !self.settings.config.readback || count > most {
            return;
        }
        match self.read(group.unit, area, start, count).await {
            Ok(data) => self.image.publish_points(&points, start, &data),
            Err(fault) => self.link_fault(group.unit, &fault),
        }
    }
}

/// The answer to a write that failed: what may have reached the device is never reported as failed.
fn write_code(fault: &Fault) -> Code {
    match fault {
        Fault::Waiting | Fault::Connect(_) => Code::Device,
        Fault::Suppressed(suppressed) => Code::from(*suppressed),
        Fault::Timeout(_) | Fault::Closed(_) | Fault::Garbled(_) | Fault::Aborted => Code::Timeout,
        Fault::Refused(exception) => match exception {
            // "Accepted, takes long" and "no answer from the target": it may have acted.
            ExceptionCode::Acknowledge | ExceptionCode::GatewayTargetDevice => Code::Timeout,
            ExceptionCode::IllegalFunction => Code::Unsupported,
            ExceptionCode::IllegalDataAddress
            | ExceptionCode::IllegalDataValue
            | ExceptionCode::ServerDeviceFailure
            | ExceptionCode::ServerDeviceBusy
            | ExceptionCode::MemoryParityError
            | ExceptionCode::GatewayPathUnavailable
            | ExceptionCode::Custom(_) => Code::Device,
        },
    }
}
