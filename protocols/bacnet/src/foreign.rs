//! A foreign device keeps itself in the table of a BBMD: clause J.5.2.
//!
//! ```text
//!   off --start--> asking --success--> registered --half of the time over--> asking ...
//!                   ^  |                    |
//!                   |  | no answer, or no   | a broadcast was refused
//!                   +--+ (pause, growing)   +--> asking
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use crate::bvlc::BvlcResult;
use crate::moment::Moment;

/// How a registration is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignSettings {
    /// For how long it registers. 300 s by default.
    pub seconds: u16,
    /// How long an answer is waited for. 2 s by default.
    pub answer_timeout: Duration,
    /// The longest pause between attempts. 30 s by default.
    pub pause_max: Duration,
}

impl Default for ForeignSettings {
    fn default() -> ForeignSettings {
        ForeignSettings {
            seconds: 300,
            answer_timeout: Duration::from_secs(2),
            pause_max: Duration::from_secs(30),
        }
    }
}

/// How the registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is not wanted.
    Off,
    /// The BBMD has not answered yet.
    Asking,
    /// The BBMD passes broadcasts on.
    Registered,
    /// The BBMD refused it.
    Refused,
    /// The BBMD does not answer.
    Silent,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignAction {
    /// Send Register-Foreign-Device to the BBMD.
    Register {
        /// For how long.
        seconds: u16,
    },
    /// How the registration is has changed.
    Became(Standing),
}

/// What is wanted of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignOutput {
    /// Something is to be done.
    Action(ForeignAction),
    /// Nothing before this time, unless there is another input.
    Timeout(Moment),
}

/// The registration at one BBMD.
#[derive(Debug)]
pub struct Foreign {
    settings: ForeignSettings,
    standing: Standing,
    /// When something is to be done: an answer is late, or the registration is to be renewed.
    next: Moment,
    is_asked: bool,
    /// When the registration ends at the BBMD, as far as it confirmed it.
    until: Moment,
    asked_at: Moment,
    pause: Duration,
    actions: VecDeque<ForeignAction>,
}

impl Foreign {
    /// Off.
    pub fn new(settings: ForeignSettings) -> Foreign {
        Foreign {
            settings: ForeignSettings { seconds: settings.seconds.max(SECONDS_MIN), ..settings },
            standing: Standing::Off,
            next: Moment::NEVER,
            is_asked: false,
            until: Moment::START,
            asked_at: Moment::START,
            pause: PAUSE_MIN,
            actions: VecDeque::new(),
        }
    }

    /// How the registration is.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// It is wanted.
    pub fn on_start(&mut self, now: Moment) {
        if self.standing == Standing::Off {
            self.become_(Standing::Asking);
            self.pause = PAUSE_MIN;
            self.ask(now);
        }
    }

    /// It is not wanted any more; the BBMD forgets it by itself.
    pub fn on_stop(&mut self) {
        self.become_(Standing::Off);
        (self.next, self.is_asked) = (Moment::NEVER, false);
    }

    /// What the BBMD says.
    pub fn on_result(&mut self, result: BvlcResult, now: Moment) {
        match (self.standing, result) {
            (Standing::Off, _) => {}
            (_, BvlcResult::Success) if self.is_asked => {
                self.is_asked = false;
                self.pause = PAUSE_MIN;
                let lifetime = Duration::from_secs(u64::from(self.settings.seconds));
                self.until = self.asked_at + lifetime;
                self.next = self.asked_at + lifetime / 2;
                self.become_(Standing::Registered);
            }
            (_, BvlcResult::RegisterForeignDeviceRefused) if self.is_asked => {
                self.is_asked = false;
                self.later(now);
                self.become_(Standing::Refused);
            }
            // The BBMD has forgotten this device, for example because it restarted.
            (Standing::Registered, BvlcResult::DistributeBroadcastRefused) if !self.is_asked => {
                self.become_(Standing::Asking);
                self.ask(now);
            }
            _ => {}
        }
    }

    /// Time has passed.
    pub fn on_wake(&mut self, now: Moment) {
        if now < self.next {
            return;
        }
        if !self.is_asked {
            return self.ask(now);
        }
        self.is_asked = false;
        // What the BBMD confirmed counts until it ends.
        if self.standing != Standing::Registered || now >= self.until {
            self.become_(Standing::Silent);
        }
        self.later(now);
    }

    /// The next thing to do, or until when there is nothing.
    pub fn poll_output(&mut self) -> ForeignOutput {
        match self.actions.pop_front() {
            Some(action) => ForeignOutput::Action(action),
            None => ForeignOutput::Timeout(self.next),
        }
    }

    fn ask(&mut self, now: Moment) {
        (self.is_asked, self.asked_at) = (true, now);
        self.next = now + self.settings.answer_timeout;
        self.actions.push_back(ForeignAction::Register { seconds: self.settings.seconds });
    }

    fn later(&mut self, now: Moment) {
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(self.settings.pause_max);
    }

    fn become_(&mut self, standing: Standing) {
        if self.standing != standing {
            self.standing = standing;
            self.actions.push_back(ForeignAction::Became(standing));
        }
    }
}

/// A shorter registration would be renewed more often than an answer is waited for.
const SECONDS_MIN: u16 = 10;
const PAUSE_MIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const REGISTER: ForeignAction = ForeignAction::Register { seconds: 60 };

    #[test]
    fn a_registration_is_renewed_when_half_of_its_time_is_over() {
        let mut foreign = started();
        foreign.on_result(BvlcResult::Success, at(1));
        assert_eq!(drain(&mut foreign), (vec![ForeignAction::Became(Standing::Registered)], at(30)));
        foreign.on_wake(at(30));
        assert_eq!(drain(&mut foreign), (vec![REGISTER], at(32)));
        foreign.on_result(BvlcResult::Success, at(31));
        assert_eq!(drain(&mut foreign), (vec![], at(60)));
    }

    #[test]
    fn a_bbmd_that_goes_away_and_comes_back_gets_the_registration_again() {
        let mut foreign = started();
        foreign.on_result(BvlcResult::Success, at(0));
        drain(&mut foreign);
        let mut became = Vec::new();
        let mut asked = 0;
        let mut now = at(0);
        while now < at(200) {
            let (actions, next) = drain(&mut foreign);
            for action in actions {
                match action {
                    ForeignAction::Register { .. } => asked += 1,
                    ForeignAction::Became(standing) => became.push((now.since_start().as_secs(), standing)),
                }
            }
            now = next;
            foreign.on_wake(now);
        }
        assert!(matches!(became[..], [(60..=80, Standing::Silent)]), "{became:?}");
        assert!((6..14).contains(&asked), "{asked}");
        drain(&mut foreign);
        while !foreign.is_asked {
            now = now + Duration::from_secs(1);
            foreign.on_wake(now);
        }
        foreign.on_result(BvlcResult::Success, now);
        assert_eq!(foreign.standing(), Standing::Registered);
    }

    #[test]
    fn a_refused_broadcast_registers_at_once_and_a_refused_registration_later() {
        let mut foreign = started();
        foreign.on_result(BvlcResult::Success, at(0));
        drain(&mut foreign);
        foreign.on_result(BvlcResult::DistributeBroadcastRefused, at(5));
        assert_eq!(drain(&mut foreign).0, [ForeignAction::Became(Standing::Asking), REGISTER]);
        foreign.on_result(BvlcResult::DistributeBroadcastRefused, at(5));
        assert_eq!(drain(&mut foreign).0, [], "it was asked already");
        foreign.on_result(BvlcResult::RegisterForeignDeviceRefused, at(6));
        assert_eq!(drain(&mut foreign), (vec![ForeignAction::Became(Standing::Refused)], at(7)));
    }

    #[test]
    fn nothing_is_sent_after_a_stop() {
        let mut foreign = started();
        foreign.on_stop();
        assert_eq!(drain(&mut foreign), (vec![ForeignAction::Became(Standing::Off)], Moment::NEVER));
        foreign.on_result(BvlcResult::Success, at(1));
        foreign.on_wake(at(1000));
        assert_eq!(drain(&mut foreign), (vec![], Moment::NEVER));
    }

    fn started() -> Foreign {
        let mut foreign = Foreign::new(ForeignSettings { seconds: 60, ..ForeignSettings::default() });
        foreign.on_start(at(0));
        assert_eq!(drain(&mut foreign).0, [ForeignAction::Became(Standing::Asking), REGISTER]);
        foreign
    }

    fn at(seconds: u64) -> Moment {
        Moment::after_start(Duration::from_secs(seconds))
    }

    fn drain(foreign: &mut Foreign) -> (Vec<ForeignAction>, Moment) {
        let mut actions = Vec::new();
        loop {
            match foreign.poll_output() {
                ForeignOutput::Action(action) => actions.push(action),
                ForeignOutput::Timeout(at) => return (actions, at),
            }
        }
    }
}
