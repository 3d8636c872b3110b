//! A chart: curves in an SVG that is stretched to its place, and labels in HTML, which keep their size.

use std::fmt::Write;

use super::html::Text;
use crate::curve::{Point, Scale, count, short};

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pen {
    /// Behind the others.
    Faint,
    Strong,
    /// With a dot at each point.
    Dots,
}

pub(super) struct Line<'a> {
    pub label: String,
    /// The run, and the key of its curve in the page's figures.
    pub source: (usize, String),
    pub points: &'a [Point],
    /// From 0.
    pub colour: usize,
    pub pen: Pen,
}

pub(super) struct Chart<'a> {
    pub title: &'a str,
    pub unit: &'a str,
    /// What values are divided by, to be of that unit.
    pub per: f64,
    pub lines: Vec<Line<'a>>,
    pub from_zero: bool,
}

/// The drawing's own size; it is stretched to any other.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 400.0;

/// So many dots can be told apart.
const MOST_DOTS: usize = 60;

impl Chart<'_> {
    /// The chart, or nothing if it has no points.
    pub(super) fn draw(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points);
        let Some(last) = points().map(|point| point.0).reduce(f64::max) else { return String::new() };
        let x = Scale::steps(last);
        let y = Scale::values(points().map(|point| point.1 / self.per), self.from_zero);
        let (mut grid, mut labels, mut paths) = (String::new(), String::new(), String::new());
        for tick in &y.ticks {
            let at = 1.0 - y.place(*tick);
            let class = if *tick == 0.0 || at == 1.0 { "base" } else { "grid" };
            let _ = write!(grid, "<path class=\"{class}\" d=\"M0 {0:.1}H{WIDTH}\"/>", at * HEIGHT);
            let _ = write!(
                labels,
                "<span class=\"y\" style=\"top:{:.2}%\">{}</span>",
                100.0 * at,
                Text(y.label(*tick))
            );
        }
        for tick in &x.ticks {
            let at = 100.0 * x.place(*tick);
            let _ =
                write!(labels, "<span class=\"x\" style=\"left:{at:.2}%\">{}</span>", Text(x.label(*tick)));
        }
        for line in &self.lines {
            paths.push_str(&line.draw(&x, &y, self.per));
        }
        let gutter = y.ticks.iter().map(|tick| y.label(*tick).chars().count()).max().unwrap_or(1);
        let per = self.per;
        let unit = if y.is_log { format!("{}, logarithmic", self.unit) } else { self.unit.to_owned() };
        let data: Vec<(usize, &str, &str)> = self
            .lines
            .iter()
            .map(|line| (line.source.0, line.source.1.as_str(), line.label.as_str()))
            .collect();
        let data = serde_json::to_string(&data).expect("text is JSON");
        format!(
            "<figure class=\"chart\" data-last=\"{last}\" data-per=\"{per}\" data-lines=\"{data}\">\
             <figcaption><h3>{title}</h3> <span class=\"unit\">{unit}</span>{legend}</figcaption>\
             <div class=\"plot\" style=\"--gutter:{gutter}ch\">\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{alt}\">\
             {grid}{paths}</svg>{labels}<i class=\"cursor\" hidden></i></div>\
             <p class=\"readout\">{end}</p></figure>\n",
            last = x.high,
            data = Text(data),
            title = Text(self.title),
            unit = Text(unit),
            legend = self.legend(),
            alt = Text(self.alternative()),
            end = Text(self.end()),
        )
    }

    /// Empty for one line, so that the charts of a row begin at the same height.
    fn legend(&self) -> String {
        if self.lines.len() < 2 {
            return "<ul class=\"legend\"></ul>".to_owned();
        }
        let mut items = String::new();
        for line in &self.lines {
            let _ = write!(items, "<li class=\"{}\">{}</li>", line.class(), Text(&line.label));
        }
        format!("<ul class=\"legend\">{items}</ul>")
    }

    /// In words, for who does not see it.
    fn alternative(&self) -> String {
        let lines = self.lines.iter().filter_map(|line| {
            let ((first, from), (last, to)) = (*line.points.first()?, *line.points.last()?);
            let label = if line.label.is_empty() { String::new() } else { format!("{}: ", line.label) };
            let (from, to) = (short(from / self.per), short(to / self.per));
            Some(match first == last {
                true => format!("{label}{from} at step {first}"),
                false => format!("{label}from {from} at step {first} to {to} at step {last}"),
            })
        });
        format!("{}. {}", self.title, lines.collect::<Vec<_>>().join("; "))
    }

    /// What stands below until something is pointed at.
    fn end(&self) -> String {
        let lines = || self.lines.iter().filter(|line| line.pen != Pen::Faint);
        let last = lines().filter_map(|line| line.points.last()).map(|point| point.0).fold(0.0, f64::max);
        let ends = lines().filter_map(|line| {
            let (step, value) = line.points.last()?;
            let at = if *step == last { String::new() } else { format!(" ({})", count(*step as u64)) };
            Some(format!("{} {}{at}", line.label, short(value / self.per)).trim_start().to_owned())
        });
        format!("step {}: {}", count(last as u64), ends.collect::<Vec<_>>().join(" · "))
    }
}

impl Line<'_> {
    fn class(&self) -> String {
        let pen = match self.pen {
            Pen::Faint => "faint",
            Pen::Strong => "strong",
            Pen::Dots => "dots",
        };
        format!("{pen} c{}", self.colour % COLOURS)
    }

    fn draw(&self, x: &Scale, y: &Scale, per: f64) -> String {
        let mut path = String::new();
        let mut dots = String::new();
        let with_dots = self.points.len() == 1 || (self.pen == Pen::Dots && self.points.len() <= MOST_DOTS);
        for (index, (step, value)) in self.points.iter().enumerate() {
            let (left, top) = (x.place(*step) * WIDTH, (1.0 - y.place(*value / per)) * HEIGHT);
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{left:.1} {top:.1}");
            if with_dots {
                // A line of no length with round ends is a circle, however the drawing is stretched.
                let _ = write!(dots, "M{left:.1} {top:.1}h0");
            }
        }
        let class = self.class();
        let mut found = format!("<path class=\"{class}\" d=\"{path}\"/>");
        if with_dots {
            let _ = write!(found, "<path class=\"{class} dot\" d=\"{dots}\"/>");
        }
        found
    }
}

/// The page's style has so many colours.
pub(super) const COLOURS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[Point], pen: Pen) -> String {
        let line = Line { label: "a<b".into(), source: (0, "loss".into()), points, colour: 9, pen };
        Chart { title: "Loss", unit: "nats", per: 1.0, lines: vec![line], from_zero: false }.draw()
    }

    #[test]
    fn one_step_is_a_dot() {
        let drawn = chart(&[(1.0, 2.5)], Pen::Strong);
        assert!(drawn.contains("d=\"M1000.0 200.0h0\""), "{drawn}");
        assert!(drawn.contains("a&lt;b: 2.5 at step 1"), "{drawn}");
        assert!(!drawn.contains("NaN") && !drawn.contains("a<b"), "{drawn}");
    }

    #[test]
    fn a_line_goes_through_its_points() {
        let drawn = chart(&[(5.0, 1.0), (10.0, 5.0)], Pen::Strong);
        assert!(drawn.contains("class=\"strong c1\" d=\"M500.0 400.0L1000.0 0.0\""), "{drawn}");
        assert_eq!(chart(&[], Pen::Dots), "");
    }
}
