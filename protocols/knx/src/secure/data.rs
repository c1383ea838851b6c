//! Telegrams of Data Secure to groups: what is said is encrypted, or at least authenticated, from device to device.
//!
//! ```text
//! TPDU:  TPCI, APCI 0x3F1 | security control | sequence (6) | APDU, encrypted or not | code (4)
//! ```
//! A telegram to a group that has a key is protected, and one that comes to such a group must be. Groups without a key are
//! as before. Who may speak to a group is said by the keyring, too: a sender that is not listed is refused.
//!
//! # Sequence numbers
//! Each device counts what it sends, over all groups, and never goes back; each receiver keeps the last number of each
//! sender, and refuses all up to it. A sender that begins anew is not heard until it has caught up, and what it sends
//! meanwhile can be read by who compares it with what was sent under the same numbers before. So the own numbers must
//! survive a crash. They are reserved ahead: the owner writes down that all below some limit may have been used, then
//! calls [`DataSecure::reserve`] with that limit; after a restart it begins at the limit. Without reserved numbers nothing
//! is sent to protected groups.
//!
//! Two nodes that send with the same address share these numbers; with an address each, they do not.
//!
//! Standard: `03_03_07` Application Layer v02.01.01, §5.1; the fields that are protected: §5.1.3.2.

mod asdu;

pub use asdu::Protection;

use std::collections::{BTreeMap, VecDeque};

use asdu::{Asdu, Context};

use super::Key;
use super::wrapper::SEQUENCE_MAX;
use crate::cemi::{LData, Message, Tpci, Tpdu};
use crate::ip::Frame;
use crate::{Apdu, Cemi, Error, GroupAddress, IndividualAddress};

/// How many refusals are kept for the owner.
pub const REFUSALS_MAX: usize = 16;

/// What is known at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct DataConfig {
    /// The keys of the groups.
    pub groups: BTreeMap<GroupAddress, Key>,
    /// The last valid number of each sender: what was saved, else that of the keyring.
    pub senders: BTreeMap<IndividualAddress, u64>,
    /// The first own number: the limit that was reserved last, never less, and not 0.
    pub next: u64,
    /// How own telegrams are protected; receiving takes both.
    pub protection: Protection,
}

/// Why a telegram is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It came in plain to a protected group.
    #[error("{from} sent in plain to the protected group {group}; check its security settings in the ETS")]
    Plain {
        /// The sender.
        from: IndividualAddress,
        /// The group.
        group: GroupAddress,
    },
    /// It is protected, and there is no key.
    #[error(
        "there is no key for group {group}, to which {from} sent; export the keyring of the project again"
    )]
    NoKey {
        /// The sender.
        from: IndividualAddress,
        /// The group.
        group: GroupAddress,
    },
    /// The sender is not one of those that may send.
    #[error("{from} is not known as a sender to group {group}; export the keyring of the project again")]
    UnknownSender {
        /// The sender.
        from: IndividualAddress,
        /// The group.
        group: GroupAddress,
    },
    /// The number was used before.
    #[error(
        "{from} sent number {got} to group {group}, the last valid one is {last}: a repetition or a replay"
    )]
    Replayed {
        /// The sender.
        from: IndividualAddress,
        /// The group.
        group: GroupAddress,
        /// The number.
        got: u64,
        /// The last valid one.
        last: u64,
    },
    /// The code does not fit.
    #[error("the code of a telegram from {from} to group {group} is wrong: forged, or another key")]
    Forged {
        /// The sender.
        from: IndividualAddress,
        /// The group.
        group: GroupAddress,
    },
    /// It uses something that groups do not.
    #[error("security control {control:#04x} of a telegram from {from} is none of group communication")]
    Unsupported {
        /// The sender.
        from: IndividualAddress,
        /// The security control field.
        control: u8,
    },
    /// It cannot be read.
    #[error("a protected telegram from {from} cannot be read")]
    Malformed {
        /// The sender.
        from: IndividualAddress,
        /// Why.
        #[source]
        error: Error,
    },
    /// Own numbers are used up to what was reserved.
    #[error("no sequence number is reserved for a telegram to group {group}")]
    NotReserved {
        /// The group.
        group: GroupAddress,
    },
    /// An own telegram cannot be written.
    #[error("a telegram to group {group} cannot be protected")]
    Unwritable {
        /// The group.
        group: GroupAddress,
        /// Why.
        #[source]
        error: Error,
    },
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Telegrams protected.
    pub protected: u64,
    /// Telegrams verified.
    pub verified: u64,
    /// Telegrams refused.
    pub refused: u64,
    /// Own telegrams to protected groups that came back as those of somebody else.
    pub echoes: u64,
    /// Refusals that nobody took in time.
    pub refusals_dropped: u64,
}

/// Keys and numbers of Data Secure.
#[derive(Debug)]
pub struct DataSecure {
    groups: BTreeMap<GroupAddress, Key>,
    senders: BTreeMap<IndividualAddress, u64>,
    next: u64,
    reserved: u64,
    protection: Protection,
    counters: Counters,
    refusals: VecDeque<Refusal>,
}

impl DataSecure {
    /// With nothing reserved.
    pub fn new(config: DataConfig) -> DataSecure {
        // 0 is above the last valid number of no receiver.
        let next = config.next.max(1);
        DataSecure {
            groups: config.groups,
            senders: config.senders,
            next,
            reserved: next,
            protection: config.protection,
            counters: Counters::default(),
            refusals: VecDeque::new(),
        }
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether telegrams to this group are protected.
    pub fn has_key(&self, group: GroupAddress) -> bool {
        self.groups.contains_key(&group)
    }

    /// The next own number.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// How many telegrams may still be sent.
    pub const fn remaining(&self) -> u64 {
        self.reserved - self.next
    }

    /// The owner has saved that all numbers below `limit` may have been used. A limit that is less than the last one
    /// changes nothing.
    pub const fn reserve(&mut self, limit: u64) {
        let limit = if limit > SEQUENCE_MAX { SEQUENCE_MAX + 1 } else { limit };
        if limit > self.reserved {
            self.reserved = limit;
        }
    }

    /// The last valid number of each sender, to be saved from time to time: what was sent since then could be sent again
    /// by somebody else after a restart.
    pub const fn senders(&self) -> &BTreeMap<IndividualAddress, u64> {
        &self.senders
    }

    /// The oldest refusal that was not yet taken, for the log.
    pub fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusals.pop_front()
    }

    /// Protects a telegram that is sent with this address, if its group has a key.
    ///
    /// # Errors
    /// If no number is reserved, or the telegram is too long.
    pub fn protect(&mut self, mut telegram: LData, source: IndividualAddress) -> Result<LData, Refusal> {
        let Some((group, apdu)) = telegram.group_apdu() else { return Ok(telegram) };
        let Some(key) = self.groups.get(&group) else { return Ok(telegram) };
        if self.next >= self.reserved {
            return Err(Refusal::NotReserved { group });
        }
        let plain = asdu::apdu_bytes(apdu).map_err(|error| Refusal::Unwritable { group, error })?;
        let context = Context::group(source, group);
        let asdu = Asdu::seal(key, self.protection, self.next, context, plain);
        // Whatever becomes of it, no other telegram has this number.
        self.next += 1;
        telegram.source = source;
        telegram.tpdu = Tpdu::Data { tpci: Tpci::Unnumbered, apdu: asdu.encode() };
        self.counters.protected += 1;
        Ok(telegram)
    }

    /// Verifies and decrypts a telegram. `own` is the address of this client: its own telegrams come back as
    /// confirmations.
    ///
    /// # Errors
    /// If it is to be refused.
    pub fn verify(&mut self, mut telegram: LData, own: IndividualAddress) -> Result<LData, Refusal> {
        let Some((group, apdu)) = telegram.group_apdu() else { return Ok(telegram) };
        let is_own = telegram.message == Message::Confirmation;
        let from = if is_own { own } else { telegram.source };
        let Apdu::Other { apci: asdu::APCI, data } = apdu else {
            return if self.has_key(group) { Err(Refusal::Plain { from, group }) } else { Ok(telegram) };
        };
        let key = self.groups.get(&group).ok_or(Refusal::NoKey { from, group })?;
        let asdu = Asdu::decode(data).map_err(|error| Refusal::Malformed { from, error })?;
        let protection = asdu.protection().ok_or(Refusal::Unsupported { from, control: asdu.control })?;
        let sequence = asdu.sequence;
        if !is_own {
            let last = *self.senders.get(&from).ok_or(Refusal::UnknownSender { from, group })?;
            if sequence <= last {
                return Err(Refusal::Replayed { from, group, got: sequence, last });
            }
        }
        let plain =
            asdu.open(key, protection, Context::group(from, group)).ok_or(Refusal::Forged { from, group })?;
        let apdu = asdu::apdu(&plain).map_err(|error| Refusal::Malformed { from, error })?;
        if !is_own {
            self.senders.insert(from, sequence);
        }
        telegram.tpdu = Tpdu::Data { tpci: Tpci::Unnumbered, apdu };
        self.counters.verified += 1;
        Ok(telegram)
    }

    /// Protects the telegram in a frame of a tunnel or of routing. `None` if it must not be sent.
    pub(super) fn outgoing(&mut self, frame: Vec<u8>, source: IndividualAddress) -> Option<Vec<u8>> {
        let Some((parsed, telegram)) = telegram_of(&frame) else { return Some(frame) };
        match self.protect(telegram, source) {
            Ok(telegram) => {
                Cemi::Data(telegram).encode().ok().and_then(|cemi| with_cemi(parsed, cemi).encode().ok())
            }
            Err(refusal) => {
                self.refuse(refusal);
                None
            }
        }
    }

    /// Verifies the telegram in a frame. In place of one that is refused stands a message that says nothing: the frame
    /// itself is still to be acknowledged.
    pub(super) fn incoming(&mut self, frame: Vec<u8>, own: IndividualAddress) -> Vec<u8> {
        let Some((parsed, telegram)) = telegram_of(&frame) else { return frame };
        let is_echo = telegram.message == Message::Indication
            && telegram.source == own
            && telegram.group_apdu().is_some_and(|(group, _)| self.has_key(group));
        if is_echo {
            self.counters.echoes += 1;
            return with_cemi(parsed, NOTHING.to_vec()).encode().unwrap_or(frame);
        }
        let cemi = match self.verify(telegram, own) {
            Ok(telegram) => Cemi::Data(telegram).encode().unwrap_or_else(|_| NOTHING.to_vec()),
            Err(refusal) => {
                self.refuse(refusal);
                NOTHING.to_vec()
            }
        };
        with_cemi(parsed, cemi).encode().unwrap_or(frame)
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.counters.refused += 1;
        if self.refusals.len() == REFUSALS_MAX {
            self.refusals.pop_front();
            self.counters.refusals_dropped += 1;
        }
        self.refusals.push_back(refusal);
    }
}

fn telegram_of(frame: &[u8]) -> Option<(Frame, LData)> {
    let parsed = Frame::decode(frame).ok()?;
    let (Frame::TunnellingRequest { cemi, .. } | Frame::RoutingIndication { cemi }) = &parsed else {
        return None;
    };
    match Cemi::decode(cemi) {
        Ok(Cemi::Data(telegram)) => Some((parsed, telegram)),
        Ok(Cemi::Busmon { .. } | Cemi::Raw { .. } | Cemi::Other { .. }) | Err(_) => None,
    }
}

fn with_cemi(mut frame: Frame, new: Vec<u8>) -> Frame {
    if let Frame::TunnellingRequest { cemi, .. } | Frame::RoutingIndication { cemi } = &mut frame {
        *cemi = new;
    }
    frame
}

/// A cEMI message of a code that is not assigned.
const NOTHING: [u8; 1] = [0x00];

#[cfg(test)]
mod tests;
