//! Parameters on a GPU, with the copies in bf16 that products read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernels::cuda::product::{RoundedRows, Rounding, Weights};
use crate::kernels::cuda::{Format, Kernels, Memory, Span};
use crate::tensor::Slot;

/// Parameters, gradients or state in device memory.
#[derive(Debug)]
pub struct Arena {
    kernels: Arc<Kernels>,
    memory: Memory,
    rounded: Mutex<Rounded>,
}

/// The rows of an arena that products read in bf16. They are rounded together when one is read after a change.
#[derive(Debug, Default)]
struct Rounded {
    rows: Vec<RoundedRows>,
    /// The index and the first element of the rows at a slot with a number of columns.
    places: HashMap<(Slot, usize), (usize, usize)>,
    copy: Option<(Memory, Rounding)>,
    fresh: bool,
}

impl Arena {
    pub(super) fn new(kernels: Arc<Kernels>, memory: Memory) -> Self {
        Self { kernels, memory, rounded: Mutex::default() }
    }

    pub(super) fn floats(&self) -> Span {
        self.memory.floats()
    }

    pub(super) fn part(&self, slot: Slot) -> Span {
        self.floats().part(slot.start, slot.len)
    }

    /// A range that will change.
    pub(super) fn part_mut(&mut self, slot: Slot) -> Span {
        self.changed();
        self.part(slot)
    }

    pub(super) fn changed(&mut self) {
        self.rounded.get_mut().unwrap_or_else(PoisonError::into_inner).fresh = false;
    }

    /// Weights (rows, columns) as products read them.
    pub(super) fn weights(&self, slot: Slot, columns: usize) -> Weights {
        match self.kernels.format() {
            Format::F32 => Weights { span: self.part(slot), stride: columns },
            Format::Bf16 => self.rounded.lock().unwrap_or_else(PoisonError::into_inner).weights(self, slot, columns),
        }
    }
}

impl Clone for Arena {
    fn clone(&self) -> Self {
        let floats = self.floats();
        let memory = self.kernels.floats(floats.len);
        self.kernels.gpu().copy(memory.floats(), floats);
        Self { kernels: self.kernels.clone(), memory, rounded: Mutex::default() }
    }
}

impl Rounded {
    fn weights(&mut self, arena: &Arena, slot: Slot, columns: usize) -> Weights {
        let len: usize = self.rows.iter().map(RoundedRows::elements).sum();
        let known = self.places.len();
        let &mut (index, first) = self.places.entry((slot, columns)).or_insert((known, len));
        if index == self.rows.len() {
            let blocks = self.rows.iter().map(RoundedRows::blocks).sum();
            self.rows.push(RoundedRows::new(slot.start, first, [slot.len / columns, columns], blocks));
            self.copy = None;
        }
        let rows = self.rows[index];
        let (copy, rounding) = self.copy.get_or_insert_with(|| {
            self.fresh = false;
            let len = self.rows.iter().map(RoundedRows::elements).sum();
            (arena.kernels.activations(len), arena.kernels.rounding(&self.rows))
        });
        let copy = copy.numbers(Format::Bf16);
        if !self.fresh {
            arena.kernels.round_rows(copy, arena.floats(), rounding);
            self.fresh = true;
        }
        Weights { span: copy.part(first, rows.elements()), stride: rows.stride() }
    }
}
