//! Control of devices: DeviceCommunicationControl (clause 16.1), ReinitializeDevice (clause 16.4), and the time
//! (clauses 16.7 and 16.8).

use std::fmt;

use crate::Error;
use crate::names::{CommunicationState, ReinitializedState};
use crate::tag::{Message, Reader, Writer, unsigned};
use crate::value::{DateTime, Text};

/// The longest password, in characters.
pub const PASSWORD_LETTERS_MAX: usize = 20;

/// Tells devices the time: local or, with the other service, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSynchronization {
    /// The time.
    pub at: DateTime,
}

impl Message for TimeSynchronization {
    fn write(&self, writer: &mut Writer) {
        self.at.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<TimeSynchronization, Error> {
        Ok(TimeSynchronization { at: DateTime::read(reader)? })
    }
}

/// Tells a device to be silent, or to speak again.
#[derive(Clone, PartialEq, Eq)]
pub struct DeviceCommunicationControl {
    /// For how long; for ever if there is none.
    pub minutes: Option<u16>,
    /// What it is still to say.
    pub state: CommunicationState,
    /// The device's password.
    pub password: Option<Text>,
}

impl Message for DeviceCommunicationControl {
    fn write(&self, writer: &mut Writer) {
        writer.context_unsigned_option(0, self.minutes.map(u32::from));
        writer.context_unsigned(1, u64::from(self.state.number()));
        write_password(writer, 2, self.password.as_ref());
    }

    fn read(reader: &mut Reader<'_>) -> Result<DeviceCommunicationControl, Error> {
        let minutes = match reader.context_option(0)? {
            Some(bytes) => {
                let value = unsigned(bytes)?;
                Some(
                    u16::try_from(value)
                        .map_err(|_| Error::Invalid { what: "a number of minutes", value })?,
                )
            }
            None => None,
        };
        Ok(DeviceCommunicationControl {
            minutes,
            state: CommunicationState::new(reader.context_unsigned32(1)?),
            password: read_password(reader, 2)?,
        })
    }
}

/// Tells a device to start anew.
#[derive(Clone, PartialEq, Eq)]
pub struct ReinitializeDevice {
    /// Into what.
    pub state: ReinitializedState,
    /// The device's password.
    pub password: Option<Text>,
}

impl Message for ReinitializeDevice {
    fn write(&self, writer: &mut Writer) {
        writer.context_unsigned(0, u64::from(self.state.number()));
        write_password(writer, 1, self.password.as_ref());
    }

    fn read(reader: &mut Reader<'_>) -> Result<ReinitializeDevice, Error> {
        let state = ReinitializedState::new(reader.context_unsigned32(0)?);
        Ok(ReinitializeDevice { state, password: read_password(reader, 1)? })
    }
}

// What is printed ends up in logs, where no password belongs.
impl fmt::Debug for DeviceCommunicationControl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("DeviceCommunicationControl");
        shown.field("minutes", &self.minutes).field("state", &self.state);
        shown.field("has_password", &self.password.is_some()).finish()
    }
}

impl fmt::Debug for ReinitializeDevice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ReinitializeDevice");
        shown.field("state", &self.state).field("has_password", &self.password.is_some()).finish()
    }
}

fn write_password(writer: &mut Writer, number: u8, password: Option<&Text>) {
    if let Some(password) = password {
        writer.context(number, &password.to_bytes());
    }
}

fn read_password(reader: &mut Reader<'_>, number: u8) -> Result<Option<Text>, Error> {
    let Some(bytes) = reader.context_option(number)? else { return Ok(None) };
    let password = Text::from_bytes(bytes)?;
    let length = password.to_str().chars().count();
    if length > PASSWORD_LETTERS_MAX {
        return Err(Error::Length { what: "a password", length });
    }
    Ok(Some(password))
}
