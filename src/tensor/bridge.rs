//! Operations of this crate on dfdx's tape: their outputs are dfdx tensors, and dfdx's `backward` calls their
//! backward functions.

use dfdx::prelude::{Cpu, Gradients, OwnedTape, PutTape, Rank0, SplitTape, Tape, Tensor, TensorFrom, TensorFromVec};

use super::{Pooled, Vectors};

/// A dfdx tensor (batch, P) that carries a tape: the input of a loss.
pub type Embedding<const P: usize, E = f32> = Tensor<Vectors<P>, E, Cpu, OwnedTape<E, Cpu>>;

/// A scalar that carries a tape: training starts the backward pass from it.
pub type Loss<E = f32> = Tensor<Rank0, E, Cpu, OwnedTape<E, Cpu>>;

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

/// Computes a loss of z (batch, P) in closed form, as one operation on the tape of z. `loss(values, gradient)`
/// returns its value and writes the gradient of z; both slices are (batch, P).
///
/// # Panics
/// When z is a view with fewer stored numbers than its shape has elements, such as a broadcast.
pub fn closed_form<const P: usize>(z: Embedding<P>, loss: impl FnOnce(&[f32], &mut [f32]) -> f32) -> Loss {
    let (z, mut tape) = z.split_tape();
    let values = z.as_vec();
    let mut gradient = Pooled::new(values.len());
    let output = z.device().tensor(loss(&values, &mut gradient));
    let handle = output.clone();
    tape.add_backward_op(move |gradients: &mut Gradients<f32, Cpu>| {
        let factor = gradients.get_or_alloc_mut(&handle)?[0];
        let dz = gradients.get_or_alloc_mut(&z)?;
        assert!(dz.len() == gradient.len(), "closed_form: {} numbers of a view of {}", gradient.len(), dz.len());
        dz.iter_mut().zip(gradient.iter()).for_each(|(dz, g)| *dz += factor * g);
        Ok(())
    });
    output.put_tape(tape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dfdx::prelude::{AsArray, Backward, MeanTo};
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

    #[test]
    fn a_closed_form_adds_its_gradient_to_the_input_s() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let sink = Rc::clone(&seen);
        let z = on_tape::<2>(vec![1.0, 2.0, 3.0, 4.0], 2, move |dz| sink.borrow_mut().extend_from_slice(dz));
        let sum_of_squares = |z: &[f32], dz: &mut [f32]| {
            z.iter().zip(dz).for_each(|(z, dz)| *dz = 2.0 * z);
            z.iter().map(|z| z * z).sum()
        };
        // 3 sum (2 z)^2: the operations before and after the loss on the tape take part.
        let loss = closed_form(z * 2.0, sum_of_squares) * 3.0;
        assert_eq!(loss.array(), 360.0);
        loss.backward();
        assert_eq!(*seen.borrow(), [24.0, 48.0, 72.0, 96.0]);
    }
}
