//! An operation of ours on dfdx's tape: its output is a dfdx tensor, and dfdx's `backward` calls our backward.

use dfdx::prelude::{Cpu, Gradients, OwnedTape, PutTape, Tape, Tensor, TensorFromVec};

use super::Vectors;

/// A dfdx tensor (batch, P) that carries a tape: what a loss takes.
pub type Embedding<const P: usize, E = f32> = Tensor<Vectors<P>, E, Cpu, OwnedTape<E, Cpu>>;

/// Puts `values` (batch, P) on a new tape. `backward` is called with their gradient (batch, P) when dfdx runs the
/// tape backwards.
///
/// # Panics
/// When the length is not `batch * P`.
pub fn on_tape<const P: usize>(
    values: Vec<f32>,
    batch: usize,
    backward: impl FnOnce(&[f32]) + 'static,
) -> Embedding<P> {
    assert!(values.len() == batch * P, "on_tape: {} values for ({batch}, {P})", values.len());
    let device = Cpu::default();
    let output = device.tensor_from_vec(values, (batch, dfdx::shapes::Const));
    let handle = output.clone();
    let mut tape = OwnedTape::default();
    tape.add_backward_op(move |gradients: &mut Gradients<f32, Cpu>| {
        backward(gradients.get_or_alloc_mut(&handle)?);
        Ok(())
    });
    output.put_tape(tape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfdx::prelude::{Backward, MeanTo};
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn backward_receives_the_gradient_of_the_loss() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&seen);
        let z = on_tape::<2>(vec![1.0, 2.0, 3.0, 4.0], 2, move |dz| sink.borrow_mut().extend_from_slice(dz));
        let _ = z.square().mean::<dfdx::shapes::Rank0, _>().backward();
        assert_eq!(*seen.borrow(), [0.5, 1.0, 1.5, 2.0]);
    }
}
