//! The anchors of a map.

use sempair::detection::Anchors;

use super::*;

// The reference, in Python: for s in sizes: for q in ratios: (-s/sqrt(q), -s*sqrt(q), s/sqrt(q), s*sqrt(q)) / 2, printed
// with six decimals. (torchvision's `AnchorGenerator` rounds them to whole pixels.)
const FIRST_POSITION: [[f64; 4]; 15] = [
    [-22.627417, -11.313708, 22.627417, 11.313708],
    [-16.0, -16.0, 16.0, 16.0],
    [-11.313708, -22.627417, 11.313708, 22.627417],
    [-45.254834, -22.627417, 45.254834, 22.627417],
    [-32.0, -32.0, 32.0, 32.0],
    [-22.627417, -45.254834, 22.627417, 45.254834],
    [-90.509668, -45.254834, 90.509668, 45.254834],
    [-64.0, -64.0, 64.0, 64.0],
    [-45.254834, -90.509668, 45.254834, 90.509668],
    [-181.019336, -90.509668, 181.019336, 90.509668],
    [-128.0, -128.0, 128.0, 128.0],
    [-90.509668, -181.019336, 90.509668, 181.019336],
    [-362.038672, -181.019336, 362.038672, 181.019336],
    [-256.0, -256.0, 256.0, 256.0],
    [-181.019336, -362.038672, 181.019336, 362.038672],
];

/// All positions of a map of height 2 and width 3, with one size.
const GRID: [[f64; 4]; 18] = [
    [-22.627417, -11.313708, 22.627417, 11.313708],
    [-16.0, -16.0, 16.0, 16.0],
    [-11.313708, -22.627417, 11.313708, 22.627417],
    [-6.627417, -11.313708, 38.627417, 11.313708],
    [0.0, -16.0, 32.0, 16.0],
    [4.686292, -22.627417, 27.313708, 22.627417],
    [9.372583, -11.313708, 54.627417, 11.313708],
    [16.0, -16.0, 48.0, 16.0],
    [20.686292, -22.627417, 43.313708, 22.627417],
    [-22.627417, 4.686292, 22.627417, 27.313708],
    [-16.0, 0.0, 16.0, 32.0],
    [-11.313708, -6.627417, 11.313708, 38.627417],
    [-6.627417, 4.686292, 38.627417, 27.313708],
    [0.0, 0.0, 32.0, 32.0],
    [4.686292, -6.627417, 27.313708, 38.627417],
    [9.372583, 4.686292, 54.627417, 27.313708],
    [16.0, 0.0, 48.0, 32.0],
    [20.686292, -6.627417, 43.313708, 38.627417],
];

fn anchors(sizes: &[f32]) -> Anchors {
    Anchors { sizes: sizes.to_vec(), ratios: vec![0.5, 1.0, 2.0], stride: 16 }
}

#[test]
fn agree_with_the_reference() {
    let five = anchors(&[32.0, 64.0, 128.0, 256.0, 512.0]);
    assert_eq!(five.per_position(), 15);
    assert_boxes(&five.of_map((1, 1)), &FIRST_POSITION, "first position");
    assert_boxes(&anchors(&[32.0]).of_map((2, 3)), &GRID, "map");
}

#[test]
fn have_their_size_ratio_and_place_in_the_order_row_column_size_ratio() {
    let anchors = Anchors { sizes: vec![20.0, 36.0], ratios: vec![0.5, 1.0, 3.0], stride: 4 };
    let all = anchors.of_map((3, 5));
    assert_eq!(all.len(), 3 * 5 * anchors.per_position());
    let mut rest = all.iter();
    for row in 0..3 {
        for column in 0..5 {
            for &size in &anchors.sizes {
                for &ratio in &anchors.ratios {
                    let [x1, y1, x2, y2] = rest.next().unwrap().map(f64::from);
                    let (width, height) = (x2 - x1, y2 - y1);
                    let found = [(x1 + x2) / 2.0, (y1 + y2) / 2.0, (width * height).sqrt(), height / width];
                    let expected = [f64::from(4 * column), f64::from(4 * row), size.into(), ratio.into()];
                    for (found, expected) in found.into_iter().zip(expected) {
                        assert_near(found, expected, 64.0 * EPS, &format!("row {row}, column {column}"));
                    }
                }
            }
        }
    }
}

#[test]
fn an_empty_map_has_none() {
    assert_eq!(anchors(&[32.0]).of_map((0, 3)), [[0.0; 4]; 0]);
    assert_eq!(anchors(&[32.0]).of_map((3, 0)), [[0.0; 4]; 0]);
    assert_eq!(anchors(&[]).of_map((3, 3)), [[0.0; 4]; 0]);
}
