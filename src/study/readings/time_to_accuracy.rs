//! Reads the files of courses: when a training reaches the accuracy of another.

use crate::error::Result;
use crate::files::read_json;
use crate::harness::outcome::{Curve, DataRef, Outcome};
use crate::harness::stage::Done;
use crate::study::stages::TimeToAccuracy;
use crate::study::stages::metric::SECONDS;
use crate::study::stages::time_to_accuracy::{ACCURACIES, DATA};
use crate::train::{HISTORY, History};

use super::training;

/// The contents of the files of one course.
struct Rise {
    epochs: Vec<f64>,
    /// Seconds of training so far.
    seconds: Vec<f64>,
    /// The linear probe's accuracies on the test images, in percent.
    accuracies: Vec<f64>,
}

impl Rise {
    /// The seconds after which the accuracy first reaches `goal`; `None` if it never does.
    fn reaches(&self, goal: f64) -> Option<f64> {
        let reached = self.accuracies.iter().position(|&accuracy| accuracy >= goal)?;
        self.seconds.get(reached).copied()
    }

    fn end(&self) -> f64 {
        self.accuracies.last().copied().unwrap_or_default()
    }
}

/// The seconds of training after which the linear probe of the course at `own` first reaches the lowest final accuracy
/// of all courses. Every course reaches that accuracy, so the time is always known.
///
/// # Errors
/// When a file is damaged.
pub fn time_to_equal(courses: &[TimeToAccuracy], own: usize, done: &Done) -> Result<Outcome> {
    let rises = courses.iter().map(|course| rise(course, done)).collect::<Result<Vec<Rise>>>()?;
    let goal = rises.iter().map(Rise::end).fold(f64::INFINITY, f64::min);
    let mut outcome = Outcome::default();
    training::describe(&courses[own].training, done, &mut outcome)?;
    for (_, course) in courses.iter().enumerate().filter(|(at, _)| *at != own) {
        outcome.data.push(training::data(&course.training, done)?);
    }
    let (course, own) = (&courses[own], &rises[own]);
    let data: Vec<DataRef> = read_json(&done.of(&course.stage).dir.join(DATA))?;
    outcome.data.extend(data.into_iter().map(|data| DataRef { licence: course.set.licence.clone(), ..data }));
    if let Some(seconds) = own.reaches(goal) {
        outcome.metrics.insert(SECONDS.into(), seconds);
    }
    outcome.facts.insert(format!("equal accuracy on {}, %", course.set.name), goal.into());
    outcome.curves.push(curve(course, own));
    Ok(outcome)
}

/// Adds the curve of the accuracy to an outcome.
///
/// # Errors
/// When a file is damaged.
pub fn describe(course: &TimeToAccuracy, done: &Done, outcome: &mut Outcome) -> Result<()> {
    outcome.curves.push(curve(course, &rise(course, done)?));
    Ok(())
}

fn curve(course: &TimeToAccuracy, rise: &Rise) -> Curve {
    let name = format!("linear accuracy on {}, %", course.set.name);
    let (x, y, x_title) = (rise.epochs.clone(), rise.accuracies.clone(), "epoch".into());
    Curve { y_title: name.clone(), name, x_title, x, y }.thinned()
}

fn rise(course: &TimeToAccuracy, done: &Done) -> Result<Rise> {
    let history: History = read_json(&done.of(&course.training.stage).dir.join(HISTORY))?;
    Ok(Rise {
        epochs: history.health.iter().map(|health| health.epoch as f64).collect(),
        seconds: history.times,
        accuracies: read_json(&done.of(&course.stage).dir.join(ACCURACIES))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_an_accuracy_is_that_of_the_first_moment_that_has_it() {
        let (epochs, seconds) = (vec![1.0, 2.0, 3.0, 4.0], vec![2.5, 5.0, 7.5, 10.0]);
        let rise = Rise { epochs, seconds, accuracies: vec![20.0, 41.0, 40.0, 45.0] };
        let times = [10.0, 20.0, 40.5, 41.5, rise.end(), 45.5].map(|goal| rise.reaches(goal));
        assert_eq!(times, [Some(2.5), Some(2.5), Some(5.0), Some(10.0), Some(10.0), None]);
    }
}
