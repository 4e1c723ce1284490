//! The linear probe and k-NN through their public interface; in `eval/`, the evaluation of detections.

mod average_precision;
mod matching;
mod resample;

use proptest::prelude::*;
use rayon::ThreadPoolBuilder;
use sempair::error::{Error, ErrorKind};
use sempair::eval::Features;
use sempair::eval::ProbeSettings;
use sempair::eval::knn;
use sempair::eval::linear_probe;
use sempair::eval::mean_cosine;
use sempair::eval::most_similar;
use sempair::rng::Key;

fn settings() -> ProbeSettings {
    ProbeSettings {
        penalties: vec![1e-4, 1e-2, 1.0],
        held_out: 0.2,
        iterations: 200,
        tolerance: 1e-5,
        neighbours: 5,
        temperature: 0.07,
    }
}

/// Normal clouds, one for each category. The centre of category c is `distance` deviations from 0 in the columns that
/// are equal to c modulo `classes`, and 0 in the others.
fn clouds(key: Key, images: usize, dim: usize, classes: usize, distance: f32) -> Features {
    let labels: Vec<u32> = (0..images).map(|i| (i % classes) as u32).collect();
    let mut stream = key.stream();
    let mut value = |i: usize, j: usize| stream.normal() + if j % classes == i % classes { distance } else { 0.0 };
    let values = (0..images).flat_map(|i| (0..dim).map(|j| value(i, j)).collect::<Vec<_>>()).collect();
    Features::new(values, labels, dim, classes).unwrap()
}

fn pair() -> (Features, Features) {
    (clouds(Key::root(1), 400, 10, 4, 1.0), clouds(Key::root(2), 200, 10, 4, 1.0))
}

#[test]
fn probe_and_neighbours_find_what_is_there() {
    let (train, test) = pair();
    // The best possible classifier, which knows the centres, is right on 72.2 % of such images (numpy, 400,000 images).
    let probe = linear_probe(&train, &test, &settings(), Key::root(0)).unwrap();
    assert!(probe.converged && (64.0..80.0).contains(&probe.accuracy), "{}", probe.accuracy);
    assert!((55.0..80.0).contains(&knn(&train, &test, 20, None).unwrap().accuracy));
    let apart = (clouds(Key::root(1), 400, 10, 4, 9.0), clouds(Key::root(2), 200, 10, 4, 9.0));
    assert_eq!(linear_probe(&apart.0, &apart.1, &settings(), Key::root(0)).unwrap().accuracy, 100.0);
    assert_eq!(knn(&apart.0, &apart.1, 20, Some(0.07)).unwrap().accuracy, 100.0);
}

#[test]
fn the_most_similar_is_found_as_its_definition_says() {
    let features = clouds(Key::root(3), 700, 6, 4, 1.0);
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let queries: Vec<usize> = (0..700).step_by(2).collect();
    for (&query, found) in queries.iter().zip(most_similar(&features, &queries)) {
        assert_ne!(query, found);
        let of = |other: usize| cosine(features.row(query), features.row(other));
        let best = (0..700).filter(|&other| other != query).map(of).fold(f64::MIN, f64::max);
        assert!(of(found) > best - 1e-5, "{query}: {found}");
    }
    // Of equal images, the first is found. An image is never its own neighbour, even if others are equal to it.
    let same = Features::new(vec![1.0; 8], vec![0; 4], 2, 1).unwrap();
    assert_eq!(most_similar(&same, &[0, 1, 3]), [1, 0, 0]);
}

#[test]
fn the_cosine_is_taken_about_the_mean_of_the_training_images() {
    let rows = |values: [f32; 4]| Features::new(values.to_vec(), vec![0, 0], 2, 1).unwrap();
    let train = rows([1.0, 0.0, 3.0, 4.0]); // mean (2, 2)
    let before = rows([3.0, 2.0, 2.0, 4.0]); // (1, 0), (0, 2)
    let after = rows([2.0, 3.0, 2.0, 3.0]); // (0, 1), (0, 1)
    assert_eq!(mean_cosine(&train, &before, &after).unwrap(), 0.5);
    assert!((mean_cosine(&train, &before, &before).unwrap() - 1.0).abs() < 1e-12);
    // A row on the mean has no direction.
    assert_eq!(mean_cosine(&train, &rows([2.0, 2.0, 1.0, 2.0]), &rows([2.0, 2.0, 3.0, 2.0])).unwrap(), -0.5);
}

#[test]
fn the_penalty_is_chosen_without_the_test_set() {
    let (train, test) = pair();
    let settings = ProbeSettings { penalties: vec![1e-2, 1e3, 10.0], ..settings() };
    let one = linear_probe(&train, &test, &settings, Key::root(0)).unwrap();
    let relabelled = Features { labels: test.labels.iter().map(|label| (label + 1) % 4).collect(), ..test.clone() };
    let other = linear_probe(&train, &relabelled, &settings, Key::root(0)).unwrap();
    assert_ne!(one.accuracy, other.accuracy);
    assert_eq!(one.predictions, other.predictions);
    assert_eq!((one.penalty, one.held_out_accuracy.clone()), (other.penalty, other.held_out_accuracy));

    let penalties: Vec<f64> = one.held_out_accuracy.iter().map(|&(penalty, _)| penalty).collect();
    assert_eq!(penalties, [1e3, 10.0, 1e-2]);
    let best = one.held_out_accuracy.iter().map(|&(_, accuracy)| accuracy).fold(0.0, f64::max);
    let first = one.held_out_accuracy.iter().find(|&&(_, accuracy)| accuracy == best).unwrap();
    assert_eq!(one.penalty, first.0);
}

#[test]
fn threads_do_not_change_a_bit() {
    // Few and many features: with more than 256, the probe distinguishes only the leading directions.
    for dim in [24, 300] {
        let [train, test] = [(3, 1500), (4, 700)].map(|(key, images)| clouds(Key::root(key), images, dim, 5, 0.5));
        let on = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let probe = linear_probe(&train, &test, &settings(), Key::root(0)).unwrap();
                (probe, knn(&train, &test, 20, Some(0.07)).unwrap())
            })
        };
        assert_eq!(on(1), on(3));
    }
}

#[test]
fn odd_training_sets_are_handled() {
    // A constant column, a column that repeats another, and a category (3) without any image.
    let (train, test) = (clouds(Key::root(5), 90, 4, 3, 4.0), clouds(Key::root(6), 60, 4, 3, 4.0));
    let widen = |set: &Features| {
        let values = (0..set.rows()).flat_map(|i| [set.row(i), &[0.1, set.row(i)[0]]].concat()).collect();
        Features::new(values, set.labels.clone(), 6, 4).unwrap()
    };
    let probe = linear_probe(&widen(&train), &widen(&test), &settings(), Key::root(0)).unwrap();
    assert!(probe.accuracy > 95.0 && probe.predictions.iter().all(|&label| label < 3), "{}", probe.accuracy);

    // A category with one image is fitted and never held out.
    let mut labels = train.labels.clone();
    labels[7] = 3;
    let single = Features { labels, classes: 4, ..train.clone() };
    let four = Features { classes: 4, ..test.clone() };
    assert!(linear_probe(&single, &four, &settings(), Key::root(0)).unwrap().accuracy > 90.0);

    // Nothing can be held out: fine with one penalty, an error with three.
    let tiny = Features::new(vec![0.0, 1.0], vec![0, 1], 1, 2).unwrap();
    let one = ProbeSettings { penalties: vec![0.1], ..settings() };
    let probe = linear_probe(&tiny, &tiny, &one, Key::root(0)).unwrap();
    assert_eq!((probe.accuracy, probe.held_out_accuracy.len()), (100.0, 0));
    let error = linear_probe(&tiny, &tiny, &settings(), Key::root(0)).unwrap_err();
    assert!(error.what().contains("none can be held out"), "{error}");
}

#[test]
fn a_fit_that_is_cut_short_says_so() {
    let (train, test) = pair();
    let cut = ProbeSettings { iterations: 1, ..settings() };
    let probe = linear_probe(&train, &test, &cut, Key::root(0)).unwrap();
    assert_eq!((probe.converged, probe.iterations), (false, 1));
}

fn check(error: Error, expected: &str) {
    assert_eq!(error.to_string().replace("\n\nhint: ", " | "), expected);
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let (train, test) = pair();
    let mut broken = test.clone();
    broken.values[17 * 10 + 3] = f32::NAN;
    assert_eq!(linear_probe(&train, &broken, &settings(), Key::root(0)).unwrap_err().kind(), ErrorKind::Diverged);
    check(
        linear_probe(&train, &broken, &settings(), Key::root(0)).unwrap_err(),
        "test features: image 17, column 3 is NaN, which is not a finite number | \
         the encoder has diverged: look at its loss with `sempair show RUN`",
    );
    check(Features::new(vec![], vec![], 4, 2).unwrap_err(), "there is no image");
    check(
        Features::new(vec![0.0; 2], vec![0, 5], 1, 5).unwrap_err(),
        "image 1 has label 5, but there are 5 categories",
    );
    check(
        knn(&train, &test, 401, None).unwrap_err(),
        "k-NN with 401 neighbours, but the training set has 400 images | set `neighbours` to a number from 1 to 400",
    );
    check(
        knn(&train, &test, 5, Some(0.0)).unwrap_err(),
        "k-NN with temperature 0 | set `temperature` to a number above 0, such as 0.07",
    );
    let wrong = ProbeSettings { penalties: vec![0.1, 0.0], ..settings() };
    check(
        linear_probe(&train, &test, &wrong, Key::root(0)).unwrap_err(),
        "`probe.penalties` is [0.1, 0.0]; it must be one or more different numbers above 0 | \
         `sempair config probe.penalties` shows its default",
    );
}

/// Computes and sorts every similarity: the definition with which the blocked version must agree.
fn knn_definition(train: &Features, test: &Features, k: usize, temperature: Option<f64>) -> Vec<u32> {
    let length = |row: &[f32]| row.iter().map(|x| f64::from(x * x)).sum::<f64>().sqrt().max(1e-30);
    let similarity =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>() / (length(a) * length(b));
    let predict = |i: usize| {
        let mut order: Vec<(f64, usize)> =
            (0..train.rows()).map(|j| (similarity(test.row(i), train.row(j)), j)).collect();
        order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut votes = vec![0.0; train.classes];
        for (similarity, j) in &order[..k] {
            votes[train.labels[*j] as usize] += temperature.map_or(1.0, |t| (similarity / t).exp());
        }
        votes.iter().position(|&vote| vote == votes.iter().copied().fold(0.0, f64::max)).unwrap() as u32
    };
    (0..test.rows()).map(predict).collect()
}

/// Rows with zero, one or four entries of 1 or -1: their similarities are exact in f32 and many are equal.
fn exact_features(images: usize) -> impl Strategy<Value = Features> {
    const DIM: usize = 6;
    let row =
        (prop::sample::select(vec![0usize, 1, 4, 4, 4]), 0..DIM, any::<u8>()).prop_map(|(entries, start, signs)| {
            let mut row = [0.0; DIM];
            (0..entries).for_each(|e| row[(start + e) % DIM] = if signs >> e & 1 == 0 { 1.0 } else { -1.0 });
            row
        });
    prop::collection::vec((row, 0..3u32), 1..images).prop_map(|rows| {
        let (values, labels): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        Features::new(values.concat(), labels, DIM, 3).unwrap()
    })
}

proptest! {
    #[test]
    fn neighbours_are_those_of_the_definition(
        train in exact_features(60),
        test in exact_features(20),
        k in 1..60usize,
        temperature in prop::option::of(0.05..2.0f64),
    ) {
        let k = k.min(train.rows());
        let ours = knn(&train, &test, k, temperature).unwrap();
        prop_assert_eq!(&ours.predictions, &knn_definition(&train, &test, k, temperature));
        let right = ours.predictions.iter().zip(&test.labels).filter(|(a, b)| a == b).count();
        prop_assert_eq!(ours.accuracy, 100.0 * right as f64 / test.rows() as f64);
    }
}

// Both sets have more rows than a block, so neighbours, including equally near ones, come from several blocks.
#[test]
fn blocks_do_not_change_the_neighbours() {
    let signs = |key: Key, images: usize| {
        let mut stream = key.stream();
        let labels = (0..images).map(|_| stream.below(4) as u32).collect();
        let values = (0..images * 16).map(|_| if stream.chance(0.5) { 1.0 } else { -1.0 }).collect();
        Features::new(values, labels, 16, 4).unwrap()
    };
    let (train, test) = (signs(Key::root(7), 4500), signs(Key::root(8), 300));
    assert_eq!(knn(&train, &test, 5, Some(0.07)).unwrap().predictions, knn_definition(&train, &test, 5, Some(0.07)));
}
