use super::Point;

/// At most so many of the points, which are in order: the first, the last, and the lowest and highest of each of
/// equal parts, so that no peak is lost.
pub(crate) fn thin(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most || points.len() < 3 {
        return points.to_vec();
    }
    let inner = &points[1..points.len() - 1];
    let parts = most.saturating_sub(2) / 2;
    let mut found = vec![points[0]];
    for part in 0..parts {
        let part = &inner[part * inner.len() / parts..(part + 1) * inner.len() / parts];
        let by_value = |a: &&Point, b: &&Point| a.1.total_cmp(&b.1);
        if let (Some(low), Some(high)) = (part.iter().min_by(by_value), part.iter().max_by(by_value)) {
            let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
            found.push(*first);
            if second.0 != first.0 {
                found.push(*second);
            }
        }
    }
    found.push(points[points.len() - 1]);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_extremes_stay() {
        let mut points: Vec<Point> = (0..100_000).map(|i| (i as f64, (i as f64 / 900.0).sin())).collect();
        points[31_415].1 = 7.0;
        points[92_653].1 = -9.0;
        let found = thin(&points, 600);
        assert!((500..=600).contains(&found.len()), "{}", found.len());
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        for kept in [points[0], points[99_999], points[31_415], points[92_653]] {
            assert!(found.contains(&kept), "{kept:?}");
        }
        assert!(found.iter().all(|point| points[point.0 as usize] == *point));
    }

    #[test]
    fn few_points_stay_as_they_are() {
        for count in [0, 1, 2, 599, 600] {
            let points: Vec<Point> = (0..count).map(|i| (i as f64, 1.0)).collect();
            assert_eq!(thin(&points, 600), points);
        }
        let same: Vec<Point> = (0..5000).map(|i| (i as f64, 1.0)).collect();
        assert!(thin(&same, 600).len() <= 600);
    }
}
