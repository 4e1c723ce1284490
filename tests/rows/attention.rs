//! AttentionShape and the embedding of patches against their definitions in f64.

use half::bf16;
use proptest::prelude::*;
use sempair::kernels::cpu::Element;
use sempair::kernels::cpu::attention;
use sempair::kernels::cpu::tokens;
use sempair::kernels::shapes::AttentionShape;

use super::EPS;
use super::assert_near;
use super::bits;
use super::numbers;
use super::on_each_set;
use super::same_bits_on_any_threads;
use super::slopes::assert_slope;
use super::wide;

/// The position of the first channel of a head in a matrix of `parts` times the channels: (T, N, parts, heads, width).
fn place(shape: &AttentionShape, (token, image, head): (usize, usize, usize), parts: usize, part: usize) -> usize {
    (((token * shape.batch + image) * parts + part) * shape.heads + head) * shape.width
}

/// Calls `each(image, head, offset)`, where the (T, T) square of that head begins at `offset`.
fn for_each_head(shape: &AttentionShape, mut each: impl FnMut(usize, usize, usize)) {
    for index in 0..shape.batch * shape.heads {
        each(index / shape.heads, index % shape.heads, index * shape.tokens * shape.tokens);
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// softmax(q kᵀ / √D), (N, heads, T, T).
fn probabilities(qkv: &[f64], shape: &AttentionShape) -> Vec<f64> {
    let mut all = Vec::new();
    for_each_head(shape, |image, head, _| {
        let row = |token, part| &qkv[place(shape, (token, image, head), 3, part)..][..shape.width];
        for i in 0..shape.tokens {
            let score = |j| dot(row(i, 0), row(j, 1)) / (shape.width as f64).sqrt();
            let powers: Vec<f64> = (0..shape.tokens).map(|j| score(j).exp()).collect();
            let sum: f64 = powers.iter().sum();
            all.extend(powers.iter().map(|power| power / sum));
        }
    });
    all
}

/// p v, (T, N, C).
fn mixed(qkv: &[f64], p: &[f64], shape: &AttentionShape) -> Vec<f64> {
    let mut y = vec![0.0; qkv.len() / 3];
    for_each_head(shape, |image, head, square| {
        for (i, j) in (0..shape.tokens).flat_map(|i| (0..shape.tokens).map(move |j| (i, j))) {
            let (to, v) = (place(shape, (i, image, head), 1, 0), place(shape, (j, image, head), 3, 2));
            (0..shape.width).for_each(|c| y[to + c] += p[square + i * shape.tokens + j] * qkv[v + c]);
        }
    });
    y
}

/// The gradient of qkv, and for each number the sum of the absolute values of its terms.
fn gradient(qkv: &[f64], p: &[f64], dy: &[f64], shape: &AttentionShape) -> (Vec<f64>, Vec<f64>) {
    let (mut dqkv, mut sizes) = (vec![0.0; qkv.len()], vec![0.0; qkv.len()]);
    let tokens = shape.tokens;
    for_each_head(shape, |image, head, square| {
        let of_qkv = |token, part| place(shape, (token, image, head), 3, part);
        let of_dy = |token| place(shape, (token, image, head), 1, 0);
        for i in 0..tokens {
            let p = &p[square + i * tokens..][..tokens];
            let dp: Vec<f64> = (0..tokens).map(|j| dot(&dy[of_dy(i)..][..shape.width], &qkv[of_qkv(j, 2)..])).collect();
            let mean = dot(&dp, p);
            for j in 0..tokens {
                let ds = p[j] * (dp[j] - mean) / (shape.width as f64).sqrt();
                for c in 0..shape.width {
                    let mut add = |at: usize, term: f64| {
                        dqkv[at + c] += term;
                        sizes[at + c] += term.abs();
                    };
                    add(of_qkv(i, 0), ds * qkv[of_qkv(j, 1) + c]);
                    add(of_qkv(j, 1), ds * qkv[of_qkv(i, 0) + c]);
                    add(of_qkv(j, 2), p[j] * dy[of_dy(i) + c]);
                }
            }
        }
    });
    (dqkv, sizes)
}

/// The result, the probabilities without the padding of their rows, and the gradient.
fn attended<E: Element>(qkv: &[E], dy: &[E], shape: &AttentionShape) -> [Vec<E>; 3] {
    let blank = |len| vec![E::from_f32(f32::NAN); len];
    let (mut y, mut dqkv) = (blank(dy.len()), blank(qkv.len()));
    let mut p = blank(shape.probabilities_len::<E>());
    attention::forward(&mut y, &mut p, qkv, shape);
    attention::backward(&mut dqkv, dy, qkv, &p, shape);
    let rows = p.chunks_exact(p.len() / (shape.batch * shape.heads * shape.tokens));
    assert!(rows.clone().all(|row| row[shape.tokens..].iter().all(|&filling| filling == E::default())));
    [y, rows.flat_map(|row| row[..shape.tokens].to_vec()).collect(), dqkv]
}

fn assert_attention<E: Element>(shape: &AttentionShape) {
    let (qkv, dy) = (numbers::<E>(3 * shape.output_len(), 1), numbers::<E>(shape.output_len(), 2));
    let (wide_qkv, wide_dy) = (wide(&qkv), wide(&dy));
    let defined = probabilities(&wide_qkv, shape);
    let noise = EPS * (shape.width + shape.tokens + 64) as f64;
    // The factors of the score gradients are rounded to the format.
    let rounding = if E::NAME == bf16::NAME { 1.0 / 256.0 } else { noise };
    on_each_set(|set| {
        let what = format!("{shape:?} in {} on {set}", E::NAME);
        let [y, p, dqkv] = attended(&qkv, &dy, shape);
        assert_near(&p, &defined, noise, &what);
        // The other results follow from the computed probabilities.
        let p = wide(&p);
        assert_near(&y, &mixed(&wide_qkv, &p, shape), noise, &what);
        let (gradient, sizes) = gradient(&wide_qkv, &p, &wide_dy, shape);
        for (at, (value, (defined, size))) in wide(&dqkv).iter().zip(gradient.iter().zip(&sizes)).enumerate() {
            let tolerance = noise * (1.0 + (shape.width as f64).sqrt()) + rounding * (defined.abs() + size);
            assert!(
                (value - defined).abs() <= tolerance,
                "{what}: {at} is {value}, defined as {defined} ({tolerance})"
            );
        }
    });
}

fn assert_embedding<E: Element>(tokens: usize, images: usize, channels: usize) {
    let patches = numbers::<E>((tokens - 1) * images * channels, 1);
    let [class, bias] = [2, 3].map(|seed| numbers::<f32>(channels, seed));
    let positions = numbers::<f32>(tokens * channels, 4);
    let wide_patches = wide(&patches);
    let defined: Vec<f64> = (0..tokens * images * channels)
        .map(|at| {
            let (token, c) = (at / (images * channels), at % channels);
            let own = match at.checked_sub(images * channels) {
                None => f64::from(class[c]),
                Some(at) => wide_patches[at] + f64::from(bias[c]),
            };
            own + f64::from(positions[token * channels + c])
        })
        .collect();
    on_each_set(|set| {
        let what = format!("embedding ({tokens}, {images}, {channels}) in {} on {set}", E::NAME);
        let mut y = vec![E::from_f32(f32::NAN); defined.len()];
        tokens::embed(&mut y, &patches, &class, &bias, &positions, images);
        assert_near(&y, &defined, 4.0 * EPS, &what);
        let mut sums = vec![1.0; tokens * channels];
        tokens::add_token_sums(&mut sums, &y, images, channels);
        let y = wide(&y);
        let of_token = |at| y.iter().skip(at / channels * images * channels + at % channels).step_by(channels);
        let expected: Vec<f64> = (0..sums.len()).map(|at| 1.0 + of_token(at).take(images).sum::<f64>()).collect();
        assert_near(&sums, &expected, 4.0 * EPS * images as f64, &what);
    });
}

fn assert_scaling<E: Element>(tokens: usize, images: usize, channels: usize) {
    let [x, onto] = [1, 2].map(|seed| numbers::<E>(tokens * images * channels, seed));
    let scales: Vec<f32> = numbers::<f32>(images, 3).iter().map(|scale| scale.max(0.0)).collect();
    let of_image = |at: usize| f64::from(scales[at / channels % images]);
    let scaled: Vec<f64> = wide(&x).iter().enumerate().map(|(at, x)| x * of_image(at)).collect();
    let added: Vec<f64> = scaled.iter().zip(wide(&onto)).map(|(scaled, onto)| scaled + onto).collect();
    on_each_set(|set| {
        let what = format!("scaling ({tokens}, {images}, {channels}) in {} on {set}", E::NAME);
        let mut y = vec![E::from_f32(f32::NAN); x.len()];
        tokens::scale_images(&mut y, &x, &scales, None, channels);
        assert_near(&y, &scaled, 0.0, &what);
        tokens::scale_images(&mut y, &x, &scales, Some(&onto), channels);
        assert_near(&y, &added, 2.0 * EPS, &what);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn attention_agrees_with_its_definition(tokens in 1..80usize, batch in 1..4usize, heads in 1..4usize, width in 1..40usize) {
        let shape = AttentionShape { tokens, batch, heads, width };
        assert_attention::<f32>(&shape);
        assert_attention::<bf16>(&shape);
    }

    #[test]
    fn embedding_agrees_with_its_definition(tokens in 1..9usize, images in 1..9usize, channels in 1..70usize) {
        assert_embedding::<f32>(tokens, images, channels);
        assert_embedding::<bf16>(tokens, images, channels);
    }

    #[test]
    fn scaled_images_agree_with_their_definition(tokens in 1..9usize, images in 1..9usize, channels in 1..70usize) {
        assert_scaling::<f32>(tokens, images, channels);
        assert_scaling::<bf16>(tokens, images, channels);
    }
}

#[test]
fn attention_of_vit_s8_agrees_with_its_definition() {
    let shape = AttentionShape { tokens: 65, batch: 1, heads: 2, width: 64 };
    assert_attention::<f32>(&shape);
    assert_attention::<bf16>(&shape);
}

#[test]
fn attention_backward_agrees_with_finite_differences() {
    let shape = AttentionShape { tokens: 5, batch: 2, heads: 2, width: 4 };
    let (qkv, dy) = (numbers::<f32>(3 * shape.output_len(), 1), numbers::<f32>(shape.output_len(), 2));
    let [_, _, dqkv] = attended(&qkv, &dy, &shape);
    let dy = wide(&dy);
    assert_slope(&dqkv, &qkv, |qkv| dot(&mixed(qkv, &probabilities(qkv, &shape), &shape), &dy), "attention");
}

#[test]
fn attention_has_the_same_bits_on_any_number_of_threads() {
    let shape = AttentionShape { tokens: 33, batch: 20, heads: 3, width: 32 };
    fn bits_of<E: Element>(shape: &AttentionShape) -> Vec<Vec<u32>> {
        let (qkv, dy) = (numbers::<E>(3 * shape.output_len(), 1), numbers::<E>(shape.output_len(), 2));
        let mut scaled = dy.clone();
        tokens::scale_images(&mut scaled, &dy, &numbers(shape.batch, 3), Some(&dy), shape.heads * shape.width);
        attended(&qkv, &dy, shape).iter().chain([&scaled]).map(|values| bits(values)).collect()
    }
    same_bits_on_any_threads(|| [bits_of::<f32>(&shape), bits_of::<bf16>(&shape)].concat());
}
