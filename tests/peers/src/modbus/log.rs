//! What a Modbus device was asked, as JSON lines and in memory.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// One request as the device saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub t: u64,
    /// Address and port of the client.
    pub peer: String,
    /// Unit identifier.
    pub unit: u8,
    /// Function code.
    #[serde(rename = "fc")]
    pub function: u8,
    /// First register or coil.
    pub address: u16,
    /// How many.
    pub count: u16,
    /// What was written; empty for a read.
    #[serde(default)]
    pub values: Vec<u16>,
}

/// Requests in the order in which the device served them.
#[derive(Debug, Default)]
pub struct DeviceLog {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    requests: Vec<DeviceRequest>,
    overflow: u64,
    file: Option<BufWriter<File>>,
}

impl DeviceLog {
    /// Also writes every request to a file.
    pub fn to_file(path: &Path) -> Result<Self> {
        let file = File::create(path).map_err(Error::io(format!("log {}", path.display())))?;
        Ok(Self { kept: Mutex::new(Kept { file: Some(BufWriter::new(file)), ..Kept::default() }) })
    }

    pub(crate) fn add(&self, request: DeviceRequest) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut kept.file
            && let Ok(line) = serde_json::to_string(&request)
        {
            // A full disk loses lines of the file, not requests in memory.
            drop(writeln!(file, "{line}").and_then(|()| file.flush()));
        }
        if kept.requests.len() < REQUESTS_MAX {
            kept.requests.push(request);
        } else {
            kept.overflow += 1;
        }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<DeviceRequest> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    /// How many were served.
    pub fn count(&self) -> u64 {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.requests.len() as u64 + kept.overflow
    }

    /// How many found no room in memory.
    pub fn overflow(&self) -> u64 {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).overflow
    }
}

/// Reads a file of JSON lines; an unfinished last line is left out.
pub(crate) fn read_lines(path: &Path) -> Result<Vec<DeviceRequest>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(format!("log {}", path.display())))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| {
            serde_json::from_str(line).map_err(|error| Error::invalid(format!("log line `{line}`"), error))
        })
        .collect()
}

/// About 100 bytes each.
const REQUESTS_MAX: usize = 1_000_000;
