//! The scenes: what the two speakers say, with slots, and how the dialogue is summed up. The files under `scenes/`
//! hold them; everything that the generator relies on is checked when they are read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::words::Words;

const FILES: [(&str, &str); 6] = [
    ("care.toml", include_str!("../scenes/care.toml")),
    ("home.toml", include_str!("../scenes/home.toml")),
    ("leisure.toml", include_str!("../scenes/leisure.toml")),
    ("shops.toml", include_str!("../scenes/shops.toml")),
    ("travel.toml", include_str!("../scenes/travel.toml")),
    ("work.toml", include_str!("../scenes/work.toml")),
];

/// One of the two speakers; `A` speaks first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaker {
    /// The one who opens the dialogue.
    A,
    /// The other one.
    B,
}

impl Speaker {
    /// The one spoken to.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// One turn, in several phrasings. In a file it is a string: `a: one phrasing | another`, with a `?` before it if
/// the turn may be left out, together with its optional neighbours.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Turn {
    /// Who speaks.
    pub speaker: Speaker,
    /// Whether the turn may be left out.
    pub optional: bool,
    /// The phrasings, with slots in braces.
    pub phrasings: Vec<String>,
}

impl TryFrom<String> for Turn {
    type Error = anyhow::Error;

    fn try_from(line: String) -> Result<Self> {
        let (optional, rest) = line.strip_prefix('?').map_or((false, line.as_str()), |rest| (true, rest));
        let (speaker, phrasings) = match rest.split_once(": ") {
            Some(("a", text)) => (Speaker::A, text),
            Some(("b", text)) => (Speaker::B, text),
            _ => bail!("a turn starts with \"a: \" or \"b: \", not {line:?}"),
        };
        Ok(Self {
            speaker,
            optional,
            phrasings: phrasings.split('|').map(|text| text.trim().into()).collect(),
        })
    }
}

/// How the speakers stand to each other, which decides the small talk.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tone {
    /// People who know each other.
    Friends,
    /// A customer (a) and somebody at work (b).
    Service,
}

/// A kind of dialogue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// What the scene is about.
    pub name: String,
    /// How the speakers stand to each other.
    pub tone: Tone,
    /// The slots, each with the word list that fills it.
    pub slots: BTreeMap<String, String>,
    /// The turns in order.
    pub turns: Vec<Turn>,
    /// Three or more summaries that name the same slots; `{a}` and `{b}` are the speakers.
    pub summaries: Vec<String>,
}

/// The optional turns around the scenes of one tone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmallTalk {
    /// Turns before the scene, a's first.
    pub open: Vec<Turn>,
    /// Turns behind a scene that b ends.
    pub after_b: Vec<Turn>,
    /// Turns behind a scene that a ends.
    pub after_a: Vec<Turn>,
}

/// Everything the generator draws from.
#[derive(Debug)]
pub struct Scenes {
    /// The scenes, in the order of the files.
    pub scenes: Vec<Scene>,
    /// The word lists of the slots.
    pub words: Words,
    small_talk: BTreeMap<String, SmallTalk>,
}

impl Scenes {
    /// Reads and checks the scenes that ship with the crate.
    ///
    /// # Errors
    /// Names the file, the scene and what is wrong with it.
    pub fn load() -> Result<Self> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            scene: Vec<Scene>,
        }
        let words = Words::load()?;
        let mut scenes = Vec::new();
        for (name, text) in FILES {
            let file: File = toml::from_str(text).with_context(|| format!("scenes/{name}"))?;
            for scene in file.scene {
                check(&scene, &words).with_context(|| format!("scenes/{name}, scene {:?}", scene.name))?;
                scenes.push(scene);
            }
        }
        let small_talk: BTreeMap<_, _> =
            toml::from_str(include_str!("../scenes/small_talk.toml")).context("scenes/small_talk.toml")?;
        for tone in ["friends", "service"] {
            ensure!(small_talk.contains_key(tone), "scenes/small_talk.toml has no [{tone}]");
        }
        Ok(Self { scenes, words, small_talk })
    }

    /// The small talk that suits a tone.
    pub fn small_talk(&self, tone: Tone) -> &SmallTalk {
        match tone {
            Tone::Friends => &self.small_talk["friends"],
            Tone::Service => &self.small_talk["service"],
        }
    }

    /// About how many different dialogues there are, as a power of ten, small talk and names of speakers left out.
    pub fn variety(&self) -> Result<f64> {
        let mut total = 0.0;
        for scene in &self.scenes {
            let mut ways: f64 = scene.turns.iter().map(|turn| turn.phrasings.len() as f64).product();
            for list in scene.slots.values() {
                ways *= self.words.list(list)?.values.len() as f64;
            }
            total += ways;
        }
        Ok(total.log10())
    }
}

/// The names in braces in `text`, in order.
pub fn slots_of(text: &str) -> Vec<&str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
}

fn check(scene: &Scene, words: &Words) -> Result<()> {
    for (slot, list) in &scene.slots {
        words.list(list)?;
        ensure!(
            !["a", "b", "other"].contains(&slot.as_str()),
            "{slot:?} stands for a speaker and is no slot"
        );
    }
    // Speakers must alternate with the optional turns and without them.
    for full in [true, false] {
        let order: Vec<_> =
            scene.turns.iter().filter(|turn| full || !turn.optional).map(|t| t.speaker).collect();
        ensure!(order.len() >= 4, "a scene has at least four turns that are always there");
        ensure!(order[0] == Speaker::A, "a speaks first");
        ensure!(order.windows(2).all(|pair| pair[0] != pair[1]), "a and b take turns");
    }
    for slot in scene.turns.iter().flat_map(|turn| &turn.phrasings).flat_map(|text| slots_of(text)) {
        ensure!(slot == "other" || scene.slots.contains_key(slot), "a turn names the unknown slot {slot:?}");
    }
    ensure!(scene.summaries.len() >= 3, "a scene has at least three summaries");
    let named = |text: &str| -> BTreeSet<String> {
        slots_of(text).into_iter().filter(|slot| !["a", "b"].contains(slot)).map(String::from).collect()
    };
    let first = named(&scene.summaries[0]);
    ensure!(first.len() >= 2, "a summary names at least two slots");
    for summary in &scene.summaries {
        ensure!(named(summary) == first, "all summaries name the slots {first:?}, but not {summary:?}");
    }
    for slot in &first {
        ensure!(scene.slots.contains_key(slot), "a summary names the unknown slot {slot:?}");
        let braces = format!("{{{slot}}}");
        let always = |turn: &Turn| !turn.optional && turn.phrasings.iter().all(|text| text.contains(&braces));
        // A turn may be phrased without a slot only where another turn is sure to name it.
        ensure!(
            scene.turns.iter().any(always),
            "the summaries name {slot:?}, which may be missing in the dialogue"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_many_scenes_and_they_are_well_formed() {
        let scenes = Scenes::load().unwrap();
        assert!(scenes.scenes.len() >= 20);
        let names: BTreeSet<_> = scenes.scenes.iter().map(|scene| &scene.name).collect();
        assert_eq!(names.len(), scenes.scenes.len());
        assert!(scenes.variety().unwrap() > 6.0);
    }

    #[test]
    fn a_turn_is_read_from_its_line() {
        let turn = Turn::try_from(String::from("?b: One. | Two {x}.")).unwrap();
        assert!(turn.optional && turn.speaker == Speaker::B);
        assert_eq!(turn.phrasings, ["One.", "Two {x}."]);
        assert!(Turn::try_from(String::from("c: One.")).is_err());
    }
}
