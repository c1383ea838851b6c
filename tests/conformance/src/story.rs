//! `cargo xtask demo`: a pair with simulators around it, to play with or as an unattended, measured story.

mod keys;
mod screen;

use std::time::{Duration, Instant};

use twinhub_peers::Cut;

use crate::artifacts::Artifacts;
use crate::cluster::Roles;
use crate::error::{Error, Result};
use crate::evidence::Evidence;
use crate::field::DeviceKind;
use crate::figures::{Figures, Window};
use crate::profile::Profile;
use crate::record::outcome_table;
use crate::scenario::Scenario;
use crate::stage::{Stage, StageOptions};
use crate::story::keys::Keys;

/// How the demo runs.
#[derive(Clone, Copy, Debug)]
pub struct StoryOptions {
    /// Plays all scenarios by itself.
    pub is_story: bool,
    /// Without keys; ends when the story ends.
    pub is_headless: bool,
    /// Main and backups.
    pub nodes: usize,
    /// Timers.
    pub profile: Profile,
}

impl StoryOptions {
    /// Reads `--story --headless --nodes N --profile P`.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut options = Self { is_story: false, is_headless: false, nodes: 2, profile: Profile::Normal };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| Error::Usage(format!("{word} needs a value")));
            match word.as_str() {
                "--story" => options.is_story = true,
                // There is nothing to do without keys but to tell the story.
                "--headless" => (options.is_headless, options.is_story) = (true, true),
                "--profile" => options.profile = value()?.parse()?,
                "--nodes" => {
                    let nodes = value()?.parse().ok().filter(|nodes| (2..=7).contains(nodes));
                    options.nodes =
                        nodes.ok_or_else(|| Error::Usage("--nodes takes a number from 2 to 7".to_owned()))?;
                }
                _ => {
                    return Err(Error::unknown_option(
                        word,
                        "--story, --headless, --nodes N, --profile P, --release",
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// Runs the demo; false when a figure of the story is off.
pub fn run_story(options: StoryOptions, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let artifacts = Artifacts::beside_this_program()?;
    let started = Instant::now();
    let mut say = |text: &str| say(&format!("[{:>6.1} s] {text}", started.elapsed().as_secs_f64()));
    let site = StageOptions {
        profile: options.profile,
        device: DeviceKind::Embedded,
        nodes: options.nodes,
        varied: None,
    };
    let mut stage = Stage::start(site, &artifacts, &mut say)?;
    say(&format!("the site is in {}", stage.cluster().root().display()));
    for name in stage.cluster().names() {
        say(&format!("{name}: {}", stage.cluster().rest(&name)?.url()));
    }
    say(&screen::status(&stage));
    let mut is_good = true;
    if options.is_story {
        is_good = tell(&mut stage, &mut say)?;
    }
    if options.is_headless {
        return Ok(is_good);
    }
    play(&mut stage, &mut say)?;
    Ok(is_good)
}

fn tell(stage: &mut Stage, say: &mut dyn FnMut(&str)) -> Result<bool> {
    let mut outcomes = Vec::new();
    for scenario in Scenario::ALL {
        say(&format!("{} …", scenario.title()));
        let outcome = scenario.run(stage, CALM)?;
        let verdict = if outcome.problems.is_empty() {
            "as it must be".to_owned()
        } else {
            outcome.problems.join("; ")
        };
        say(&format!("{}: {verdict}", scenario.title()));
        if let Ok(status) =
            stage.cluster().status(&outcome.new.clone().unwrap_or_else(|| outcome.old.clone()))
        {
            say(&format!("  the reason the pair gives: {}", status.reason));
        }
        outcomes.push(outcome);
    }
    say(&format!(
        "measured from outside, profile {}:\n\n{}\n",
        stage.options().profile,
        outcome_table(&outcomes)
    ));
    let is_good = outcomes.iter().all(|outcome| outcome.problems.is_empty());
    if !is_good {
        say(&format!("a figure is off; logs are kept in {}", stage.cluster_mut().keep_folder().display()));
    }
    Ok(is_good)
}

/// Reads keys until `q`.
fn play(stage: &mut Stage, say: &mut dyn FnMut(&str)) -> Result<()> {
    let keys = Keys::open();
    say(screen::KEYS);
    let mut killed: Vec<String> = Vec::new();
    let mut shown = String::new();
    loop {
        if let Some(key) = keys.next(REFRESH) {
            if key == 'q' {
                say("ending witness and nodes");
                return Ok(());
            }
            let done = act(key, stage, &mut killed, say);
            if let Err(error) = done {
                say(&error.chain());
            }
        } else if keys.is_closed() {
            say("no terminal to read keys from; `--headless` tells the story without");
            return Ok(());
        }
        let status = screen::status(stage);
        if status != shown {
            say(&status);
            shown = status;
        }
    }
}

fn act(key: char, stage: &mut Stage, killed: &mut Vec<String>, say: &mut dyn FnMut(&str)) -> Result<()> {
    match key {
        'k' => {
            let Roles { active, standby, .. } = stage.roles()?;
            let from = Instant::now();
            let fault = stage.cluster_mut().kill(&active)?;
            say(&format!("killed {active}"));
            killed.push(active.clone());
            stage.wait_acts(&standby, fault, stage.options().profile.takeover_limit() * 3)?;
            let evidence: Evidence = stage.evidence()?;
            let until = Instant::now();
            let window =
                Window { from, fault, until, old: active, new: Some(standby.clone()), is_abrupt: true };
            let figures = Figures::of(&evidence, &window);
            let ms = figures.modbus.from_fault_ms.unwrap_or_default();
            say(&format!("{standby} polls the device {ms:.0} ms after the kill"));
        }
        'r' => {
            for name in killed.drain(..) {
                stage.cluster_mut().start(&name)?;
                say(&format!("{name} starts again"));
            }
        }
        'c' => {
            stage.cluster().cut_peer_links(Cut::Silent);
            say("the links between the nodes are cut; the witness is in reach");
        }
        'h' => {
            stage.cluster().heal_peer_links();
            say("the links between the nodes are healed");
        }
        's' => {
            let Roles { active, standby, .. } = stage.roles()?;
            stage.cluster().rest(&active)?.switchover(&standby)?;
            say(&format!("ordered: {active} hands over to {standby}"));
        }
        other => say(&format!("`{other}` does nothing. {}", screen::KEYS)),
    }
    Ok(())
}

const CALM: Duration = Duration::from_secs(2);
const REFRESH: Duration = Duration::from_millis(500);
