//! The flat arenas of a network's parameters, gradients and running statistics, and the names in them.

use crate::rng::{Key, Stream};
use crate::tensor::{Device, Norms, Slot};

/// What a named range of an arena holds, for the optimiser and the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// Weights of a convolution or linear map, a transformer's class token and positions, a detector's biases: subject to
    /// weight decay, and scaled by LARS.
    Weight,
    /// Another bias, or a normalisation's scale and shift: usually neither decayed nor scaled.
    Vector,
    /// Running statistics: updated by the forward pass, never by the optimiser.
    Statistic,
}

/// One named range.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Dotted name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// Logical shape; kernels are (O, I, K, K) here and (O, K, K, I) in memory.
    pub shape: Vec<usize>,
    /// The kind, which determines the arena and the treatment.
    pub kind: ParamKind,
    /// Its location in its arena.
    pub slot: Slot,
}

/// All names of a network, in order of registration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Weights, vectors and statistics.
    pub entries: Vec<Entry>,
}

/// The randomness of layers in training. Each layer splits the key by its own position.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The key of one forward pass. [`Parameters::end_pass`] derives the key of the next one.
    pub key: Key,
    /// The rate of stochastic depth in a transformer's last block, 0 to below 1; 0 draws nothing.
    pub drop_path: f32,
}

/// The parameters of one network: values, gradients and running statistics.
#[derive(Clone, Debug)]
pub struct Parameters<D: Device> {
    /// Weights and vectors, the master copy in f32.
    pub values: D::Arena,
    /// Their gradients, of the same layout.
    pub gradients: D::Arena,
    /// Running statistics.
    pub statistics: D::Arena,
    /// The names.
    pub layout: Layout,
    /// The randomness of the next `forward`. If `None`, layers train without randomness.
    pub pass: Option<Pass>,
    /// What all batch normalisations of the network learn in the next `forward` and its `backward`.
    pub norms: Norms,
    /// The device of the arenas.
    pub device: D,
}

impl<D: Device> Parameters<D> {
    /// Sets all gradients to zero.
    pub fn clear_gradients(&mut self) {
        let all = Slot { start: 0, len: self.count() };
        self.device.clear(&mut self.gradients, all);
    }

    /// The slot of the whole arenas of values and gradients.
    pub fn all(&self) -> Slot {
        Slot { start: 0, len: self.count() }
    }

    /// Gives the next `forward` a new key.
    pub fn end_pass(&mut self) {
        self.pass = self.pass.map(|pass| Pass { key: pass.key.split("next"), ..pass });
    }

    /// Scales the rows of `width` elements, of the parameters whose names begin with `prefix`, to unit length.
    pub fn unit_rows_of(&mut self, prefix: &str, width: usize) {
        for slot in self.slots(prefix) {
            let unit = self.device.unit_weight(&self.values, slot, width);
            self.device.write(&mut self.values, slot, &unit);
        }
    }

    /// The values of the parameters whose names begin with `prefix`, in host memory.
    pub fn host_of(&self, prefix: &str) -> Vec<f32> {
        let values = self.device.host(&self.values);
        self.slots(prefix).into_iter().flat_map(|slot| values[slot.start..][..slot.len].to_vec()).collect()
    }

    /// The slots of the trained parameters whose names begin with `prefix`.
    pub fn slots(&self, prefix: &str) -> Vec<Slot> {
        let entries = self.layout.entries.iter();
        entries.filter(|e| e.kind != ParamKind::Statistic && e.name.starts_with(prefix)).map(|e| e.slot).collect()
    }

    /// Number of trained values.
    pub fn count(&self) -> usize {
        self.layout.entries.iter().filter(|e| e.kind != ParamKind::Statistic).map(|e| e.slot.len).sum()
    }
}

/// Collects a network's parameters while it is built, and draws their initial values.
pub struct Builder<'k> {
    layout: Layout,
    values: Vec<f32>,
    statistics: Vec<f32>,
    path: Vec<String>,
    counts: Vec<Vec<(&'static str, usize)>>,
    indexed: bool,
    images: Option<(usize, usize)>,
    key: &'k Key,
}

impl<'k> Builder<'k> {
    /// Creates a builder. `key` determines the initialisation: each parameter draws from the key split by its own
    /// name.
    pub fn new(key: &'k Key) -> Self {
        Self {
            layout: Layout::default(),
            values: Vec::new(),
            statistics: Vec::new(),
            path: Vec::new(),
            counts: vec![Vec::new()],
            indexed: false,
            images: None,
            key,
        }
    }

    /// Sets the height and width of the images that the network is for: a transformer's positions are for them.
    pub fn set_images(&mut self, height: usize, width: usize) {
        self.images = Some((height, width));
    }

    /// Height and width of the images that the network is for, if they are set.
    pub fn images(&self) -> Option<(usize, usize)> {
        self.images
    }

    /// Adds the prefix `name.` to the name of everything that `build` builds.
    pub fn scope<T>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name.into());
        self.counts.push(Vec::new());
        let built = build(self);
        self.counts.pop();
        self.path.pop();
        built
    }

    /// As `scope`, with layers named by their index, as torchvision names the layers of a shortcut.
    pub fn indexed_scope<T>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.indexed, true);
        let built = self.scope(name, build);
        self.indexed = before;
        built
    }

    /// The next free name of a kind of layer in this scope: `conv1`, `conv2`, ..; or its index.
    pub fn next(&mut self, kind: &'static str) -> String {
        let kind = if self.indexed { "" } else { kind };
        let counts = self.counts.last_mut().expect("the root scope never ends");
        let place = counts.iter().position(|(name, _)| *name == kind).unwrap_or_else(|| {
            counts.push((kind, 0));
            counts.len() - 1
        });
        counts[place].1 += 1;
        // Blocks and shortcuts count from 0, as sequences do. Named layers count from 1.
        if kind.is_empty() { (counts[place].1 - 1).to_string() } else { format!("{kind}{}", counts[place].1) }
    }

    /// The next index in this scope, for a block of a sequence.
    pub fn next_index(&mut self) -> String {
        self.next("")
    }

    /// Adds a trained parameter. `init` draws its elements from the stream of its name.
    pub fn parameter(
        &mut self,
        name: &str,
        shape: &[usize],
        kind: ParamKind,
        mut init: impl FnMut(&mut Stream) -> f32,
    ) -> Slot {
        // `init` is generic; `reserve` is not, so it is compiled once.
        let (slot, mut stream) = self.reserve(name, shape, kind);
        for value in &mut self.values[slot.start..] {
            *value = init(&mut stream);
        }
        slot
    }

    /// Adds a trained parameter whose elements are 0, and returns the stream of its name.
    fn reserve(&mut self, name: &str, shape: &[usize], kind: ParamKind) -> (Slot, Stream) {
        let name = self.full(name);
        let stream = self.key.split(&name).stream();
        let slot = Slot { start: self.values.len(), len: shape.iter().product() };
        self.values.resize(slot.start + slot.len, 0.0);
        self.layout.entries.push(Entry { name, shape: shape.into(), kind, slot });
        (slot, stream)
    }

    /// Adds a running statistic whose elements all have the same value.
    pub fn statistic(&mut self, name: &str, len: usize, value: f32) -> Slot {
        let slot = Slot { start: self.statistics.len(), len };
        self.statistics.resize(slot.start + len, value);
        let entry = Entry { name: self.full(name), shape: vec![len], kind: ParamKind::Statistic, slot };
        self.layout.entries.push(entry);
        slot
    }

    /// Creates the arenas on a device.
    pub fn finish<D: Device>(self, device: &D) -> Parameters<D> {
        let zeros = vec![0.0; self.values.len()];
        Parameters {
            values: device.arena(self.values),
            gradients: device.arena(zeros),
            statistics: device.arena(self.statistics),
            layout: self.layout,
            pass: None,
            norms: Norms::Trained,
            device: device.clone(),
        }
    }

    fn full(&self, name: &str) -> String {
        self.path.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".")
    }
}
