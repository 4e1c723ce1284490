//! Batches of view pairs, made ahead of the training step on all cores.
//!
//! An epoch visits the pairs in an order keyed by (seed, epoch), and a view is keyed by (seed, epoch, pair, view). So a
//! batch is a function of (seed, epoch, step): resuming at a step gives the same batches as an uninterrupted run.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::mpsc::Sender;
use std::sync::mpsc::SyncSender;
use std::sync::mpsc::channel;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::Instant;

use crate::data::augment::Pipeline;
use crate::data::image_set::ImageSet;
use crate::error::Error;
use crate::error::Result;
use crate::rng::Key;
use crate::threads::Threads;

/// The number of views in one pool job: about half a millisecond of work. A training step that shares the pool never
/// waits longer than that for a core.
const JOB: usize = 8;
/// The maximum number of batches made ahead.
const AHEAD: usize = 2;
/// How long a pool worker sleeps between checks of the channel when the pool has no job for it.
const NAP: Duration = Duration::from_micros(100);

/// One step's views.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// The step in its epoch, from 0.
    pub step_in_epoch: usize,
    /// (2 pairs, size, size, 3), normalised: all first views, then all second views.
    pub views: Vec<f32>,
    /// Small views, normalised; see [`Pipeline::small`].
    pub crops: Vec<f32>,
    /// The index of each pair in [`Source::pairs`].
    pub chosen: Vec<u32>,
    /// Number of pairs.
    pub pairs: usize,
    /// The category of each pair's first image, for training with labels and for label-aware variants of methods only.
    pub categories: Vec<u32>,
}

/// The data that batches are made from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The images.
    pub set: ImageSet,
    /// The set of the second images, if it is another one. Its images have the same size.
    pub seconds: Option<ImageSet>,
    /// The indices of the two images of each pair; (i, i) for an augmented pair.
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

impl Source {
    /// Returns the set that contains the second images.
    fn seconds(&self) -> &ImageSet {
        self.seconds.as_ref().unwrap_or(&self.set)
    }
}

impl Batches {
    /// Creates batches of `batch_pairs` pairs.
    ///
    /// # Errors
    /// When the pairs do not fill one batch, a pair refers to an image that its set does not have, or the two sets have
    /// images of different sizes.
    pub fn new(source: Arc<Source>, pipeline: Arc<Pipeline>, batch_pairs: usize, seed: u64) -> Result<Self> {
        let (pairs, images) = (source.pairs.len(), source.set.len());
        let name = &source.set.name;
        if batch_pairs == 0 || pairs < batch_pairs {
            let error = Error::new(format!("{name} has {pairs} pairs, and a batch is {batch_pairs} pairs"));
            return Err(if pairs == 0 { error } else { error.hint(format!("set the batch to at most {pairs} pairs")) });
        }
        let seconds = source.seconds();
        let outside = |pair: &&(u32, u32)| pair.0 as usize >= images || pair.1 as usize >= seconds.len();
        if let Some(pair) = source.pairs.iter().find(outside) {
            return Err(Error::new(format!("{name} has {images} images, and a pair is {pair:?}")));
        }
        if seconds.size != source.set.size {
            return Err(Error::new(format!(
                "first images have {0}x{0} pixels, and second ones {1}x{1}",
                source.set.size, seconds.size
            )));
        }
        Ok(Self { source, pipeline, batch_pairs, seed })
    }

    /// Returns the total number of pairs.
    pub fn pairs(&self) -> usize {
        self.source.pairs.len()
    }

    /// Returns the number of categories of the set of the first images.
    pub fn categories(&self) -> usize {
        self.source.set.classes.len()
    }

    /// Returns the number of batches in an epoch. An incomplete last batch is dropped.
    pub fn steps_per_epoch(&self) -> usize {
        self.source.pairs.len() / self.batch_pairs
    }

    /// Returns the batches of an epoch, starting at step `from_step`. A background thread makes them ahead of use, on
    /// the caller's threads.
    pub fn epoch(&self, epoch: usize, from_step: usize) -> Epoch {
        Epoch::start(self.clone(), epoch, from_step)
    }

    /// Returns the order in which an epoch visits the pairs.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let key = Key::root(self.seed).split("order").at(epoch as u64);
        key.stream().permutation(self.source.pairs.len())
    }

    /// The body of the background thread: sends an epoch's batches, starting at step `from_step`, until the epoch
    /// ends or the receiver is dropped.
    fn send_epoch(&self, epoch: usize, from_step: usize, maker: &Maker) {
        let order = self.order(epoch);
        for (step, chosen) in order.chunks_exact(self.batch_pairs).enumerate().skip(from_step) {
            let memory = maker.used.try_recv().unwrap_or_default();
            let batch = self.assemble(epoch, step, chosen, memory, maker);
            if maker.stop.load(Ordering::Relaxed) || maker.ready.send(batch).is_err() {
                return;
            }
        }
    }

    /// Makes one batch of the pairs `chosen` in the memory of an earlier batch. After a stop, skips the remaining
    /// views.
    fn assemble(
        &self,
        epoch: usize,
        step_in_epoch: usize,
        chosen: &[usize],
        Batch { mut views, mut crops, .. }: Batch,
        maker: &Maker,
    ) -> Batch {
        let (Source { set, pairs: all, .. }, seconds) = (&*self.source, self.source.seconds());
        let pairs = chosen.len();
        let key = Key::root(self.seed).split("augment").at(epoch as u64);
        let images = |pair: usize| [set.image(all[pair].0 as usize), seconds.image(all[pair].1 as usize)];
        fill(&mut views, 2 * pairs, self.pipeline.floats(), maker, |index, out| {
            let (view, pair) = (index / pairs, chosen[index % pairs]);
            self.pipeline.view(images(pair)[view], set.size, view, key.at(pair as u64).at(view as u64), out);
        });
        let small = self.pipeline.small_floats();
        fill(&mut crops, self.pipeline.small_views() * pairs, small, maker, |index, out| {
            let (view, pair) = (index / pairs, chosen[index % pairs]);
            self.pipeline.small(images(pair), set.size, view, key.at(pair as u64).at(2 + view as u64), out);
        });
        let categories = chosen.iter().map(|&pair| set.labels[all[pair].0 as usize]).collect();
        let chosen = chosen.iter().map(|&pair| pair as u32).collect();
        Batch { step_in_epoch, views, crops, pairs, chosen, categories }
    }
}

/// Fills `out` with `count` views of `floats` floats each, on all threads. After a stop, skips the remaining views.
fn fill(
    out: &mut Vec<f32>,
    count: usize,
    floats: usize,
    Maker { threads, stop, .. }: &Maker,
    make: impl Fn(usize, &mut [f32]) + Sync,
) {
    out.resize(count * floats, 0.0);
    // One job for each worker at a time, so that jobs of the training step never wait behind more than these in the
    // pool's queue.
    let wave = threads.count() * JOB;
    for (i, views) in out.chunks_mut((wave * floats).max(1)).enumerate() {
        threads.scope(|scope| {
            for (j, job) in views.chunks_mut(JOB * floats).enumerate() {
                let (first, make) = (i * wave + j * JOB, &make);
                scope.spawn(move |_| {
                    let views = job.chunks_exact_mut(floats).enumerate();
                    let wanted = views.take_while(|_| !stop.load(Ordering::Relaxed));
                    wanted.for_each(|(k, out)| make(first + k, out));
                });
            }
        });
    }
}

/// The batches of an epoch, in order. Dropping it ends the background thread.
#[derive(Debug)]
pub struct Epoch {
    /// `None` while the epoch is being dropped.
    ready: Option<Receiver<Batch>>,
    used: Sender<Batch>,
    stop: Arc<AtomicBool>,
    /// `None` after the thread was joined.
    thread: Option<JoinHandle<()>>,
    waited: Duration,
}

/// The background thread's side of an [`Epoch`].
struct Maker {
    ready: SyncSender<Batch>,
    used: Receiver<Batch>,
    stop: Arc<AtomicBool>,
    /// The threads of the consumer.
    threads: Threads,
}

impl Epoch {
    fn start(batches: Batches, epoch: usize, from_step: usize) -> Self {
        let (send_ready, ready) = sync_channel(AHEAD - 1); // the thread holds one more
        let (used, receive_used) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let maker = Maker { ready: send_ready, used: receive_used, stop: stop.clone(), threads: Threads::current() };
        let thread = std::thread::Builder::new()
            .name("batches".into())
            .spawn(move || batches.send_epoch(epoch, from_step, &maker))
            .expect("the system starts one more thread");
        Self { ready: Some(ready), used, stop, thread: Some(thread), waited: Duration::ZERO }
    }

    /// Gives a batch back, so that a later batch is made in its memory. Allocating new memory would cost a tenth of the
    /// time that a batch takes.
    pub fn give_back(&self, batch: Batch) {
        // This fails after the last batch, when the background thread has ended.
        let _ = self.used.send(batch);
    }

    /// Returns the seconds that the consumer has waited for batches so far.
    pub fn waited(&self) -> f64 {
        self.waited.as_secs_f64()
    }

    /// Returns the next batch, or `None` at the end. On a pool worker it runs the pool's jobs while it waits: the
    /// jobs of the batch may be among them, and there may be no other worker to run them.
    fn receive(&self) -> Option<Batch> {
        let ready = self.ready.as_ref()?;
        let mut patience = Duration::ZERO;
        loop {
            match ready.recv_timeout(patience) {
                Ok(batch) => return Some(batch),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    patience = match rayon::yield_now() {
                        None => Duration::MAX,
                        Some(rayon::Yield::Idle) => NAP,
                        Some(rayon::Yield::Executed) => Duration::ZERO,
                    }
                }
            }
        }
    }

    /// Waits for the thread to end and resumes its panic, if it panicked.
    fn join(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        while rayon::current_thread_index().is_some() && !thread.is_finished() {
            if rayon::yield_now() != Some(rayon::Yield::Executed) {
                std::thread::sleep(NAP);
            }
        }
        if let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
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
        self.ready = None; // wakes up the thread if it waits to send
        self.join();
    }
}
