//! Cases that all contrastive losses share: rows without a category, very low temperatures.

use sempair::methods::contrast::NO_CATEGORY;
use sempair::methods::moco_v3;

use super::{Precision, differentiate, normals, rows};

#[test]
fn rows_without_category_are_negatives_of_each_other() {
    let (queries, keys) = (normals(1, 6 * 4), normals(2, 6 * 4));
    let unknown = [NO_CATEGORY; 6];
    let with = moco_v3::one_direction(&queries, &keys, 4, Some(&unknown), 0.5);
    let without = moco_v3::one_direction(&queries, &keys, 4, None, 0.5);
    assert!(with.value == without.value && with.gradient == without.gradient);
}

// A temperature so low that in f32 the exponential of the positive's logit is 0: the value is the difference of logits.
#[test]
fn a_very_low_temperature_neither_overflows_nor_loses_the_positive() {
    let queries = [1.0, 0.0, 0.0, 1.0];
    let keys = [-1.0, 0.0, 0.0, -1.0];
    let temperature = 1.0 / 512.0;
    let ours = moco_v3::one_direction(&queries, &keys, 2, None, temperature);
    let expected = differentiate::<2>(&queries, |q| moco_v3::definition(q, rows(&keys), None, temperature));
    assert!((ours.value - 2.0).abs() < 1e-6, "{}", ours.value); // 2t · (0 - -1) / t
    Precision { dim: 2, candidates: 2, temperature, factor: 2.0 * f64::from(temperature), slope: 2.0 }
        .check(&queries, &ours, expected);
}
