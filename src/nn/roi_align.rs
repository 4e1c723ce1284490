//! The maps of regions, sampled from the maps of whole images.

use crate::tensor::{Const, Device, Dim, Maps, Region, RoiShape, Tensor};

/// ROIAlign (He et al. 2017, <https://arxiv.org/abs/1703.06870>), aligned: maps (N, C, H, W) and R regions to maps
/// (R, C, P, P). Not a [`Layer`](super::Layer), because regions have no gradient. It has no parameters.
#[derive(Clone, Copy, Debug)]
pub struct RoiAlign {
    /// P: height and width of a region's map.
    pub side: usize,
    /// Pixels of the image per position of its map.
    pub stride: usize,
    /// Samples of a bin along each axis; 0: as many as there are positions in it, rounded up.
    pub samples: usize,
}

impl RoiAlign {
    fn shape<const C: usize, H: Dim, W: Dim>(&self, (batch, _, height, width): Maps<C, H, W>) -> RoiShape {
        RoiShape {
            batch,
            height: height.size(),
            width: width.size(),
            channels: C,
            side: self.side,
            scale: 1.0 / self.stride as f32,
            samples: self.samples,
        }
    }

    /// Samples the map of each region.
    pub fn forward<D: Device, H: Dim, W: Dim, const C: usize>(
        &self,
        x: &Tensor<Maps<C, H, W>, D>,
        regions: &[Region],
    ) -> Tensor<Maps<C, usize>, D> {
        let y = x.device().roi_align(&self.shape(x.shape()), x.data(), regions);
        x.with((regions.len(), Const, self.side, self.side), y)
    }

    /// Returns the gradient of the maps (N, C, H, W), whose shape is `shape`.
    pub fn backward<D: Device, H: Dim, W: Dim, const C: usize>(
        &self,
        shape: Maps<C, H, W>,
        dy: &Tensor<Maps<C, usize>, D>,
        regions: &[Region],
    ) -> Tensor<Maps<C, H, W>, D> {
        dy.with(shape, dy.device().roi_align_backward(&self.shape(shape), dy.data(), regions))
    }
}
