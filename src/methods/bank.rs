//! Rows that a method keeps between steps, in the memory of a device that has the losses. Elsewhere, and in label-aware
//! variants, the method's own types keep them on the host.

use crate::error::Result;
use crate::tensor::{Losses, Rows};

use super::State;

/// Rows on a device.
pub(super) struct Bank<D: Losses> {
    device: D,
    rows: D::Arena,
    count: usize,
    width: usize,
}

impl<D: Losses> Bank<D> {
    /// A copy of the host's rows; `None` if the losses are computed on the host, which then keeps the rows.
    pub(super) fn of(device: &D, rows: &[f32], width: usize) -> Option<Self> {
        let count = rows.len() / width;
        device.has_losses().then(|| Self { device: device.clone(), rows: device.arena(rows.to_vec()), count, width })
    }

    /// Numbers of a row.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// All rows.
    pub(super) fn all(&self) -> Rows<'_, D> {
        Rows { arena: &self.rows, rows: 0..self.count }
    }

    /// Copies rows.
    pub(super) fn gather(&self, places: &[u32]) -> D::Arena {
        self.device.gather_rows(&self.rows, places, self.width)
    }

    /// Row places[i] becomes share row + (1 - share) from[i], at unit length. Places differ.
    pub(super) fn mix(&mut self, places: &[u32], from: Rows<'_, D>, share: f32) {
        self.device.mix_rows(&mut self.rows, from, places, self.width, share);
    }

    /// Writes the rows over the host's.
    pub(super) fn copy_to(&self, host: &mut [f32]) {
        host.copy_from_slice(&self.device.host(&self.rows));
    }

    /// Passes the rows to a checkpoint through the host's.
    fn state(&mut self, name: &str, host: &mut [f32], state: &mut dyn State<D>) -> Result<()> {
        self.copy_to(host);
        let before = host.to_vec();
        state.floats(name, host)?;
        if before != host {
            self.rows = self.device.arena(host.to_vec());
        }
        Ok(())
    }
}

/// Passes rows to a checkpoint: those of the device, if it keeps them, else the host's.
pub(super) fn rows_state<D: Losses>(
    bank: Option<&mut Bank<D>>,
    name: &str,
    host: &mut [f32],
    state: &mut dyn State<D>,
) -> Result<()> {
    match bank {
        Some(bank) => bank.state(name, host, state),
        None => state.floats(name, host),
    }
}
