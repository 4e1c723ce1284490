//! Opens GPUs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use crate::error::Result;
use crate::kernels::cuda::{Format, Gpu, Kernels};
use crate::tensor::Precision;

use super::Cuda;

/// The GPUs that are open, by ordinal and number format.
static OPEN: LazyLock<Mutex<HashMap<(usize, Format), Cuda>>> = LazyLock::new(Mutex::default);

impl Cuda {
    /// Opens a GPU, once per process and number format. `libraries` is the folder of NVIDIA's libraries if they are not in
    /// a usual place; compiled kernels are kept in `cache`.
    ///
    /// # Errors
    /// When there is no driver, compiler or such GPU, or it is too old, or the kernels cannot be compiled or kept.
    pub fn open(ordinal: usize, precision: Precision, libraries: Option<&Path>, cache: &Path) -> Result<Self> {
        Self::opened(ordinal, precision, cache, || Gpu::open(ordinal, libraries))
    }

    /// The same GPU in another number format.
    ///
    /// # Errors
    /// When the kernels cannot be compiled or kept.
    pub fn with_precision(&self, precision: Precision) -> Result<Self> {
        let gpu = self.kernels.gpu();
        Self::opened(gpu.description().ordinal, precision, self.kernels.cache(), || Ok(gpu.clone()))
    }

    fn opened(
        ordinal: usize,
        precision: Precision,
        cache: &Path,
        gpu: impl FnOnce() -> Result<Arc<Gpu>>,
    ) -> Result<Self> {
        let format = match precision {
            Precision::F32 => Format::F32,
            Precision::Bf16 => Format::Bf16,
        };
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(device) = open.get(&(ordinal, format)) {
            return Ok(device.clone());
        }
        let same = open.iter().find(|((other, _), _)| *other == ordinal);
        let gpu = same.map_or_else(gpu, |(_, device)| Ok(device.kernels.gpu().clone()))?;
        let device = Self { kernels: Arc::new(Kernels::open(gpu, format, cache)?) };
        open.insert((ordinal, format), device.clone());
        Ok(device)
    }
}
