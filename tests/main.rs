//! The one integration test binary. Each module says what it holds.

mod kernels; // every fast kernel against its definition, over random shapes and on any number of threads
mod import; // archives and folders of every supported layout, and hostile ones
mod augment; // the augmentation operations against torchvision's reference arithmetic
mod world; // the procedural world: determinism, factors, separability
mod ledger; // records, cache, locks, configuration layers
mod report; // statistics and rendered pages
mod gradients; // layers and losses against f64 and finite differences
mod eval; // probe and k-NN
