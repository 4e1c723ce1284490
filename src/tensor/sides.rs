//! The shapes of images, maps and tokens, whose heights and widths are constants of the type or known only at run time.

use dfdx::shapes::{Const, Dim, Shape};

/// `batch` RGB images of height `H` and width `W`, one after the other, as they are read from disk: the input of a
/// network's first layer. A side is a `Const`, so that shapes are checked at compile time, or a `usize`.
pub type Images<H, W = H> = (usize, H, W, Const<3>);
/// `batch` feature maps of `C` channels, height `H` and width `W`. In memory the position comes first: (H, W, batch, C),
/// so that the batch at one position is a dense matrix.
pub type Maps<const C: usize, H, W = H> = (usize, Const<C>, H, W);
/// `batch` images as `T` tokens of width `C`. In memory the token comes first, as for maps: (T, batch, C).
pub type Tokens<T, const C: usize> = (usize, T, Const<C>);
/// Rows whose width is known only at run time.
pub type Matrix = (usize, usize);
/// `batch` vectors of width `C`.
pub type Vectors<const C: usize> = (usize, Const<C>);

/// The height or width of a map: a `Const` whose half is known at compile time, too, or a `usize`.
pub trait Side: Dim {
    /// The side after a stride of 2 with a padding of half the kernel.
    type Half: Side;
    /// Half of the side, rounded up.
    fn half(self) -> Self::Half;
}

macro_rules! sides {
    ($($side:literal -> $half:literal),* $(,)?) => {
        $(impl Side for Const<$side> {
            type Half = Const<$half>;
            fn half(self) -> Const<$half> {
                Const
            }
        })*
    };
}
sides!(
    1 -> 1, 2 -> 1, 3 -> 2, 4 -> 2, 5 -> 3, 6 -> 3, 7 -> 4, 8 -> 4, 10 -> 5, 12 -> 6, 14 -> 7, 16 -> 8, 20 -> 10,
    24 -> 12, 28 -> 14, 32 -> 16, 40 -> 20, 48 -> 24, 56 -> 28, 64 -> 32, 96 -> 48, 112 -> 56, 224 -> 112,
);

impl Side for usize {
    type Half = usize;
    fn half(self) -> usize {
        self.div_ceil(2)
    }
}

/// The output side for a stride, with a padding of half the kernel.
pub trait Strided<const STRIDE: usize>: Side {
    /// The side divided by the stride, rounded up.
    type Output: Side;
    /// The same as a value.
    fn strided(self) -> Self::Output;
}

impl<S: Side> Strided<1> for S {
    type Output = S;
    fn strided(self) -> S {
        self
    }
}

impl<S: Side> Strided<2> for S {
    type Output = S::Half;
    fn strided(self) -> S::Half {
        self.half()
    }
}

/// Images that are covered by whole patches of side `P`: the input of a transformer.
pub trait Patched<const P: usize>: Shape {
    /// The number of patches plus one, for the class token.
    type Tokens: Dim;
    /// The number of patches plus one.
    fn tokens(&self) -> Self::Tokens;
    /// The number of patches in a column and in a row.
    fn grid(&self) -> (usize, usize);
}

macro_rules! patched {
    ($($side:literal by $patch:literal -> $tokens:literal),* $(,)?) => {
        $(impl Patched<$patch> for Images<Const<$side>> {
            type Tokens = Const<$tokens>;
            fn tokens(&self) -> Const<$tokens> {
                Const
            }
            fn grid(&self) -> (usize, usize) {
                ($side / $patch, $side / $patch)
            }
        })*
    };
}
patched!(
    8 by 4 -> 5, 12 by 4 -> 10, 16 by 4 -> 17, 24 by 4 -> 37, 32 by 4 -> 65, 48 by 4 -> 145, 64 by 4 -> 257, 96 by 4 -> 577,
    8 by 8 -> 2, 16 by 8 -> 5, 24 by 8 -> 10, 32 by 8 -> 17, 40 by 8 -> 26, 48 by 8 -> 37, 64 by 8 -> 65, 96 by 8 -> 145,
);

impl<const P: usize> Patched<P> for Images<usize> {
    type Tokens = usize;
    fn tokens(&self) -> usize {
        let (rows, columns) = Patched::<P>::grid(self);
        rows * columns + 1
    }
    fn grid(&self) -> (usize, usize) {
        let (_, height, width, _) = *self;
        assert!(
            height.is_multiple_of(P) && width.is_multiple_of(P) && height.min(width) > 0,
            "patches of {P} do not cover images of ({height}, {width})"
        );
        (height / P, width / P)
    }
}
