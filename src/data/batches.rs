//! Batches of view pairs, made ahead of the training step on all cores.
//!
//! An epoch visits the pairs in an order keyed by (seed, epoch), and a view is keyed by (seed, epoch, pair, view), so a
//! batch is a function of (seed, epoch, step): resuming at a step gives the very batches of an uninterrupted run.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crate::data::augment::Pipeline;
use crate::data::image_set::ImageSet;
use crate::error::Error;
use crate::error::Result;
use crate::rng::Key;

/// Views of one pool job: about half a millisecond of work, so that a training step that shares the pool never waits
/// longer than that for a core.
const JOB: usize = 8;
/// Batches that may lie ready.
const AHEAD: usize = 2;
/// How long a pool worker sleeps between looks at the channel when the pool has no job for it.
const NAP: Duration = Duration::from_micros(100);

/// One step's views.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The step in its epoch, from 0.
    pub step_in_epoch: usize,
    /// (2 pairs, size, size, 3), normalised: all first views, then all second views.
    pub views: Vec<f32>,
    /// Number of pairs.
    pub pairs: usize,
    /// The category of each pair's first image, for monitoring only: no self-supervised loss sees it.
    pub categories: Vec<u32>,
}

/// What batches are made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// The images.
    pub set: ImageSet,
    /// The two images of each pair: (i, i) for an augmented pair.
    pub pairs: Vec<(u32, u32)>,
}

/// The batches of a training run.
#[derive(Clone, Debug)]
pub struct Batches {
    source: Arc<Source>,
    pipeline: Arc<Pipeline>,
    batch_pairs: usize,
    seed: u64,
}

impl Batches {
    /// Batches of `batch_pairs` pairs.
    ///
    /// # Errors
    /// When the pairs do not fill one batch, or a pair names an image that the set does not have.
    pub fn new(source: Arc<Source>, pipeline: Arc<Pipeline>, batch_pairs: usize, seed: u64) -> Result<Self> {
        let (pairs, images) = (source.pairs.len(), source.set.len());
        let name = &source.set.name;
        if batch_pairs == 0 || pairs < batch_pairs {
            return Err(Error::new(format!("{name} has {pairs} pairs, and a batch is {batch_pairs} pairs"))
                .hint(format!("set the batch to between 1 and {pairs} pairs")));
        }
        if let Some(pair) = source.pairs.iter().find(|pair| pair.0.max(pair.1) as usize >= images) {
            return Err(Error::new(format!("{name} has {images} images, and a pair is {pair:?}")));
        }
        Ok(Self { source, pipeline, batch_pairs, seed })
    }

    /// Batches in an epoch; the pairs that do not fill a last one sit this epoch out.
    pub fn steps_per_epoch(&self) -> usize {
        self.source.pairs.len() / self.batch_pairs
    }

    /// The batches of an epoch from a step on, made ahead by a background thread on rayon's global pool.
    pub fn epoch(&self, epoch: usize, from_step: usize) -> Epoch {
        Epoch::start(self.clone(), epoch, from_step)
    }

    /// The order in which an epoch visits the pairs.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let key = Key::root(self.seed).split("order").at(epoch as u64);
        key.stream().permutation(self.source.pairs.len())
    }

    /// Makes one batch of the pairs `chosen`; `None` when stopped meanwhile.
    fn assemble(&self, epoch: usize, step_in_epoch: usize, chosen: &[usize], stop: &AtomicBool) -> Option<Batch> {
        let set = &self.source.set;
        let pairs = chosen.len();
        let floats = 3 * self.pipeline.size() * self.pipeline.size();
        let key = Key::root(self.seed).split("augment").at(epoch as u64);
        let mut views = vec![0.0; 2 * pairs * floats];
        let make = |index: usize, out: &mut [f32]| {
            let (view, pair) = (index / pairs, chosen[index % pairs]);
            let images = self.source.pairs[pair];
            let image = set.image(if view == 0 { images.0 } else { images.1 } as usize);
            self.pipeline.view(image, set.size, view, key.at(pair as u64).at(view as u64), out);
        };
        // Jobs that are spawned from outside the pool wait in its common queue, which workers look at last: the
        // training step's own jobs go first.
        rayon::in_place_scope(|scope| {
            for (job, out) in views.chunks_mut(JOB * floats).enumerate() {
                let make = &make;
                scope.spawn(move |_| {
                    let views = out.chunks_exact_mut(floats).enumerate();
                    views.take_while(|_| !stop.load(Ordering::Relaxed)).for_each(|(i, out)| make(job * JOB + i, out));
                });
            }
        });
        let categories = chosen.iter().map(|&pair| set.labels[self.source.pairs[pair].0 as usize]).collect();
        (!stop.load(Ordering::Relaxed)).then_some(Batch { step_in_epoch, views, pairs, categories })
    }
}

/// An epoch's batches, in order. Dropping it stops the background thread.
#[derive(Debug)]
pub struct Epoch {
    /// `None` once the epoch is being dropped.
    batches: Option<Receiver<Batch>>,
    /// `None` once the thread was joined.
    maker: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    waited: Duration,
}

impl Epoch {
    fn start(batches: Batches, epoch: usize, from_step: usize) -> Self {
        let (sender, receiver) = sync_channel(AHEAD - 1); // one more lies in the maker's hand
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let maker = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || batches.send_epoch(epoch, from_step, &sender, &stopped))
            .expect("the system starts one more thread");
        Self { batches: Some(receiver), maker: Some(maker), stop, waited: Duration::ZERO }
    }

    /// Seconds that the consumer has waited for batches so far.
    pub fn waited(&self) -> f64 {
        self.waited.as_secs_f64()
    }

    /// The next batch, `None` at the end. On a pool worker it runs the pool's jobs meanwhile: the batch's may be among
    /// them, with nobody else to run them.
    fn receive(&self) -> Option<Batch> {
        let batches = self.batches.as_ref()?;
        loop {
            let patience = if rayon::current_thread_index().is_some() { NAP } else { Duration::MAX };
            match batches.recv_timeout(patience) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => while rayon::yield_now() == Some(rayon::Yield::Executed) {},
            }
        }
    }

    /// Waits for the end of the thread; a panic in it goes on here.
    fn join(&mut self) {
        let Some(maker) = self.maker.take() else { return };
        while rayon::current_thread_index().is_some() && !maker.is_finished() {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::sleep(NAP);
            }
        }
        if let Err(panic) = maker.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Batches {
    /// The background thread: an epoch's batches from a step on, until it ends or nobody wants them.
    fn send_epoch(&self, epoch: usize, from_step: usize, sender: &SyncSender<Batch>, stop: &AtomicBool) {
        let order = self.order(epoch);
        for (step, chosen) in order.chunks_exact(self.batch_pairs).enumerate().skip(from_step) {
            let Some(batch) = self.assemble(epoch, step, chosen, stop) else { return };
            if sender.send(batch).is_err() {
                return;
            }
        }
    }
}

impl Iterator for Epoch {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let start = Instant::now();
        let batch = self.receive();
        self.waited += start.elapsed();
        if batch.is_none() {
            self.join();
        }
        batch
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.batches = None; // a thread that waits to send wakes up
        self.join();
    }
}
