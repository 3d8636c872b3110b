use super::Point;

/// Fewer points than this show what they show.
const FEWEST: usize = 20;

/// A running mean whose weights fall off over about a thirtieth of the points; none of few points. The mean is over
/// the weights so far, so that it does not begin at 0.
pub(crate) fn smooth(points: &[Point]) -> Option<Vec<Point>> {
    if points.len() < FEWEST {
        return None;
    }
    let keep = 1.0 - 1.0 / (points.len() as f64 / 30.0).clamp(3.0, 300.0);
    let (mut sum, mut weight) = (0.0, 0.0);
    let means = points.iter().map(|&(step, value)| {
        (sum, weight) = (keep * sum + value, keep * weight + 1.0);
        (step, sum / weight)
    });
    Some(means.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_follows_without_bias() {
        let level: Vec<Point> = (0..50).map(|i| (i as f64, 4.0)).collect();
        assert!(smooth(&level).unwrap().iter().zip(&level).all(|(a, b)| a.0 == b.0 && (a.1 - 4.0).abs() < 1e-12));
        let noisy: Vec<Point> = (0..900).map(|i| (i as f64, f64::from(i % 2))).collect();
        let last = smooth(&noisy).unwrap()[899].1;
        assert!((last - 0.5).abs() < 0.05, "{last}");
        assert!(smooth(&noisy[..19]).is_none());
    }
}
