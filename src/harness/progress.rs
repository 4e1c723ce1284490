//! What a person sees while something runs: bars on a terminal, a line now and then elsewhere, nothing when quiet.
//! Everything goes to standard error; standard output is for facts.

use indicatif::MultiProgress;
use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

/// The least time between two lines of one bar where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Where progress is shown.
pub struct Progress(Show);

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
            Self(Show::Bars(MultiProgress::new()))
        } else {
            Self::lines(|line| eprintln!("{line}"))
        }
    }

    pub fn quiet() -> Self {
        Self(Show::Quiet)
    }

    /// Plain lines to `sink`.
    pub fn lines(sink: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Show::Lines(Box::new(sink)))
    }

    /// Prints one line, above any bar.
    pub fn line(&self, line: &str) {
        match &self.0 {
            Show::Quiet => {}
            Show::Lines(sink) => sink(line),
            Show::Bars(bars) => bars.suspend(|| eprintln!("{line}")),
        }
    }

    /// Starts counting to `total` in `unit`s (plural, such as "steps").
    pub fn bar(&self, title: &str, total: u64, unit: &str) -> Bar<'_> {
        let bar = match &self.0 {
            Show::Bars(bars) => bars.add(ProgressBar::new(total)),
            _ => ProgressBar::hidden(),
        };
        bar.set_length(total);
        bar.set_prefix(title.to_owned());
        bar.set_style(style(unit));
        Bar { progress: self, bar, title: title.to_owned(), unit: unit.to_owned(), printed: Mutex::new(Instant::now()) }
    }
}

/// One count in progress; it disappears when dropped. May be shared between threads.
pub struct Bar<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    title: String,
    unit: String,
    printed: Mutex<Instant>,
}

impl Bar<'_> {
    /// `n` more are done.
    pub fn advance(&self, n: u64) {
        self.bar.inc(n);
        if let Show::Lines(sink) = &self.progress.0 {
            let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
            if printed.elapsed() >= LINE_EVERY {
                *printed = Instant::now();
                sink(&self.text());
            }
        }
    }

    /// `done` are done in all.
    pub fn reach(&self, done: u64) {
        self.advance(done.saturating_sub(self.bar.position()));
    }

    /// A few words on the present state, such as the loss.
    pub fn message(&self, message: &str) {
        self.bar.set_message(message.to_owned());
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
    }
}

/// Seconds as a person says them: "0.4 s", "12 s", "3 min 20 s", "2 h 05 min".
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
