//! Shows the progress of work: bars on a terminal, a line now and then elsewhere, nothing when quiet. Everything goes
//! to standard error; standard output is for facts.

use crate::console;
use indicatif::MultiProgress;
use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// The shortest time between two lines if there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where progress is shown. Clones show at the same place.
#[derive(Clone)]
pub struct Progress {
    show: Arc<Show>,
    /// The number of bars in progress.
    bars: Arc<AtomicUsize>,
    /// A prefix for the titles of bars.
    of: String,
}

enum Show {
    Quiet,
    Lines(Box<dyn Fn(&str) + Send + Sync>),
    Bars(MultiProgress),
}

impl Progress {
    /// Bars when standard error is a terminal, plain lines when it is not, nothing when `quiet`.
    pub fn stderr(quiet: bool) -> Self {
        if quiet {
            Self::quiet()
        } else if std::io::stderr().is_terminal() {
            Self::new(Show::Bars(MultiProgress::new()))
        } else {
            Self::lines(|line| console::talk(format_args!("{line}")))
        }
    }

    /// Shows nothing.
    pub fn quiet() -> Self {
        Self::new(Show::Quiet)
    }

    /// Plain lines to `sink`.
    pub fn lines(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self::new(Show::Lines(Box::new(sink)))
    }

    fn new(show: Show) -> Self {
        Self { show: Arc::new(show), bars: Arc::default(), of: String::new() }
    }

    /// The progress of one of several parallel jobs: the titles of its bars begin with the name of the job.
    #[must_use]
    pub fn of(&self, job: &str) -> Self {
        Self { of: format!("{job}: "), ..self.clone() }
    }

    /// Prints one line, above any bar.
    pub fn line(&self, line: &str) {
        match &*self.show {
            Show::Quiet => {}
            Show::Lines(sink) => sink(line),
            Show::Bars(bars) => bars.suspend(|| console::talk(format_args!("{line}"))),
        }
    }

    /// Adds a last line on a terminal, below all bars.
    pub fn footer(&self) -> Footer {
        Footer(match &*self.show {
            Show::Bars(bars) => bars.add(
                ProgressBar::new_spinner()
                    .with_style(ProgressStyle::with_template("{msg}").expect("the template is well formed")),
            ),
            _ => ProgressBar::hidden(),
        })
    }

    /// Starts counting to `total` in `unit`s (plural, such as "steps").
    pub fn bar(&self, title: &str, total: u64, unit: &str) -> Bar<'_> {
        let bar = match &*self.show {
            Show::Bars(bars) => bars.insert(0, ProgressBar::new(total)),
            _ => ProgressBar::hidden(),
        };
        bar.set_length(total);
        let title = console::shown(&format!("{}{title}", self.of)).into_owned();
        bar.set_prefix(title.clone());
        bar.set_style(style(unit));
        self.bars.fetch_add(1, Ordering::Relaxed);
        Bar { progress: self, bar, title, unit: unit.to_owned(), printed: Mutex::new(Instant::now()) }
    }
}

/// A line that stays last; it disappears when dropped.
pub struct Footer(ProgressBar);

impl Footer {
    /// Shows this line from now on.
    pub fn show(&self, line: String) {
        self.0.set_message(console::shown(&line).into_owned());
        self.0.tick();
    }
}

impl Drop for Footer {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A progress bar; it disappears when dropped. May be shared between threads.
pub struct Bar<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    title: String,
    unit: String,
    printed: Mutex<Instant>,
}

impl Bar<'_> {
    /// Adds `n` to the count.
    pub fn advance(&self, n: u64) {
        self.bar.inc(n);
        if let Show::Lines(sink) = &*self.progress.show {
            let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
            // With any number of bars, one line appears every ten seconds.
            if printed.elapsed() >= LINE_EVERY * self.progress.bars.load(Ordering::Relaxed) as u32 {
                *printed = Instant::now();
                sink(&self.text());
            }
        }
    }

    /// Raises the count to `done`.
    pub fn reach(&self, done: u64) {
        self.advance(done.saturating_sub(self.bar.position()));
    }

    /// Sets a few words on the current state, such as the loss.
    pub fn message(&self, message: &str) {
        self.bar.set_message(console::shown(message).into_owned());
    }

    /// The bar in words: "pretraining 120/300 steps, 14.2 steps/s, 13 s left: loss 5.1".
    fn text(&self) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let rate = done as f64 / self.bar.elapsed().as_secs_f64().max(1e-9);
        let left = total.saturating_sub(done) as f64 / rate.max(1e-9);
        let (title, unit, message) = (&self.title, &self.unit, self.bar.message());
        let colon = if message.is_empty() { "" } else { ": " };
        format!("{title} {done}/{total} {unit}, {rate:.1} {unit}/s, {} left{colon}{message}", duration(left))
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.progress.bars.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Formats seconds for people: "0.4 s", "12 s", "3 min 20 s", "2 h 05 min".
pub fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

fn style(unit: &str) -> ProgressStyle {
    let unit = unit.replace(['{', '}'], "");
    let template = format!("{{prefix}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left {{msg}}");
    ProgressStyle::with_template(&template).expect("the template is well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let said = [0.04, 9.46, 9.96, 200.0, 7500.0].map(duration);
        assert_eq!(said, ["0.0 s", "9.5 s", "10 s", "3 min 20 s", "2 h 05 min"]);
    }

    #[test]
    fn a_bar_in_words_has_count_rate_and_message() {
        let progress = Progress::lines(|_| panic!("no line before ten seconds"));
        let bar = progress.bar("pretraining", 300, "steps");
        bar.advance(120);
        bar.message("loss 5.1");
        let text = bar.text();
        assert!(text.starts_with("pretraining 120/300 steps, ") && text.ends_with(" left: loss 5.1"), "{text}");
    }
}
