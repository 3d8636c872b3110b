use std::fmt;

use serde::Serialize;

use crate::config::{Problem, Problems};
use crate::survey::{LINE_BREAKS, Survey, lost, share};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Training would refuse.
    Error,
    /// Training would go on; the result may not be what was meant.
    Warning,
}

/// Something to know before the run.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub level: Level,
    /// The config's line and key, or what else it is about.
    pub place: String,
    pub what: String,
}

/// All of them.
#[derive(Default)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    pub fn error(&mut self, place: &str, error: &anyhow::Error) {
        match error.downcast_ref::<Problems>() {
            Some(problems) => self.problems(&problems.of, &problems.found),
            None => self.put(Level::Error, place, crate::message(error)),
        }
    }

    pub fn warn(&mut self, place: &str, what: String) {
        self.put(Level::Warning, place, what);
    }

    pub fn put(&mut self, level: Level, place: &str, what: String) {
        self.0.push(Finding { level, place: place.to_owned(), what });
    }

    /// What is wrong with the values of a config.
    pub fn problems(&mut self, of: &str, found: &[Problem]) {
        for problem in found {
            self.put(Level::Error, &problem.place(of), problem.what.clone());
        }
    }

    pub fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    /// What may not be meant about a part's rows.
    pub fn of_rows(&mut self, part: &Survey) {
        let share = |rows| share(rows, part.rows);
        for (key, side, lengths) in
            [("max_source_tokens", "prompts", &part.prompts), ("max_target_tokens", "targets", &part.targets)]
        {
            if lengths.rows_cut > 0 {
                let (cut, longest) = (share(lengths.rows_cut), lengths.longest);
                let what = format!("the {side} of {cut} are cut; the longest has {longest} tokens");
                self.warn(&format!("task.0.{key}"), format!("{}: {what}", part.name));
            }
        }
        let changed = &part.targets_changed;
        if let Some(first) = &changed.first {
            let keep = match changed.lost.contains_key(LINE_BREAKS) {
                true => "; task.0.newlines = \"targets\" keeps line breaks",
                false => "",
            };
            let (rows, lost) = (share(changed.rows), lost(changed));
            let what = format!("the vocabulary cannot write the targets of {rows}, the first {first}");
            self.warn(part.name, format!("{what}; lost: {lost}{keep}"));
        }
        if let Some((row, earlier)) = &part.repeated.first {
            let rows = share(part.repeated.rows);
            self.warn(part.name, format!("{rows} repeated, the first {row}, as {earlier}"));
        }
        let in_training = part.in_training.as_ref();
        if let Some((rows, (row, earlier))) =
            in_training.and_then(|found| Some((found.rows, found.first.as_ref()?)))
        {
            let what =
                format!("the prompts of {} are trained on, the first {row}, as {earlier}", share(rows));
            self.warn(part.name, format!("{what}: figures over them say little"));
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        // An error about a file's rows begins with the file.
        write!(f, "{level}: {}: {}", self.place, self.what)
    }
}
