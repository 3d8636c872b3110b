use super::Point;

/// Fewer points than this show what they show.
const FEWEST: usize = 20;

/// The mean of the points around each, of about a fortieth of all on either side; none of few points. It looks ahead as
/// far as back, so that it does not lag behind a fall; at the ends it has but one side.
pub(crate) fn smooth(points: &[Point]) -> Option<Vec<Point>> {
    if points.len() < FEWEST {
        return None;
    }
    let reach = (points.len() / 40).clamp(2, 500);
    // sums[i] is that of the first i values.
    let mut sums = vec![0.0];
    for (_, value) in points {
        sums.push(sums[sums.len() - 1] + value);
    }
    let means = points.iter().enumerate().map(|(index, &(step, _))| {
        let (from, to) = (index.saturating_sub(reach), (index + reach + 1).min(points.len()));
        (step, (sums[to] - sums[from]) / (to - from) as f64)
    });
    Some(means.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_follows_without_lag() {
        let slope: Vec<Point> = (0..200).map(|i| (i as f64, 4.0 - 0.5 * i as f64)).collect();
        let means = smooth(&slope).unwrap();
        assert!(
            means[5..195].iter().zip(&slope[5..195]).all(|(a, b)| a.0 == b.0 && (a.1 - b.1).abs() < 1e-9)
        );
        assert_eq!(
            (means.len(), means[199]),
            (200, (199.0, slope[194..].iter().map(|p| p.1).sum::<f64>() / 6.0))
        );
        let noisy: Vec<Point> = (0..900).map(|i| (i as f64, f64::from(i % 2))).collect();
        assert!(smooth(&noisy).unwrap().iter().all(|point| (point.1 - 0.5).abs() < 0.05));
        assert!(smooth(&noisy[..19]).is_none());
    }
}
