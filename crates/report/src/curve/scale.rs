use super::short;

/// One axis: from where to where, and the round numbers on it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scale {
    pub low: f64,
    pub high: f64,
    pub ticks: Vec<f64>,
    pub is_log: bool,
    /// Between ticks, of a linear one.
    step: f64,
}

/// A range this wide is drawn by its logarithm, where that is allowed.
const WIDE: f64 = 100.0;

impl Scale {
    /// Of steps: from 0 to the last, with ticks at whole numbers.
    pub(crate) fn steps(last: f64) -> Self {
        let high = last.max(1.0);
        let step = round_step(high / 5.0).max(1.0);
        let ticks = (0..).map(|i| i as f64 * step).take_while(|tick| *tick <= high).collect();
        Self { low: 0.0, high, ticks, is_log: false, step }
    }

    /// Of figures: the ends are ticks.
    pub(crate) fn values(values: impl IntoIterator<Item = f64>, from_zero: bool) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            (low, high) = (low.min(value), high.max(value));
        }
        if !(low.is_finite() && high.is_finite()) {
            (low, high) = (0.0, 1.0);
        }
        if !from_zero && low > 0.0 && high / low >= WIDE {
            return Self::logarithmic(low, high);
        }
        if from_zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if high - low <= 1e-12 * high.abs() {
            let around = if high == 0.0 { 1.0 } else { 0.1 * high.abs() };
            (low, high) = if from_zero { (0.0, around) } else { (low - around, high + around) };
        }
        let step = round_step((high - low) / 4.0);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let count = (last - first).round() as usize;
        let ticks: Vec<f64> = (0..=count).map(|i| (first + i as f64) * step).collect();
        Self { low: ticks[0], high: ticks[count], ticks, is_log: false, step }
    }

    fn logarithmic(low: f64, high: f64) -> Self {
        let (first, last) = ((low.log10() + 1e-9).floor() as i32, (high.log10() - 1e-9).ceil() as i32);
        let every = 1 + (last - first) / 6;
        let ticks = (first..=last).step_by(every as usize).map(|power| 10f64.powi(power)).collect();
        let (low, high) = (10f64.powi(first), 10f64.powi(last));
        Self { low, high, ticks, is_log: true, step: 0.0 }
    }

    /// Where a value lies, from 0 at the low end to 1.
    pub(crate) fn place(&self, value: f64) -> f64 {
        match self.is_log {
            true => (value / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        }
    }

    /// A tick as it is written: all of an axis with as many decimals.
    pub(crate) fn label(&self, tick: f64) -> String {
        if self.is_log || self.step < 1e-5 || self.high.abs() >= 1e7 {
            return if tick == 0.0 { "0".into() } else { short(tick) };
        }
        let decimals = (-(self.step * 1.0001).log10().floor()).max(0.0) as usize;
        let text = format!("{:.*}", decimals, tick.abs());
        let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
        let sign = if tick < 0.0 { "−" } else { "" };
        format!("{sign}{}{rest}", super::count(whole.parse().unwrap_or_default()))
    }
}

/// The next of 1, 2, 5, 10, 20, ... from here.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * 0.999).unwrap_or(10.0);
    // Through text, for 0.1 and not 0.10000000000000009.
    format!("{:e}", factor * power).parse().unwrap_or(factor * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        scale.ticks.iter().map(|tick| scale.label(*tick)).collect()
    }

    #[test]
    fn steps_have_whole_ticks() {
        assert_eq!(labels(&Scale::steps(1.0)), ["0", "1"]);
        assert_eq!(labels(&Scale::steps(3.0)), ["0", "1", "2", "3"]);
        assert_eq!(labels(&Scale::steps(456.0)), ["0", "100", "200", "300", "400"]);
        assert_eq!(
            labels(&Scale::steps(100_000.0)),
            ["0", "20,000", "40,000", "60,000", "80,000", "100,000"]
        );
    }

    #[test]
    fn values_have_round_ticks_at_both_ends() {
        let scale = Scale::values([1.07, 4.9], false);
        assert_eq!(labels(&scale), ["1", "2", "3", "4", "5"]);
        assert_eq!(scale.place(3.0), 0.5);
        assert_eq!(labels(&Scale::values([0.0, 0.005], true)), ["0.000", "0.002", "0.004", "0.006"]);
        assert_eq!(
            labels(&Scale::values([9_000.0, 15_300.0], true)),
            ["0", "5,000", "10,000", "15,000", "20,000"]
        );
        assert_eq!(labels(&Scale::values([-0.3, 0.1], false)), ["−0.3", "−0.2", "−0.1", "0.0", "0.1"]);
        assert_eq!(labels(&Scale::values([0.0, 3e-6], true)), ["0", "1e-6", "2e-6", "3e-6"]);
    }

    #[test]
    fn one_value_has_room_around_it() {
        for (value, from_zero) in [(2.5, false), (2.5, true), (0.0, true), (0.0, false), (-3.0, false)] {
            let scale = Scale::values([value], from_zero);
            let place = scale.place(value);
            assert!(scale.low < scale.high && (0.0..=1.0).contains(&place), "{value}: {scale:?}");
        }
        assert_eq!(Scale::values([], false).high, 1.0);
        assert_eq!(Scale::values([f64::NAN], false).high, 1.0);
    }

    #[test]
    fn a_wide_range_is_logarithmic() {
        let scale = Scale::values([0.02, 35.0], false);
        assert!(scale.is_log);
        assert_eq!(labels(&scale), ["0.01", "0.1", "1", "10", "100"]);
        assert!((scale.place(1.0) - 0.5).abs() < 1e-12);
        assert!(Scale::values([1e-30, 1e30], false).ticks.len() < 10);
        assert!(!Scale::values([0.02, 35.0], true).is_log);
    }
}
