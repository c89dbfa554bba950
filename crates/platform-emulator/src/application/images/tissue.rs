//! Tissue detection: tissue absorbs more light than the surrounding glass.

use contour::ContourBuilder;

use super::grid::Grid;

/// The minimum difference between the mean absorption of tissue and of glass. A slide with less contrast has no tissue.
const MIN_CONTRAST: f64 = 16.0;

/// The tissue found on a slide.
pub(crate) struct Tissue {
    pub(crate) grid: Grid,
    /// One value per cell in row-major order: true for tissue.
    pub(crate) mask: Vec<bool>,
    /// Micrometers per pixel at full resolution.
    pub(crate) resolution: f64,
    pub(crate) polygons: Vec<Polygon>,
}

/// One piece of tissue: its outline and the outlines of its holes, in pixels at full resolution.
pub(crate) struct Polygon {
    pub(crate) rings: Vec<Vec<[f64; 2]>>,
}

impl Tissue {
    pub(crate) fn find(grid: Grid, resolution: f64) -> Self {
        let threshold = threshold(&grid.absorption);
        let mask: Vec<bool> =
            grid.absorption.iter().map(|value| threshold.is_some_and(|threshold| *value > threshold)).collect();
        let polygons = outlines(&grid, &mask);
        Self { grid, mask, resolution, polygons }
    }
}

/// Returns the threshold with the maximum between-class variance (Otsu's method), if the contrast is sufficient.
fn threshold(values: &[u8]) -> Option<u8> {
    let mut histogram = [0_u32; 256];
    for value in values {
        histogram[usize::from(*value)] += 1;
    }
    let count_and_mean = |range: &[u32], first: u8| {
        let count: f64 = range.iter().map(|count| f64::from(*count)).sum();
        let sum: f64 =
            range.iter().zip(first..=u8::MAX).map(|(count, value)| f64::from(*count) * f64::from(value)).sum();
        (count, sum / count)
    };
    let variance = |threshold: u8| {
        let (glass_count, glass_mean) = count_and_mean(&histogram[..=usize::from(threshold)], 0);
        let (tissue_count, tissue_mean) = count_and_mean(&histogram[usize::from(threshold) + 1..], threshold + 1);
        let difference = tissue_mean - glass_mean;
        (difference >= MIN_CONTRAST).then_some(glass_count * tissue_count * difference * difference)
    };
    let candidates = (0..255_u8).filter_map(|threshold| Some((threshold, variance(threshold)?)));
    candidates.max_by(|(_, left), (_, right)| left.total_cmp(right)).map(|(threshold, _)| threshold)
}

/// Returns the outlines of the tissue.
fn outlines(grid: &Grid, mask: &[bool]) -> Vec<Polygon> {
    let values: Vec<f64> = mask.iter().map(|is_tissue| f64::from(u8::from(*is_tissue))).collect();
    let contours = ContourBuilder::new(grid.columns as usize, grid.rows as usize, false)
        .x_step(f64::from(grid.width) / f64::from(grid.columns))
        .y_step(f64::from(grid.height) / f64::from(grid.rows))
        .contours(&values, &[0.5])
        .unwrap_or_default();
    let polygons = contours.into_iter().flat_map(|contour| contour.into_inner().0);
    polygons
        .map(|polygon| {
            let rings = std::iter::once(polygon.exterior()).chain(polygon.interiors());
            Polygon { rings: rings.map(|ring| ring.coords().map(|point| [point.x, point.y]).collect()).collect() }
        })
        .collect()
}

impl Polygon {
    /// Returns the area without holes, in square pixels at full resolution.
    pub(crate) fn area(&self) -> f64 {
        let mut areas = self.rings.iter().map(|ring| ring_area(ring));
        areas.next().unwrap_or_default() - areas.sum::<f64>()
    }
}

/// Computes an area with the shoelace formula.
fn ring_area(ring: &[[f64; 2]]) -> f64 {
    let doubled_area: f64 = ring.windows(2).map(|edge| edge[0][0] * edge[1][1] - edge[1][0] * edge[0][1]).sum();
    (doubled_area / 2.0).abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a slide with 64 × 64 cells of ten pixels each. It has a square of tissue with a square hole.
    fn slide(glass: u8, tissue: u8) -> Grid {
        let is_inside =
            |x: usize, y: usize, start: usize, end: usize| (start..end).contains(&x) && (start..end).contains(&y);
        let cell = |index: usize| {
            let (x, y) = (index % 64, index / 64);
            if is_inside(x, y, 16, 48) && !is_inside(x, y, 28, 36) { tissue } else { glass }
        };
        Grid { width: 640, height: 640, columns: 64, rows: 64, absorption: (0..64 * 64).map(cell).collect() }
    }

    #[test]
    fn tissue_is_found_with_its_holes() {
        let tissue = Tissue::find(slide(10, 120), 0.5);
        assert_eq!(tissue.mask.iter().filter(|cell| **cell).count(), 32 * 32 - 8 * 8);
        assert_eq!(tissue.polygons.len(), 1);
        assert_eq!(tissue.polygons[0].rings.len(), 2);
        // The outline cuts half a cell off each of the eight corners.
        let expected = (32.0 * 32.0 - 8.0 * 8.0) * 100.0;
        assert!(
            (tissue.polygons[0].area() / expected - 1.0).abs() < 0.01,
            "{} instead of {expected}",
            tissue.polygons[0].area()
        );
    }

    #[test]
    fn slide_without_contrast_has_no_tissue() {
        for absorption in [slide(10, 10), slide(10, 20)] {
            let tissue = Tissue::find(absorption, 0.5);
            assert!(tissue.polygons.is_empty() && !tissue.mask.contains(&true));
        }
    }
}
