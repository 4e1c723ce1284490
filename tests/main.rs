//! The one integration test binary. Each module says what it holds.

mod architecture; // the rules that the sources themselves must keep
mod augment; // the augmentation operations against torchvision's reference arithmetic
mod commands; // whole commands: what they print, write and refuse; threads, kills and resumption
mod eval; // probe and k-NN
mod gradients; // layers and losses against f64 and finite differences
mod import; // archives and folders of every supported layout, and hostile ones
mod kernels; // convolutions and products against their definitions, over random shapes and on any number of threads
mod ledger; // records, cache, locks, configuration layers
mod report; // statistics and rendered pages
mod rows; // the kernels that memory limits: the same, and against finite differences
mod world; // the procedural world: determinism, factors, separability
