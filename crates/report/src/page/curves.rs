use super::chart::{Chart, Line, Pen};
use crate::Run;
use crate::figures::{Curve, Curves};

/// Every chart of these runs: of one with what is behind its smoothed lines, of several one line each.
pub(super) fn charts(runs: &[Run]) -> String {
    let curves: Vec<Curves> = runs.iter().map(Curves::of).collect();
    let mut found = String::new();
    for curve in Curve::ALL {
        let mut lines = match curves.as_slice() {
            [curves] => of_one(curve, curves),
            curves => of_several(curve, runs, curves),
        };
        if let (Curve::Loss, [curves]) = (curve, curves.as_slice()) {
            lines.push(validation("validation", 0, 1, curves));
        }
        lines.retain(|line| !line.points.is_empty());
        found.push_str(&draw(curve, lines));
        if curve == Curve::Loss && runs.len() > 1 {
            let lines = runs.iter().zip(&curves).enumerate();
            let lines = lines.map(|(i, (run, curves))| validation(&run.label, i, i, curves));
            let lines = lines.filter(|line| !line.points.is_empty()).collect();
            let unit = "nats a target token";
            found.push_str(
                &Chart { title: "Validation loss", unit, per: 1.0, lines, from_zero: false }.draw(),
            );
        }
    }
    if found.is_empty() { found } else { format!("<div class=\"charts\">\n{found}</div>\n") }
}

fn of_one(curve: Curve, curves: &Curves) -> Vec<Line<'_>> {
    let line = |label: &str, key: String, points, pen| Line {
        label: label.to_owned(),
        source: (0, key),
        points,
        colour: 0,
        pen,
    };
    let (plain, smoothed) = (curves.plain(curve), curves.smoothed(curve));
    if smoothed.is_empty() {
        let label = if curve == Curve::Loss { "training" } else { "" };
        return vec![line(label, curve.key().to_owned(), plain, Pen::Strong)];
    }
    vec![
        line("each step", curve.key().to_owned(), plain, Pen::Faint),
        line("smoothed", format!("{}_smoothed", curve.key()), smoothed, Pen::Strong),
    ]
}

fn of_several<'a>(curve: Curve, runs: &'a [Run], curves: &'a [Curves]) -> Vec<Line<'a>> {
    let lines = runs.iter().zip(curves).enumerate().map(|(index, (run, curves))| {
        let suffix = if curves.smoothed(curve).is_empty() { "" } else { "_smoothed" };
        Line {
            label: run.label.clone(),
            source: (index, format!("{}{suffix}", curve.key())),
            points: curves.smoothed_or(curve),
            colour: index,
            pen: Pen::Strong,
        }
    });
    lines.collect()
}

fn validation<'a>(label: &str, run: usize, colour: usize, curves: &'a Curves) -> Line<'a> {
    Line {
        label: label.to_owned(),
        source: (run, "validation_loss".to_owned()),
        points: &curves.validation,
        colour,
        pen: Pen::Dots,
    }
}

fn draw(curve: Curve, lines: Vec<Line>) -> String {
    let most = lines.iter().flat_map(|line| line.points).map(|point| point.1).fold(0.0, f64::max);
    let (title, unit, per, from_zero) = match curve {
        Curve::Loss => ("Loss", "nats a target token", 1.0, false),
        Curve::LearningRate => ("Learning rate", "", 1.0, true),
        Curve::GradNorm => ("Gradient norm", "before clipping", 1.0, false),
        Curve::TokensPerSecond => ("Speed", "tokens a second", 1.0, true),
        Curve::Memory if most < 1e9 => ("Memory", "MB, the most so far", 1e6, true),
        Curve::Memory => ("Memory", "GB, the most so far", 1e9, true),
    };
    Chart { title, unit, per, lines, from_zero }.draw()
}
